import pytest

from kutter.api.durations import DurationError, parse, parse_ns, render


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("0", 0),
        ("5s", 5 * 10**9),
        ("-5s", -5 * 10**9),
        ("1h30m", 5400 * 10**9),
        ("300ms", 300 * 10**6),
        ("1.5s", 1_500_000_000),
        (".5m", 30 * 10**9),
        ("1us", 1000),
        ("1µs", 1000),
        ("7ns", 7),
    ],
)
def test_parse(text, nanos):
    assert parse_ns(text) == nanos
    assert parse(text) == nanos / 10**9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'time: invalid duration ""'),
        ("5", 'time: missing unit in duration "5"'),
        ("s", 'time: invalid duration "s"'),
        ("5d", 'time: invalid duration "5d"'),
        ("5s5", 'time: missing unit in duration "5s5"'),
    ],
)
def test_rejects(text, message):
    with pytest.raises(DurationError) as caught:
        parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (5, "5s"),
        (90, "1m30s"),
        (3600, "1h0m0s"),
        (3661.5, "1h1m1.5s"),
        (0.3, "300ms"),
        (0.0015, "1.5ms"),
        (-1.5, "-1.5s"),
        (2e-6, "2µs"),
    ],
)
def test_render(seconds, text):
    assert render(seconds) == text
    assert parse(text) == pytest.approx(seconds)
