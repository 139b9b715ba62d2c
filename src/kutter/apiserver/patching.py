"""Patches by content type: which there are and what each does to a tree.

Between the patch verb and :mod:`kutter.api.patch`. A patch that cannot be read is 400, one that
does not fit the object, or makes something else of it, is 422.
"""

from __future__ import annotations

from typing import Any

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
from kutter.apiserver.body import json_type
from kutter.apiserver.ports import Tree

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
# Those that change a tree; APPLY_PATCH merges (:mod:`kutter.apiserver.applying`).
PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH)
OPERATIONS_LIMIT = 10_000


def parse_patch(media: str, body: bytes) -> Any:
    """The patch as JSON. Raises 400, or 413 for too many operations."""
    prefix = "" if media == STRATEGIC_PATCH else "error decoding patch: "
    try:
        change = orjson.loads(body)
    except ValueError as error:
        raise bad_request(f"{prefix}{explain(body) or error}") from error
    if change is None:
        # Decoded, null is an empty patch; only a merge patch asks for more.
        if media == MERGE_PATCH:
            raise bad_request("Invalid JSON Patch")
        change = [] if media == JSON_PATCH else {}
    head = f"{prefix}json: cannot unmarshal {json_type(change)} into Go value of type"
    if media == JSON_PATCH:
        if not isinstance(change, list):
            raise bad_request(f"{head} []handlers.jsonPatchOp")
        if len(change) > OPERATIONS_LIMIT:
            raise ApiError(
                413,
                "RequestEntityTooLarge",
                "Request entity too large: The allowed maximum operations in a JSON patch is "
                f"{OPERATIONS_LIMIT}, got {len(change)}",
            )
    elif not isinstance(change, dict):
        raise bad_request(f"{head} map[string]interface {{}}")
    return change


def apply_patch(schema: KindSchema | None, media: str, tree: Tree, change: Any) -> Tree:
    """``tree`` (owned, may be changed) with the change applied."""
    from kutter.api.patch import (
        PatchError,
        apply_json_patch,
        apply_merge_patch,
        apply_strategic_patch,
    )

    try:
        if media == JSON_PATCH:
            patched = apply_json_patch(tree, change)
        elif media == MERGE_PATCH:
            patched = apply_merge_patch(tree, change)
        elif schema is None or not schema.strategic:
            raise unsupported_media_type(media, [JSON_PATCH, MERGE_PATCH, APPLY_PATCH])
        else:
            patched = apply_strategic_patch(schema.node, tree, change)
    except PatchError as error:
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
        raise bad_request("the patch leaves no object")
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
) -> None:
    """Check types and prune what a patch left of ``tree``, reporting as ``validation`` asks.

    ``change`` is the patch decoded from ``body``. Raises 422, as upstream does for what a patch
    made of an object.
    """
    # The walk changes the tree, and the error shows it as the patch left it.
    patched = b"" if media == STRATEGIC_PATCH else orjson.dumps(tree)
    try:
        found = schema.read(tree, report=validation != "Ignore")
    except Misfit as misfit:
        mismatch = misfit.__cause__
        if media == STRATEGIC_PATCH and isinstance(mismatch, Mismatch):
            raise _invalid_patch(change, patched, mismatch.converted()) from None
        raise _invalid_patch(change, patched, str(misfit)) from None
    if validation == "Ignore":
        return
    found = _doubled(media, change, body) + found
    if validation != "Strict":
        warnings += found
    elif found:
        detail = f"strict decoding error: {', '.join(found)}"
        raise _invalid_patch(change, patched, detail)


def _doubled(media: str, change: Any, body: bytes) -> list[str]:
    prefix = "json patch " if media == JSON_PATCH else ""
    try:
        doubled = find_duplicates(body, count_keys(change))
    except RecursionError:
        raise bad_request("error decoding patch: exceeded max depth") from None
    return [f'{prefix}duplicate field "{path}"' for path in doubled]


def _invalid_patch(change: Any, patched: bytes, detail: str) -> ApiError:
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
