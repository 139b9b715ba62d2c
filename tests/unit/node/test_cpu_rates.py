"""CPU rates out of cumulative figures."""

from hypothesis import given
from hypothesis import strategies as st

from kutter.node.cpu_rates import CpuRates, Sample

SECOND = 1_000_000_000


def test_the_first_sample_asks_for_a_second_look():
    rates = CpuRates()
    first = {"a": Sample(10 * SECOND, 5 * SECOND)}
    assert rates.lacks(first)
    rates.remember(first)
    second = Sample(10 * SECOND + SECOND // 4, 5 * SECOND + SECOND // 8)
    assert not rates.lacks({"a": second})
    assert rates.rate("a", second) == SECOND // 2


def test_a_recent_sample_is_kept_so_that_rates_span_a_second():
    rates = CpuRates()
    rates.remember({"a": Sample(0, 0)})
    rates.remember({"a": Sample(SECOND // 10, SECOND // 10)})
    assert rates.rate("a", Sample(2 * SECOND, SECOND)) == SECOND // 2


def test_an_old_sample_is_no_now_and_what_is_gone_is_forgotten():
    rates = CpuRates()
    rates.remember({"a": Sample(0, 0), "b": Sample(0, 0)})
    assert rates.lacks({"a": Sample(61 * SECOND, 0)})
    rates.remember({"a": Sample(2 * SECOND, 0)})
    assert rates.lacks({"b": Sample(3 * SECOND, 0)})


@given(st.integers(0, 10**12), st.integers(1, 10**12), st.integers(0, 10**12))
def test_a_rate_is_never_negative(start, distance, used):
    rates = CpuRates()
    rates.remember({"a": Sample(start, used)})
    assert rates.rate("a", Sample(start + distance, 0)) == 0
    assert rates.rate("a", Sample(start, used + 5)) == 0
