"""Containers of a pod: regular, init (and sidecar) and ephemeral ones."""

from __future__ import annotations

from typing import Any

from kutter.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_found_field,
    not_supported,
    required,
)
from kutter.apiserver.validation import text
from kutter.apiserver.validation.pod_env import validate_env, validate_env_from
from kutter.apiserver.validation.pod_mounts import validate_devices, validate_mounts
from kutter.apiserver.validation.pod_probes import validate_lifecycle, validate_probes
from kutter.apiserver.validation.pod_resources import validate_requirements
from kutter.apiserver.validation.pod_security import validate_container_context

Tree = dict[str, Any]
Errors = list[FieldError]

PROTOCOLS = ["SCTP", "TCP", "UDP"]
_PULL_POLICIES = ["Always", "IfNotPresent", "Never"]
_MESSAGE_POLICIES = ["File", "FallbackToLogsOnError"]
_RESTART_POLICIES = ["Always", "OnFailure", "Never"]
_NOT_FOR_EPHEMERAL = (
    "ports",
    "resources",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
)
_NOT_FOR_INIT = ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")


class ContainerRules:
    """What the containers of one pod are checked against."""

    __slots__ = ("claims", "grace_period_s", "host_users", "restart_policy", "volumes")

    def __init__(self, spec: Tree, volumes: dict[str, Tree]) -> None:
        self.volumes = volumes
        self.claims = {c["name"] for c in spec.get("resourceClaims") or () if c.get("name")}
        self.grace_period_s: int | None = spec.get("terminationGracePeriodSeconds")
        self.host_users = spec.get("hostUsers") is not False
        self.restart_policy: str = spec.get("restartPolicy") or ""


def validate_containers(
    errors: Errors, containers: list[Tree], path: str, rules: ContainerRules
) -> None:
    if not containers:
        errors.append(required(path))
        return
    names: set[str] = set()
    host_ports: set[str] = set()
    for i, container in enumerate(containers):
        here = f"{path}[{i}]"
        _common(errors, container, here, rules)
        name = container.get("name") or ""
        if name in names:
            errors.append(duplicate(f"{here}.name", name))
        names.add(name)
        if container.get("lifecycle") is not None:
            validate_lifecycle(
                errors, container["lifecycle"], f"{here}.lifecycle", rules.grace_period_s
            )
        validate_probes(errors, container, here)
        _restart_policy(errors, container, here)
        _host_ports(errors, container, here, host_ports)


def validate_init_containers(
    errors: Errors, containers: list[Tree], regular: list[Tree], path: str, rules: ContainerRules
) -> None:
    names = {c.get("name") for c in regular}
    for i, container in enumerate(containers):
        here = f"{path}[{i}]"
        _common(errors, container, here, rules)
        _restart_policy(errors, container, here)
        name = container.get("name") or ""
        if name in names:
            errors.append(duplicate(f"{here}.name", name))
        elif name:
            names.add(name)
        _host_ports(errors, container, here, set())
        if container.get("restartPolicy") == "Always":
            if container.get("lifecycle") is not None:
                validate_lifecycle(
                    errors, container["lifecycle"], f"{here}.lifecycle", rules.grace_period_s
                )
            validate_probes(errors, container, here)
            continue
        for field in _NOT_FOR_INIT:
            if container.get(field) is not None:
                errors.append(
                    forbidden_field(
                        f"{here}.{field}",
                        "may not be set for init containers without restartPolicy=Always",
                    )
                )


def validate_ephemeral_containers(
    errors: Errors, spec: Tree, path: str, rules: ContainerRules
) -> None:
    others = {
        c.get("name")
        for c in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
    }
    names = set(others)
    for i, container in enumerate(spec.get("ephemeralContainers") or ()):
        here = f"{path}[{i}]"
        _common(errors, container, here, rules)
        validate_image_padding(errors, container, here)
        name = container.get("name") or ""
        if name in names:
            errors.append(duplicate(f"{here}.name", name))
        names.add(name)
        target = container.get("targetContainerName")
        if target and target not in others:
            errors.append(not_found_field(f"{here}.targetContainerName", target))
        for field in _NOT_FOR_EPHEMERAL:
            if container.get(field):
                errors.append(
                    forbidden_field(f"{here}.{field}", "cannot be set for an Ephemeral Container")
                )
        for m, mount in enumerate(container.get("volumeMounts") or ()):
            for field in ("subPath", "subPathExpr"):
                if mount.get(field):
                    errors.append(
                        forbidden_field(
                            f"{here}.volumeMounts[{m}].{field}",
                            "cannot be set for an Ephemeral Container",
                        )
                    )


def validate_image_padding(errors: Errors, container: Tree, path: str) -> None:
    """Pods only: templates may carry images that are placeholders."""
    image = container.get("image") or ""
    if image != image.strip():
        errors.append(
            invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
        )


