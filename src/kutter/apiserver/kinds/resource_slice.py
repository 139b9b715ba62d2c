"""ResourceSlices: the devices of a pool, and the labels nodes and drivers find them by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from kutter.api.errors import FieldError
from kutter.api.quoting import quote
from kutter.apiserver.kinds.standard import ReturnedKind, setdefault
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation.resource_slices import check_slice
from kutter.base.clock import render_time

_LABELS = ("driver", "nodeName")
_MAPPINGS = "nodeAllocatableResourceMappings"
_LISTS = ("bools", "ints", "strings", "versions")


class ResourceSliceKind(ReturnedKind):
    """A node may list only what it selects by ``spec.nodeName`` (``authz/node.py``)."""

    field_labels: ClassVar[frozenset[str]] = frozenset(f"spec.{field}" for field in _LABELS)

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        super().prepare_for_create(context, tree)
        _prepare(context, tree, {})

    def prepare_for_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        super().prepare_for_update(context, new, old)
        _prepare(context, new, old)

    def validate_create(self, context: StrategyContext, tree: Tree) -> list[FieldError]:
        return self.check_metadata(tree) + check_slice(tree.get("spec") or {}, None)

    def validate_update(self, context: StrategyContext, new: Tree, old: Tree) -> list[FieldError]:
        errors = self.check_metadata_change(new, old)
        return errors + check_slice(new.get("spec") or {}, old.get("spec") or {})

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        driver = (new.get("spec") or {}).get("driver") or ""
        if driver == driver.lower():
            return []
        problem = f"{quote(driver)} contains uppercase characters"
        return [f"spec.driver: driver names should be lowercase; {problem}"]

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        spec = tree.get("spec") or {}
        return {f"spec.{field}": spec.get(field) or "" for field in _LABELS}


def _prepare(context: StrategyContext, new: Tree, old: Tree) -> None:
    """Drop what is behind gates that are off, and say since when a taint is there."""
    devices, before = _devices(new), _devices(old)
    mappings = any(device.get(_MAPPINGS) for device in before)
    lists = any(attribute.get(field) for attribute in _attributes(before) for field in _LISTS)
    for device in devices:
        if not mappings:
            device.pop(_MAPPINGS, None)
        for taint in device.get("taints") or ():
            setdefault(taint, "timeAdded", render_time(context.now))
    for attribute in () if lists else _attributes(devices):
        for field in _LISTS:
            attribute.pop(field, None)


def _devices(tree: Tree) -> list[Tree]:
    return (tree.get("spec") or {}).get("devices") or []


def _attributes(devices: list[Tree]) -> list[Tree]:
    return [one for device in devices for one in (device.get("attributes") or {}).values()]
