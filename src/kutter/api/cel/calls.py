"""Closures that call functions: one overload, or the one the values decide for."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

from kutter.api.cel.code import Code, Frame, Run, charge
from kutter.api.cel.declarations import Overload
from kutter.api.cel.errors import BudgetExceeded
from kutter.api.cel.library.costs import actual_size
from kutter.api.cel.operators import refusal
from kutter.api.cel.syntax import Expression
from kutter.api.cel.types import Type
from kutter.api.cel.values import equal, is_map, type_of

_SCALARS = frozenset(("bool", "int", "uint", "double", "timestamp", "duration"))
DYNAMIC = frozenset(("dyn", "param", "error"))
# flatten() takes lists that are flat already, when it is not known before.
_UNSEEN = DYNAMIC | {"list"}


def only(overloads: list[Overload]) -> Overload | None:
    return overloads[0] if len(overloads) == 1 else None


def universal(overloads: list[Overload]) -> bool:
    """Whether all overloads run the same code, which looks at types itself."""
    code = overloads[0].code
    if getattr(code, "__module__", "") not in _CAREFUL:
        return False
    return all(overload.code is code for overload in overloads)


_CAREFUL = frozenset(
    (
        "kutter.api.cel.operators",
        "kutter.api.cel.values",
        "kutter.api.cel.library.conversions",
    )
)


def invoke(overload: Overload, runs: list[Run]) -> Code:
    code, cost = overload.code, overload.cost
    if cost is None:
        if len(runs) == 1:
            (only,) = runs
            return Code(lambda frame: code(only(frame)), 1)
        if len(runs) == 2:
            one, other = runs
            return Code(lambda frame: code(one(frame), other(frame)), 1)
        return Code(lambda frame: code(*[run(frame) for run in runs]), 1)

    def call(frame: Frame) -> Any:
        arguments = [run(frame) for run in runs]
        result = code(*arguments)
        frame[0] -= cost(result, *arguments)
        if frame[0] < 0:
            raise BudgetExceeded
        return result

    return Code(_invoke_pair(code, cost, *runs) if len(runs) == 2 else call)


def _invoke_pair(code: Callable[..., Any], cost: Callable[..., int], one: Run, other: Run) -> Run:
    """A call with two operands, as most that cost by size are."""

    def call(frame: Frame) -> Any:
        left, right = one(frame), other(frame)
        result = code(left, right)
        frame[0] -= cost(result, left, right)
        if frame[0] < 0:
            raise BudgetExceeded
        return result

    return call


def equality(wanted: bool, operands: list[Expression], codes: list[Code]) -> Code:
    one, other = codes[0].run, codes[1].run
    kinds = {operand.type.kind for operand in operands}
    if kinds <= _SCALARS:
        if wanted:
            return Code(lambda frame: equal(one(frame), other(frame)), 1)
        return Code(lambda frame: not equal(one(frame), other(frame)), 1)

    def compare(frame: Frame) -> bool:
        left, right = one(frame), other(frame)
        if type(left) is str and type(right) is str:
            frame[0] -= ceil(min(len(left), len(right)) * 0.1)
            if frame[0] < 0:
                raise BudgetExceeded
            return (left == right) is wanted
        smaller = min(actual_size(left), actual_size(right))
        frame[0] -= ceil(smaller * 0.1)
        if frame[0] < 0:
            raise BudgetExceeded
        return equal(left, right) is wanted

    return Code(compare)


def dispatch(function: str, overloads: list[Overload], runs: list[Run]) -> Run:
    """Choose the overload by the values."""
    candidates = [(o.params, o.code, o.cost) for o in overloads]

    def call(frame: Frame) -> Any:
        arguments = [run(frame) for run in runs]
        for params, code, cost in candidates:
            if all(map(accepts, params, arguments)):
                result = code(*arguments)
                charge(frame, 1 if cost is None else cost(result, *arguments))
                return result
        raise refusal(function, arguments)

    return call


def accepts(wanted: Type, value: Any) -> bool:
    """Whether a value is of a type, as far as one looks: not into lists and maps."""
    kind = wanted.kind
    if kind in DYNAMIC:
        return True
    if kind == "object":
        return is_map(value) or type_of(value).name == wanted.name
    found = type_of(value)
    if found.kind != kind:
        return False
    if kind == "list" and wanted.params and wanted.params[0].kind not in _UNSEEN and len(value):
        return accepts(wanted.params[0], value[0])
    if kind == "map" and wanted.params and wanted.params[0].kind not in DYNAMIC and len(value):
        return accepts(wanted.params[0], next(iter(value)))
    return kind != "opaque" or found.name == wanted.name
