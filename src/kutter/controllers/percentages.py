"""IntOrString fields that mean a number of pods or a share of all of them. Pure."""

from __future__ import annotations

import math


def resolve(value: int | str | None, total: int, *, round_up: bool) -> int:
    """An int-or-percent as a number of pods. A malformed percentage counts as 0."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    try:
        share = int(value.removesuffix("%")) * total / 100
    except ValueError:
        return 0
    return math.ceil(share) if round_up else math.floor(share)
