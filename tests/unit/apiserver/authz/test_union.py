"""Authorizers asked in turn."""

from __future__ import annotations

import pytest

from kutter.apiserver.authn.identity import User
from kutter.apiserver.authz.union import UnionAuthorizer
from kutter.apiserver.ports import Attributes, Decision

ANN = User("ann")
NO = Decision(False, "no")


class Waiting:
    """Has to ask somebody."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        self.asked = 0

    async def authorize(self, attributes: Attributes) -> Decision:
        self.asked += 1
        return self.decision


class Knowing(Waiting):
    """Decides by itself."""

    def decide(self, attributes: Attributes) -> Decision:
        self.asked += 1
        return self.decision

    async def authorize(self, attributes: Attributes) -> Decision:
        raise AssertionError("asked the slow way")


def get(user: User = ANN) -> Attributes:
    return Attributes(user=user, verb="get", path="/x", is_resource=False)


@pytest.mark.parametrize("kind", [Waiting, Knowing])
async def test_the_first_to_allow_or_deny_wins(kind: type[Waiting]) -> None:
    yes, last = kind(Decision(True)), kind(NO)
    assert (await UnionAuthorizer([kind(NO), yes, last]).authorize(get())).allowed
    denied = kind(Decision(False, "never", denied=True))
    refused = await UnionAuthorizer([kind(NO), denied, last]).authorize(get())
    assert (refused.allowed, refused.reason) == (False, "never")
    assert last.asked == 0


async def test_reasons_are_told_together_whoever_gave_them() -> None:
    union = UnionAuthorizer([Waiting(NO), Knowing(Decision(False, "nor I")), Waiting(NO)])
    assert (await union.authorize(get())).reason == "no\nnor I\nno"


async def test_the_list_may_be_replaced() -> None:
    union = UnionAuthorizer([Knowing(NO)])
    assert not (await union.authorize(get())).allowed
    union.authorizers = [Knowing(Decision(True))]
    assert (await union.authorize(get())).allowed
    union.authorizers = [Waiting(NO)]
    assert not (await union.authorize(get())).allowed


async def test_masters_are_allowed_before_anybody_is_asked() -> None:
    nobody = Knowing(NO)
    union = UnionAuthorizer([nobody])
    assert (await union.authorize(get(User("a", groups=("system:masters",))))).allowed
    assert nobody.asked == 0
