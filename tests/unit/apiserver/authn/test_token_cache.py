"""For how long an answer about a token may be used again."""

from __future__ import annotations

import pytest
from tests.unit.apiserver.authn.authn_kit import POD, World

from kutter.apiserver.authn import token_cache
from kutter.apiserver.authn.service_accounts import Binding, Verified
from kutter.apiserver.authn.token_cache import CachedTokenVerifier

TO_POD = Binding("pods", "p", "pod-uid")


def cached(world: World) -> CachedTokenVerifier:
    made = CachedTokenVerifier(world.verifier, clock=world.clock)
    made.follow(world.reader)
    return made


def holds(verified: Verified | None) -> bool:
    assert verified is not None
    assert verified.holds is not None
    return verified.holds()


def test_an_answer_holds_for_ten_seconds() -> None:
    world = World()
    tokens = cached(world)
    verified = tokens.verify(world.token())
    assert holds(verified)
    world.clock.advance(9.9)
    assert holds(verified)
    world.clock.advance(0.2)
    assert not holds(verified)
    assert holds(tokens.verify(world.token()))


def test_an_answer_ends_with_what_it_is_bound_to() -> None:
    world = World()
    verified = cached(world).verify(world.token(binding=TO_POD))
    assert holds(verified)
    world.reader.remove("pods", "ci", "p")
    assert not holds(verified)
    world.reader.put("pods", POD)
    assert not holds(verified)


def test_an_answer_ends_with_its_token() -> None:
    world = World()
    token = world.token(lifetime_s=605)
    tokens = cached(world)
    world.clock.advance(600)
    verified = tokens.verify(token)
    assert holds(verified)
    world.clock.advance(5)
    assert not holds(verified)


def test_what_is_forgotten_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_cache, "_ENTRIES_MAX", 1)
    world = World()
    tokens = cached(world)
    first = tokens.verify(world.token())
    second = tokens.verify(world.token(lifetime_s=700))
    assert not holds(first)
    assert holds(second)


def test_an_answer_nobody_keeps_may_not_be_used_again() -> None:
    world = World()
    verified = world.verifier.verify(world.token())
    assert verified is not None
    assert verified.holds is None
