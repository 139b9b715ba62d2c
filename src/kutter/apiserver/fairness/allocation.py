"""How many seats each priority level has: by its shares, then by what others lend.

Pure. Seats are shared out in proportion to what levels need, each within its bounds; the
proportion is one number, found by going through the bounds in order.
Upstream: https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#seats-borrowing
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from kutter.apiserver.ports import Tree

_LEAST_TARGET = 0.001
_DEFAULT_SHARES = 30


class Bounds(msgspec.Struct, frozen=True):
    """Of one level, in seats."""

    nominal: int
    lower: int
    upper: int


class Demand(msgspec.Struct, frozen=True):
    """What one level needs: never less than ``lower``, never more than ``upper``."""

    target: float
    lower: float
    upper: float


def bounds_of(specs: dict[str, Tree], total: int) -> dict[str, Bounds]:
    """The bounds of all levels by name; ``total`` is the server's number of seats."""
    shares = {name: _shares(spec) for name, spec in specs.items()}
    whole = sum(shares.values()) or 1
    found = {}
    for name, spec in specs.items():
        part = _part(spec)
        nominal = math.ceil(total * shares[name] / whole)
        lendable = _round(nominal * (part.get("lendablePercent") or 0) / 100)
        borrowing = part.get("borrowingLimitPercent")
        upper = total if borrowing is None else nominal + _round(nominal * borrowing / 100)
        found[name] = Bounds(nominal, nominal - lendable, max(nominal, upper))
    return found


def _shares(spec: Tree) -> int:
    shares: int | None = _part(spec).get("nominalConcurrencyShares")
    if shares is None:
        return _DEFAULT_SHARES if spec.get("type") == "Limited" else 0
    return shares


def _part(spec: Tree) -> Tree:
    return spec.get("limited") or spec.get("exempt") or {}


def _round(value: float) -> int:
    """To the nearest, halves up (Python's own rounding goes to the even one)."""
    return math.floor(value + 0.5)


def share_out(total: float, demands: Sequence[Demand]) -> tuple[list[float], float]:
    """Seats for each demand, and the proportion of its target that each gets within its bounds.

    They sum to ``total`` where the bounds allow it.
    """
    low = sum(d.lower for d in demands)
    if low >= total:
        return [d.lower for d in demands], 0.0
    targets = [max(d.target, _LEAST_TARGET) for d in demands]
    corners = sorted(
        {d.lower / t for d, t in zip(demands, targets, strict=True)}
        | {d.upper / t for d, t in zip(demands, targets, strict=True)}
    )
    below = 0.0
    for corner in corners:
        if _sum_at(corner, demands, targets) >= total:
            break
        below = corner
    else:
        return [d.upper for d in demands], corners[-1] if corners else 0.0
    # Between two corners the sum grows evenly with the proportion.
    at_below, at_corner = _sum_at(below, demands, targets), _sum_at(corner, demands, targets)
    part = (total - at_below) / (at_corner - at_below)
    proportion = below + (corner - below) * part
    return _at(proportion, demands, targets), proportion


def _at(proportion: float, demands: Sequence[Demand], targets: list[float]) -> list[float]:
    return [
        max(d.lower, min(d.upper, proportion * t)) for d, t in zip(demands, targets, strict=True)
    ]


def _sum_at(proportion: float, demands: Sequence[Demand], targets: list[float]) -> float:
    return sum(_at(proportion, demands, targets))
