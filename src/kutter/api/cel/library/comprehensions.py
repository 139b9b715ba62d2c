"""Macros with two variables, and the insertion into maps they are spelled with.

Upstream: https://pkg.go.dev/github.com/google/cel-go/ext#TwoVarComprehensions
"""

from __future__ import annotations

from typing import Any

from kutter.api.cel import operators as ops
from kutter.api.cel.declarations import Library, Overload
from kutter.api.cel.macros import TWO_VARIABLES
from kutter.api.cel.types import map_of, param
from kutter.api.cel.values import find_key

_K, _V = param("K"), param("V")
_MAP = map_of(_K, _V)


def _insert_all(target: Any, entries: Any) -> Any:
    for key in entries:
        target = ops.insert(target, key, find_key(entries, key, None))
    return target


COMPREHENSIONS = Library(
    "two variables",
    functions={
        "cel.@mapInsert": (
            Overload("@mapInsert_map_key_value", (_MAP, _K, _V), _MAP, ops.insert),
            Overload("@mapInsert_map_map", (_MAP, _MAP), _MAP, _insert_all),
        )
    },
    macros=TWO_VARIABLES,
)
