import signal

import pytest

from kutter.runtime.embedded.containers import parse_stop_signal


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("", signal.SIGTERM),
        ("SIGQUIT", signal.SIGQUIT),
        ("int", signal.SIGINT),
        ("9", 9),
        ("0", signal.SIGTERM),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("NONSENSE", signal.SIGTERM),
    ],
)
def test_stop_signals(name, number):
    assert parse_stop_signal(name) == number
