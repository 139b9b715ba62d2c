"""Events: what happened to an object, for people. Written in the background, never in the way.

Equal events (same object, type, reason, message, source) are one object whose ``count`` grows,
as upstream's recorder does. The events of one object are written in the order they were told in,
those of different objects beside each other as far as the recorder may, so that they share commits;
each says when it was told, however long it waited. What waits is bounded; when it is full the event
is dropped and counted, because an event must never stop the work it tells of.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, NamedTuple

from kutter.api.errors import ApiError, is_reason
from kutter.api.resources import Resource
from kutter.api.types.meta_v1 import KubeObject
from kutter.base.clock import SYSTEM_CLOCK, Clock, render_time
from kutter.base.log import get_logger
from kutter.base.tasks import Scope
from kutter.client.client import Client

_log = get_logger("events")

QUEUE_LIMIT = 4096
# Writers at work while more is told all the time, and one more for each so many events that wait:
# enough to keep up before events are dropped.
_WRITERS_MIN = 2
_WAITING_PER_WRITER = 192
# Nothing was told for so long: everybody writes.
_QUIET_S = 0.02
CACHE_LIMIT = 4096
MESSAGE_LIMIT = 1024

EVENTS = Resource(
    group="",
    version="v1",
    plural="events",
    kind="Event",
    namespaced=True,
    verbs=("create", "patch"),
)


def reference_to(view: KubeObject, *, field_path: str = "") -> dict[str, Any]:
    """An ``ObjectReference`` to an object."""
    meta, resource = view.metadata, view.resource
    reference: dict[str, Any] = {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "name": meta.name,
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
    }
    if meta.namespace:
        reference["namespace"] = meta.namespace
    if field_path:
        reference["fieldPath"] = field_path
    return {k: v for k, v in reference.items() if v}


class _Note(NamedTuple):
    """One event on its way to the server."""

    client: Client
    component: str
    reference: dict[str, Any]
    kind: str
    reason: str
    message: str
    at: datetime
    stamp: str


class _Outbox:
    """What waits to be written: a line for each object, whose events are written one by one.

    A line is ready or with a writer, never both, until it is empty. While much happens, few writers
    are at work, more only as more waits: what is told of goes first. Once it is quiet all are, and
    share commits.
    """

    def __init__(self, clock: Clock) -> None:
        self.dropped = 0
        self._clock = clock
        self._told_at = clock.monotonic()
        self._lines: dict[tuple[str, str], deque[_Note]] = {}
        self._ready: deque[tuple[str, str]] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._busy = 0
        self._called = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._waiting = 0
        self._last_number = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def put(self, note: _Note) -> None:
        if self._waiting >= QUEUE_LIMIT:
            self.dropped += 1
            return
        self._waiting += 1
        self._empty.clear()
        reference = note.reference
        # An event is named after its object and the time: by name, whatever the kind.
        about = (reference.get("namespace") or "", reference.get("name") or "")
        line = self._lines.get(about)
        if line is not None:
            line.append(note)
        else:
            self._lines[about] = deque((note,))
            self._ready.append(about)
        self._told_at = self._clock.monotonic()
        self._call()

    def _call(self) -> None:
        """Have as many idle writers come as there is work and room for."""
        while self._idle and len(self._ready) > self._called and self._has_room(self._called):
            call = self._idle.popleft()
            if not call.done():
                self._called += 1
                call.set_result(None)
        self._look_again()

    def _look_again(self) -> None:
        """What waits is not to wait for writers that have stuck."""
        if self._alarm is None and self._idle and len(self._ready) > self._called:
            self._alarm = asyncio.get_running_loop().call_later(_QUIET_S, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._call()

    def number(self, now: datetime) -> int:
        """The time as a number for an event's name; no two are the same."""
        self._last_number = max(self._last_number + 1, int(now.timestamp() * 1e9))
        return self._last_number

    def _has_room(self, called: int = 0) -> bool:
        busy = self._busy + called
        if busy < _WRITERS_MIN or busy < self._waiting // _WAITING_PER_WRITER:
            return True
        return self._clock.monotonic() - self._told_at >= _QUIET_S

    async def serve(self, write: Callable[[_Note], Awaitable[None]]) -> None:
        """Write line after line until cancelled. What ``write`` raises ends this; its note is
        lost, and its line goes on with another writer.
        """
        while True:
            while not (self._ready and self._has_room()):
                await self._be_called()
            about = self._ready.popleft()
            line = self._lines[about]
            self._busy += 1
            try:
                await write(line[0])
            finally:
                self._busy -= 1
                line.popleft()
                if line:
                    self._ready.append(about)
                else:
                    del self._lines[about]
                self._waiting -= 1
                if not self._waiting:
                    self._empty.set()
            self._call()

    async def _be_called(self) -> None:
        call = asyncio.get_running_loop().create_future()
        self._idle.append(call)
        self._look_again()
        try:
            await call
        finally:
            if not call.cancelled():
                self._called -= 1
            elif call in self._idle:
                self._idle.remove(call)

    async def wait_empty(self) -> None:
        await self._empty.wait()


