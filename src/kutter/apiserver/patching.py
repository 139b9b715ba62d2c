"""Patches by content type: which there are and what each does to a tree.

Between the patch verb and :mod:`kutter.api.patch`. A patch that cannot be read is 400, one that
does not fit the object, or makes something else of it, is 422.
"""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import orjson

from kutter.api.errors import (
    ApiError,
    bad_request,
    invalid,
    invalid_object,
    unsupported_media_type,
)
from kutter.api.json_errors import explain
from kutter.api.schema import KindSchema, Misfit
from kutter.api.schema.duplicates import count_keys, find_duplicates
from kutter.api.schema.walk import Mismatch
from kutter.apiserver.body import GO_TYPE_META, json_type
from kutter.apiserver.ports import Tree
from kutter.apiserver.settled import SPEC

if TYPE_CHECKING:
    from kutter.apiserver.context import Call

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
# Those that change a tree; APPLY_PATCH merges (:mod:`kutter.apiserver.applying`).
PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH)
OPERATIONS_LIMIT = 10_000
_OPERATION_TEXTS = ("op", "from", "path")
_OPERATION_FIELDS = frozenset({*_OPERATION_TEXTS, "value"})


def wrong_patch_type(call: Call, media: str) -> ApiError:
    """415 for a content type that is no patch's; built-in kinds do not say which are."""
    resource = call.served.resource
    if not resource.custom and "," not in media:
        return ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", details={})
    strategic = () if resource.custom else (STRATEGIC_PATCH,)
    return unsupported_media_type(media, [JSON_PATCH, MERGE_PATCH, *strategic, APPLY_PATCH])


def parse_patch(media: str, body: bytes) -> Any:
    """The patch as JSON. Raises 400, or 413 for too many operations."""
    # Strategic patches are decoded elsewhere upstream, and refused without this prefix.
    prefix = "" if media == STRATEGIC_PATCH else "error decoding patch: "
    try:
        change = orjson.loads(body)
    except ValueError as error:
        raise bad_request(f"{prefix}{explain(body) or error}") from error
    if media == JSON_PATCH:
        return _operations(change)
    if change is None and media == STRATEGIC_PATCH:
        return {}
    if change is None:
        raise bad_request("Invalid JSON Patch")
    if not isinstance(change, dict):
        raise bad_request(f"{prefix}{_not_into(change, 'value of type map[string]interface {}')}")
    return change


def _operations(change: Any) -> list[Any]:
    if change is None:
        return []
    if not isinstance(change, list):
        detail = _not_into(change, "value of type []handlers.jsonPatchOp")
        raise bad_request(f"error decoding patch: {detail}")
    if len(change) > OPERATIONS_LIMIT:
        raise ApiError(
            413,
            "RequestEntityTooLarge",
            "Request entity too large: The allowed maximum operations in a JSON patch is "
            f"{OPERATIONS_LIMIT}, got {len(change)}",
        )
    for operation in change:
        detail = ""
        if operation is None:
            continue
        if not isinstance(operation, dict):
            detail = _not_into(operation, "value of type handlers.jsonPatchOp")
        else:
            for name in _OPERATION_TEXTS:
                value = operation.get(name)
                if value is not None and not isinstance(value, str):
                    detail = _not_into(value, f"struct field jsonPatchOp.{name} of type string")
                    break
        if detail:
            raise bad_request(f"error decoding patch: {detail}")
    return change


def _not_into(value: Any, target: str) -> str:
    return f"json: cannot unmarshal {json_type(value)} into Go {target}"


@lru_cache(maxsize=1)
def _rules() -> ModuleType:
    """The ways of patching; nobody needs them before the first patch."""
    from kutter.api import patch

    return patch


