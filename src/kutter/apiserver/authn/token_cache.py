"""Verified tokens, remembered for a few seconds.

Between the bearer header and :class:`TokenVerifier`. Laws: bounded; keyed by digest, so that no
token stays in memory; an entry ends with the token, after ten seconds, or with the deletion of
any object the token is bound to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from kutter.apiserver.authn.service_accounts import TokenVerifier, Verified
from kutter.apiserver.authn.token_keys import InvalidTokenError
from kutter.apiserver.ports import Change, ChangeSink, Reader
from kutter.base.clock import Clock

_TTL_S = 10.0
_ENTRIES_MAX = 4096

_Key = tuple[bytes, tuple[str, ...]]


class CachedTokenVerifier:
    """A :class:`TokenVerifier` that remembers."""

    def __init__(self, verifier: TokenVerifier, *, clock: Clock) -> None:
        self._verifier = verifier
        self._clock = clock
        self._entries: dict[_Key, tuple[float, Verified]] = {}
        self._dependents: dict[tuple[str, str, str], set[_Key]] = {}

    def follow(self, reader: Reader) -> None:
        """Forget tokens as ``reader`` tells of deletions."""
        for resource in ("serviceaccounts", "secrets", "pods", "nodes"):
            reader.on_change(resource, self._watcher_of(resource))

    def verify(self, token: str, audiences: Sequence[str] = ()) -> Verified | None:
        """As :meth:`TokenVerifier.verify`."""
        key = (hashlib.sha256(token.encode()).digest(), tuple(audiences))
        now = self._clock.monotonic()
        entry = self._entries.get(key)
        if entry is not None and now < entry[0] and not _is_over(entry[1], self._clock.now()):
            return entry[1]
        if entry is not None:
            self._drop(key)
            if _is_over(entry[1], self._clock.now()):
                raise InvalidTokenError("token is expired")
        verified = self._verifier.verify(token, audiences)
        if verified is not None:
            self._keep(key, now + _TTL_S, verified)
        return verified

    def _keep(self, key: _Key, until: float, verified: Verified) -> None:
        if len(self._entries) >= _ENTRIES_MAX:
            self._entries.clear()
            self._dependents.clear()
        self._entries[key] = (until, verified)
        for dependency in verified.depends_on:
            self._dependents.setdefault(dependency, set()).add(key)

    def _drop(self, key: _Key) -> None:
        entry = self._entries.pop(key, None)
        for dependency in entry[1].depends_on if entry else ():
            keys = self._dependents.get(dependency)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._dependents[dependency]

    def _watcher_of(self, resource: str) -> ChangeSink:
        def changed(changes: list[Change]) -> None:
            if not self._dependents:
                return
            for change in changes:
                if change.type == "DELETED":
                    name = (resource, change.current.namespace, change.current.name)
                    for key in list(self._dependents.get(name, ())):
                        self._drop(key)

        return changed


def _is_over(verified: Verified, now: datetime) -> bool:
    return verified.expires is not None and verified.expires <= now
