"""What may change in a pod that exists: very little of its specification, all of its status."""

from __future__ import annotations

from typing import Any

from kutter.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    required,
)
from kutter.apiserver.validation import quantities, text
from kutter.apiserver.validation.equality import equal
from kutter.apiserver.validation.metadata import (
    checked,
    immutable,
    validate_metadata_update,
)
from kutter.apiserver.validation.pod_scheduling import validate_tolerations
from kutter.apiserver.validation.pod_spec import MIRROR_ANNOTATION, validate_pod

Tree = dict[str, Any]
Errors = list[FieldError]

_INT32_MAX = 2**31 - 1
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_FORBIDDEN = (
    "pod updates may not change fields other than "
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
    "negative)"
)


def validate_pod_update(new: Tree, old: Tree) -> list[FieldError]:
    metadata, before = new.get("metadata") or {}, old.get("metadata") or {}
    errors = validate_metadata_update(metadata, before)
    errors += validate_pod(new)
    _mirror_annotation(errors, metadata, before)
    spec, old_spec = new.get("spec") or {}, old.get("spec") or {}
    for field in ("containers", "initContainers"):
        if not _images(errors, spec.get(field) or [], old_spec.get(field) or [], f"spec.{field}"):
            return errors
    if not _deadline(errors, spec, old_spec):
        return errors
    _tolerations(errors, spec.get("tolerations") or [], old_spec.get("tolerations") or [])
    _gates(errors, spec.get("schedulingGates") or [], old_spec.get("schedulingGates") or [])
    if equal(spec, old_spec):
        return errors
    munged = _with_updatable_fields_of(spec, old_spec)
    if old_spec.get("schedulingGates"):
        _gated_changes(errors, munged, old_spec)
    if not equal(munged, old_spec):
        errors.append(forbidden_field("spec", f"{_FORBIDDEN}\n{_difference(old_spec, munged)}"))
    return errors


def _difference(old: Tree, new: Tree) -> str:
    """The changed fields, one per line; upstream shows a Go-syntax diff here."""
    lines = []
    for field in sorted(old.keys() | new.keys()):
        if not equal(old.get(field), new.get(field)):
            lines.append(f"- {field}: {old.get(field)!r}\n+ {field}: {new.get(field)!r}\n")
    return "".join(lines)


def _mirror_annotation(errors: Errors, metadata: Tree, before: Tree) -> None:
    new = (metadata.get("annotations") or {}).get(MIRROR_ANNOTATION)
    old = (before.get("annotations") or {}).get(MIRROR_ANNOTATION)
    path = f"metadata.annotations[{MIRROR_ANNOTATION}]"
    if old is None and new is not None:
        errors.append(forbidden_field(path, "may not add mirror pod annotation"))
    elif old != new:
        errors.append(forbidden_field(path, "may not remove or update mirror pod annotation"))


def _images(errors: Errors, new: list[Tree], old: list[Tree], path: str) -> bool:
    if len(new) != len(old):
        errors.append(forbidden_field(path, "pod updates may not add or remove containers"))
        return False
    for i, container in enumerate(new):
        image = container.get("image") or ""
        if not image:
            errors.append(required(f"{path}[{i}].image"))
        if image.strip() != image:
            errors.append(
                invalid(f"{path}[{i}].image", image, "must not have leading or trailing whitespace")
            )
    return True


def _deadline(errors: Errors, spec: Tree, old_spec: Tree) -> bool:
    new, old = spec.get("activeDeadlineSeconds"), old_spec.get("activeDeadlineSeconds")
    path = "spec.activeDeadlineSeconds"
    if new is None:
        if old is not None:
            errors.append(
                invalid(path, None, "must not update from a positive integer to nil value")
            )
        return True
    if not 0 <= new <= _INT32_MAX:
        errors.append(invalid(path, new, text.inclusive_range(0, _INT32_MAX)))
        return False
    if old is not None and old < new:
        errors.append(invalid(path, new, "must be less than or equal to previous value"))
        return False
    return True


def _tolerations(errors: Errors, new: list[Tree], old: list[Tree]) -> None:
    if new == old:
        return
    bare = [_without(t, "tolerationSeconds") for t in new]
    if any(_without(t, "tolerationSeconds") not in bare for t in old):
        errors.append(
            forbidden_field(
                "spec.tolerations",
                "existing toleration can not be modified except its tolerationSeconds",
            )
        )
        return
    validate_tolerations(errors, new, "spec.tolerations")


def _without(tree: Tree, field: str) -> Tree:
    return {k: v for k, v in tree.items() if k != field and v not in ("", None)}


def _gates(errors: Errors, new: list[Tree], old: list[Tree]) -> None:
    known = {g.get("name") for g in old}
    for i, gate in enumerate(new):
        if gate.get("name") not in known:
            errors.append(
                forbidden_field(
                    f"spec.schedulingGates[{i}].name",
                    f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'",
                )
            )


