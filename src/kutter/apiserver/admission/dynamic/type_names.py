"""Names of the objects a mutation writes out: each has to be that of the field it stands in.

The types themselves know any field of any type; upstream compares names when it has the value, we
look at the expression, which tells the same before anything runs.
"""

from __future__ import annotations

from collections.abc import Iterator

from kutter.api.cel.library.mutation import JSON_PATCH
from kutter.api.cel.syntax import Call, CreateList, CreateObject, Expression


def find_misnamed(tree: Expression, *, wanted: str = "") -> str:
    """What is wrong with the names, empty when nothing. Without ``wanted`` any name starts."""
    match tree:
        case CreateObject():
            return _misnamed(tree, wanted)
        case CreateList():
            return _first(find_misnamed(item, wanted=wanted) for item in tree.elements)
        case Call() if tree.function == "_?_:_":
            return _first(find_misnamed(branch, wanted=wanted) for branch in tree.arguments[1:])
    return ""


def _misnamed(tree: CreateObject, wanted: str) -> str:
    if wanted and tree.name != wanted:
        return (
            f'unexpected type name "{tree.name}", expected "{wanted}", which matches field name '
            "path from root Object type"
        )
    # A patch's value has the name of the place its path tells.
    inside = "" if tree.name == JSON_PATCH.name else tree.name
    return _first(
        find_misnamed(value, wanted=f"{inside}.{field}" if inside else "")
        for field, _, value, _ in tree.entries
    )


def _first(found: Iterator[str]) -> str:
    return next((text for text in found if text), "")
