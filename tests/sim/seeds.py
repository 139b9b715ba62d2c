"""Which seeds a run uses: fixed ones in CI, one's own by ``SEED``, many by ``SEEDS``.

``make sim SEED=x`` repeats what failed; ``make sim SEEDS=500`` looks for more.
"""

from __future__ import annotations

import os


def seeds(count: int) -> list[str]:
    """``count`` seeds, unless the environment asks for others."""
    if one := os.environ.get("SEED"):
        return [one]
    return [f"seed-{number}" for number in range(int(os.environ.get("SEEDS", count)))]
