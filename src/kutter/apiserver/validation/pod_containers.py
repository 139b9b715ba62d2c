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
    too_many,
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
_RESTART_POLICIES = ["Always", "Never", "OnFailure"]
_RULE_ACTIONS = ["Restart", "RestartAllContainers"]
_NOT_FOR_EPHEMERAL = (
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
)
_NOT_FOR_INIT = ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")


class ContainerRules:
    """What the containers of one pod are checked against."""

    __slots__ = ("claims", "env_files", "grace_period_s", "host_users", "restart_policy", "volumes")

    def __init__(self, spec: Tree, volumes: dict[str, Tree]) -> None:
        self.volumes = volumes
        # Whether any variable comes from a file.
        self.env_files = False
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
        if container.get("restartPolicy") is not None or container.get("restartPolicyRules"):
            _restart_policy(errors, container, here)
    for i, container in enumerate(containers):
        _host_ports(errors, container, f"{path}[{i}]", host_ports)


def validate_init_containers(
    errors: Errors, containers: list[Tree], regular: list[Tree], path: str, rules: ContainerRules
) -> None:
    names = {c.get("name") for c in regular}
    for i, container in enumerate(containers):
        here = f"{path}[{i}]"
        _common(errors, container, here, rules)
        _restart_policy(errors, container, here, is_init=True)
        name = container.get("name") or ""
        if name in names:
            errors.append(duplicate(f"{here}.name", name))
        elif name:
            names.add(name)
        # Looked at one by one, and shown as the first, as upstream does.
        _host_ports(errors, container, f"{path}[0]", set())
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
        for p, policy in enumerate(container.get("resizePolicy") or ()):
            if policy.get("restartPolicy") == "RestartContainer":
                errors.append(
                    invalid(
                        f"{here}.resizePolicy[{p}].restartPolicy",
                        "RestartContainer",
                        "must not be set to 'RestartContainer' for non-sidecar initContainers",
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
            value = container.get(field)
            # An empty list is a value to upstream; resources and rules without any are not.
            if value if field == "resources" else value is not None:
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
    if env and validate_env(errors, env, f"{path}.env"):
        rules.env_files = True
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
                invalid(path, restart, "must be 'NotRequired' when pod `restartPolicy` is 'Never'")
            )


def _restart_policy(errors: Errors, container: Tree, path: str, *, is_init: bool = False) -> None:
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or []
    if policy is None:
        if not rules:
            return
        detail = "must specify restartPolicy when restart rules are used"
        errors.append(required(f"{path}.restartPolicy", detail))
        if is_init:
            return
    elif policy not in _RESTART_POLICIES:
        errors.append(not_supported(f"{path}.restartPolicy", policy, _RESTART_POLICIES))
    here = f"{path}.restartPolicyRules"
    if len(rules) > 20:
        errors.append(too_many(here, len(rules), 20))
    for i, rule in enumerate(rules):
        _restart_rule(errors, rule, f"{here}[{i}]")


def _restart_rule(errors: Errors, rule: Tree, path: str) -> None:
    action, codes = rule.get("action") or "", rule.get("exitCodes")
    if action not in _RULE_ACTIONS:
        errors.append(not_supported(f"{path}.action", action, _RULE_ACTIONS))
    if codes is None:
        errors.append(required(f"{path}.exitCodes", "must be specified"))
        return
    operator = codes.get("operator") or ""
    if operator not in ("In", "NotIn"):
        errors.append(not_supported(f"{path}.exitCodes.operator", operator, ["In", "NotIn"]))
    values = codes.get("values") or []
    if len(values) > 255:
        errors.append(too_many(f"{path}.exitCodes.values", len(values), 255))
