"""ResourceClaims and their templates: how many devices a request is for, if it does not say."""

from __future__ import annotations

from collections.abc import Iterator

from kutter.api.resources import Resource
from kutter.apiserver.kinds.standard import ReturnedKind
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree

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


class ResourceClaimTemplateKind(ReturnedKind):
    def __init__(self, resource: Resource) -> None:
        super().__init__(resource)
        self.generation_paths = ()  # type: ignore[misc]

    def default(self, tree: Tree) -> None:
        default_claim((tree.get("spec") or {}).get("spec") or {})
