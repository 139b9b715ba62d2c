"""Durations as kubectl shows them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kutter.apiserver.printing.age import age, human_duration

_DAY = 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (9 * 60 + 59, "9m59s"),
        (10 * 60 + 59, "10m"),
        (179 * 60, "179m"),
        (3 * 3600, "3h"),
        (7 * 3600 + 61 * 30, "7h30m"),
        (8 * 3600 + 1800, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (7 * _DAY + 23 * 3600, "7d23h"),
        (8 * _DAY, "8d"),
        (729 * _DAY, "729d"),
        (730 * _DAY, "2y"),
        (731 * _DAY, "2y1d"),
        (2920 * _DAY, "8y"),
    ],
)
def test_human_duration(seconds: int, text: str) -> None:
    assert human_duration(seconds) == text


def test_age_of_nothing_is_unknown() -> None:
    now = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
    assert age(None, now) == "<unknown>"
    assert age("2026-01-01T00:00:00Z", now) == "5m"
    assert age("2026-01-01T00:04:30.000001Z", now) == "29s"
