"""What mutations make of an object: apply configurations merged, JSON patches applied. Pure.

Upstream: https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/
"""

from __future__ import annotations

import base64
from typing import Any

import orjson

from kutter.api.apply.elements import ElementError
from kutter.api.apply.merge import merge
from kutter.api.apply.shapes import Shape
from kutter.api.apply.walk import faults
from kutter.api.cel.objects import unwrap
from kutter.api.cel.values import (
    Duration,
    ListValue,
    MapValue,
    OptionalValue,
    Timestamp,
)
from kutter.api.patch import PatchError, apply_json_patch
from kutter.apiserver.ports import Tree

_OPERATION_FIELDS = ("op", "path", "from")
_ABSENT = object()


class MutationError(Exception):
    """A mutation that cannot be applied; the message is upstream's."""


def to_json(value: Any) -> Any:
    """An expression's value as JSON. Raises MutationError for what JSON has no form for."""
    value = unwrap(value)
    match value:
        case None | bool() | str():
            return value
        case int():
            return int(value)
        case float():
            return value
        case bytes():
            return base64.b64encode(value).decode()
        case Timestamp() | Duration():
            return str(value)
        case OptionalValue():
            return to_json(value.value) if value.present else None
        case dict():
            return {str(key): to_json(below) for key, below in value.items()}
        case MapValue():
            return {str(key): to_json(value.find(key, None)) for key in value}
        case list() | ListValue():
            return [to_json(item) for item in value]
    raise MutationError(f"unsupported type in the result: {type(value).__name__}")


def apply_configuration(tree: Tree, value: Any, shape: Shape) -> Tree:
    """``tree`` (left alone) with an ``Object{...}`` merged in as server-side apply would."""
    config = to_json(value)
    config["kind"], config["apiVersion"] = tree["kind"], tree["apiVersion"]
    head = "error applying patch: "
    found = faults(config, shape)
    if found:
        raise MutationError(
            f"{head}failed to convert patch object to typed object: {'; '.join(found)}"
        )
    atomic = find_atomic(config, shape)
    if atomic:
        raise MutationError(
            f"{head}invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: "
            f"{', '.join(atomic)}"
        )
    # A copy: what others hold of the object must not change under them.
    live = orjson.loads(orjson.dumps(tree))
    try:
        merged = merge(live, config, shape)
    except ElementError as error:
        raise MutationError(f"{head}failed to merge patch: {error}") from error
    assert isinstance(merged, dict), "an object stays an object"
    return merged


def find_atomic(value: Any, shape: Shape, path: str = "") -> list[str]:
    """Where a configuration would replace as a whole what it may know a part of."""
    found = [path] if shape.atomic and isinstance(value, dict | list) else []
    node = shape.node
    if isinstance(value, dict):
        for key, below in value.items():
            next_shape = shape.field(key) if node is not None else None
            if next_shape is not None:
                found += find_atomic(below, next_shape, f"{path}.{key}")
    elif isinstance(value, list) and node is not None and node.items is not None:
        item_shape = shape.field("")
        if item_shape is not None:
            for i, item in enumerate(value):
                found += find_atomic(item, item_shape, f"{path}[{i}]")
    return found


def apply_patch(tree: Tree, value: Any) -> Tree:
    """``tree`` (left alone) with a list of ``JSONPatch{...}`` applied; ``tree`` itself when a test
    fails.
    """
    operations = [_operation(item) for item in value]
    try:
        patched = apply_json_patch(orjson.loads(orjson.dumps(tree)), operations)
    except PatchError as error:
        if error.message.endswith("test failed"):
            return tree
        raise MutationError(f"JSON Patch: {error.message}") from error
    if not isinstance(patched, dict):
        raise MutationError("JSON Patch: the patch leaves no object")
    return patched


def _operation(item: Any) -> Tree:
    made: Tree = {
        field: item[field] for field in _OPERATION_FIELDS if item.get(field) not in (None, "")
    }
    made.setdefault("path", "")
    found = item.get("value", _ABSENT)
    if found is not _ABSENT:
        made["value"] = to_json(found)
    return made
