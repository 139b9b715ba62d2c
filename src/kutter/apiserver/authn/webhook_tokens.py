"""Tokens that a webhook knows: a TokenReview goes out, its status comes back.

Between the bearer header and :class:`WebhookCaller`. A webhook that cannot be asked has refused
nothing and admitted nobody: the token does not hold for now.
https://kubernetes.io/docs/reference/access-authn-authz/authentication/#webhook-token-authentication
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kutter.apiserver.authn.identity import User
from kutter.apiserver.authn.service_accounts import Verified
from kutter.apiserver.authn.token_keys import InvalidTokenError
from kutter.apiserver.webhooks.errors import WebhookCallError
from kutter.apiserver.webhooks.reviews import ReviewWebhook


class WebhookTokens:
    """A kind of bearer token: any."""

    def __init__(
        self, webhook: ReviewWebhook, *, version: str, api_audiences: Sequence[str]
    ) -> None:
        self._webhook = webhook
        self._version = version
        self._api_audiences = tuple(api_audiences)

    async def verify(self, token: str, audiences: Sequence[str] = ()) -> Verified | None:
        """None for a token the webhook does not know. Raises InvalidTokenError."""
        wanted = tuple(audiences) or self._api_audiences
        review = {
            "kind": "TokenReview",
            "apiVersion": f"authentication.k8s.io/{self._version}",
            "metadata": {"creationTimestamp": None},
            "spec": {"token": token, "audiences": list(wanted)},
            "status": {"user": {}},
        }
        try:
            answer = await self._webhook.ask(review)
        except WebhookCallError as error:
            raise InvalidTokenError(f"the authentication webhook failed: {error}") from error
        status = answer.get("status") or {}
        if not status.get("authenticated"):
            problem = status.get("error")
            if problem:
                raise InvalidTokenError(f"the authentication webhook says: {problem}")
            return None
        user = status.get("user") or {}
        return Verified(_user_of(user), _audiences_of(status, wanted), None, ())


def _user_of(info: Mapping[str, Any]) -> User:
    extra = {
        str(key): tuple(map(str, values or ())) for key, values in (info.get("extra") or {}).items()
    }
    groups = tuple(map(str, info.get("groups") or ()))
    name = info.get("username")
    if not isinstance(name, str) or not name:
        raise InvalidTokenError("the authentication webhook named no user")
    return User(name, str(info.get("uid") or ""), groups, extra)


def _audiences_of(status: Mapping[str, Any], wanted: Sequence[str]) -> tuple[str, ...]:
    """A webhook that knows nothing of audiences speaks for the API server's."""
    told = status.get("audiences")
    if not told:
        return tuple(wanted)
    shared = tuple(a for a in wanted if a in told)
    if not shared:
        raise InvalidTokenError("token is for other audiences")
    return shared
