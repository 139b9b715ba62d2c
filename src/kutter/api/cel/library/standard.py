"""The functions every expression has: operators, conversions, texts, time.

Upstream: https://github.com/google/cel-spec/blob/master/doc/langdef.md#list-of-standard-definitions
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kutter.api.cel import operators as ops
from kutter.api.cel.declarations import Cost, Estimate, Library, Overload
from kutter.api.cel.library import conversions as convert
from kutter.api.cel.library import moments
from kutter.api.cel.library.costs import (
    by_contains,
    by_list,
    by_regex,
    by_smaller,
    by_sum,
    by_target,
    estimate_argument,
    estimate_contains,
    estimate_decoding,
    estimate_encoding,
    estimate_list,
    estimate_regex,
    estimate_smaller,
    estimate_sum,
)
from kutter.api.cel.library.regex import matches
from kutter.api.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    TYPE,
    UINT,
    Type,
    list_of,
    map_of,
    param,
    type_of_type,
)
from kutter.api.cel.values import equal, type_of

_A, _B = param("A"), param("B")
_LIST, _MAP = list_of(_A), map_of(_A, _B)
_NUMBERS = (("int64", INT), ("uint64", UINT), ("double", DOUBLE))


def _never(*_: Any) -> Any:
    raise AssertionError("logic is compiled, never called")


def _binary(
    id: str,
    code: Callable[..., Any],
    one: Type,
    other: Type,
    result: Type,
    *,
    cost: Cost | None = None,
    estimate: Estimate | None = None,
) -> Overload:
    return Overload(id, (one, other), result, code, cost=cost, estimate=estimate)


def _arithmetic() -> dict[str, tuple[Overload, ...]]:
    def same(name: str, code: Callable[..., Any], kinds: tuple[tuple[str, Type], ...]) -> list[Any]:
        return [_binary(f"{name}_{label}", code, kind, kind, kind) for label, kind in kinds]

    add = [
        _binary("add_bytes", ops.add, BYTES, BYTES, BYTES, cost=by_sum, estimate=estimate_sum),
        *same("add", ops.add, (("double", DOUBLE),)),
        _binary("add_duration_duration", ops.add, DURATION, DURATION, DURATION),
        _binary("add_duration_timestamp", ops.add, DURATION, TIMESTAMP, TIMESTAMP),
        _binary("add_timestamp_duration", ops.add, TIMESTAMP, DURATION, TIMESTAMP),
        *same("add", ops.add, (("int64", INT),)),
        _binary("add_list", ops.add, _LIST, _LIST, _LIST),
        _binary("add_string", ops.add, STRING, STRING, STRING, cost=by_sum, estimate=estimate_sum),
        *same("add", ops.add, (("uint64", UINT),)),
    ]
    subtract = [
        *same("subtract", ops.subtract, _NUMBERS),
        _binary("subtract_duration_duration", ops.subtract, DURATION, DURATION, DURATION),
        _binary("subtract_timestamp_duration", ops.subtract, TIMESTAMP, DURATION, TIMESTAMP),
        _binary("subtract_timestamp_timestamp", ops.subtract, TIMESTAMP, TIMESTAMP, DURATION),
    ]
    return {
        "_+_": tuple(add),
        "_-_": tuple(subtract),
        "_*_": tuple(same("multiply", ops.multiply, _NUMBERS)),
        "_/_": tuple(same("divide", ops.divide, _NUMBERS)),
        "_%_": tuple(same("modulo", ops.modulo, _NUMBERS[:2])),
        "-_": (
            Overload("negate_int64", (INT,), INT, ops.negate),
            Overload("negate_double", (DOUBLE,), DOUBLE, ops.negate),
        ),
        "!_": (Overload("logical_not", (BOOL,), BOOL, ops.invert),),
    }


def _comparisons() -> dict[str, tuple[Overload, ...]]:
    found = {}
    ordered = (("bool", BOOL), *_NUMBERS, ("timestamp", TIMESTAMP), ("duration", DURATION))
    for function, name, code in (
        ("_<_", "less", ops.less),
        ("_<=_", "less_equals", ops.less_equal),
        ("_>_", "greater", ops.greater),
        ("_>=_", "greater_equals", ops.greater_equal),
    ):
        made = [_binary(f"{name}_{label}", code, kind, kind, BOOL) for label, kind in ordered]
        for label, kind in (("string", STRING), ("bytes", BYTES)):
            overload = f"{name}_{label}"
            made.append(
                _binary(
                    overload, code, kind, kind, BOOL, cost=by_smaller, estimate=estimate_smaller
                )
            )
        for label, kind in _NUMBERS:
            for label2, kind2 in _NUMBERS:
                if label != label2:
                    made.append(_binary(f"{name}_{label}_{label2}", code, kind, kind2, BOOL))
        found[function] = tuple(made)
    for function, name, code in (
        ("_==_", "equals", equal),
        ("_!=_", "not_equals", ops.unequal),
    ):
        found[function] = (
            _binary(name, code, _A, _A, BOOL, cost=by_smaller, estimate=estimate_smaller),
        )
    return found


def _logic() -> dict[str, tuple[Overload, ...]]:
    """Compiled, not called; here for their types."""
    return {
        "_&&_": (_binary("logical_and", _never, BOOL, BOOL, BOOL),),
        "_||_": (_binary("logical_or", _never, BOOL, BOOL, BOOL),),
        "_?_:_": (Overload("conditional", (BOOL, _A, _A), _A, _never),),
        "@not_strictly_false": (Overload("not_strictly_false", (BOOL,), BOOL, lambda x: x),),
    }


def _containers() -> dict[str, tuple[Overload, ...]]:
    sized = (("bytes", BYTES), ("list", _LIST), ("map", _MAP), ("string", STRING))
    return {
        "_[_]": (
            _binary("index_list", ops.index, _LIST, INT, _A),
            _binary("index_map", ops.index, _MAP, _A, _B),
        ),
        "@in": (
            _binary(
                "in_list", ops.contained, _A, _LIST, BOOL, cost=by_list, estimate=estimate_list
            ),
            _binary("in_map", ops.contained, _A, _MAP, BOOL),
        ),
        "size": (
            *(Overload(f"size_{n}", (kind,), INT, ops.size) for n, kind in sized),
            *(Overload(f"{n}_size", (kind,), INT, ops.size, member=True) for n, kind in sized),
        ),
    }


def _texts() -> dict[str, tuple[Overload, ...]]:
    def member(name: str, code: Callable[..., Any], cost: Cost, estimate: Estimate) -> Overload:
        types = (STRING, STRING)
        return Overload(name, types, BOOL, code, member=True, cost=cost, estimate=estimate)

    prefix = (by_target, estimate_argument)
    regex = Overload(
        "matches", (STRING, STRING), BOOL, matches, cost=by_regex, estimate=estimate_regex
    )
    return {
        "contains": (
            member(
                "contains_string",
                lambda text, part: part in text,
                by_contains,
                estimate_contains,
            ),
        ),
        "startsWith": (member("starts_with_string", str.startswith, *prefix),),
        "endsWith": (member("ends_with_string", str.endswith, *prefix),),
        "matches": (regex, member("matches_string", matches, by_regex, estimate_regex)),
    }


_TRAVERSED: dict[str, Estimate] = {
    "string_to_bytes": estimate_encoding,
    "bytes_to_string": estimate_decoding,
}


def _conversions() -> dict[str, tuple[Overload, ...]]:
    def made(result: Type, code: Callable[..., Any], **kinds: Type) -> tuple[Overload, ...]:
        return tuple(
            Overload(
                id,
                (kind,),
                result,
                code,
                cost=by_target if id in _TRAVERSED else None,
                estimate=_TRAVERSED.get(id),
            )
            for id, kind in kinds.items()
        )

    return {
        "bool": made(BOOL, convert.to_bool, bool_to_bool=BOOL, string_to_bool=STRING),
        "bytes": made(BYTES, convert.to_bytes, bytes_to_bytes=BYTES, string_to_bytes=STRING),
        "double": made(
            DOUBLE,
            convert.to_double,
            double_to_double=DOUBLE,
            int64_to_double=INT,
            string_to_double=STRING,
            uint64_to_double=UINT,
        ),
        "duration": made(
            DURATION,
            convert.to_duration,
            duration_to_duration=DURATION,
            int64_to_duration=INT,
            string_to_duration=STRING,
        ),
        "dyn": (Overload("to_dyn", (_A,), DYN, lambda value: value),),
        "int": made(
            INT,
            convert.to_int,
            int64_to_int64=INT,
            double_to_int64=DOUBLE,
            duration_to_int64=DURATION,
            string_to_int64=STRING,
            timestamp_to_int64=TIMESTAMP,
            uint64_to_int64=UINT,
        ),
        "string": made(
            STRING,
            convert.to_string,
            string_to_string=STRING,
            bool_to_string=BOOL,
            bytes_to_string=BYTES,
            double_to_string=DOUBLE,
            duration_to_string=DURATION,
            int64_to_string=INT,
            timestamp_to_string=TIMESTAMP,
            uint64_to_string=UINT,
        ),
        "timestamp": made(
            TIMESTAMP,
            convert.to_timestamp,
            timestamp_to_timestamp=TIMESTAMP,
            int64_to_timestamp=INT,
            string_to_timestamp=STRING,
        ),
        "uint": made(
            UINT,
            convert.to_uint,
            uint64_to_uint64=UINT,
            double_to_uint64=DOUBLE,
            int64_to_uint64=INT,
            string_to_uint64=STRING,
        ),
        "type": (Overload("type", (_A,), type_of_type(_A), type_of),),
    }


def _time() -> dict[str, tuple[Overload, ...]]:
    found = {}
    for name, part in moments.PARTS.items():
        id = f"timestamp_to_{name}"
        overloads = [
            Overload(id, (TIMESTAMP,), INT, part, member=True),
            Overload(f"{id}_with_tz", (TIMESTAMP, STRING), INT, part, member=True),
        ]
        spans = moments.SPANS.get(name)
        if spans is not None:
            overloads.append(Overload(f"duration_to_{name}", (DURATION,), INT, spans, member=True))
        found[name] = tuple(overloads)
    return found


STANDARD = Library(
    "standard",
    functions=_arithmetic()
    | _comparisons()
    | _logic()
    | _containers()
    | _texts()
    | _conversions()
    | _time(),
    types={
        kind.name: kind
        for kind in (BOOL, BYTES, DOUBLE, DURATION, INT, NULL, STRING, TIMESTAMP, UINT)
    }
    | {"list": list_of(DYN), "map": map_of(DYN, DYN), "type": TYPE},
)
