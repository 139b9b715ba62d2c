"""Remembered answers: kept while short, worked out anew when long; bytes without spare room."""

from __future__ import annotations

import tracemalloc

import orjson
import pytest

from kutter.base.memo import exact, remember


def test_short_ones_are_kept_long_ones_are_not() -> None:
    asked: list[str] = []

    @remember(2, longest=3)
    def upper(text: str) -> str:
        """Upper case."""
        asked.append(text)
        return text.upper()

    assert [upper(t) for t in ("abc", "abc", "abcd", "abcd")] == ["ABC", "ABC", "ABCD", "ABCD"]
    assert asked == ["abc", "abcd", "abcd"]
    assert upper.__doc__ == "Upper case."
    for text in ("d", "e", "abc"):
        upper(text)
    assert asked[-1] == "abc", "the oldest makes room"


def test_what_is_raised_is_not_kept() -> None:
    asked: list[bytes] = []

    @remember(8)
    def check(data: bytes) -> None:
        asked.append(data)
        raise ValueError(data)

    for _ in range(2):
        with pytest.raises(ValueError, match="x"):
            check(b"x")
    assert asked == [b"x", b"x"]


def test_kept_bytes_take_no_more_room_than_they_have() -> None:
    trees = [{"name": f"pod-{number}", "text": "x" * 2600} for number in range(50)]
    tracemalloc.start()
    try:
        kept = [exact(orjson.dumps(tree)) for tree in trees]
        room = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert [orjson.loads(data) for data in kept] == trees
    assert room < 1.2 * sum(map(len, kept))
