"""Probes and lifecycle hooks of a container."""

from __future__ import annotations

from typing import Any

from kutter.api.errors import FieldError, forbidden_field, invalid, not_supported, required
from kutter.apiserver.validation import text
from kutter.apiserver.validation.metadata import NEGATIVE

Tree = dict[str, Any]
Errors = list[FieldError]

_PROBE_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_HOOK_HANDLERS = ("exec", "httpGet", "tcpSocket", "sleep")
_NUMBERS = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)


def validate_probes(errors: Errors, container: Tree, path: str) -> None:
    for field in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(field)
        if probe is None:
            continue
        here = f"{path}.{field}"
        _handler(errors, probe, _PROBE_HANDLERS, here, None)
        for number in _NUMBERS:
            value = probe.get(number)
            if value is not None and value < 0:
                errors.append(invalid(f"{here}.{number}", value, NEGATIVE))
        grace = probe.get("terminationGracePeriodSeconds")
        if grace is not None and grace <= 0:
            errors.append(
                invalid(f"{here}.terminationGracePeriodSeconds", grace, "must be greater than 0")
            )
        if field == "readinessProbe":
            if grace is not None:
                errors.append(
                    invalid(
                        f"{here}.terminationGracePeriodSeconds",
                        grace,
                        "must not be set for readinessProbes",
                    )
                )
        elif probe.get("successThreshold") != 1:
            errors.append(
                invalid(f"{here}.successThreshold", probe.get("successThreshold") or 0, "must be 1")
            )


def validate_lifecycle(
    errors: Errors, lifecycle: Tree, path: str, grace_period_s: int | None
) -> None:
    for field in ("postStart", "preStop"):
        hook = lifecycle.get(field)
        if hook is not None:
            _handler(errors, hook, _HOOK_HANDLERS, f"{path}.{field}", grace_period_s)


def _handler(
    errors: Errors, tree: Tree, handlers: tuple[str, ...], path: str, grace_period_s: int | None
) -> None:
    found = False
    for field in handlers:
        handler = tree.get(field)
        if handler is None:
            continue
        if found:
            errors.append(
                forbidden_field(f"{path}.{field}", "may not specify more than 1 handler type")
            )
            continue
        found = True
        if field == "exec":
            if not handler.get("command"):
                errors.append(required(f"{path}.exec.command"))
        elif field == "httpGet":
            _http_get(errors, handler, f"{path}.httpGet")
        elif field == "sleep":
            _sleep(errors, handler, f"{path}.sleep", grace_period_s)
        else:
            validate_port(errors, handler.get("port"), f"{path}.{field}.port")
    if not found:
        errors.append(required(path, "must specify a handler type"))


def _http_get(errors: Errors, action: Tree, path: str) -> None:
    if not action.get("path"):
        errors.append(required(f"{path}.path"))
    validate_port(errors, action.get("port"), f"{path}.port")
    scheme = action.get("scheme") or ""
    if scheme not in ("HTTP", "HTTPS"):
        errors.append(not_supported(f"{path}.scheme", scheme, ["HTTP", "HTTPS"]))
    for header in action.get("httpHeaders") or ():
        name = header.get("name") or ""
        errors += [invalid(f"{path}.httpHeaders", name, p) for p in text.http_header_name(name)]


def _sleep(errors: Errors, action: Tree, path: str, grace_period_s: int | None) -> None:
    seconds = action.get("seconds") or 0
    if grace_period_s is not None and not 0 <= seconds <= grace_period_s:
        errors.append(
            invalid(
                path,
                seconds,
                "must be non-negative and less than terminationGracePeriodSeconds "
                f"({grace_period_s})",
            )
        )


def validate_port(errors: Errors, port: int | str | None, path: str) -> None:
    """A port by number or by name."""
    if isinstance(port, str):
        problems = text.port_name(port)
    else:
        port = port or 0
        problems = text.port_number(port)
    if problems:
        errors += [invalid(path, port, p) for p in problems]
