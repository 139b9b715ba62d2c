"""ResourceClaims and their templates: how many devices a request is for, if it does not say."""

from __future__ import annotations

from collections.abc import Iterator

from kutter.api.errors import FieldError
from kutter.api.resources import Resource
from kutter.apiserver.kinds.standard import ReturnedKind
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation.device_claim_status import (
    allocated_devices,
    allocation_results,
    check_claim_status,
    device_id,
)
from kutter.apiserver.validation.device_claims import check_admin_access, check_claim_spec
from kutter.apiserver.validation.devices import fixed
from kutter.apiserver.validation.metadata import validate_template_metadata

_ONE_BY_ONE = "ExactCount"


def _requests(spec: Tree) -> Iterator[Tree]:
    """Whatever asks for devices: requests and the alternatives of requests."""
    for request in (spec.get("devices") or {}).get("requests") or ():
        if request.get("exactly") is not None:
            yield request["exactly"]
        yield from request.get("firstAvailable") or ()


def default_claim(spec: Tree) -> None:
    for request in _requests(spec):
        if not request.get("allocationMode"):
            request["allocationMode"] = _ONE_BY_ONE
        if request["allocationMode"] == _ONE_BY_ONE and not request.get("count"):
            request["count"] = 1
        for toleration in request.get("tolerations") or ():
            if not toleration.get("operator"):
                toleration["operator"] = "Equal"


class ResourceClaimKind(ReturnedKind):
    def __init__(self, resource: Resource) -> None:
        super().__init__(resource)
        # Its specification never changes, so nobody counts its changes.
        self.generation_paths = ()  # type: ignore[misc]

    def default(self, tree: Tree) -> None:
        default_claim(tree.get("spec") or {})

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        super().prepare_for_create(context, tree)
        tree["status"] = {}

    def validate_create(self, context: StrategyContext, tree: Tree) -> list[FieldError]:
        spec = tree.get("spec") or {}
        errors = _check_admin_requests(context, tree, spec)
        return errors + self.check_metadata(tree) + check_claim_spec(spec, "spec")

    def validate_update(self, context: StrategyContext, new: Tree, old: Tree) -> list[FieldError]:
        errors = self.check_metadata(new) + self.check_metadata_change(new, old)
        return errors + fixed(new.get("spec"), old.get("spec"), "ResourceClaimSpec", "spec")

    def prepare_for_status_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        super().prepare_for_status_update(context, new, old)
        _drop_deallocated(new.get("status") or {}, old.get("status") or {})

    def validate_status_update(
        self, context: StrategyContext, new: Tree, old: Tree
    ) -> list[FieldError]:
        errors = _check_admin_results(context, new, old)
        return errors + self.check_metadata_change(new, old) + check_claim_status(new, old)


class ResourceClaimTemplateKind(ReturnedKind):
    def __init__(self, resource: Resource) -> None:
        super().__init__(resource)
        self.generation_paths = ()  # type: ignore[misc]

    def default(self, tree: Tree) -> None:
        default_claim((tree.get("spec") or {}).get("spec") or {})

    def validate_create(self, context: StrategyContext, tree: Tree) -> list[FieldError]:
        claim = (tree.get("spec") or {}).get("spec") or {}
        return _check_admin_requests(context, tree, claim) + self._check_template(tree)

    def validate_update(self, context: StrategyContext, new: Tree, old: Tree) -> list[FieldError]:
        errors = self._check_template(new) + self.check_metadata_change(new, old)
        kind = "ResourceClaimTemplateSpec"
        return errors + fixed(new.get("spec"), old.get("spec"), kind, "spec")

    def _check_template(self, tree: Tree) -> list[FieldError]:
        errors = self.check_metadata(tree)
        spec = tree.get("spec") or {}
        metadata = spec.get("metadata") or {}
        errors += validate_template_metadata(metadata, "spec.metadata")
        return errors + check_claim_spec(spec.get("spec") or {}, "spec.spec")


def _check_admin_requests(context: StrategyContext, tree: Tree, claim: Tree) -> list[FieldError]:
    requests = (claim.get("devices") or {}).get("requests") or ()
    asking = [bool((request.get("exactly") or {}).get("adminAccess")) for request in requests]
    namespace = (tree.get("metadata") or {}).get("namespace") or ""
    # The path is that of a claim for templates, too, as upstream has it.
    return check_admin_access(context.reader, namespace, asking, "spec.devices.requests")


def _check_admin_results(context: StrategyContext, new: Tree, old: Tree) -> list[FieldError]:
    """What was granted once is not asked about again."""
    asking, granted = (
        [bool(result.get("adminAccess")) for result in allocation_results(tree.get("status") or {})]
        for tree in (new, old)
    )
    if True in granted:
        return []
    namespace = (new.get("metadata") or {}).get("namespace") or ""
    path = "status.allocation.devices.results"
    return check_admin_access(context.reader, namespace, asking, path)


def _drop_deallocated(status: Tree, before: Tree) -> None:
    """What drivers said of devices goes with these: who takes them away may not know of it."""
    devices = status.get("devices")
    gone = allocated_devices(before) - allocated_devices(status)
    if devices and gone:
        kept = [device for device in devices if device_id(device) not in gone]
        if kept:
            status["devices"] = kept
        else:
            del status["devices"]