def _common(errors: Errors, container: Tree, path: str, rules: ContainerRules) -> None:
    name = container.get("name") or ""
    if not name:
        errors.append(required(f"{path}.name"))
    else:
        problems = text.dns_label(name)
        if problems:
            errors += [invalid(f"{path}.name", name, p) for p in problems]
    if not container.get("image"):
        errors.append(required(f"{path}.image"))
    policy = container.get("terminationMessagePolicy") or ""
    if policy not in _MESSAGE_POLICIES:
        here = f"{path}.terminationMessagePolicy"
        errors.append(not_supported(here, policy, _MESSAGE_POLICIES) if policy else required(here))
    ports = container.get("ports")
    if ports:
        _ports(errors, ports, f"{path}.ports")
    env = container.get("env")
    if env:
        validate_env(errors, env, f"{path}.env")
    if container.get("envFrom"):
        validate_env_from(errors, container["envFrom"], f"{path}.envFrom")
    mounts, devices = container.get("volumeMounts"), container.get("volumeDevices")
    if mounts:
        validate_mounts(
            errors, mounts, devices or [], container, f"{path}.volumeMounts", volumes=rules.volumes
        )
    if devices:
        validate_devices(errors, devices, mounts or [], f"{path}.volumeDevices", rules.volumes)
    pull = container.get("imagePullPolicy") or ""
    if pull not in _PULL_POLICIES:
        here = f"{path}.imagePullPolicy"
        errors.append(not_supported(here, pull, _PULL_POLICIES) if pull else required(here))
    resources = container.get("resources")
    if resources:
        validate_requirements(errors, resources, f"{path}.resources", rules.claims)
    if container.get("resizePolicy"):
        _resize_policy(errors, container["resizePolicy"], f"{path}.resizePolicy", rules)
    context = container.get("securityContext")
    if context:
        validate_container_context(
            errors, context, f"{path}.securityContext", host_users=rules.host_users
        )


def _ports(errors: Errors, ports: list[Tree], path: str) -> None:
    names: set[str] = set()
    for i, port in enumerate(ports):
        name = port.get("name")
        if name:
            problems = text.port_name(name)
            if problems:
                errors += [invalid(f"{path}[{i}].name", name, p) for p in problems]
            elif name in names:
                errors.append(duplicate(f"{path}[{i}].name", name))
            else:
                names.add(name)
        number = port.get("containerPort") or 0
        if not number:
            errors.append(required(f"{path}[{i}].containerPort"))
        elif not 1 <= number <= 65535:
            errors += [
                invalid(f"{path}[{i}].containerPort", number, p) for p in text.port_number(number)
            ]
        host = port.get("hostPort") or 0
        if host and not 1 <= host <= 65535:
            errors += [invalid(f"{path}[{i}].hostPort", host, p) for p in text.port_number(host)]
        validate_protocol(errors, port.get("protocol") or "", f"{path}[{i}].protocol")


def validate_protocol(errors: Errors, protocol: str, path: str) -> None:
    if protocol not in PROTOCOLS:
        errors.append(not_supported(path, protocol, PROTOCOLS) if protocol else required(path))


def _host_ports(errors: Errors, container: Tree, path: str, taken: set[str]) -> None:
    for i, port in enumerate(container.get("ports") or ()):
        number = port.get("hostPort") or 0
        if number:
            key = f"{port.get('protocol', '')}/{port.get('hostIP') or ''}/{number}"
            if key in taken:
                errors.append(duplicate(f"{path}.ports[{i}].hostPort", key))
            taken.add(key)


def _resize_policy(errors: Errors, policies: list[Tree], path: str, rules: ContainerRules) -> None:
    seen: set[str] = set()
    allowed = ["NotRequired", "RestartContainer"]
    for i, policy in enumerate(policies):
        name, restart = policy.get("resourceName") or "", policy.get("restartPolicy") or ""
        if name in seen:
            errors.append(duplicate(f"{path}[{i}]", name))
        seen.add(name)
        if name not in ("cpu", "memory"):
            errors.append(not_supported(path, name, ["cpu", "memory"]) if name else required(path))
        if restart not in allowed:
            errors.append(not_supported(path, restart, allowed) if restart else required(path))
        if rules.restart_policy == "Never" and restart != "NotRequired":
            errors.append(
                invalid(path, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'")
            )


def _restart_policy(errors: Errors, container: Tree, path: str) -> None:
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or []
    if policy is not None and policy not in _RESTART_POLICIES:
        errors.append(not_supported(f"{path}.restartPolicy", policy, _RESTART_POLICIES))
    if not rules:
        return
    here = f"{path}.restartPolicyRules"
    if policy is None:
        errors.append(
            required(
                f"{path}.restartPolicy",
                "must specify restartPolicy when restart rules are used",
            )
        )
    if len(rules) > 20:
        errors.append(
            FieldError(
                here, "FieldValueTooMany", f"Too many: {len(rules)}: must have at most 20 items"
            )
        )
    for i, rule in enumerate(rules):
        if rule.get("action") not in ("Restart", "RestartAllContainers"):
            errors.append(
                not_supported(f"{here}[{i}].action", rule.get("action") or "", ["Restart"])
            )
        codes = rule.get("exitCodes")
        if codes is None:
            errors.append(required(f"{here}[{i}].exitCodes", "must be specified"))
        elif codes.get("operator") not in ("In", "NotIn"):
            errors.append(
                not_supported(
                    f"{here}[{i}].exitCodes.operator",
                    codes.get("operator") or "",
                    ["In", "NotIn"],
                )
            )