class EventRecorder:
    """``recorder.event(pod, "Normal", "Started", "Started container web")``.

    ``writers`` events are on their way at a time. More than one is for a client that needs no
    connection for each.
    """

    def __init__(
        self,
        client: Client,
        component: str,
        *,
        host: str = "",
        clock: Clock = SYSTEM_CLOCK,
        writers: int = 1,
    ) -> None:
        self._client = client
        self._component = component
        self._host = host
        self._clock = clock
        self._writers = writers
        self._known: OrderedDict[str, tuple[str, int]] = OrderedDict()  # key -> (name, count)
        self._outbox = _Outbox(clock)  # shared by every named twin

    @property
    def dropped(self) -> int:
        """How many events were dropped because too many waited."""
        return self._outbox.dropped

    def named(self, component: str, client: Client | None = None) -> EventRecorder:
        """The same recorder (queue, counts) speaking for another component, through its own
        ``client`` where it has one.
        """
        other = copy.copy(self)
        other._component = component
        other._client = client or self._client
        return other

    def event(
        self,
        about: KubeObject | dict[str, Any],
        kind: str,
        reason: str,
        message: str,
        *,
        field_path: str = "",
    ) -> None:
        """Record an event of ``kind`` Normal or Warning about a view or an ObjectReference."""
        reference = (
            reference_to(about, field_path=field_path) if isinstance(about, KubeObject) else about
        )
        now = self._clock.now()
        self._outbox.put(
            _Note(
                self._client,
                self._component,
                reference,
                kind,
                reason,
                message[:MESSAGE_LIMIT],
                now,
                # Now, as everybody renders now: a time of a while ago is made anew each time.
                render_time(now),
            )
        )

    async def run(self) -> None:
        """Write events until cancelled."""
        async with Scope("events") as scope:
            for number in range(self._writers):
                scope.start(self._outbox.serve(self._send), f"writer-{number}")
            await scope.wait_failed()

    async def drain(self) -> None:
        """Wait until everything recorded so far is written."""
        await self._outbox.wait_empty()

    async def _send(self, note: _Note) -> None:
        try:
            await self._write(note)
        except (ApiError, OSError, TimeoutError) as error:
            _log.debug("event not written", reason=note.reason, error=str(error))

    async def _write(self, note: _Note) -> None:
        reference = note.reference
        about = ("kind", "namespace", "name", "uid", "fieldPath")
        parts = (
            *(str(reference.get(k, "")) for k in about),
            note.component,
            note.kind,
            note.reason,
            note.message,
        )
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        namespace = reference.get("namespace") or "default"
        stamp = note.stamp
        if key in self._known and await self._count(note.client, key, namespace, stamp):
            return
        name = f"{reference.get('name', '')}.{self._outbox.number(note.at):x}"
        source: dict[str, Any] = {"component": note.component}
        if self._host:
            source["host"] = self._host
        tree: dict[str, Any] = {
            "kind": "Event",
            "apiVersion": "v1",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": reference,
            "reason": note.reason,
            "message": note.message,
            "source": source,
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
            "type": note.kind,
            "reportingComponent": note.component,
            "reportingInstance": self._host,
        }
        await note.client.create(EVENTS, tree, namespace)
        self._known[key] = (name, 1)
        while len(self._known) > CACHE_LIMIT:
            self._known.popitem(last=False)

    async def _count(self, client: Client, key: str, namespace: str, stamp: str) -> bool:
        """Count an event up that was written before; False when it is gone by now."""
        name, count = self._known[key]
        body: dict[str, Any] = {"count": count + 1, "lastTimestamp": stamp}
        try:
            await client.patch(EVENTS, name, body, namespace, kind="merge")
        except ApiError as error:
            if not is_reason(error, "NotFound"):
                raise
            self._known.pop(key, None)
            return False
        self._known[key] = (name, count + 1)
        self._known.move_to_end(key)
        return True
