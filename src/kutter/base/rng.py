"""Randomness with a seedable source: names, uids, jitter. Secrets use :mod:`secrets`."""

from __future__ import annotations

import random

# The alphabet of upstream's generated names: no vowels, no look-alikes.
NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_PAIRS = [first + second for first in NAME_ALPHABET for second in NAME_ALPHABET]
_SUFFIX_MAX = 11
# RFC 9562: the first two bits of this digit of a UUID are one and zero.
_VARIANT = {digit: "89ab"[number % 4] for number, digit in enumerate("0123456789abcdef")}


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
        # Every request and every object takes one. Version and variant set in the text.
        text = self._random.getrandbits(128).to_bytes(16, "little").hex()
        return (
            f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:]}"
        )

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def choice_index(self, size: int) -> int:
        return self._random.randrange(size)


SYSTEM_RNG = Rng()
