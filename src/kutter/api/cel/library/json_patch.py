"""``jsonpatch.escapeKey('a/b')``: a key as a path of a JSON patch writes it."""

from __future__ import annotations

from kutter.api.cel.declarations import Library, Overload
from kutter.api.cel.library.costs import by_target, estimate_parsing
from kutter.api.cel.types import STRING


def _escape_key(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


JSON_PATCH_LIBRARY = Library(
    "kubernetes.jsonpatch",
    functions={
        "jsonpatch.escapeKey": (
            Overload(
                "string_jsonpatch_escapeKey_string",
                (STRING,),
                STRING,
                _escape_key,
                cost=by_target,
                estimate=estimate_parsing,
            ),
        )
    },
)
