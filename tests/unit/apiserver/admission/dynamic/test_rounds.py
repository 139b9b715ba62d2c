"""Who is called again when the chain runs a second time."""

from __future__ import annotations

from kutter.apiserver.admission.dynamic.rounds import Rounds


def test_those_before_a_change_are_called_again() -> None:
    rounds = Rounds()
    rounds.begin({}, again=False)
    assert not rounds.skips("a", again=False)
    rounds.called("a")
    rounds.changed()
    rounds.called("b")
    rounds.end({"x": 1})
    rounds.begin({"x": 1}, again=True)
    assert not rounds.skips("a", again=True)
    assert rounds.skips("b", again=True)
    assert rounds.skips("never", again=True)


def test_a_change_of_others_calls_all_again() -> None:
    rounds = Rounds()
    rounds.begin({}, again=False)
    rounds.called("a")
    rounds.end({"x": 1})
    rounds.begin({"x": 2}, again=True)
    assert not rounds.skips("a", again=True)
