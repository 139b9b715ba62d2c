"""What may change in a pod that exists: very little of its specification, all of its status."""

from __future__ import annotations

from typing import Any

from kutter.api.errors import FieldError, forbidden_field, invalid, required
from kutter.apiserver.settled import LIMIT
from kutter.apiserver.validation import text
from kutter.apiserver.validation.equality import equal
from kutter.apiserver.validation.internal import shown
from kutter.apiserver.validation.metadata import WHOLE, validate_common, validate_metadata_update
from kutter.apiserver.validation.pod_annotations import (
    validate_annotation_changes,
    validate_pod_annotations,
)
from kutter.apiserver.validation.pod_scheduling import validate_tolerations
from kutter.apiserver.validation.pod_spec import (
    MIRROR_ANNOTATION,
    validate_pod,
    validate_pod_metadata,
)
from kutter.apiserver.validation.remembered import ValidSpecs

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


# Specifications that were found valid when an update had left them as they were.
_kept = ValidSpecs(LIMIT)


def validate_pod_update(new: Tree, old: Tree, *, settled: bytes | None = None) -> list[FieldError]:
    """``settled``: what the specification, one of both, is known by; it counts only where the
    rules are those of every pod (a mirror pod has its own).
    """
    metadata, before = new.get("metadata") or {}, old.get("metadata") or {}
    if MIRROR_ANNOTATION in (metadata.get("annotations") or ()):
        settled = None
    common = validate_common(metadata)
    errors = validate_metadata_update(metadata, before, common=common)
    if settled is not None and settled in _kept:
        errors += validate_pod_metadata(new, common=common)
        _annotations(errors, new, old)
        return errors
    errors += validate_pod(new, common=common)
    _annotations(errors, new, old)
    _specification(errors, new, old)
    if settled is not None and not errors:
        _kept.add(settled)
    return errors


def _specification(errors: Errors, new: Tree, old: Tree) -> None:
    spec, old_spec = new.get("spec") or {}, old.get("spec") or {}
    for field in ("containers", "initContainers"):
        if not _images(errors, spec.get(field) or [], old_spec.get(field) or [], f"spec.{field}"):
            return
    if not _deadline(errors, spec, old_spec):
        return
    _tolerations(errors, spec.get("tolerations") or [], old_spec.get("tolerations") or [])
    _gates(errors, spec.get("schedulingGates") or [], old_spec.get("schedulingGates") or [])
    if equal(spec, old_spec):
        return
    munged = _with_updatable_fields_of(spec, old_spec)
    if old_spec.get("schedulingGates"):
        _gated_changes(errors, munged, old_spec)
    if not equal(munged, old_spec):
        errors.append(forbidden_field("spec", f"{_FORBIDDEN}\n{_difference(old_spec, munged)}"))


def _annotations(errors: Errors, new: Tree, old: Tree) -> None:
    after = (new.get("metadata") or {}).get("annotations") or {}
    before = (old.get("metadata") or {}).get("annotations") or {}
    if after or before:
        path = "metadata.annotations"
        validate_annotation_changes(errors, after, before, path)
        validate_pod_annotations(errors, after, new.get("spec") or {}, path)


def _difference(old: Tree, new: Tree) -> str:
    """The changed fields, one per line; upstream shows a Go-syntax diff here."""
    lines = []
    for field in sorted(old.keys() | new.keys()):
        if not equal(old.get(field), new.get(field)):
            lines.append(f"- {field}: {old.get(field)!r}\n+ {field}: {new.get(field)!r}\n")
    return "".join(lines)


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
                dict(sorted(new_selector.items())) or None,
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
                shown("NodeSelector", new.get(_REQUIRED) or {}, "nodeSelectorTerms"),
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
                        shown("NodeSelectorTerm", after),
                        "only additions are allowed (no mutations or deletions)",
                    )
                )
                break


