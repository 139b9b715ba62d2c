"""What storage drivers say of themselves, of nodes and of volumes attached to them."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_supported,
    required,
    too_long,
)
from kutter.api.schema.loader import type_node
from kutter.api.schema.wire import render
from kutter.apiserver.kinds.pod_warnings import NODE_LABELS
from kutter.apiserver.kinds.standard import SpecKind, Standard, setdefault, spec_of
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import quantities, text
from kutter.apiserver.validation.equality import equal
from kutter.apiserver.validation.metadata import (
    IMMUTABLE,
    NEGATIVE,
    checked,
    immutable,
    non_negative,
    validate_label_selector,
)
from kutter.apiserver.validation.persistent_volumes import validate_inline_volume
from kutter.apiserver.validation.volume_sources import csi_driver_name
from kutter.apiserver.validation.workloads import shown_selector

Errors = list[FieldError]

_GROUP = "storage.k8s.io/v1"
_FS_GROUP_POLICIES = ["File", "None", "ReadWriteOnceWithFSType"]
_TOKEN_MIN_S, _TOKEN_MAX_S = 600, 1 << 32
_UPDATE_PERIOD_MIN_S = 10
_NODE_ID_MAX = 256
_METADATA_MAX_BYTES, _MESSAGE_MAX_BYTES = 256 * 1024, 1024


class CSIDriverKind(SpecKind):
    return_deleted_object: ClassVar[bool] = True
    has_status: ClassVar[bool] = False
    allow_unconditional_update: ClassVar[bool] = False
    first_generation: ClassVar[int] = 0
    change_last: ClassVar[bool] = True
    disabled_fields: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("spec", "preventPodSchedulingIfMissing"),
    )

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
        spec = tree.get("spec") or {}
        policy = spec.get("fsGroupPolicy")
        if policy not in _FS_GROUP_POLICIES:
            errors.append(not_supported("spec.fsGroupPolicy", policy, _FS_GROUP_POLICIES))
        requests = spec.get("tokenRequests") or []
        self._token_requests(errors, requests, "spec.tokenRequests")
        for mode in spec.get("volumeLifecycleModes") or ():
            if mode not in ("Persistent", "Ephemeral"):
                path = "spec.volumeLifecycleModes"
                errors.append(not_supported(path, mode, ["Persistent", "Ephemeral"]))
        period = spec.get("nodeAllocatableUpdatePeriodSeconds")
        if period is not None and period < _UPDATE_PERIOD_MIN_S:
            detail = f"must be greater than or equal to {_UPDATE_PERIOD_MIN_S} seconds"
            errors.append(invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, detail))
        secret = spec.get("serviceAccountTokenInSecrets")
        if secret is not None and not requests:
            detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
            errors.append(invalid("spec.serviceAccountTokenInSecrets", secret, detail))
        return errors

    def _token_requests(self, errors: Errors, requests: list[Tree], path: str) -> None:
        seen: set[str] = set()
        for i, request in enumerate(requests):
            audience, seconds = request.get("audience") or "", request.get("expirationSeconds")
            if audience in seen:
                errors.append(duplicate(f"{path}[{i}].audience", audience))
                continue
            seen.add(audience)
            here = f"{path}[{i}].expirationSeconds"
            if seconds is not None and seconds < _TOKEN_MIN_S:
                detail = "may not specify a duration less than 10 minutes"
                errors.append(invalid(here, seconds, detail))
            if seconds is not None and seconds > _TOKEN_MAX_S:
                detail = "may not specify a duration larger than 2^32 seconds"
                errors.append(invalid(here, seconds, detail))

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        after, before = new.get("spec") or {}, old.get("spec") or {}
        # Upstream's name for the field here.
        field = "attachRequired"
        errors = immutable(after.get(field), before.get(field), "spec.attachedRequired")
        field = "volumeLifecycleModes"
        return errors + immutable(after.get(field), before.get(field), f"spec.{field}")

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        after, before = new.get("spec") or {}, (old or {}).get("spec") or {}
        requests = after.get("tokenRequests") or []
        unchanged = old is not None and equal(requests, before.get("tokenRequests") or [])
        if not requests or unchanged or after.get("serviceAccountTokenInSecrets") is not None:
            return []
        text_of = (
            "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to "
            "true to prevent possible logging of tokens in volume attributes"
        )
        return [text_of]


class CSINodeKind(Standard):
    return_deleted_object: ClassVar[bool] = True
    leaves_metadata: ClassVar[bool] = True
    has_status: ClassVar[bool] = False
    allow_unconditional_update: ClassVar[bool] = False
    rechecks_metadata: ClassVar[bool] = True
    change_last: ClassVar[bool] = True

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        names: set[str] = set()
        for i, driver in enumerate((tree.get("spec") or {}).get("drivers") or ()):
            path, name = f"spec.drivers[{i}]", driver.get("name") or ""
            csi_driver_name(errors, name, f"{path}.name")
            node_id = driver.get("nodeID") or ""
            if not node_id:
                errors.append(required(f"{path}.nodeID"))
            if len(node_id) > _NODE_ID_MAX:
                detail = f"must be {_NODE_ID_MAX} characters or less"
                errors.append(invalid(f"{path}.nodeID", node_id, detail))
            count = (driver.get("allocatable") or {}).get("count")
            errors += non_negative(count, f"{path}.allocatable.count")
            if name in names:
                errors.append(duplicate(f"{path}.name", name))
            names.add(name)
            self._topology_keys(errors, driver.get("topologyKeys") or [], path)
        return errors

    def _topology_keys(self, errors: Errors, keys: list[str], path: str) -> None:
        for i, key in enumerate(keys):
            if not key:
                errors.append(required(path))
            if key in keys[:i]:
                errors.append(duplicate(path, key))
            errors += checked(path, key, text.qualified_name)

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        node = type_node(_GROUP, "CSINodeDriver")
        for before in (old.get("spec") or {}).get("drivers") or ():
            for after in (new.get("spec") or {}).get("drivers") or ():
                if after.get("name") != before.get("name"):
                    continue
                fixed = {k: v for k, v in after.items() if k != "allocatable"}
                if not equal(fixed, {k: v for k, v in before.items() if k != "allocatable"}):
                    shown = render(fixed, node, internal=True)
                    errors.append(invalid("spec.drivers", shown, IMMUTABLE))
        return errors


class VolumeAttachmentKind(Standard):
    return_deleted_object: ClassVar[bool] = True
    leaves_metadata: ClassVar[bool] = True
    allow_unconditional_update: ClassVar[bool] = False
    rechecks_metadata: ClassVar[bool] = True
    change_last: ClassVar[bool] = True

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        super().prepare_for_create(context, tree)
        tree["status"] = {"attached": False}

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        csi_driver_name(errors, spec.get("attacher") or "", "spec.attacher")
        source = spec.get("source") or {}
        self._source(errors, source, "spec.source")
        errors += checked("spec.nodeName", spec.get("nodeName") or "", text.dns_subdomain)
        errors += self._status(tree.get("status") or {})
        name = source.get("persistentVolumeName")
        if name is not None:
            errors += checked("spec.source.persistentVolumeName", name, text.dns_subdomain)
        return errors

    def _source(self, errors: Errors, source: Tree, path: str) -> None:
        name, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
        detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        if name is None and inline is None:
            errors.append(required(path, detail))
        elif name is not None and inline is not None:
            errors.append(forbidden_field(path, detail))
        elif name == "":
            detail = "must specify non empty persistentVolumeName"
            errors.append(required(f"{path}.persistentVolumeName", detail))
        elif inline is not None:
            validate_inline_volume(errors, inline, f"{path}.inlineVolumeSpec")

    def _status(self, status: Tree) -> Errors:
        errors: Errors = []
        metadata = status.get("attachmentMetadata") or {}
        size = sum(len(k.encode()) + len(v.encode()) for k, v in metadata.items())
        if size > _METADATA_MAX_BYTES:
            errors.append(too_long("status.attachmentMetadata", _METADATA_MAX_BYTES))
        for field in ("attachError", "detachError"):
            error = status.get(field) or {}
            if len((error.get("message") or "").encode()) > _MESSAGE_MAX_BYTES:
                # Upstream names the other limit.
                errors.append(too_long(f"status.{field}.message", _METADATA_MAX_BYTES))
            code = error.get("errorCode")
            if code is not None and code < 0:
                detail = text.inclusive_range(0, 2**31 - 1)
                errors.append(invalid(f"status.{field}.errorCode", code, detail))
        return errors

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        if equal(new.get("spec"), old.get("spec")):
            return []
        node = type_node(_GROUP, "VolumeAttachmentSpec")
        shown = render(new.get("spec") or {}, node, internal=True)
        return [invalid("spec", shown, IMMUTABLE)]

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        return self.check_metadata(new) + self.check(new) + self.check_change(new, old)


class CSIStorageCapacityKind(Standard):
    has_status: ClassVar[bool] = False
    allow_unconditional_update: ClassVar[bool] = False
    rechecks_metadata: ClassVar[bool] = True
    change_last: ClassVar[bool] = True

    def check(self, tree: Tree) -> list[FieldError]:
        errors = validate_label_selector(tree.get("nodeTopology"), "nodeTopology")
        name = tree.get("storageClassName") or ""
        errors += checked("storageClassName", name, text.dns_subdomain)
        amount = tree.get("capacity")
        if amount is not None and quantities.amount(amount) < 0:
            errors.append(invalid("capacity", quantities.canonical(amount), NEGATIVE))
        return errors

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        if not equal(new.get("nodeTopology"), old.get("nodeTopology")):
            shown = shown_selector(new.get("nodeTopology"))
            errors.append(invalid("nodeTopology", shown, IMMUTABLE))
        field = "storageClassName"
        return errors + immutable(new.get(field), old.get(field), field)

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        selector = new.get("nodeTopology") or {}
        texts = [
            f"nodeTopology.matchLabels.{key}: {NODE_LABELS[key]}"
            for key in selector.get("matchLabels") or ()
            if key in NODE_LABELS
        ]
        return texts + [
            f"nodeTopology.matchExpressions[{i}].key: {NODE_LABELS[key]}"
            for i, expression in enumerate(selector.get("matchExpressions") or ())
            if (key := expression.get("key")) in NODE_LABELS
        ]
