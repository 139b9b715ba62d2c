"""Subresources that change one part of their object and nothing else.

Namespace finalize, pod ephemeralcontainers and resize, certificate approval: the body is the
whole object, of which only the part is taken.
"""

from __future__ import annotations

from typing import Any

from kutter.api.errors import method_not_allowed
from kutter.apiserver.body import check_size, content_type_of
from kutter.apiserver.context import Call
from kutter.apiserver.ownership import Claim
from kutter.apiserver.patching import PATCH_TYPES, parse_patch, wrong_patch_type
from kutter.apiserver.ports import CallHandler, Tree
from kutter.apiserver.verbs import read
from kutter.apiserver.verbs.write import (
    answer_entry,
    check_name,
    check_namespace,
    decode_object,
    patched_object,
)
from kutter.http.messages import Response

Path = tuple[str, str]


def part_handler(*paths: Path) -> CallHandler:
    """A handler that takes ``paths`` of the body and keeps the rest of the stored object."""

    async def handle(call: Call) -> Response:
        verb, subresource = call.info.verb, call.info.subresource
        if verb not in call.served.resource.subresources[subresource].verbs:
            raise method_not_allowed("")
        if verb == "get":
            return await read.get(call)
        kind = "UpdateOptions" if verb == "update" else "PatchOptions"
        context = call.write_context(kind, subresource=subresource)
        context.claim = Claim(call, subresource)
        make = _from_body(call) if verb == "update" else _from_patch(call)

        def transform(old: Tree | None) -> Tree:
            assert old is not None, "parts never create"
            return take_paths(old, make(call.served.storage.get(*_place(call)).bare_tree), paths)

        entry, _ = await call.served.storage.update(context, *_place(call), transform)
        return await answer_entry(call, entry, call.negotiate())

    return handle


def _place(call: Call) -> tuple[str, str]:
    return call.info.namespace, call.info.name


def _from_body(call: Call) -> Any:
    def make(_: Tree) -> Tree:
        tree = decode_object(call)
        check_namespace(tree, _place(call)[0])
        check_name(tree, call.info.name)
        return tree

    return make


def _from_patch(call: Call) -> Any:
    media = content_type_of(call.request)
    if media not in PATCH_TYPES:
        raise wrong_patch_type(call, media)
    check_size(call.request.body)
    change = parse_patch(media, call.request.body)

    def make(old: Tree) -> Tree:
        return patched_object(call, media, old, change)

    return make


def take_paths(old: Tree, new: Tree, paths: tuple[Path, ...]) -> Tree:
    """``old`` with the named parts, and the version and uid expected, of ``new``."""
    for field in ("resourceVersion", "uid"):
        if new.get("metadata", {}).get(field):
            old["metadata"][field] = new["metadata"][field]
    for parent, field in paths:
        value = (new.get(parent) or {}).get(field)
        if value:
            old.setdefault(parent, {})[field] = value
        elif parent in old:
            old[parent].pop(field, None)
    return old
