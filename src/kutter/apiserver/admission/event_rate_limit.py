"""Who writes too many events is told to wait (EventRateLimit). Off by default.

Buckets of tokens: for the whole server, for each namespace, user, or source and object; the
least recently used go first when there are too many.
https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#eventratelimit
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from kutter.api.errors import ApiError
from kutter.apiserver.admission.plugin import Plugin
from kutter.apiserver.ports import AdmissionRequest, Operation, Tree
from kutter.base.clock import SYSTEM_CLOCK, Clock

LIMIT_TYPES = ("Server", "Namespace", "User", "SourceAndObject")
_CACHE_SIZE = 4096


class EventLimit(msgspec.Struct, frozen=True):
    type: str
    qps: int
    burst: int
    cache_size: int = _CACHE_SIZE


class _Bucket(msgspec.Struct):
    tokens: float
    filled_at: float


class _Limiter:
    """The buckets of one limit."""

    def __init__(self, limit: EventLimit, clock: Clock) -> None:
        self.limit = limit
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def takes(self, key: str) -> bool:
        """Whether there is a token for ``key``; it is gone then."""
        now, limit = self._clock.monotonic(), self.limit
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(float(limit.burst), now)
            while len(self._buckets) > limit.cache_size:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        filled = bucket.tokens + (now - bucket.filled_at) * limit.qps
        bucket.tokens, bucket.filled_at = min(float(limit.burst), filled), now
        if bucket.tokens < 1.0:
            return False
        bucket.tokens -= 1.0
        return True


class EventRateLimit(Plugin):
    name = "EventRateLimit"

    def __init__(self, limits: Sequence[EventLimit] = (), clock: Clock = SYSTEM_CLOCK) -> None:
        self._limiters = [_Limiter(limit, clock) for limit in limits]

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource in ("events", "events.events.k8s.io") and operation in ("CREATE", "UPDATE")

    async def validate(self, request: AdmissionRequest) -> None:
        if request.dry_run:
            return
        full = [
            f"limit reached on type {limiter.limit.type} for key {key}"
            for limiter in self._limiters
            if not limiter.takes(key := _key(limiter.limit.type, request))
        ]
        if full:
            text = full[0] if len(full) == 1 else f"[{', '.join(full)}]"
            raise ApiError(429, "TooManyRequests", text, details={"retryAfterSeconds": 0})


def _key(kind: str, request: AdmissionRequest) -> str:
    match kind:
        case "Namespace":
            return request.namespace
        case "User":
            return request.user.name
        case "SourceAndObject":
            return _source_and_object(request.object or {})
        case _:
            return ""


def _source_and_object(event: Tree) -> str:
    source = event.get("source") or {}
    about = event.get("involvedObject") or {}
    fields = ("kind", "namespace", "name", "uid", "apiVersion")
    parts = [source.get("component"), source.get("host"), *(about.get(name) for name in fields)]
    return "".join(part or "" for part in parts)
