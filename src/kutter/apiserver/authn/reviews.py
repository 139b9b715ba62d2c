"""Questions about identity, answered and not stored: TokenReview and SelfSubjectReview.

https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/
"""

from __future__ import annotations

from kutter.api.errors import bad_request
from kutter.apiserver.authn.authenticator import RequestAuthenticator
from kutter.apiserver.authn.identity import User, with_authenticated
from kutter.apiserver.ports import Tree
from kutter.base.clock import Clock, render_time

GROUP = "authentication.k8s.io"


class TokenReview:
    """Whose token is this, and is it for me?"""

    kind = "TokenReview"

    def __init__(self, authenticator: RequestAuthenticator) -> None:
        self._authenticator = authenticator

    async def review(self, tree: Tree, user: User, namespace: str) -> Tree:
        """``tree`` with its status. Raises 400 without a token."""
        spec = tree.get("spec") or {}
        token = spec.get("token")
        if not token:
            raise bad_request("token is required for TokenReview in authentication")
        audiences = tuple(spec.get("audiences") or ())
        verified = await self._authenticator.authenticate_token(token, audiences)
        if verified is None:
            tree["status"] = {"user": {}, "error": "invalid bearer token"}
        else:
            found = with_authenticated(verified.user)
            status: Tree = {"authenticated": True, "user": found.to_user_info()}
            if verified.audiences:
                status["audiences"] = list(verified.audiences)
            tree["status"] = status
        return tree


class SelfSubjectReview:
    """Who am I?"""

    kind = "SelfSubjectReview"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def review(self, tree: Tree, user: User, namespace: str) -> Tree:
        metadata = {**(tree.get("metadata") or {})}
        metadata["creationTimestamp"] = render_time(self._clock.now())
        tree["metadata"] = metadata
        tree["status"] = {"userInfo": user.to_user_info()}
        return tree
