"""What is kept in memory: answers bounded in number and in size, bytes without spare room.

``functools.lru_cache`` counts entries, not bytes: a few thousand texts of a megabyte, sent by
whoever may write, would fill the memory. What is long is worked out anew; it hardly comes twice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

V = TypeVar("V", str, bytes)
T = TypeVar("T")

LONGEST = 256


def remember(
    maxsize: int, *, longest: int = LONGEST
) -> Callable[[Callable[[V], T]], Callable[[V], T]]:
    """Keep up to ``maxsize`` answers of a function of one text or bytes no longer than
    ``longest``. The function is pure; what it raises is not kept.
    """

    def decorate(function: Callable[[V], T]) -> Callable[[V], T]:
        kept = lru_cache(maxsize)(function)

        @wraps(function)
        def answer(value: V) -> T:
            return kept(value) if len(value) <= longest else function(value)

        return answer

    return decorate


def exact(data: bytes) -> bytes:
    """A copy that takes no more memory than it has bytes.

    For what orjson wrote and is going to be kept: it leaves its buffer as it grew, up to twelve
    times what is in it (2.6 KB of a pod took 32 KB).
    """
    return b"%b" % data
