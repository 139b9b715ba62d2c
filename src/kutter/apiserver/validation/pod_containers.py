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
from kutter.apiserver.validation.downward import (
    CONTAINER_RESOURCES,
    ENV_FIELD_PATHS,
    validate_field_ref,
    validate_resource_field_ref,
)
from kutter.apiserver.validation.pod_probes import validate_lifecycle, validate_probes
from kutter.apiserver.validation.pod_resources import validate_requirements
from kutter.apiserver.validation.pod_security import validate_container_context
from kutter.apiserver.validation.pod_volumes import local_descending_path

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
        _env(errors, env, f"{path}.env")
    if container.get("envFrom"):
        _env_from(errors, container["envFrom"], f"{path}.envFrom")
    mounts, devices = container.get("volumeMounts"), container.get("volumeDevices")
    if mounts:
        _mounts(errors, mounts, devices or [], container, f"{path}.volumeMounts", rules=rules)
    if devices:
        _devices(errors, devices, mounts or [], f"{path}.volumeDevices", rules)
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


def _env(errors: Errors, env: list[Tree], path: str) -> None:
    for i, variable in enumerate(env):
        name = variable.get("name") or ""
        if not name:
            errors.append(required(f"{path}[{i}].name"))
        else:
            problems = text.env_name(name)
            if problems:
                errors += [invalid(f"{path}[{i}].name", name, p) for p in problems]
        source = variable.get("valueFrom")
        if source is not None:
            _value_from(errors, source, bool(variable.get("value")), f"{path}[{i}].valueFrom")


def _value_from(errors: Errors, source: Tree, has_value: bool, path: str) -> None:
    count = 0
    if source.get("fieldRef") is not None:
        count += 1
        validate_field_ref(errors, source["fieldRef"], ENV_FIELD_PATHS, f"{path}.fieldRef")
    if source.get("resourceFieldRef") is not None:
        count += 1
        validate_resource_field_ref(
            errors,
            source["resourceFieldRef"],
            CONTAINER_RESOURCES,
            f"{path}.resourceFieldRef",
            in_volume=False,
        )
    for field in ("configMapKeyRef", "secretKeyRef"):
        reference = source.get(field)
        if reference is not None:
            count += 1
            name, key = reference.get("name") or "", reference.get("key") or ""
            problems = text.dns_subdomain(name)
            errors += [invalid(f"{path}.{field}.name", name, p) for p in problems]
            if not key:
                errors.append(required(f"{path}.{field}.key"))
            else:
                errors += [invalid(f"{path}.{field}.key", key, p) for p in text.config_key(key)]
    if source.get("fileKeyRef") is not None:
        count += 1
        for field in ("volumeName", "path", "key"):
            if not source["fileKeyRef"].get(field):
                errors.append(required(f"{path}.fileKeyRef.{field}"))
    if count == 0:
        errors.append(
            invalid(
                path,
                "",
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, "
                "`secretKeyRef` or `fileKeyRef`",
            )
        )
    elif has_value:
        errors.append(invalid(path, "", "may not be specified when `value` is not empty"))
    elif count > 1:
        errors.append(invalid(path, "", "may not have more than one field specified at a time"))


