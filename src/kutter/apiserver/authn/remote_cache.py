"""What somebody else said about a token, remembered for a while.

Between the authenticator and those kinds of tokens that take asking. Bounded; keyed by digest, so
that no token stays in memory; an entry ends with its token. Equal questions at the same time are
asked once.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

from kutter.apiserver.authn.authenticator import RemoteAuthenticator
from kutter.apiserver.authn.service_accounts import Verified
from kutter.apiserver.authn.token_keys import InvalidTokenError
from kutter.base.clock import Clock

_ENTRIES_MAX = 4096
_Key = tuple[bytes, tuple[str, ...]]


class CachedRemote:
    """Answers are kept for ``ttl_s``; also a plain "no" for ``refused_ttl_s``, never a failure."""

    def __init__(
        self,
        inner: RemoteAuthenticator,
        *,
        ttl_s: float,
        refused_ttl_s: float = 0.0,
        clock: Clock,
    ) -> None:
        self._inner = inner
        self._ttl_s = ttl_s
        self._refused_ttl_s = refused_ttl_s
        self._clock = clock
        self._entries: dict[_Key, tuple[float, Verified | None]] = {}
        self._asking: dict[_Key, asyncio.Future[Verified | None]] = {}

    async def verify(self, token: str, audiences: Sequence[str] = ()) -> Verified | None:
        """As the inner one's. Raises InvalidTokenError."""
        key = (hashlib.sha256(token.encode()).digest(), tuple(audiences))
        entry = self._entries.get(key)
        if entry is not None:
            until, verified = entry
            over = verified is not None and (
                verified.expires is not None and verified.expires <= self._clock.now()
            )
            if self._clock.monotonic() < until and not over:
                return verified
            del self._entries[key]
        asking = self._asking.get(key)
        if asking is not None:
            return await asyncio.shield(asking)
        return await self._ask(key, token, audiences)

    async def _ask(self, key: _Key, token: str, audiences: Sequence[str]) -> Verified | None:
        future: asyncio.Future[Verified | None] = asyncio.get_running_loop().create_future()
        self._asking[key] = future
        try:
            verified = await self._inner.verify(token, audiences)
        except BaseException as error:
            told = error if isinstance(error, Exception) else InvalidTokenError("not answered")
            future.set_exception(told)
            future.exception()  # nobody may have been waiting
            raise
        finally:
            del self._asking[key]
        future.set_result(verified)
        ttl_s = self._ttl_s if verified is not None else self._refused_ttl_s
        if ttl_s > 0:
            if len(self._entries) >= _ENTRIES_MAX:
                self._entries.clear()
            self._entries[key] = (self._clock.monotonic() + ttl_s, verified)
        return verified
