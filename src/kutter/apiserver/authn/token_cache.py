"""Verified tokens, remembered for a few seconds.

Between the bearer header and :class:`TokenVerifier`. Laws: bounded; keyed by digest, so that no
token stays in memory; an entry ends with the token, after ten seconds, or with the deletion of
any object the token is bound to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from kutter.apiserver.authn.service_accounts import TokenVerifier, Verified
from kutter.apiserver.authn.token_keys import InvalidTokenError
from kutter.apiserver.ports import Change, ChangeSink, Reader
from kutter.base.clock import Clock

_TTL_S = 10.0
_ENTRIES_MAX = 4096

_Key = tuple[bytes, tuple[str, ...]]


class _Lease:
    """For how long a verified token is not verified again."""

    __slots__ = ("_clock", "_expires", "_until", "ended")

    def __init__(self, clock: Clock, verified: Verified) -> None:
        self._clock = clock
        self._until = clock.monotonic() + _TTL_S
        self._expires = verified.expires
        self.ended = False

    def holds(self) -> bool:
        if self.ended or self._clock.monotonic() >= self._until:
            return False
        return self._expires is None or self._clock.now() < self._expires


class CachedTokenVerifier:
    """A :class:`TokenVerifier` that remembers."""

    def __init__(self, verifier: TokenVerifier, *, clock: Clock) -> None:
        self._verifier = verifier
        self._clock = clock
        self._entries: dict[_Key, tuple[_Lease, Verified]] = {}
        self._dependents: dict[tuple[str, str, str], set[_Key]] = {}

    def follow(self, reader: Reader) -> None:
        """Forget tokens as ``reader`` tells of deletions."""
        for resource in ("serviceaccounts", "secrets", "pods", "nodes"):
            reader.on_change(resource, self._watcher_of(resource))

    def verify(self, token: str, audiences: Sequence[str] = ()) -> Verified | None:
        """As :meth:`TokenVerifier.verify`; the answer may be used again while it ``holds``."""
        key = (hashlib.sha256(token.encode()).digest(), tuple(audiences))
        entry = self._entries.get(key)
        if entry is not None:
            lease, verified = entry
            if lease.holds():
                return verified
            self._drop(key)
            if _is_over(verified, self._clock.now()):
                raise InvalidTokenError("token is expired")
        fresh = self._verifier.verify(token, audiences)
        return None if fresh is None else self._keep(key, fresh)

    def _keep(self, key: _Key, verified: Verified) -> Verified:
        if len(self._entries) >= _ENTRIES_MAX:
            for lease, _ in self._entries.values():
                lease.ended = True  # nobody would end it any more
            self._entries.clear()
            self._dependents.clear()
        lease = _Lease(self._clock, verified)
        verified = replace(verified, holds=lease.holds)
        self._entries[key] = (lease, verified)
        for dependency in verified.depends_on:
            self._dependents.setdefault(dependency, set()).add(key)
        return verified

    def _drop(self, key: _Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        lease, verified = entry
        lease.ended = True
        for dependency in verified.depends_on:
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
