"""Persistent volumes, claims, storage classes and what CSI needs."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.errors import FieldError, forbidden_field, invalid, not_supported, required
from kutter.apiserver.kinds.pod_defaults import (
    default_claim_spec,
    default_legacy_volume,
    mirror_data_source,
)
from kutter.apiserver.kinds.standard import SpecKind, Standard, setdefault, spec_of
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import quantities, text
from kutter.apiserver.validation.equality import equal
from kutter.apiserver.validation.metadata import IMMUTABLE, checked, immutable
from kutter.apiserver.validation.volume_sources import csi_driver_name
from kutter.apiserver.validation.volumes import (
    validate_claim_change,
    validate_claim_spec,
    validate_claim_status,
    validate_volume,
    validate_volume_change,
)

Errors = list[FieldError]


class PersistentVolumeKind(Standard):
    return_deleted_object: ClassVar[bool] = True

    def default(self, tree: Tree) -> None:
        spec = spec_of(tree)
        if not spec.get("persistentVolumeReclaimPolicy"):
            spec["persistentVolumeReclaimPolicy"] = "Retain"
        setdefault(spec, "volumeMode", "Filesystem")
        host = spec.get("hostPath")
        if host is not None and host.get("type") is None:
            host["type"] = ""
        default_legacy_volume(spec)
        quantities.canonicalize_list(spec.get("capacity"))
        status = setdefault(tree, "status", {})
        if not status.get("phase"):
            status["phase"] = "Pending"

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        tree["status"] = {"phase": "Pending"}

    def check(self, tree: Tree) -> list[FieldError]:
        return validate_volume(tree)

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        return validate_volume_change(new, old)


class PersistentVolumeClaimKind(Standard):
    return_deleted_object: ClassVar[bool] = True

    def default(self, tree: Tree) -> None:
        default_claim_spec(spec_of(tree))
        mirror_data_source(spec_of(tree))
        status = setdefault(tree, "status", {})
        if not status.get("phase"):
            status["phase"] = "Pending"
        quantities.canonicalize_list(status.get("capacity"))

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        tree["status"] = {"phase": "Pending"}

    def check(self, tree: Tree) -> list[FieldError]:
        return validate_claim_spec(tree.get("spec") or {}, "spec")

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        return validate_claim_change(new, old)

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        return validate_claim_status(new)


class StorageClassKind(Standard):
    return_deleted_object: ClassVar[bool] = True
    has_status: ClassVar[bool] = False

    def default(self, tree: Tree) -> None:
        setdefault(tree, "reclaimPolicy", "Delete")
        setdefault(tree, "volumeBindingMode", "Immediate")

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        provisioner = tree.get("provisioner") or ""
        if not provisioner:
            errors.append(required("provisioner"))
        else:
            errors += checked("provisioner", provisioner.lower(), text.qualified_name)
        parameters = tree.get("parameters") or {}
        if len(parameters) > 512:
            errors.append(
                FieldError(
                    "parameters", "FieldValueTooLong", "Too long: may not be more than 512 bytes"
                )
            )
        for key in parameters:
            if not key:
                errors.append(invalid("parameters", key, "field can not be empty."))
        reclaim = tree.get("reclaimPolicy")
        if reclaim not in ("Delete", "Retain"):
            errors.append(not_supported("reclaimPolicy", reclaim, ["Delete", "Retain"]))
        mode = tree.get("volumeBindingMode")
        if mode not in ("Immediate", "WaitForFirstConsumer"):
            errors.append(
                not_supported("volumeBindingMode", mode, ["Immediate", "WaitForFirstConsumer"])
            )
        return errors

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        for field in ("parameters", "provisioner"):
            if not equal(new.get(field), old.get(field)):
                errors.append(forbidden_field(field, f"updates to {field} are forbidden."))
        for field in ("reclaimPolicy", "volumeBindingMode"):
            errors += immutable(new.get(field), old.get(field), field)
        return errors


class CSIDriverKind(SpecKind):
    return_deleted_object: ClassVar[bool] = True
    has_status: ClassVar[bool] = False

    def default(self, tree: Tree) -> None:
        spec = spec_of(tree)
        for field, value in (
            ("attachRequired", True),
            ("podInfoOnMount", False),
            ("storageCapacity", False),
            ("fsGroupPolicy", "ReadWriteOnceWithFSType"),
            ("requiresRepublish", False),
            ("seLinuxMount", False),
        ):
            setdefault(spec, field, value)
        if not spec.get("volumeLifecycleModes"):
            spec["volumeLifecycleModes"] = ["Persistent"]

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        csi_driver_name(errors, (tree.get("metadata") or {}).get("name") or "", "metadata.name")
        spec = tree.get("spec") or {}
        for i, mode in enumerate(spec.get("volumeLifecycleModes") or ()):
            if mode not in ("Persistent", "Ephemeral"):
                path = f"spec.volumeLifecycleModes[{i}]"
                errors.append(not_supported(path, mode, ["Persistent", "Ephemeral"]))
        policy = spec.get("fsGroupPolicy")
        allowed = ["ReadWriteOnceWithFSType", "File", "None"]
        if policy not in allowed:
            errors.append(not_supported("spec.fsGroupPolicy", policy, allowed))
        return errors

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        after, before = new.get("spec") or {}, old.get("spec") or {}
        for field in ("attachRequired", "volumeLifecycleModes"):
            errors += immutable(after.get(field), before.get(field), f"spec.{field}")
        return errors


class CSINodeKind(Standard):
    return_deleted_object: ClassVar[bool] = True
    has_status: ClassVar[bool] = False

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        names: set[str] = set()
        for i, driver in enumerate((tree.get("spec") or {}).get("drivers") or ()):
            path, name = f"spec.drivers[{i}]", driver.get("name") or ""
            csi_driver_name(errors, name, f"{path}.name")
            if name in names:
                errors.append(
                    FieldError(f"{path}.name", "FieldValueDuplicate", f'Duplicate value: "{name}"')
                )
            names.add(name)
            if not driver.get("nodeID"):
                errors.append(required(f"{path}.nodeID"))
        return errors


class VolumeAttachmentKind(Standard):
    return_deleted_object: ClassVar[bool] = True

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        if not spec.get("attacher"):
            errors.append(required("spec.attacher"))
        if not spec.get("nodeName"):
            errors.append(required("spec.nodeName"))
        source = spec.get("source") or {}
        if not source.get("persistentVolumeName") and source.get("inlineVolumeSpec") is None:
            errors.append(
                required(
                    "spec.source",
                    "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
                )
            )
        return errors

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        if equal(new.get("spec"), old.get("spec")):
            return []
        return [invalid("spec", new.get("spec"), IMMUTABLE)]
