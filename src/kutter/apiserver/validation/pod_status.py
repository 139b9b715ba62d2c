"""What a node may say of a pod: its status, against what the pod is and was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kutter.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_supported,
    required,
    too_long,
)
from kutter.apiserver.validation import text
from kutter.apiserver.validation.metadata import checked, immutable, validate_metadata_update
from kutter.apiserver.validation.pod_annotations import (
    validate_annotation_changes,
    validate_pod_annotations,
)

Tree = dict[str, Any]
Errors = list[FieldError]

_SYSTEM_CONDITIONS = ("PodScheduled", "Ready", "Initialized")
_NOT_NEGATIVE = "must be a non-negative integer"
_FIELDS = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
_HEALTH = ["Healthy", "Unhealthy", "Unknown"]
_MESSAGE_LIMIT = 1024
_CLAIM = "claim:"


def validate_pod_status_update(new: Tree, old: Tree) -> list[FieldError]:
    metadata, before = new.get("metadata") or {}, old.get("metadata") or {}
    errors = validate_metadata_update(metadata, before)
    after, was = metadata.get("annotations") or {}, before.get("annotations") or {}
    if after or was:
        path = "metadata.annotations"
        validate_annotation_changes(errors, after, was, path)
        validate_pod_annotations(errors, after, new.get("spec") or {}, path)
    status, old_status = new.get("status") or {}, old.get("status") or {}
    spec = old.get("spec") or {}
    _conditions(errors, status.get("conditions") or [])
    _nominated(errors, status, old_status, spec)
    observed = status.get("observedGeneration") or 0
    if observed < 0:
        errors.append(invalid("status.observedGeneration", observed, _NOT_NEGATIVE))
    if status.get("qosClass") != old_status.get("qosClass"):
        errors += immutable(status.get("qosClass"), old_status.get("qosClass"), "status.qosClass")
    _transitions(errors, status, old_status, spec)
    _claims(errors, status, spec)
    _addresses(errors, status, old_status)
    for field in _FIELDS:
        for i, reported in enumerate(status.get(field) or ()):
            if reported.get("user") is not None:
                _user(errors, reported["user"], spec, f"status.{field}[{i}].user.linux")
    _allocated(errors, status, spec)
    return errors


def _conditions(errors: Errors, conditions: list[Tree]) -> None:
    for i, condition in enumerate(conditions):
        here, kind = f"status.conditions[{i}]", condition.get("type") or ""
        observed = condition.get("observedGeneration") or 0
        if observed < 0:
            errors.append(invalid(f"{here}.observedGeneration", observed, _NOT_NEGATIVE))
        if kind not in _SYSTEM_CONDITIONS:
            errors += checked(f"{here}.Type", kind, text.qualified_name)


def _nominated(errors: Errors, status: Tree, old: Tree, spec: Tree) -> None:
    name, path = status.get("nominatedNodeName") or "", "status.nominatedNodeName"
    if not name or name == (old.get("nominatedNodeName") or ""):
        return
    errors += checked(path, name, text.dns_subdomain)
    if spec.get("nodeName"):
        detail = "may not be set on pods that are already bound to a node"
        errors.append(forbidden_field(path, detail))


def _transitions(errors: Errors, new: Tree, old: Tree, spec: Tree) -> None:
    """What has ended stays so, unless its restart policy says otherwise."""
    all_restart = any(
        rule.get("action") == "RestartAllContainers"
        for field in ("initContainers", "containers")
        for container in spec.get(field) or ()
        for rule in container.get("restartPolicyRules") or ()
    )
    for field, containers in (
        ("containerStatuses", "containers"),
        ("initContainerStatuses", "initContainers"),
    ):
        before = old.get(field)
        if not before or all_restart or new.get(field) == before:
            continue
        known = {c.get("name"): c for c in spec.get(containers) or ()}

        def restarts(name: str, code: int, known: dict[Any, Tree] = known) -> bool:
            container = known.get(name)
            return container is not None and _restarts(container, spec, code)

        _ended(errors, new, old, field, restarts)
    if old.get("ephemeralContainerStatuses"):
        _ended(errors, new, old, "ephemeralContainerStatuses", lambda _name, _code: False)


def _ended(
    errors: Errors, new: Tree, old: Tree, field: str, restarts: Callable[[str, int], bool]
) -> None:
    for i, before in enumerate(old.get(field) or ()):
        ended, name = (before.get("state") or {}).get("terminated"), before.get("name") or ""
        if ended is None:
            continue
        for after in new.get(field) or ():
            if (after.get("name") or "") != name:
                continue
            runs = (after.get("state") or {}).get("terminated") is None
            if runs and not restarts(name, ended.get("exitCode") or 0):
                detail = "may not be transitioned to non-terminated state"
                errors.append(forbidden_field(f"status.{field}[{i}].state", detail))
            if runs and field != "ephemeralContainerStatuses":
                break


def _restarts(container: Tree, spec: Tree, code: int) -> bool:
    """Whether a container that ended with ``code`` is started again."""
    policy = container.get("restartPolicy")
    if policy is not None:
        for rule in container.get("restartPolicyRules") or ():
            codes = rule.get("exitCodes") or {}
            listed = code in (codes.get("values") or ())
            if listed == (codes.get("operator") == "In") and codes:
                return True
    chosen = policy if policy in ("Always", "OnFailure", "Never") else spec.get("restartPolicy")
    return code != 0 if chosen == "OnFailure" else chosen != "Never"


def _claims(errors: Errors, status: Tree, spec: Tree) -> None:
    names = {c.get("name") for c in spec.get("resourceClaims") or ()}
    seen: set[str] = set()
    for i, claim in enumerate(status.get("resourceClaimStatuses") or ()):
        here, name = f"status.resourceClaimStatuses[{i}]", claim.get("name") or ""
        if name not in names:
            detail = "must match the name of an entry in `spec.resourceClaims`"
            errors.append(invalid(f"{here}.name", name, detail))
        if name in seen:
            errors.append(duplicate(f"{here}.name", name))
        seen.add(name)
        generated = claim.get("resourceClaimName")
        if generated is not None:
            errors += checked(f"{here}.resourceClaimName", generated, text.dns_subdomain)
    extended = status.get("extendedResourceClaimStatus")
    if extended is not None:
        _extended(errors, extended, spec, "status.extendedResourceClaimStatus")


def _extended(errors: Errors, claim: Tree, spec: Tree, path: str) -> None:
    containers = {
        c.get("name") or "": c
        for field in ("initContainers", "containers")
        for c in spec.get(field) or ()
    }
    mappings = claim.get("requestMappings") or []
    if not mappings:
        detail = "at least one request mapping is required"
        errors.append(required(f"{path}.requestMappings", detail))
    seen: set[tuple[str, str, str]] = set()
    for i, mapping in enumerate(mappings):
        here = f"{path}.requestMappings[{i}]"
        name, resource = mapping.get("containerName") or "", mapping.get("resourceName") or ""
        request = mapping.get("requestName") or ""
        if name not in containers:
            detail = (
                "must match the name of an entry in spec.initContainers.name or "
                "spec.containers.name"
            )
            errors.append(invalid(f"{here}.containerName", name, detail))
        elif resource not in ((containers[name].get("resources") or {}).get("requests") or {}):
            detail = (
                "must match the extended resource name of an entry in "
                "spec.initContainers.resources.requests or spec.containers.resources.requests"
            )
            errors.append(invalid(f"{here}.resourceName", resource, detail))
        errors += checked(f"{path}.requestName", request, text.dns_label)
        if (name, resource, request) in seen:
            errors.append(duplicate(f"{here}.containerName", name))
            errors.append(duplicate(f"{here}.resourceName", resource))
            errors.append(duplicate(f"{here}.requestName", request))
        seen.add((name, resource, request))
    name = claim.get("resourceClaimName") or ""
    if name:
        errors += checked(f"{path}.resourceClaimName", name, text.dns_subdomain)
    else:
        errors.append(required(f"{path}.resourceClaimName"))


def _addresses(errors: Errors, status: Tree, old: Tree) -> None:
    for field in ("podIPs", "hostIPs"):
        entries = status.get(field)
        if not entries:
            continue
        path = f"status.{field}"
        listed = [entry.get("ip") or "" for entry in entries]
        if field == "hostIPs" and listed[0] != (status.get("hostIP") or ""):
            errors.append(invalid(f"{path}[0].ip", listed[0], "must be equal to `hostIP`"))
        kept = {entry.get("ip") for entry in old.get(field) or ()}
        for i, address in enumerate(listed):
            if address not in kept:
                errors += checked(f"{path}[{i}]", address, text.ip)
        if len(listed) > 1:
            families = {":" in address for address in listed}
            if len(families) != 2 or len(listed) > 2:
                shown = [{"IP": address} for address in listed]
                detail = "may specify no more than one IP for each IP family"
                errors.append(invalid(path, shown, detail))


def _user(errors: Errors, user: Tree, spec: Tree, path: str) -> None:
    system, linux = (spec.get("os") or {}).get("name") or "linux", user.get("linux")
    if linux is None:
        return
    if system == "windows":
        errors.append(forbidden_field(path, "cannot be set for a windows pod"))
    elif system == "linux":
        for field in ("uid", "gid"):
            value = linux.get(field) or 0
            errors += [invalid(f"{path}.{field}", value, p) for p in text.posix_id(value)]
        for g, value in enumerate(linux.get("supplementalGroups") or ()):
            problems = text.posix_id(value)
            errors += [invalid(f"{path}.supplementalGroups[{g}]", value, p) for p in problems]


def _allocated(errors: Errors, status: Tree, spec: Tree) -> None:
    """Health of devices: of what the container asked for, each once."""
    for field, containers in (
        ("containerStatuses", "containers"),
        ("initContainerStatuses", "initContainers"),
    ):
        known = {c.get("name"): c for c in spec.get(containers) or ()}
        for i, reported in enumerate(status.get(field) or ()):
            here = f"status.{field}[{i}].allocatedResourcesStatus"
            container = known.get(reported.get("name"))
            for j, resource in enumerate(reported.get("allocatedResourcesStatus") or ()):
                _resource(errors, resource, container, f"{here}[{j}]")
    for i, reported in enumerate(status.get("ephemeralContainerStatuses") or ()):
        if reported.get("allocatedResourcesStatus"):
            here = f"status.ephemeralContainerStatuses[{i}].allocatedResourcesStatus"
            errors.append(forbidden_field(here, "must not be specified in container status"))


def _resource(errors: Errors, resource: Tree, container: Tree | None, path: str) -> None:
    name = resource.get("name") or ""
    if container is not None:
        asked = container.get("resources") or {}
        if name.startswith(_CLAIM):
            detail = (
                "must match one of the container's resource claims in a format "
                "'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty"
            )
            found = any(
                name.removeprefix(_CLAIM)
                == "/".join(filter(None, (claim.get("name"), claim.get("request"))))
                for claim in asked.get("claims") or ()
            )
        else:
            detail = "must match one of the container's resource requests"
            found = name in (asked.get("requests") or {})
        if not found:
            errors.append(invalid(f"{path}.name", name, detail))
    seen: set[str] = set()
    for k, device in enumerate(resource.get("resources") or ()):
        here, uid = f"{path}.resources[{k}]", device.get("resourceID") or ""
        health, message = device.get("health") or "", device.get("message")
        if health not in _HEALTH:
            errors.append(not_supported(f"{here}.health", health, _HEALTH))
        if message == "":
            errors.append(required(f"{here}.message", "must be non-empty if specified"))
        elif message is not None and len(message.encode()) > _MESSAGE_LIMIT:
            errors.append(too_long(f"{here}.message", _MESSAGE_LIMIT))
        if uid in seen:
            errors.append(duplicate(f"{here}.resourceID", uid))
        seen.add(uid)
