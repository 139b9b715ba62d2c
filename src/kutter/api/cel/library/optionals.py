"""Values that may be missing: ``optional.of(x)``, ``.orValue(y)``, ``a[?0]``.

Upstream: https://pkg.go.dev/github.com/google/cel-go/cel#OptionalTypes
"""

from __future__ import annotations

from typing import Any

from kutter.api.cel import operators as ops
from kutter.api.cel.declarations import Library, Overload
from kutter.api.cel.errors import EvaluationError
from kutter.api.cel.macros import OPTIONALS as MACROS
from kutter.api.cel.types import BOOL, INT, Type, list_of, map_of, optional_of, param
from kutter.api.cel.values import NONE, Duration, OptionalValue, Timestamp

_V, _K = param("V"), param("K")
_OPTIONAL = optional_of(_V)


def _of_non_zero(value: Any) -> OptionalValue:
    if value is None or value is False:
        return NONE
    if isinstance(value, Duration | Timestamp):
        empty = value.nanos == 0
    elif isinstance(value, int | float):
        empty = value == 0
    else:
        empty = hasattr(value, "__len__") and len(value) == 0
    return NONE if empty else OptionalValue(value)


def _value(optional: OptionalValue) -> Any:
    if not optional.present:
        raise EvaluationError("optional.none() dereference")
    return optional.value


def _or(optional: OptionalValue, other: Any) -> Any:
    raise AssertionError("compiled, never called")


def _unwrap(items: Any) -> list[Any]:
    return [item.value for item in items if item.present]


def _first(items: Any) -> OptionalValue:
    return OptionalValue(items[0]) if len(items) else NONE


def _last(items: Any) -> OptionalValue:
    return OptionalValue(items[len(items) - 1]) if len(items) else NONE


def _member(id: str, params: tuple[Type, ...], result: Type, code: Any) -> Overload:
    return Overload(id, params, result, code, member=True)


_LIST, _MAP = list_of(_V), map_of(_K, _V)
OPTIONALS = Library(
    "optional",
    functions={
        "optional.of": (Overload("optional_of", (_V,), _OPTIONAL, OptionalValue),),
        "optional.ofNonZeroValue": (
            Overload("optional_ofNonZeroValue", (_V,), _OPTIONAL, _of_non_zero),
        ),
        "optional.none": (Overload("optional_none", (), _OPTIONAL, lambda: NONE),),
        "optional.unwrap": (
            Overload("optional_unwrap", (list_of(_OPTIONAL),), list_of(_V), _unwrap),
        ),
        "unwrapOpt": (_member("optional_unwrapOpt", (list_of(_OPTIONAL),), list_of(_V), _unwrap),),
        "value": (_member("optional_value", (_OPTIONAL,), _V, _value),),
        "hasValue": (_member("optional_hasValue", (_OPTIONAL,), BOOL, lambda o: o.present),),
        "or": (_member("optional_or_optional", (_OPTIONAL, _OPTIONAL), _OPTIONAL, _or),),
        "orValue": (_member("optional_orValue_value", (_OPTIONAL, _V), _V, _or),),
        "first": (_member("list_first", (_LIST,), _OPTIONAL, _first),),
        "last": (_member("list_last", (_LIST,), _OPTIONAL, _last),),
        "_[?_]": (
            Overload("list_optindex_optional_int", (_LIST, INT), _OPTIONAL, ops.index_optional),
            Overload(
                "optional_list_optindex_optional_int",
                (optional_of(_LIST), INT),
                _OPTIONAL,
                ops.index_optional,
            ),
            Overload("map_optindex_optional_value", (_MAP, _K), _OPTIONAL, ops.index_optional),
            Overload(
                "optional_map_optindex_optional_value",
                (optional_of(_MAP), _K),
                _OPTIONAL,
                ops.index_optional,
            ),
        ),
        "_[_]": (
            Overload("optional_list_index_int", (optional_of(_LIST), INT), _OPTIONAL, ops.index),
            Overload("optional_map_index_value", (optional_of(_MAP), _K), _OPTIONAL, ops.index),
        ),
    },
    macros=MACROS,
    types={"optional_type": optional_of(_V)},
)
