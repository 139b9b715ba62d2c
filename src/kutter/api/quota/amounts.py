"""Arithmetic on resource lists: exact, by name, formats kept.

Between the wire (names to texts) and who measures and compares. Every function answers a new
list and leaves its arguments alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from kutter.api.quantity import Quantity, parse

Amounts = dict[str, Quantity]

_NANO = 10**9
ZERO = Quantity(0)
ONE = Quantity(_NANO)


def count_of(number: int) -> Quantity:
    """A whole number as an amount."""
    return Quantity(number * _NANO)


def read_amounts(tree: Mapping[str, str | float] | None) -> Amounts:
    """A resource list off the wire. Raises QuantityError."""
    return {name: parse(value) for name, value in (tree or {}).items()}


def write_amounts(amounts: Mapping[str, Quantity]) -> dict[str, str]:
    """As it goes over the wire, sorted as upstream's maps are."""
    return {name: str(amounts[name]) for name in sorted(amounts)}


def add(left: Mapping[str, Quantity], right: Mapping[str, Quantity]) -> Amounts:
    total = dict(left)
    for name, amount in right.items():
        known = total.get(name)
        total[name] = amount if known is None else known + amount
    return total


def highest(*lists: Mapping[str, Quantity]) -> Amounts:
    """The larger amount of each name."""
    found: Amounts = {}
    for amounts in lists:
        for name, amount in amounts.items():
            known = found.get(name)
            if known is None or known < amount:
                found[name] = amount
    return found


def increase(new: Mapping[str, Quantity], old: Mapping[str, Quantity]) -> Amounts:
    """By how much ``new`` is more than ``old``: never less than zero."""
    found: Amounts = {}
    for name, amount in new.items():
        before = old.get(name)
        more = amount if before is None else amount - before
        found[name] = more if more.nanos > 0 else Quantity(0, more.format)
    return found


def without_zeros(amounts: Mapping[str, Quantity]) -> Amounts:
    return {name: amount for name, amount in amounts.items() if amount}


def only(amounts: Mapping[str, Quantity], names: Collection[str]) -> Amounts:
    return {name: amount for name, amount in amounts.items() if name in names}


def over(amounts: Mapping[str, Quantity], bounds: Mapping[str, Quantity]) -> list[str]:
    """Names whose amount is more than its bound, sorted; without a bound there is none."""
    return sorted(n for n, amount in amounts.items() if n in bounds and amount > bounds[n])


def render(amounts: Mapping[str, Quantity]) -> str:
    """``cpu=1,memory=1Gi``: how messages name amounts."""
    return ",".join(f"{name}={amounts[name]}" for name in sorted(amounts))


def render_names(names: Iterable[str]) -> str:
    return ",".join(sorted(names))
