"""Quantities: ``quantity('1Gi').isGreaterThan(quantity('500Mi'))``.

Upstream: https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-quantity-library
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kutter.api.cel.declarations import Library, Overload
from kutter.api.cel.errors import EvaluationError
from kutter.api.cel.library.costs import by_target, estimate_parsing
from kutter.api.cel.types import BOOL, DOUBLE, INT, STRING, Type, opaque
from kutter.api.cel.values import INT_MAX, INT_MIN, Opaque
from kutter.api.quantity import Quantity, QuantityError, parse

QUANTITY = opaque("kubernetes.Quantity")
_NANO = 10**9


class Amount(Opaque):
    """A quantity as a value."""

    __slots__ = ("quantity",)
    cel_type = QUANTITY

    def __init__(self, quantity: Quantity) -> None:
        self.quantity = quantity

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Amount) and self.quantity == other.quantity

    def __hash__(self) -> int:
        return hash(self.quantity)


def _parse(text: str) -> Amount:
    try:
        return Amount(parse(text))
    except QuantityError as error:
        raise EvaluationError(str(error)) from None


def _is_quantity(text: str) -> bool:
    try:
        parse(text)
    except QuantityError:
        return False
    return True


def _whole(amount: Amount) -> bool:
    whole, part = divmod(amount.quantity.nanos, _NANO)
    return part == 0 and INT_MIN <= whole <= INT_MAX


def _integer(amount: Amount) -> int:
    if not _whole(amount):
        raise EvaluationError("cannot convert value to integer")
    return amount.quantity.nanos // _NANO


def _compare(one: Amount, other: Amount) -> int:
    left, right = one.quantity.nanos, other.quantity.nanos
    return (left > right) - (left < right)


def _amount(value: Any) -> Quantity:
    return Quantity(value * _NANO, "DecimalExponent") if type(value) is int else value.quantity


def _sign(amount: Amount) -> int:
    nanos = amount.quantity.nanos
    return (nanos > 0) - (nanos < 0)


def _read(id: str, result: Type, code: Callable[..., Any]) -> tuple[Overload, ...]:
    return (Overload(id, (STRING,), result, code, cost=by_target, estimate=estimate_parsing),)


def _ask(id: str, result: Type, code: Callable[..., Any], *more: Type) -> Overload:
    return Overload(id, (QUANTITY, *more), result, code, member=True)


QUANTITIES = Library(
    "kubernetes.quantity",
    functions={
        "quantity": _read("string_to_quantity", QUANTITY, _parse),
        "isQuantity": _read("is_quantity_string", BOOL, _is_quantity),
        "sign": (Overload("quantity_sign", (QUANTITY,), INT, _sign),),
        "isGreaterThan": (
            _ask("quantity_is_greater_than", BOOL, lambda a, b: _compare(a, b) > 0, QUANTITY),
        ),
        "isLessThan": (
            _ask("quantity_is_less_than", BOOL, lambda a, b: _compare(a, b) < 0, QUANTITY),
        ),
        "compareTo": (_ask("quantity_compare_to", INT, _compare, QUANTITY),),
        "asApproximateFloat": (
            _ask("quantity_get_float", DOUBLE, lambda a: a.quantity.nanos / _NANO),
        ),
        "asInteger": (_ask("quantity_get_int", INT, _integer),),
        "isInteger": (_ask("quantity_is_integer", BOOL, _whole),),
        "add": tuple(
            _ask(id, QUANTITY, lambda a, b: Amount(a.quantity + _amount(b)), other)
            for id, other in (("quantity_add", QUANTITY), ("quantity_add_int", INT))
        ),
        "sub": tuple(
            _ask(id, QUANTITY, lambda a, b: Amount(a.quantity - _amount(b)), other)
            for id, other in (("quantity_sub", QUANTITY), ("quantity_sub_int", INT))
        ),
    },
    types={"kubernetes.Quantity": QUANTITY},
)