def _with_updatable_fields_of(spec: Tree, old: Tree) -> Tree:
    munged = dict(spec)
    for field in ("containers", "initContainers"):
        if spec.get(field):
            munged[field] = [
                {**container, "image": before.get("image")}
                for container, before in zip(spec[field], old[field], strict=True)
            ]
    for field in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        _take(munged, old, field)
    grace = "terminationGracePeriodSeconds"
    if (old.get(grace) or 0) < 0 and munged.get(grace) == 1:
        munged[grace] = old[grace]
    return munged


def _take(target: Tree, source: Tree, field: str) -> None:
    if source.get(field) is None:
        target.pop(field, None)
    else:
        target[field] = source[field]


def _gated_changes(errors: Errors, munged: Tree, old: Tree) -> None:
    """A pod that may not be scheduled yet may still narrow down where it wants to go."""
    new_selector, old_selector = munged.get("nodeSelector") or {}, old.get("nodeSelector") or {}
    if any(new_selector.get(k) != v for k, v in old_selector.items()):
        errors.append(
            invalid(
                "spec.nodeSelector",
                new_selector,
                "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
            )
        )
    _take(munged, old, "nodeSelector")
    new_affinity = (munged.get("affinity") or {}).get("nodeAffinity")
    old_affinity = (old.get("affinity") or {}).get("nodeAffinity")
    if equal(new_affinity, old_affinity):
        return
    _node_affinity_additions(errors, new_affinity or {}, old_affinity or {})
    affinity = dict(munged.get("affinity") or {})
    affinity.pop("nodeAffinity", None)
    if old_affinity is not None:
        affinity["nodeAffinity"] = old_affinity
    munged["affinity"] = affinity or None


def _node_affinity_additions(errors: Errors, new: Tree, old: Tree) -> None:
    path = f"spec.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms"
    old_terms = (old.get(_REQUIRED) or {}).get("nodeSelectorTerms") or []
    new_terms = (new.get(_REQUIRED) or {}).get("nodeSelectorTerms") or []
    if not old_terms:
        return
    if len(old_terms) != len(new_terms):
        errors.append(
            invalid(
                path,
                new_terms,
                "no additions/deletions to non-empty NodeSelectorTerms list are allowed",
            )
        )
        return
    for i, (after, before) in enumerate(zip(new_terms, old_terms, strict=True)):
        for field in ("matchExpressions", "matchFields"):
            kept = before.get(field) or []
            if (after.get(field) or [])[: len(kept)] != kept:
                errors.append(
                    invalid(
                        f"{path}[{i}]",
                        after,
                        "only additions are allowed (no mutations or deletions)",
                    )
                )
                break


def validate_pod_status_update(new: Tree, old: Tree) -> list[FieldError]:
    metadata, before = new.get("metadata") or {}, old.get("metadata") or {}
    errors = validate_metadata_update(metadata, before)
    _mirror_annotation(errors, metadata, before)
    status, old_status = new.get("status") or {}, old.get("status") or {}
    spec = old.get("spec") or {}
    for i, condition in enumerate(status.get("conditions") or ()):
        kind = condition.get("type") or ""
        if kind not in ("PodScheduled", "Ready", "Initialized"):
            errors += checked(f"metadata.conditions[{i}].Type", kind, text.qualified_name)
    nominated = status.get("nominatedNodeName")
    if nominated and nominated != old_status.get("nominatedNodeName"):
        errors += checked("status.nominatedNodeName", nominated, text.dns_subdomain)
    if old_status.get("qosClass"):
        errors += immutable(status.get("qosClass"), old_status.get("qosClass"), "status.qosClass")
    policy = spec.get("restartPolicy") or ""
    sidecars = {
        c.get("name")
        for c in spec.get("initContainers") or ()
        if c.get("restartPolicy") == "Always"
    }
    _states(
        errors, status, old_status, "containerStatuses", policy=policy, excepted=_own_policies(spec)
    )
    _states(errors, status, old_status, "initContainerStatuses", policy=policy, excepted=sidecars)
    _states(
        errors, status, old_status, "ephemeralContainerStatuses", policy="Never", excepted=set()
    )
    _addresses(errors, status)
    return errors


def _own_policies(spec: Tree) -> set[Any]:
    """Containers whose own restart policy decides, not the pod's."""
    return {
        c.get("name") for c in spec.get("containers") or () if c.get("restartPolicy") is not None
    }


