"""JSON Merge Patch, RFC 7386."""

from __future__ import annotations

from typing import Any

from kutter.api.patch.errors import copy_tree, depth_guarded


@depth_guarded
def apply_merge_patch(target: Any, patch: Any) -> Any:
    """``target`` with ``patch`` merged in; null deletes, lists are replaced.

    Raises PatchError only for values nested too deep.
    """
    return _merge(target, patch)


def _merge(target: Any, patch: Any) -> Any:
    if type(patch) is not dict:
        return copy_tree(patch)
    merged = dict(target) if type(target) is dict else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged
