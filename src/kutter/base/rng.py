"""Randomness with a seedable source: names, uids, jitter. Secrets use :mod:`secrets`."""

from __future__ import annotations

import random
import uuid

# The alphabet of upstream's generated names: no vowels, no look-alikes.
NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


class Rng:
    """A random source; give a seed and it repeats itself."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311  (names and jitter, not secrets)

    def suffix(self, length: int = 5) -> str:
        """The suffix of a generated name."""
        return "".join(self._random.choices(NAME_ALPHABET, k=length))

    def uid(self) -> str:
        """A version 4 UUID."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def choice_index(self, size: int) -> int:
        return self._random.randrange(size)


SYSTEM_RNG = Rng()
