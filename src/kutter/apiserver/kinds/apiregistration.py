"""APIServices: which server serves a group-version."""

from __future__ import annotations

import base64
import binascii
from typing import Any, ClassVar

from kutter.api.errors import FieldError, invalid, not_supported, required
from kutter.apiserver.kinds.standard import SpecKind, setdefault
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.base.clock import render_time

_PORT = 443
_STATES = ["False", "True", "Unknown"]


class APIServiceKind(SpecKind):
    # The name is the group-version's, "v1." included: what a path segment may be.
    name_check: ClassVar[text.Check] = staticmethod(text.path_segment)
    generation_paths: ClassVar[tuple[str, ...]] = ()
    allow_unconditional_update: ClassVar[bool] = False

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        tree["status"] = {}
        if (tree.get("spec") or {}).get("service") is None:
            tree["status"]["conditions"] = [
                {
                    "type": "Available",
                    "status": "True",
                    "lastTransitionTime": render_time(context.now),
                    "reason": "Local",
                    "message": "Local APIServices are always available",
                }
            ]

    def default(self, tree: Tree) -> None:
        service = (tree.get("spec") or {}).get("service")
        if service is not None:
            setdefault(service, "port", _PORT)

    def check(self, tree: Tree) -> list[FieldError]:
        spec = tree.get("spec") or {}
        name = (tree.get("metadata") or {}).get("name", "")
        group, version = spec.get("group") or "", spec.get("version") or ""
        errors: list[FieldError] = []
        if name and not text.path_segment(name) and name != f"{version}.{group}":
            detail = f'must be `spec.version+"."+spec.group`: "{version}.{group}"'
            errors.append(invalid("metadata.name", name, detail))
        if not group and version != "v1":
            detail = "only v1 may have an empty group and it better be legacy kube"
            errors.append(required("spec.group", detail))
        if group:
            errors += [invalid("spec.group", group, d) for d in text.dns_subdomain(group)]
        errors += [invalid("spec.version", version, d) for d in text.dns_label_1035(version)]
        for field, highest in (("groupPriorityMinimum", 20000), ("versionPriority", 1000)):
            value = spec.get(field) or 0
            if not 0 < value <= highest:
                detail = f"must be positive and less than {highest}"
                errors.append(invalid(f"spec.{field}", value, detail))
        return errors + _check_backend(spec)

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        conditions = (new.get("status") or {}).get("conditions") or ()
        return [
            not_supported(f"status.conditions[{i}].status", c.get("status") or "", _STATES)
            for i, c in enumerate(conditions)
            if c.get("status") not in _STATES
        ]


def _check_backend(spec: Tree) -> list[FieldError]:
    errors: list[FieldError] = []
    bundle, insecure = spec.get("caBundle") or "", bool(spec.get("insecureSkipTLSVerify"))
    service: dict[str, Any] | None = spec.get("service")
    if service is None:
        if bundle:
            shown = f"{_length(bundle)} bytes"
            errors.append(
                invalid("spec.caBundle", shown, "local APIServices may not have a caBundle")
            )
        if insecure:
            detail = "local APIServices may not have insecureSkipTLSVerify"
            errors.append(invalid("spec.insecureSkipTLSVerify", insecure, detail))
        return errors
    errors += [
        required(f"spec.service.{field}")
        for field in ("namespace", "name")
        if not service.get(field)
    ]
    port = service.get("port") or 0
    for detail in text.port_number(port):
        errors.append(invalid("spec.service.port", port, f"port is not valid: {detail}"))
    if insecure and bundle:
        detail = "may not be true if caBundle is present"
        errors.append(invalid("spec.insecureSkipTLSVerify", insecure, detail))
    return errors


def _length(bundle: str) -> int:
    try:
        return len(base64.b64decode(bundle))
    except binascii.Error:
        return len(bundle)
