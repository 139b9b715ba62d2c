"""Tokens of OpenID Connect issuers.

Between the bearer header, :class:`IssuerKeys` (who signs) and :class:`CompiledRules` (who that is).
Laws: signatures are checked with public keys and the algorithms allowed only, whatever a header
says; claims of time are judged by the server's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from kutter.apiserver.authn.claim_rules import CompiledRules
from kutter.apiserver.authn.issuer_keys import IssuerKeys
from kutter.apiserver.authn.service_accounts import Verified
from kutter.apiserver.authn.token_keys import (
    Claims,
    InvalidTokenError,
    looks_like_jwt,
    unverified_issuer,
)
from kutter.base.clock import Clock

ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "ES256",
    "ES384",
    "ES512",
    "PS256",
    "PS384",
    "PS512",
)
_EARLY_S = 300.0
_TOKEN_MAX_BYTES = 64 * 1024


class JwtIssuer:
    """A kind of bearer token: the tokens of one issuer."""

    def __init__(
        self,
        issuer: str,
        keys: IssuerKeys,
        rules: CompiledRules,
        *,
        audiences: Sequence[str],
        api_audiences: Sequence[str],
        algorithms: Sequence[str] = ALGORITHMS,
        clock: Clock,
    ) -> None:
        self.issuer = issuer
        self._keys = keys
        self._rules = rules
        self._audiences = frozenset(audiences)
        self._api_audiences = tuple(api_audiences)
        self._algorithms = tuple(algorithms) or ALGORITHMS
        self._clock = clock

    async def verify(self, token: str, audiences: Sequence[str] = ()) -> Verified | None:
        """None for another issuer's token. Raises InvalidTokenError."""
        if not looks_like_jwt(token) or len(token) > _TOKEN_MAX_BYTES:
            return None
        if unverified_issuer(token) != self.issuer:
            return None
        claims = await self._check_signature(token)
        expires = self._check_times(claims)
        held = claims.get("aud")
        held = [held] if isinstance(held, str) else held
        if not isinstance(held, list) or self._audiences.isdisjoint(map(str, held)):
            raise InvalidTokenError("expected audience is not the token's")
        # The token's audience is the configuration's matter; that of the API server is implied.
        shared = tuple(a for a in (audiences or self._api_audiences) if a in self._api_audiences)
        if not shared:
            raise InvalidTokenError("token is for other audiences")
        user = self._rules.user_of(claims)
        return Verified(user, shared, self._clock.now() + timedelta(seconds=expires), ())

    async def _check_signature(self, token: str) -> Claims:
        import jwt

        try:
            header = jwt.get_unverified_header(token)
        except jwt.exceptions.PyJWTError as error:
            raise InvalidTokenError(f"malformed token: {error}") from error
        algorithm, key_id = header.get("alg"), header.get("kid") or ""
        if algorithm not in self._algorithms:
            raise InvalidTokenError(f"signed with the unsupported algorithm {algorithm!r}")
        for key in await self._keys.keys_for(str(key_id), algorithm):
            found = _decode(token, key, algorithm)
            if found is not None:
                return found
        raise InvalidTokenError("failed to verify signature")

    def _check_times(self, claims: Claims) -> float:
        """Seconds the token still holds."""
        now = self._clock.now().timestamp()
        expires, begins = claims.get("exp"), claims.get("nbf", 0)
        if not isinstance(expires, int | float) or not isinstance(begins, int | float):
            raise InvalidTokenError("token has no life time")
        if expires <= now:
            raise InvalidTokenError("token is expired")
        if begins > now + _EARLY_S:
            raise InvalidTokenError("token is not valid yet")
        return float(expires) - now


_UNJUDGED: Any = {
    "verify_aud": False,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


def _decode(token: str, key: Any, algorithm: str) -> Claims | None:
    import jwt

    try:
        claims: Claims = jwt.decode(token, key, algorithms=[algorithm], options=_UNJUDGED)
    except (jwt.exceptions.PyJWTError, ValueError, TypeError):
        return None
    return claims
