"""Audit events sent to an HTTP endpoint, in batches, apart from the requests they tell of.

Between the auditor and a collector named by a kubeconfig file. Laws: nothing a request does waits
for the collector; what does not fit into the buffer is dropped and counted; batches go out in
order, throttled, tried again with back-off while the collector cannot be reached.

Upstream: https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/#webhook-backend
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from kutter.apiserver.audit.policy import GROUP_VERSION
from kutter.base.backoff import Backoff
from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.log import get_logger

# Beside upstream's numbers of events, which may be of any size.
BUFFER_BYTES = 64 * 1024 * 1024
BATCH_BYTES = 10 * 1024 * 1024
_HEAD = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",'
_LIST = f'{{"kind":"EventList","apiVersion":"{GROUP_VERSION}","metadata":{{}},"items":['.encode()
_log = get_logger("audit")


class BatchOptions(msgspec.Struct, frozen=True):
    """As upstream's ``--audit-webhook-batch-*`` and ``--audit-webhook-initial-backoff``."""

    buffer_size: int = 10_000
    max_size: int = 400
    max_wait_s: float = 30.0
    throttle: bool = True
    throttle_qps: float = 10.0
    throttle_burst: int = 15
    initial_backoff_s: float = 10.0
    attempts: int = 5


class Collector(Protocol):
    """Where batches go."""

    async def send(self, body: bytes) -> int:
        """POST a JSON body; the status answered. Raises OSError when it cannot be reached."""
        ...

    async def close(self) -> None: ...


class WebhookSink:
    """``take`` buffers, ``run`` sends until cancelled; ``dropped`` is told how many got lost."""

    name = "webhook"

    def __init__(
        self,
        collector: Collector,
        options: BatchOptions | None = None,
        *,
        dropped: Callable[[int], None],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._collector = collector
        self._options = options or BatchOptions()
        self._dropped = dropped
        self._clock = clock
        self._buffer: deque[bytes] = deque()
        self._buffered = 0  # bytes
        self._wanted = asyncio.Event()
        self._full = asyncio.Event()
        self._tokens = float(self._options.throttle_burst)
        self._filled = clock.monotonic()

    def take(self, event: bytes) -> None:
        size = len(event)
        full = len(self._buffer) >= self._options.buffer_size
        if full or self._buffered + size > BUFFER_BYTES:
            self._dropped(1)
            return
        self._buffer.append(event)
        self._buffered += size
        self._wanted.set()
        if len(self._buffer) >= self._options.max_size:
            self._full.set()

    async def run(self) -> None:
        """Send what comes, batch by batch."""
        while True:
            await self._wanted.wait()
            # The first event waits at most this long for company.
            try:
                async with asyncio.timeout(self._options.max_wait_s):
                    await self._full.wait()
            except TimeoutError:
                pass
            await self._throttle()
            await self._deliver(self._next_batch())

    async def close(self) -> None:
        """Send what is left, once, and let go of the collector."""
        try:
            while self._buffer:
                batch = self._next_batch()
                try:
                    await self._collector.send(_as_list(batch))
                except OSError as error:
                    self._dropped(len(batch) + len(self._buffer))
                    _log.error("audit events lost at the end", error=str(error))
                    self._buffer.clear()
                    self._buffered = 0
        finally:
            await self._collector.close()

    def _next_batch(self) -> list[bytes]:
        batch: list[bytes] = []
        left = BATCH_BYTES
        while self._buffer and len(batch) < self._options.max_size:
            left -= len(self._buffer[0])
            if left < 0 and batch:
                break
            batch.append(self._buffer.popleft())
        self._buffered -= sum(map(len, batch))
        if not self._buffer:
            self._wanted.clear()
        if len(self._buffer) < self._options.max_size:
            self._full.clear()
        return batch

    async def _deliver(self, batch: list[bytes]) -> None:
        body = _as_list(batch)
        delays = Backoff(
            initial_s=self._options.initial_backoff_s,
            maximum_s=self._options.initial_backoff_s * 8,
        )
        try:
            for attempt in range(self._options.attempts):
                if attempt:
                    await self._clock.sleep(delays.next())
                try:
                    status = await self._collector.send(body)
                except OSError as error:
                    reason = str(error) or type(error).__name__
                else:
                    if status < 300:
                        return
                    reason = f"the collector answered {status}"
                    if status < 500 and status != 429:
                        break  # it will not take them later either
            _log.error("audit events lost", events=len(batch), error=reason)
            self._dropped(len(batch))
        except asyncio.CancelledError:
            self._buffer.extendleft(reversed(batch))  # for close
            self._buffered += sum(map(len, batch))
            raise

    async def _throttle(self) -> None:
        """Wait for the token bucket's next token."""
        options = self._options
        if not options.throttle:
            return
        now = self._clock.monotonic()
        fresh = (now - self._filled) * options.throttle_qps
        self._tokens = min(float(options.throttle_burst), self._tokens + fresh)
        self._filled = now
        if self._tokens < 1:
            await self._clock.sleep((1 - self._tokens) / options.throttle_qps)
            self._filled = self._clock.monotonic()
            self._tokens = 1.0
        self._tokens -= 1


def _as_list(batch: list[bytes]) -> bytes:
    """An EventList; its items say their kind no more."""
    items = [b"{" + event[len(_HEAD) :] if event.startswith(_HEAD) else event for event in batch]
    return _LIST + b",".join(items) + b"]}"
