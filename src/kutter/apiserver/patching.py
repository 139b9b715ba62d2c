"""Patches by content type: which there are and what each does to a tree.

Between the patch verb and :mod:`kutter.api.patch`. A patch that cannot be read is 400, one that
does not fit the object is 422.
"""

from __future__ import annotations

from typing import Any

import orjson

from kutter.api.errors import ApiError, bad_request, unsupported_media_type
from kutter.api.schema import KindSchema
from kutter.apiserver.ports import Tree

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
# Server-side apply (application/apply-patch+yaml) is a later issue: until then it is refused
# with 415 and the list of what is taken, on which clients fall back or stop.
PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH)
OPERATIONS_LIMIT = 10_000


def parse_patch(media: str, body: bytes) -> Any:
    """The patch as JSON. Raises 400, or 413 for too many operations."""
    try:
        change = orjson.loads(body)
    except ValueError as error:
        raise bad_request(f"error decoding patch: {error}") from error
    if media == JSON_PATCH:
        if not isinstance(change, list):
            raise bad_request(
                "error decoding patch: json: cannot unmarshal object into Go value of type "
                "jsonpatch.Patch"
            )
        if len(change) > OPERATIONS_LIMIT:
            raise ApiError(
                413,
                "RequestEntityTooLarge",
                "Request entity too large: The allowed maximum operations in a JSON patch is "
                f"{OPERATIONS_LIMIT}, got {len(change)}",
            )
    elif not isinstance(change, dict):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal array into Go value of type "
            "map[string]interface {}"
        )
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
        elif schema is None:
            raise unsupported_media_type(media, [JSON_PATCH, MERGE_PATCH])
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
