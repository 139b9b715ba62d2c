"""ResourceSlices: what their schema requires, and the labels nodes and drivers find them by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from kutter.apiserver.kinds.standard import ReturnedKind
from kutter.apiserver.ports import Tree

_LABELS = ("driver", "nodeName")


class ResourceSliceKind(ReturnedKind):
    """A node may list only what it selects by ``spec.nodeName`` (``authz/node.py``)."""

    field_labels: ClassVar[frozenset[str]] = frozenset(f"spec.{field}" for field in _LABELS)

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        spec = tree.get("spec") or {}
        return {f"spec.{field}": spec.get(field) or "" for field in _LABELS}
