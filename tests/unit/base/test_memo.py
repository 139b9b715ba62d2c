"""Remembered answers: kept while short, worked out anew when long."""

from __future__ import annotations

import pytest

from kutter.base.memo import remember


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
