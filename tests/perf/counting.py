"""Counts work: calls of functions while a piece of code runs, in Python and in C.

Wall-clock differs between machines and moments; how often functions are called for the same
work does not. Reading the interpreter's profiling hook makes things slow but not different.
"""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType, TracebackType
from typing import Any, Self


class Work:
    """``with Work() as work: ...``; then ``work.python``, ``work.c`` and ``work.named``."""

    def __init__(self) -> None:
        self.python = 0
        self.c = 0
        self.named: Counter[str] = Counter()

    @property
    def decodes(self) -> int:
        """JSON texts read, by whichever reader."""
        return self.named["loads"] + self.named["decode"]

    @property
    def encodes(self) -> int:
        return self.named["dumps"]

    def __enter__(self) -> Self:
        sys.setprofile(self._count)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        sys.setprofile(None)

    def _count(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            self.python += 1
        elif event == "c_call":
            self.c += 1
            owner = getattr(argument, "__self__", None)
            name = argument.__name__
            # bytes.decode is no decoding of objects.
            if name in ("loads", "dumps") or (name == "decode" and _is_decoder(owner)):
                self.named[name] += 1


def _is_decoder(owner: object) -> bool:
    return type(owner).__module__.startswith("msgspec")
