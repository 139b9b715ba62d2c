"""The judge itself: a sound run passes, and every kind of broken promise is found."""

from __future__ import annotations

import copy

import pytest
from tests.sim.promises import Listing, Run, Seen, Session, Write, find_broken_promises


def sound_run() -> Run:
    writes = [
        Write("a", "a1", 0, "acknowledged", 2),
        Write("b", "b1", None, "acknowledged", 3),
        Write("a", "a2", 2, "acknowledged", 4),
        Write("a", "a3", 2, "refused"),
        Write("b", None, 3, "acknowledged", 5),
        Write("c", "c1", 0, "unknown"),  # happened
        Write("c", "c2", None, "unknown"),  # did not
    ]
    told = [
        Seen("a", "a1", 2),
        Seen("b", "b1", 3),
        Seen("a", "a2", 4),
        Seen("b", None, 5),
        Seen("c", "c1", 6),
    ]
    sessions = [
        Session("one", 1, told[:2]),
        Session("one", 3, told[2:]),
        Session("two", 4, told[3:], bookmark=6),
    ]
    final = Listing(6, {"a": ("a2", 4), "c": ("c1", 6)})
    return Run(writes, sessions, [Listing(3, {"a": ("a1", 2), "b": ("b1", 3)})], final)


def test_a_sound_run_breaks_no_promise():
    assert find_broken_promises(sound_run()) == []


def test_an_unanswered_write_may_explain_a_list():
    run = sound_run()
    assert run.final is not None
    run.sessions[1].events.pop()
    run.sessions[2].events.pop()
    run.sessions[2].bookmark = 0
    assert find_broken_promises(run) == []
    run.writes.append(Write("a", None))
    del run.final.values["a"]
    assert find_broken_promises(run) == []


def test_an_unwatched_deletion_may_explain_a_creation():
    writes = [
        Write("a", "a1", 0, "acknowledged", 2),
        Write("a", None),
        Write("a", "a2", 0, "acknowledged", 4),
    ]
    one = Session("one", 1, [Seen("a", "a1", 2)])
    two = Session("two", 3, [Seen("a", "a2", 4)])
    assert find_broken_promises(Run(writes, [one, two])) == []
    one.bookmark = 3  # it was told that nothing else had happened
    assert find_broken_promises(Run(writes, [one, two]))


def _lost_acknowledged(run: Run) -> None:
    for session in run.sessions:
        session.events = [e for e in session.events if e.revision != 4]


def _repeated(run: Run) -> None:
    run.sessions[1].events.insert(1, run.sessions[1].events[0])


def _reordered(run: Run) -> None:
    run.sessions[1].events[:2] = reversed(run.sessions[1].events[:2])


def _told_before_its_start(run: Run) -> None:
    run.sessions[1].events.insert(0, Seen("b", "b1", 3))


def _gap_under_a_bookmark(run: Run) -> None:
    run.sessions[2].events.pop()


def _two_histories(run: Run) -> None:
    run.sessions[2].events[0] = Seen("b", "b1", 5)


def _refused_seen(run: Run) -> None:
    run.sessions[1].events[-1] = Seen("a", "a3", 6)


def _from_nowhere(run: Run) -> None:
    run.sessions[1].events[-1] = Seen("c", "c9", 6)


def _wrong_expectation(run: Run) -> None:
    run.writes[2].expected = 3


def _not_in_the_final_list(run: Run) -> None:
    assert run.final is not None
    del run.final.values["a"]


def _old_in_the_final_list(run: Run) -> None:
    assert run.final is not None
    run.final.values["a"] = ("a1", 2)


def _deleted_in_the_final_list(run: Run) -> None:
    assert run.final is not None
    run.final.values["b"] = ("b1", 3)


def _unwritten_in_the_final_list(run: Run) -> None:
    assert run.final is not None
    run.final.values["a"] = ("a9", 6)


def _younger_than_its_list(run: Run) -> None:
    run.listings[0].values["a"] = ("a2", 4)


def _happened_twice(run: Run) -> None:
    run.sessions[1].events.append(Seen("c", "c1", 7))


@pytest.mark.parametrize(
    "damage",
    [
        _lost_acknowledged,
        _repeated,
        _reordered,
        _told_before_its_start,
        _gap_under_a_bookmark,
        _two_histories,
        _refused_seen,
        _from_nowhere,
        _wrong_expectation,
        _not_in_the_final_list,
        _old_in_the_final_list,
        _deleted_in_the_final_list,
        _unwritten_in_the_final_list,
        _younger_than_its_list,
        _happened_twice,
    ],
)
def test_every_broken_promise_is_found(damage):
    run = copy.deepcopy(sound_run())
    damage(run)
    assert find_broken_promises(run)
