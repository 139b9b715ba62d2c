"""Randomness with a seedable source: names, uids, jitter. Secrets use :mod:`secrets`."""

from __future__ import annotations

import random

# The alphabet of upstream's generated names: no vowels, no look-alikes.
NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_PAIRS = [first + second for first in NAME_ALPHABET for second in NAME_ALPHABET]
_SUFFIX_MAX = 11
# RFC 9562: four bits of a UUID say its version, two its variant.
_UUID_KEPT = ~((0xF << 76) | (0b11 << 62))
_UUID_SET = (4 << 76) | (0b10 << 62)


class Rng:
    """A random source; give a seed and it repeats itself."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311  (names and jitter, not secrets)

    def suffix(self, length: int = 5) -> str:
        """The suffix of a generated name."""
        # One draw for all of it, which has room for eleven letters; spelt two at a time.
        assert length <= _SUFFIX_MAX, "a double holds no more"
        number = int(self._random.random() * len(NAME_ALPHABET) ** length)
        text = ""
        while length > 1:
            number, pair = divmod(number, len(_PAIRS))
            text += _PAIRS[pair]
            length -= 2
        return text + NAME_ALPHABET[number] if length else text

    def uid(self) -> str:
        """A version 4 UUID."""
        # Version and variant set in place: every request and every object takes one.
        bits = self._random.getrandbits(128) & _UUID_KEPT | _UUID_SET
        text = f"{bits:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def choice_index(self, size: int) -> int:
        return self._random.randrange(size)


SYSTEM_RNG = Rng()