def _states(
    errors: Errors, new: Tree, old: Tree, field: str, *, policy: str, excepted: set[Any]
) -> None:
    if policy == "Always" or new.get(field) == old.get(field):
        return
    for i, before in enumerate(old.get(field) or ()):
        ended = (before.get("state") or {}).get("terminated")
        if ended is None or before.get("name") in excepted:
            continue
        if ended.get("exitCode") and policy == "OnFailure":
            continue
        for after in new.get(field) or ():
            if after.get("name") == before.get("name") and (
                (after.get("state") or {}).get("terminated") is None
            ):
                errors.append(
                    forbidden_field(
                        f"status.{field}[{i}].state",
                        "may not be transitioned to non-terminated state",
                    )
                )


def _addresses(errors: Errors, status: Tree) -> None:
    for field in ("podIPs", "hostIPs"):
        listed = [entry.get("ip") or "" for entry in status.get(field) or ()]
        path = f"status.{field}"
        if field == "hostIPs" and listed and listed[0] != (status.get("hostIP") or ""):
            errors.append(invalid(f"{path}[0].ip", listed[0], "must be equal to `hostIP`"))
        for i, address in enumerate(listed):
            errors += checked(f"{path}[{i}]", address, text.ip)
        if len(listed) > 1:
            families = {":" in address for address in listed}
            if len(families) != 2 or len(listed) > 2:
                errors.append(
                    invalid(
                        path,
                        status.get(field),
                        "may specify no more than one IP for each IP family",
                    )
                )
            for i, address in enumerate(listed):
                if address in listed[:i]:
                    errors.append(duplicate(f"{path}[{i}]", {"ip": address}))


def validate_ephemeral_containers_update(new: Tree, old: Tree) -> list[FieldError]:
    """Through ``pods/ephemeralcontainers``: additions only."""
    if MIRROR_ANNOTATION in ((old.get("metadata") or {}).get("annotations") or {}):
        return [forbidden_field("", "static pods do not support ephemeral containers")]
    errors = validate_metadata_update(new.get("metadata") or {}, old.get("metadata") or {})
    errors += validate_pod(new)
    path = "spec.ephemeralContainers"
    after = {c.get("name"): c for c in (new.get("spec") or {}).get("ephemeralContainers") or ()}
    for before in (old.get("spec") or {}).get("ephemeralContainers") or ():
        name = before.get("name")
        if name not in after:
            errors.append(
                forbidden_field(
                    path, f'existing ephemeral containers "{name}" may not be removed\n'
                )
            )
        elif not equal(before, after[name]):
            errors.append(
                forbidden_field(
                    path,
                    f'existing ephemeral containers "{name}" may not be changed\n'
                    f"{_difference(before, after[name])}",
                )
            )
    return errors


def validate_resize(new: Tree, old: Tree) -> list[FieldError]:
    """Through ``pods/resize``: cpu and memory of containers, nothing else."""
    from kutter.apiserver.kinds.pod_status import qos_class

    errors = validate_metadata_update(new.get("metadata") or {}, old.get("metadata") or {})
    errors += validate_pod(new)
    if MIRROR_ANNOTATION in ((old.get("metadata") or {}).get("annotations") or {}):
        return [forbidden_field("", "static pods cannot be resized")]
    spec, old_spec = new.get("spec") or {}, old.get("spec") or {}
    if qos_class(spec) != qos_class(old_spec):
        errors.append(
            invalid("spec", qos_class(spec), "Pod QOS Class may not change as a result of resizing")
        )
    munged = dict(spec)
    for field in ("containers", "initContainers"):
        after, before = spec.get(field) or [], old_spec.get(field) or []
        if len(after) != len(before):
            continue
        restored = []
        for i, (container, previous) in enumerate(zip(after, before, strict=True)):
            if field == "containers" or container.get("restartPolicy") == "Always":
                _removed(errors, container, previous, f"spec.{field}[{i}].resources")
                container = {**container}
                _restore_compute(container, previous)
            restored.append(container)
        munged[field] = restored
    if not errors and not equal(munged, old_spec):
        errors.append(forbidden_field("spec", "only cpu and memory resources are mutable"))
    return errors


def _removed(errors: Errors, container: Tree, previous: Tree, path: str) -> None:
    new, old = container.get("resources") or {}, previous.get("resources") or {}
    for field in ("requests", "limits"):
        if not set(old.get(field) or ()) <= set(new.get(field) or ()):
            errors.append(forbidden_field(f"{path}.{field}", f"resource {field} cannot be removed"))


def _restore_compute(container: Tree, previous: Tree) -> None:
    resources = dict(container.get("resources") or {})
    old = previous.get("resources") or {}
    for field in ("requests", "limits"):
        amounts = dict(resources.get(field) or {})
        for name in ("cpu", "memory"):
            amounts.pop(name, None)
            kept = (old.get(field) or {}).get(name)
            if kept is not None:
                amounts[name] = quantities.canonical(kept)
        resources[field] = amounts
    container["resources"] = resources
    if "resizePolicy" in previous or "resizePolicy" in container:
        _take(container, previous, "resizePolicy")
