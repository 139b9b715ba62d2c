"""The signing keys of an OpenID Connect issuer: discovered, fetched, remembered.

Between an issuer's HTTPS endpoints and who verifies tokens. Laws: one fetch at a time, and none
within ten seconds of the last, whatever tokens come; known keys stay known while a fetch fails;
answers are bounded.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import orjson

from kutter.apiserver.authn.token_keys import InvalidTokenError
from kutter.base.clock import Clock
from kutter.base.log import get_logger

TIMEOUT_S = 30.0
_AGAIN_AFTER_S = 10.0
_KEYS_MAX = 256
_log = get_logger("authn.oidc")


class Fetch(Protocol):
    """GET over HTTPS: the body of a 200 answer. Raises OSError."""

    async def __call__(self, url: str) -> bytes: ...


class IssuerKeys:
    """Keys by their id. ``discovery_url`` empty: where the standard says."""

    def __init__(self, issuer: str, discovery_url: str, fetch: Fetch, clock: Clock) -> None:
        self._issuer = issuer
        self._discovery_url = discovery_url or (
            issuer.rstrip("/") + "/.well-known/openid-configuration"
        )
        self._fetch = fetch
        self._clock = clock
        self._jwks_uri = ""
        self._keys: list[dict[str, Any]] = []
        self._tried: float | None = None
        self._turn = asyncio.Lock()

    async def keys_for(self, key_id: str, algorithm: str) -> list[Any]:
        """The public keys a token may be signed with. Raises InvalidTokenError."""
        found = self._find(key_id, algorithm)
        if not found:
            await self._refresh(key_id)
            found = self._find(key_id, algorithm)
        if not found and not self._keys:
            raise InvalidTokenError(f"the keys of {self._issuer} are not known yet")
        return found

    def _find(self, key_id: str, algorithm: str) -> list[Any]:
        import jwt

        found = []
        for key in self._keys:
            if key.get("use") not in (None, "", "sig") or key.get("kty") == "oct":
                continue
            if key_id and key.get("kid") and key["kid"] != key_id:
                continue
            if key.get("alg") and key["alg"] != algorithm:
                continue
            try:
                found.append(jwt.PyJWK.from_dict(key, algorithm=algorithm).key)
            except (jwt.exceptions.PyJWTError, ValueError, TypeError):
                continue  # a key of another kind than the algorithm's
        return found

    async def _refresh(self, key_id: str) -> None:
        """Fetch, unless that was just done. Failures are told in the log."""
        async with self._turn:
            now = self._clock.monotonic()
            if self._tried is not None and now - self._tried < _AGAIN_AFTER_S:
                return
            self._tried = now
            try:
                if not self._jwks_uri:
                    self._jwks_uri = await self._discover()
                self._keys = _keys_of(await self._fetch(self._jwks_uri))
            except (OSError, ValueError) as error:
                _log.warning("issuer's keys not fetched", issuer=self._issuer, error=str(error))
            else:
                _log.info("issuer's keys fetched", issuer=self._issuer, count=len(self._keys))

    async def _discover(self) -> str:
        document = orjson.loads(await self._fetch(self._discovery_url))
        if not isinstance(document, dict) or document.get("issuer") != self._issuer:
            found = document.get("issuer") if isinstance(document, dict) else None
            raise ValueError(f"issuer did not match: expected {self._issuer!r}, got {found!r}")
        uri = document.get("jwks_uri")
        if not isinstance(uri, str) or not uri.startswith("https://"):
            raise ValueError("discovery names no jwks_uri")
        return uri


def _keys_of(body: bytes) -> list[dict[str, Any]]:
    document = orjson.loads(body)
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise ValueError("the key set has no keys")  # noqa: TRY004  (content, not a type)
    return [key for key in keys[:_KEYS_MAX] if isinstance(key, dict)]
