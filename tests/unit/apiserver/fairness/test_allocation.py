"""Seats are shared out in proportion, within bounds, and none is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kutter.apiserver.fairness.allocation import Demand, bounds_of, share_out
from kutter.apiserver.fairness.defaults import MANDATORY_LEVELS, SUGGESTED_LEVELS


def specs(*trees):
    return {tree["metadata"]["name"]: tree["spec"] for tree in trees}


def test_the_defaults_share_six_hundred_seats_as_upstream_does():
    found = bounds_of(specs(*MANDATORY_LEVELS, *SUGGESTED_LEVELS), 600)
    assert {n: (b.nominal, b.lower, b.upper) for n, b in found.items()} == {
        "exempt": (0, 0, 600),
        "catch-all": (13, 13, 600),
        "system": (74, 50, 600),
        "node-high": (98, 73, 600),
        "leader-election": (25, 25, 600),
        "workload-high": (98, 49, 600),
        "workload-low": (245, 24, 600),
        "global-default": (49, 24, 600),
    }


def test_borrowing_can_be_limited_and_shares_left_out():
    limited = {"type": "Limited", "limited": {"borrowingLimitPercent": 50, "lendablePercent": 10}}
    found = bounds_of({"a": limited, "b": {"type": "Limited", "limited": {}}}, 100)
    assert (found["a"].nominal, found["a"].lower, found["a"].upper) == (50, 45, 75)
    assert (found["b"].nominal, found["b"].lower, found["b"].upper) == (50, 50, 100)


def test_each_gets_the_same_part_of_what_it_needs():
    shares, part = share_out(60, [Demand(40, 0, 100), Demand(80, 0, 100)])
    assert shares == [20, 40]
    assert part == 0.5


def test_bounds_hold_and_the_rest_is_shared():
    shares, _ = share_out(60, [Demand(10, 10, 10), Demand(80, 0, 100), Demand(20, 0, 100)])
    assert shares == [10, 40, 10]


demands = st.lists(
    st.tuples(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200)), min_size=1, max_size=8
)


@given(demands, st.integers(0, 2000))
def test_shares_are_within_bounds_and_sum_up(numbers, total):
    made = []
    for a, b, c in numbers:
        lower, target, upper = sorted((a, b, c))
        made.append(Demand(target, lower, upper))
    shares, part = share_out(total, made)
    for share, demand in zip(shares, made, strict=True):
        assert demand.lower - 1e-6 <= share <= demand.upper + 1e-6
        # Whoever is not at a bound gets the same part of what it needs.
        if demand.lower + 1e-6 < share < demand.upper - 1e-6:
            assert abs(share - part * max(demand.target, 0.001)) < 1e-3
    wanted = min(max(total, sum(d.lower for d in made)), sum(d.upper for d in made))
    assert abs(sum(shares) - wanted) < 1e-3
