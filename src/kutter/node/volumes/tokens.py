"""Service account tokens for projected volumes: asked for, kept, renewed at 80 % of their life.

https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
"""

from __future__ import annotations

from dataclasses import dataclass

from kutter.api.errors import ApiError
from kutter.api.types.core_v1 import Pod, ServiceAccount
from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.client.client import Client
from kutter.node.moments import to_seconds
from kutter.node.volumes.payload import PayloadError, TokenNeed

RENEW_AT = 0.8
RENEW_AFTER_S = 24 * 3600.0


@dataclass(slots=True)
class _Token:
    token: bytes
    renew_at: float
    expires_at: float


class PodTokens:
    """The tokens of one pod."""

    def __init__(self, client: Client, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._client = client
        self._clock = clock
        self._tokens: dict[tuple[str, int], _Token] = {}

    async def fetch(self, pod: Pod, needs: list[TokenNeed]) -> dict[str, bytes]:
        """Valid tokens by path; a token that cannot be renewed is used until it expires."""
        found: dict[str, bytes] = {}
        for need in needs:
            key = (need.audience, need.expiration_s)
            token = self._tokens.get(key)
            now = self._clock.now().timestamp()
            if token is None or now >= token.renew_at:
                try:
                    token = self._tokens[key] = await self._request(pod, need)
                except (ApiError, OSError, TimeoutError) as error:
                    if token is None or now >= token.expires_at:
                        raise PayloadError(f"failed to fetch token: {error}") from error
                    token.renew_at = now + 30.0
            found[need.path] = token.token
        return found

    @property
    def renew_at(self) -> float:
        """When the next token wants renewing; 0 when there is none."""
        return min((t.renew_at for t in self._tokens.values()), default=0.0)

    async def _request(self, pod: Pod, need: TokenNeed) -> _Token:
        meta = pod.metadata
        spec: dict[str, object] = {
            "expirationSeconds": need.expiration_s,
            "boundObjectRef": {
                "kind": "Pod",
                "apiVersion": "v1",
                "name": meta.name,
                "uid": meta.uid,
            },
        }
        if need.audience:
            spec["audiences"] = [need.audience]
        body = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": spec}
        account = pod.spec.service_account_name or "default"
        answer = await self._client.create(
            ServiceAccount, body, meta.namespace, name=account, subresource="token"
        )
        status = answer["status"]
        now = self._clock.now().timestamp()
        expires = to_seconds(status["expirationTimestamp"])
        renew = now + min((expires - now) * RENEW_AT, RENEW_AFTER_S)
        return _Token(status["token"].encode(), renew, expires)