def _env_from(errors: Errors, sources: list[Tree], path: str) -> None:
    for i, source in enumerate(sources):
        prefix = source.get("prefix")
        if prefix:
            errors += [invalid(f"{path}[{i}].prefix", prefix, p) for p in text.env_name(prefix)]
        count = 0
        for field in ("configMapRef", "secretRef"):
            reference = source.get(field)
            if reference is None:
                continue
            count += 1
            name = reference.get("name") or ""
            if not name:
                errors.append(required(f"{path}[{i}].{field}.name"))
            else:
                errors += [
                    invalid(f"{path}[{i}].{field}.name", name, p) for p in text.dns_subdomain(name)
                ]
        if count == 0:
            errors.append(invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif count > 1:
            errors.append(invalid(path, "", "may not have more than one field specified at a time"))


def _mounts(
    errors: Errors,
    mounts: list[Tree],
    devices: list[Tree],
    container: Tree,
    path: str,
    *,
    rules: ContainerRules,
) -> None:
    places: set[str] = set()
    device_names = {d.get("name") for d in devices}
    device_paths = {d.get("devicePath") for d in devices}
    for i, mount in enumerate(mounts):
        here = f"{path}[{i}]"
        name, where = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            errors.append(required(f"{here}.name"))
        volume = rules.volumes.get(name)
        if volume is None:
            errors.append(not_found_field(f"{here}.name", name))
        if not where:
            errors.append(required(f"{here}.mountPath"))
        if where in places:
            errors.append(invalid(f"{here}.mountPath", where, "must be unique"))
        places.add(where)
        if name in device_names:
            errors.append(invalid(f"{here}.name", name, "must not already exist in volumeDevices"))
        if where in device_paths:
            errors.append(
                invalid(
                    f"{here}.mountPath", where, "must not already exist as a path in volumeDevices"
                )
            )
        if len(mount) > 2:
            _mount_options(errors, mount, container, path, here)


def _mount_options(errors: Errors, mount: Tree, container: Tree, path: str, here: str) -> None:
    sub, expression = mount.get("subPath") or "", mount.get("subPathExpr") or ""
    if sub:
        local_descending_path(errors, sub, f"{path}.subPath")
    if expression:
        if sub:
            errors.append(
                invalid(
                    f"{here}.subPathExpr",
                    expression,
                    "subPathExpr and subPath are mutually exclusive",
                )
            )
        local_descending_path(errors, expression, f"{path}.subPathExpr")
    propagation = mount.get("mountPropagation")
    allowed = ["Bidirectional", "HostToContainer", "None"]
    if propagation is not None and propagation not in allowed:
        errors.append(not_supported(f"{path}.mountPropagation", propagation, allowed))
    privileged = (container.get("securityContext") or {}).get("privileged")
    if propagation == "Bidirectional" and not privileged:
        errors.append(
            forbidden_field(
                f"{path}.mountPropagation",
                "Bidirectional mount propagation is available only to privileged containers",
            )
        )
    recursive = mount.get("recursiveReadOnly")
    if recursive in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            errors.append(
                forbidden_field(
                    f"{path}.recursiveReadOnly",
                    "may only be specified when readOnly is true",
                )
            )
        if propagation not in (None, "None"):
            errors.append(
                forbidden_field(
                    f"{path}.recursiveReadOnly",
                    "may only be specified when mountPropagation is None or not specified",
                )
            )
    elif recursive not in (None, "Disabled"):
        errors.append(
            not_supported(
                f"{path}.recursiveReadOnly", recursive, ["Disabled", "Enabled", "IfPossible"]
            )
        )


def _devices(
    errors: Errors, devices: list[Tree], mounts: list[Tree], path: str, rules: ContainerRules
) -> None:
    names: set[str] = set()
    paths: set[str] = set()
    mount_names = {m.get("name") for m in mounts}
    mount_paths = {m.get("mountPath") for m in mounts}
    for i, device in enumerate(devices):
        here = f"{path}[{i}]"
        name, where = device.get("name") or "", device.get("devicePath") or ""
        if not name:
            errors.append(required(f"{here}.name"))
        if name in names:
            errors.append(invalid(f"{here}.name", name, "must be unique"))
        volume = rules.volumes.get(name)
        if volume is None:
            errors.append(not_found_field(f"{here}.name", name))
        elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
            errors.append(
                invalid(
                    f"{here}.name",
                    name,
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for "
                    "block mode",
                )
            )
        if not where:
            errors.append(required(f"{here}.devicePath"))
        if where in paths:
            errors.append(invalid(f"{here}.devicePath", where, "must be unique"))
        if ".." in where.split("/"):
            errors.append(invalid(f"{here}.devicePath", where, "can not contain backsteps ('..')"))
        else:
            paths.add(where)
        if name in mount_names:
            errors.append(invalid(f"{here}.name", name, "must not already exist in volumeMounts"))
        if where in mount_paths:
            errors.append(
                invalid(
                    f"{here}.devicePath", where, "must not already exist as a path in volumeMounts"
                )
            )
        if name:
            names.add(name)


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