def apply_patch(schema: KindSchema | None, media: str, tree: Tree, change: Any) -> Tree:
    """``tree`` (owned, may be changed) with the change applied."""
    rules = _rules()
    try:
        if media == JSON_PATCH:
            patched = rules.apply_json_patch(tree, change)
        elif media == MERGE_PATCH:
            patched = rules.apply_merge_patch(tree, change)
        elif schema is None or not schema.strategic:
            raise unsupported_media_type(media, [JSON_PATCH, MERGE_PATCH, APPLY_PATCH])
        else:
            patched = rules.apply_strategic_patch(schema.node, tree, change)
    except rules.PatchError as error:
        if error.code == 400:
            raise bad_request(error.message) from error
        if error.code == 500:
            raise ApiError(500, "", error.message) from error
        # Upstream says no more than this, whatever did not fit.
        raise ApiError(
            422,
            "Invalid",
            "the server rejected our request due to an error in our request",
            details={},
        ) from error
    if not isinstance(patched, dict):
        detail = f"cannot unmarshal {json_type(patched)} into Go value of type {GO_TYPE_META}"
        text = f"couldn't get version/kind; json parse error: json: {detail}"
        raise invalid_patch(change, orjson.dumps(patched), text)
    return patched


def check_patched(
    schema: KindSchema,
    media: str,
    tree: Tree,
    *,
    change: Any,
    body: bytes,
    validation: str,
    warnings: list[str],
    spared: Tree | None = None,
) -> None:
    """Check types and prune what a patch left of ``tree``, reporting as ``validation`` asks.

    ``change`` is the patch decoded from ``body``; ``spared`` the specification of ``tree``, if it
    is settled. Raises 422, as upstream does for what a patch made of an object.
    """
    if spared is not None:
        tree[SPEC] = {}
    # The walk changes the tree, and the error shows it as the patch left it.
    before = b"" if media == STRATEGIC_PATCH else orjson.dumps(tree)
    try:
        found = schema.read(tree, report=validation != "Ignore")
    except Misfit as misfit:
        mismatch, patched = misfit.__cause__, _whole(before, spared)
        if media == STRATEGIC_PATCH and isinstance(mismatch, Mismatch):
            raise invalid_patch(change, patched, mismatch.converted()) from None
        raise invalid_patch(change, patched, str(misfit)) from None
    if spared is not None:
        tree[SPEC] = spared
    if validation == "Ignore":
        return
    found = _doubled(media, change, body) + found
    if validation != "Strict":
        warnings += found
    elif found:
        detail = f"strict decoding error: {', '.join(found)}"
        raise invalid_patch(change, _whole(before, spared), detail)


def _whole(patched: bytes, spared: Tree | None) -> bytes:
    """A patched object as it is shown, with the specification that was left out."""
    if not patched or spared is None:
        return patched
    return orjson.dumps({**orjson.loads(patched), SPEC: spared})


def _doubled(media: str, change: Any, body: bytes) -> list[str]:
    prefix = "json patch " if media == JSON_PATCH else ""
    try:
        doubled = find_duplicates(body, count_keys(change))
    except RecursionError:
        raise bad_request("error decoding patch: exceeded max depth") from None
    found = [f'{prefix}duplicate field "{path}"' for path in doubled]
    if media == JSON_PATCH:
        found += [
            f'{prefix}unknown field "[{index}].{name}"'
            for index, operation in enumerate(change)
            for name in operation or ()
            if name not in _OPERATION_FIELDS
        ]
    return found


def invalid_patch(change: Any, patched: bytes, detail: str) -> ApiError:
    """422 for what a patch has made of an object: shown as JSON, else the patch itself."""
    shown = patched.decode() if patched else render_go(change)
    return invalid_object("", "", [invalid("patch", shown, detail)])


def render_go(value: Any) -> str:
    """A JSON value as Go prints it with ``%+v``: ``map[a:[1 2] b:<nil>]``."""
    match value:
        case dict():
            return f"map[{' '.join(f'{k}:{render_go(value[k])}' for k in sorted(value))}]"
        case list():
            return f"[{' '.join(render_go(item) for item in value)}]"
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
    return str(value)
