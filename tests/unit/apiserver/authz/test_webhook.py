"""The authorization webhook: what it is asked, and how long its answers last."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from tests.unit.apiserver.authn.authn_kit import StandingClock

from kutter.apiserver.authn.identity import User
from kutter.apiserver.authz.authorization_configuration import MatchCondition, Webhook
from kutter.apiserver.authz.union import UnionAuthorizer
from kutter.apiserver.authz.webhook import WebhookAuthorizer
from kutter.apiserver.ports import Attributes, Decision
from kutter.apiserver.webhooks.errors import WebhookCallError
from kutter.apiserver.webhooks.reviews import ReviewWebhook

JANE = User("jane", "7", ("dev",), {"example.com/a": ("b",)})


class Hook:
    """Answers with ``status``; None fails."""

    def __init__(self, status: dict[str, Any] | None) -> None:
        self.status = status
        self.asked: list[dict[str, Any]] = []

    async def ask(self, review: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(review)
        await asyncio.sleep(0)
        if self.status is None:
            raise WebhookCallError("down")
        return {**review, "status": self.status}


def authorizer(hook: Hook, clock: StandingClock | None = None, **more: Any) -> WebhookAuthorizer:
    settings = Webhook(
        timeout="1s",
        subject_access_review_version=more.pop("version", "v1"),
        failure_policy=more.pop("policy", "NoOpinion"),
        **more,
    )
    return WebhookAuthorizer(
        "hook", cast("ReviewWebhook", hook), settings, clock=clock or StandingClock()
    )


def pods(name: str = "p", **more: Any) -> Attributes:
    return Attributes(
        JANE,
        "get",
        version="v1",
        resource="pods",
        namespace="blue",
        name=name,
        is_resource=True,
        **more,
    )


async def test_the_question_is_a_subject_access_review() -> None:
    hook = Hook({"allowed": True, "reason": "I like her"})
    attributes = pods(field_selector="spec.nodeName=n1", label_selector="a in (b,c),!d")
    decision = await authorizer(hook).authorize(attributes)
    assert decision == Decision(True, "I like her")
    review = hook.asked[0]
    assert (review["apiVersion"], review["kind"]) == (
        "authorization.k8s.io/v1",
        "SubjectAccessReview",
    )
    assert review["spec"] == {
        "resourceAttributes": {
            "namespace": "blue",
            "verb": "get",
            "version": "v1",
            "resource": "pods",
            "name": "p",
            "fieldSelector": {
                "requirements": [{"key": "spec.nodeName", "operator": "In", "values": ["n1"]}]
            },
            "labelSelector": {
                "requirements": [
                    {"key": "a", "operator": "In", "values": ["b", "c"]},
                    {"key": "d", "operator": "DoesNotExist"},
                ]
            },
        },
        "user": "jane",
        "uid": "7",
        "groups": ["dev"],
        "extra": {"example.com/a": ["b"]},
    }
    await authorizer(hook).authorize(Attributes(JANE, "get", path="/metrics"))
    assert hook.asked[1]["spec"]["nonResourceAttributes"] == {"path": "/metrics", "verb": "get"}


async def test_the_older_version_says_group() -> None:
    hook = Hook({"allowed": True})
    await authorizer(hook, version="v1beta1").authorize(pods())
    assert hook.asked[0]["spec"]["group"] == ["dev"]
    assert "groups" not in hook.asked[0]["spec"]


@pytest.mark.parametrize(
    ("status", "policy", "expected"),
    [
        ({"allowed": True}, "Deny", (True, False)),
        ({"allowed": False}, "Deny", (False, False)),
        ({"allowed": False, "denied": True}, "NoOpinion", (False, True)),
        ({"allowed": True, "denied": True}, "NoOpinion", (False, False)),
        ({"allowed": "yes"}, "NoOpinion", (False, False)),
        (None, "NoOpinion", (False, False)),
        (None, "Deny", (False, True)),
    ],
)
async def test_answers(
    status: dict[str, Any] | None, policy: str, expected: tuple[bool, bool]
) -> None:
    decision = await authorizer(Hook(status), policy=policy).authorize(pods())
    assert (decision.allowed, decision.denied) == expected


async def test_answers_are_remembered_for_their_time_and_failures_are_not() -> None:
    clock = StandingClock()
    hook = Hook({"allowed": True})
    found = authorizer(hook, clock, authorized_ttl="10s", unauthorized_ttl="2s")
    for _ in range(3):
        assert (await found.authorize(pods())).allowed
    assert len(hook.asked) == 1
    clock.advance(11)
    hook.status = {"allowed": False}
    for _ in range(3):
        assert not (await found.authorize(pods())).allowed
    assert len(hook.asked) == 2
    clock.advance(3)
    hook.status = None
    for _ in range(2):
        assert not (await found.authorize(pods())).allowed
    assert len(hook.asked) == 4


async def test_equal_questions_at_once_are_asked_once() -> None:
    hook = Hook({"allowed": True})
    found = authorizer(hook)
    answers = await asyncio.gather(*(found.authorize(pods()) for _ in range(10)))
    assert all(a.allowed for a in answers)
    assert len(hook.asked) == 1
    await asyncio.gather(*(found.authorize(pods(str(n))) for n in range(3)))
    assert len(hook.asked) == 4


async def test_match_conditions_decide_whether_it_is_asked() -> None:
    hook = Hook({"allowed": True})
    conditions = (
        MatchCondition(expression="has(request.resourceAttributes)"),
        MatchCondition(expression="request.resourceAttributes.namespace == 'blue'"),
        MatchCondition(expression="!('system:nodes' in request.groups)"),
    )
    found = authorizer(hook, match_conditions=conditions)
    assert (await found.authorize(pods())).allowed
    assert not (await found.authorize(Attributes(JANE, "get", path="/x"))).allowed
    assert len(hook.asked) == 1


@pytest.mark.parametrize(("policy", "denied"), [("NoOpinion", False), ("Deny", True)])
async def test_a_condition_that_fails_is_a_failure(policy: str, denied: bool) -> None:
    hook = Hook({"allowed": True})
    conditions = (MatchCondition(expression="request.resourceAttributes.namespace == 'blue'"),)
    found = authorizer(hook, match_conditions=conditions, policy=policy)
    decision = await found.authorize(Attributes(JANE, "get", path="/x"))
    assert (decision.allowed, decision.denied) == (False, denied)
    assert hook.asked == []


async def test_who_is_denied_is_not_asked_about_again() -> None:
    allowing = authorizer(Hook({"allowed": True}))
    denying = authorizer(Hook({"allowed": False, "denied": True, "reason": "never"}))
    union = UnionAuthorizer([denying, allowing])
    assert await union.authorize(pods()) == Decision(False, "never", denied=True)
    assert (await UnionAuthorizer([allowing, denying]).authorize(pods())).allowed
    master = Attributes(User("root", groups=("system:masters",)), "get", path="/x")
    assert (await union.authorize(master)).allowed
