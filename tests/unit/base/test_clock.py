"""How moments are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from kutter.base.clock import parse_time, render_time

MOMENTS = st.datetimes(
    min_value=datetime(1970, 1, 1),
    max_value=datetime(9999, 12, 31, 23, 59, 59),
)
NEAR = st.lists(st.integers(-2_000_000, 2_000_000), max_size=6)


@given(MOMENTS, NEAR)
def test_whatever_was_rendered_before_a_moment_is_rendered_as_itself(moment, others):
    moment = moment.replace(tzinfo=UTC)
    for microseconds in (0, *others):
        try:
            near = moment + timedelta(microseconds=microseconds)
        except OverflowError:
            continue
        assert render_time(near) == near.strftime("%Y-%m-%dT%H:%M:%SZ")
        assert parse_time(render_time(near)) == near.replace(microsecond=0)


def test_another_zone_is_rendered_in_utc():
    moment = datetime(2026, 11, 26, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=2)))
    assert render_time(moment.astimezone(UTC)) == "2026-11-25T23:02:03Z"
    assert render_time(moment) == "2026-11-25T23:02:03Z"
