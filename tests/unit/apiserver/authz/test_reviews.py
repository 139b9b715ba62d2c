from __future__ import annotations

from typing import Any

import pytest
from tests.unit.apiserver.authn.authn_kit import ISSUER, World

from kutter.api.errors import ApiError
from kutter.apiserver.authn.authenticator import RequestAuthenticator
from kutter.apiserver.authn.client_certificates import CertificateAuthenticator
from kutter.apiserver.authn.identity import User
from kutter.apiserver.authn.reviews import SelfSubjectReview, TokenReview
from kutter.apiserver.authz.policy import default_objects
from kutter.apiserver.authz.rbac import RbacAuthorizer, RbacIndex
from kutter.apiserver.authz.reviews import (
    LocalSubjectAccessReview,
    SelfSubjectAccessReview,
    SelfSubjectRulesReview,
    SubjectAccessReview,
)
from kutter.apiserver.authz.union import UnionAuthorizer

ANN = User("ann", groups=("system:authenticated",))
BOSS = User("boss", groups=("kutter:cluster-admins",))


@pytest.fixture
def index() -> RbacIndex:
    made = RbacIndex()
    for tree in default_objects():
        (made.set_binding if "roleRef" in tree else made.set_role)(tree)
    return made


@pytest.fixture
def authorizer(index: RbacIndex) -> UnionAuthorizer:
    return UnionAuthorizer([RbacAuthorizer(index)])


def spec(**fields: Any) -> dict[str, Any]:
    return {"spec": fields}


PODS = {"verb": "list", "resource": "pods", "namespace": "blue"}


async def test_may_i(authorizer: UnionAuthorizer) -> None:
    review = SelfSubjectAccessReview(authorizer, lambda _: "because")
    for user, allowed in ((ANN, False), (BOSS, True)):
        answer = await review.review(spec(resourceAttributes=dict(PODS)), user, "")
        expected = {"allowed": allowed, **({"reason": "because"} if allowed else {})}
        assert answer["status"] == expected
    answer = await review.review(
        spec(nonResourceAttributes={"path": "/api", "verb": "get"}), ANN, ""
    )
    assert answer["status"]["allowed"]


async def test_may_they(authorizer: UnionAuthorizer) -> None:
    review = SubjectAccessReview(authorizer, lambda _: "because")
    asked = spec(resourceAttributes=dict(PODS), user="x", groups=["kutter:cluster-admins"])
    assert (await review.review(asked, ANN, ""))["status"]["allowed"]
    asked = spec(resourceAttributes=dict(PODS), user="x")
    assert not (await review.review(asked, ANN, ""))["status"]["allowed"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            spec(user="x"),
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ),
        (
            spec(user="x", resourceAttributes=PODS, nonResourceAttributes={"path": "/x"}),
            "cannot be specified in combination with resourceAttributes",
        ),
        (spec(resourceAttributes=PODS), "at least one of user or group must be specified"),
    ],
)
async def test_bad_questions(authorizer: UnionAuthorizer, given: dict[str, Any], text: str) -> None:
    with pytest.raises(ApiError, match=text) as caught:
        await SubjectAccessReview(authorizer, lambda _: "because").review(given, ANN, "")
    assert caught.value.code == 422
    # Upstream does not say of which kind.
    assert caught.value.message.startswith('.authorization.k8s.io "" is invalid: ')


async def test_local_reviews_stay_in_their_namespace(authorizer: UnionAuthorizer) -> None:
    review = LocalSubjectAccessReview(authorizer, lambda _: "because")
    asked = spec(resourceAttributes=dict(PODS), user="x")
    assert not (await review.review(asked, ANN, "blue"))["status"]["allowed"]
    with pytest.raises(ApiError, match=r"must match metadata\.namespace") as caught:
        await review.review(spec(resourceAttributes=dict(PODS), user="x"), ANN, "green")
    assert caught.value.code == 422
    both = spec(resourceAttributes=dict(PODS), nonResourceAttributes={"path": "/x"}, user="x")
    with pytest.raises(ApiError, match="disallowed on this kind of request"):
        await review.review(both, ANN, "blue")


async def test_a_review_has_no_name(authorizer: UnionAuthorizer) -> None:
    asked = {**spec(resourceAttributes=dict(PODS), user="x"), "metadata": {"name": "a"}}
    with pytest.raises(ApiError, match=r"metadata: Invalid value: .* must be empty") as caught:
        await SubjectAccessReview(authorizer, lambda _: "because").review(asked, ANN, "")
    assert caught.value.code == 422


async def test_what_may_i(index: RbacIndex) -> None:
    review = SelfSubjectRulesReview(index, UnionAuthorizer([]))
    status = (await review.review(spec(namespace="blue"), BOSS, ""))["status"]
    assert {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]} in status["resourceRules"]
    assert status["nonResourceRules"] == [{"verbs": ["*"], "nonResourceURLs": ["*"]}]
    assert status["incomplete"] is False
    node = User("system:node:n", groups=("system:nodes",))
    assert (await review.review(spec(namespace="blue"), node, ""))["status"]["incomplete"]
    with pytest.raises(ApiError, match="no namespace on request"):
        await review.review(spec(), ANN, "")


async def test_whose_token() -> None:
    world = World()
    review = TokenReview(
        RequestAuthenticator(
            certificates=CertificateAuthenticator(clock=world.clock), tokens=[world.verifier]
        )
    )
    status = (await review.review(spec(token=world.token()), ANN, ""))["status"]
    assert status["authenticated"] is True
    assert status["audiences"] == [ISSUER]
    assert status["user"]["username"] == "system:serviceaccount:ci:bot"
    assert "system:authenticated" in status["user"]["groups"]
    status = (await review.review(spec(token=world.token(), audiences=["vault"]), ANN, ""))[
        "status"
    ]
    assert status == {"user": {}, "error": "invalid bearer token"}
    status = (await review.review(spec(token="x"), ANN, ""))["status"]
    assert "authenticated" not in status
    with pytest.raises(ApiError) as caught:
        await review.review(spec(), ANN, "")
    assert caught.value.code == 400


async def test_who_am_i() -> None:
    answer = await SelfSubjectReview(World().clock).review({}, ANN, "")
    assert answer["status"]["userInfo"] == {"username": "ann", "groups": ["system:authenticated"]}