def validate_ephemeral_containers_update(new: Tree, old: Tree) -> list[FieldError]:
    """Through ``pods/ephemeralcontainers``: additions only."""
    if MIRROR_ANNOTATION in ((old.get("metadata") or {}).get("annotations") or {}):
        return [forbidden_field(WHOLE, "static pods do not support ephemeral containers")]
    errors = validate_metadata_update(new.get("metadata") or {}, old.get("metadata") or {})
    errors += validate_pod(new)
    _annotations(errors, new, old)
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
    """Through ``pods/resize``: cpu and memory, of containers and of the whole pod; nothing else."""
    from kutter.apiserver.kinds.pod_status import qos_class

    spec, old_spec = new.get("spec") or {}, old.get("spec") or {}
    if MIRROR_ANNOTATION in ((old.get("metadata") or {}).get("annotations") or {}):
        return [forbidden_field(WHOLE, "static pods cannot be resized")]
    if (old_spec.get("os") or {}).get("name") == "windows":
        return [forbidden_field(WHOLE, "windows pods cannot be resized")]
    errors = validate_metadata_update(new.get("metadata") or {}, old.get("metadata") or {})
    errors += validate_pod(new)
    status = old.get("status") or {}
    if qos_class(spec) != (status.get("qosClass") or qos_class(old_spec)):
        shown = (new.get("status") or {}).get("qosClass") or ""
        detail = "Pod QOS Class may not change as a result of resizing"
        errors.append(invalid("spec", shown, detail))
    if not _node_resizes(status):
        detail = "Pod running on node without support for resize"
        errors.append(forbidden_field("spec", detail))
    munged = dict(spec)
    _whole_pod(errors, munged, spec, old_spec)
    moved = _moved(spec, old_spec)
    if moved:
        return errors + moved
    for field in ("initContainers", "containers"):
        after, before = spec.get(field) or [], old_spec.get(field) or []
        for i, (container, previous) in enumerate(zip(after, before, strict=True)):
            _removed(errors, container, previous, f"spec.{field}[{i}].resources")
    for field in ("containers", "initContainers"):
        if spec.get(field):
            munged[field] = _restored(errors, spec, old_spec, field)
    if not errors and not equal(munged, old_spec):
        errors.append(forbidden_field("spec", "only cpu and memory resources are mutable"))
    return errors


def _node_resizes(status: Tree) -> bool:
    """Whether the pod's node tells of resources; nobody knows while no container runs."""
    for reported in status.get("containerStatuses") or ():
        if (reported.get("state") or {}).get("running") is not None:
            return reported.get("resources") is not None
    return True


def _moved(spec: Tree, old_spec: Tree) -> Errors:
    errors: Errors = []
    for field in ("containers", "initContainers"):
        after, before = spec.get(field) or [], old_spec.get(field) or []
        if len(after) != len(before):
            detail = f"{field} may not be added or removed on resize"
            errors.append(forbidden_field(f"spec.{field}", detail))
            continue
        for i, (container, previous) in enumerate(zip(after, before, strict=True)):
            if container.get("name") != previous.get("name"):
                detail = f"{field} may not be renamed or reordered on resize"
                errors.append(forbidden_field(f"spec.{field}[{i}].name", detail))
    return errors


def _whole_pod(errors: Errors, munged: Tree, spec: Tree, old_spec: Tree) -> None:
    new, old = spec.get("resources"), old_spec.get("resources")
    if not any((r or {}).get(f) for r in (new, old) for f in ("requests", "limits")):
        return
    path = "spec.resources"
    if new is None:
        errors.append(forbidden_field(path, "pod-level resources cannot be removed"))
        return
    for field in ("requests", "limits"):
        if _is_removed(new, old or {}, field):
            detail = f"pod-level resource {field} cannot be removed"
            errors.append(forbidden_field(f"{path}.{field}", detail))
    masked = _with_compute_of(new, old or {})
    kept = None if old is None and not any(masked.values()) else masked
    munged["resources"] = kept
    if kept != old and not equal(kept, old):
        detail = "only cpu and memory resources are mutable at pod-level"
        errors.append(forbidden_field("spec", detail))


def _is_removed(new: Tree, old: Tree, field: str) -> bool:
    return not set(old.get(field) or ()) <= set(new.get(field) or ())


def _removed(errors: Errors, container: Tree, previous: Tree, path: str) -> None:
    new, old = container.get("resources") or {}, previous.get("resources") or {}
    for field in ("requests", "limits"):
        if _is_removed(new, old, field):
            errors.append(forbidden_field(f"{path}.{field}", f"resource {field} cannot be removed"))


def _restored(errors: Errors, spec: Tree, old_spec: Tree, field: str) -> list[Tree]:
    """The containers with cpu and memory as they were: what else differs is too much."""
    restored: list[Tree] = []
    for i, (container, previous) in enumerate(zip(spec[field], old_spec[field], strict=True)):
        resources = _with_compute_of(
            container.get("resources") or {}, previous.get("resources") or {}
        )
        resources.pop("claims", None)
        kept = {**container, "resources": resources}
        if not equal(kept, previous):
            if field == "containers":
                path, what = "spec", "resources"
            else:
                path, what = f"spec.{field}[{i}]", "resources for init or sidecar containers"
            errors.append(forbidden_field(path, f"only cpu and memory {what} are mutable"))
        restored.append(kept)
    return restored


def _with_compute_of(new: Tree, old: Tree) -> Tree:
    resources: Tree = {k: v for k, v in new.items() if k == "claims"}
    for field in ("requests", "limits"):
        amounts = dict(new.get(field) or {})
        for name in ("cpu", "memory"):
            amounts.pop(name, None)
            kept = (old.get(field) or {}).get(name)
            if kept is not None:
                amounts[name] = kept
        resources[field] = amounts
    return resources
