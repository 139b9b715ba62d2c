"""Load on an HTTP/1.1 API server: kept connections, one request at a time on each.

The requests are ready-made bytes and answers are only read as far as counting needs: the status,
and how long they are. The driver shares the machine with the server it measures, so what it costs
is part of every rate.
"""

from __future__ import annotations

import asyncio
import gc
import json
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import httptools

from kutter.http.tls_sockets import connect_tls

Tree = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """An API server: where it is and as whom we call it. ``pids`` are its processes, if ours.

    ``node``: call as this node, by impersonation.
    """

    name: str
    host: str
    port: int
    tls: ssl.SSLContext | None
    token: str = ""
    pids: tuple[int, ...] = ()
    node: str = ""

    def request(
        self, method: str, path: str, body: bytes = b"", content_type: str = "application/json"
    ) -> bytes:
        """One request as bytes."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        lines += ["User-Agent: kutter-bench", "Accept: application/json"]
        if self.token:
            lines.append(f"Authorization: Bearer {self.token}")
        if self.node:
            lines.append(f"Impersonate-User: system:node:{self.node}")
            lines.append("Impersonate-Group: system:nodes")
        if body:
            lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


@dataclass
class LoadResult:
    """What one run of a load came to."""

    wall_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    received_bytes: int = 0

    @property
    def count(self) -> int:
        return len(self.latencies_s)

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else 0.0

    @property
    def failed(self) -> int:
        return sum(n for status, n in self.statuses.items() if status >= 400)


P = TypeVar("P", bound=asyncio.Protocol)


async def connect(target: Target, protocol: P) -> P:
    """Connect ``protocol`` to the server. Over TLS by our own transport, which costs the driver
    half of what the loop's does.
    """
    if target.tls is None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: protocol, target.host, target.port)
    else:
        await connect_tls(
            target.host, target.port, target.tls, lambda: protocol, handshake_timeout_s=60.0
        )
    return protocol


_HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\nContent-Length: "


class Lane(asyncio.Protocol):
    """One connection. Asks ``source`` for its next request until there is none.

    An answer that says its length and that its connection stays is counted off; any other (in
    chunks, or without a body) is left to a parser.
    """

    def __init__(self, source: Iterator[bytes], result: LoadResult) -> None:
        self._source = source
        self._result = result
        self._parser = httptools.HttpResponseParser(self)
        self._parsing = False
        self._left = 0  # bytes of an answer that is being counted off
        self._status = 0
        self._sent_s = 0.0
        self._transport: asyncio.Transport
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def start(self) -> None:
        self._send()

    def again(self) -> None:
        """Go on with what the source has by now; ``done`` is new."""
        self.done = asyncio.get_running_loop().create_future()
        self._send()

    def _send(self) -> None:
        request = next(self._source, None)
        if request is None:
            if not self.done.done():
                self.done.set_result(None)
            return
        self._sent_s = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._result.received_bytes += len(data)
        if self._parsing:
            self._parser.feed_data(data)
            return
        left = self._left or self._begin(data)
        if self._parsing:
            self._parser.feed_data(data)
        elif left > len(data):
            self._left = left - len(data)
        elif left == len(data):
            self._left = 0
            self._count(self._status)
        else:
            self._fail(RuntimeError("more was answered than was asked"))

    def _begin(self, data: bytes) -> int:
        """How many bytes the answer has that begins here; 0: the parser will tell."""
        end = data.find(_HEAD_END)
        at = data.find(_LENGTH, 0, end)
        if at < 0 or not data.startswith(b"HTTP/1.1 ") or data.find(b"\r\nConnection:", 0, end) > 0:
            self._parsing = True
            return 0
        at += len(_LENGTH)
        self._status = int(data[9:12])
        return end + len(_HEAD_END) + int(data[at : data.find(b"\r", at)])

    def on_message_complete(self) -> None:
        self._parsing = False
        if not self._parser.should_keep_alive():
            self._fail(ConnectionError("the server closes the connection"))
            return
        self._count(self._parser.get_status_code())

    def _count(self, status: int) -> None:
        result = self._result
        result.latencies_s.append(time.perf_counter() - self._sent_s)
        result.statuses[status] += 1
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or ConnectionError("the server closed the connection"))

    def _fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def close(self) -> None:
        self._transport.abort()


async def run_load(
    target: Target, requests: Iterable[bytes], *, lanes: int, seconds: float = 0.0
) -> LoadResult:
    """Send all requests (or as many as fit in ``seconds``) over ``lanes`` connections."""
    source = iter(requests)
    if seconds:
        source = _until(source, seconds)
    result = LoadResult()
    opened: list[Lane] = []
    for _ in range(lanes):
        opened.append(await connect(target, Lane(source, result)))
    gc.collect()
    gc.disable()
    try:
        started_s = time.perf_counter()
        for lane in opened:
            lane.start()
        await asyncio.gather(*(lane.done for lane in opened))
        result.wall_s = time.perf_counter() - started_s
    finally:
        gc.enable()
        for lane in opened:
            lane.done.cancel()
            lane.close()
    return result


def _until(source: Iterator[bytes], seconds: float) -> Iterator[bytes]:
    end_s = time.perf_counter() + seconds
    for request in source:
        yield request
        if time.perf_counter() >= end_s:
            return


class _Call(asyncio.Protocol):
    """A connection for one call, or for one stream."""

    def __init__(self, request: bytes, on_body: Callable[[bytes], None]) -> None:
        self._request = request
        self.on_body = on_body
        self._raw = False
        self._parser = httptools.HttpResponseParser(self)
        loop = asyncio.get_running_loop()
        self.answered: asyncio.Future[int] = loop.create_future()
        self.finished: asyncio.Future[None] = loop.create_future()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._raw:
            self.on_body(data)
        else:
            self._parser.feed_data(data)

    def stay_raw(self) -> None:
        """From now on hand over what comes as it is, framing and all: parsing a thousand
        streams would cost more than the server's sending them.
        """
        self._raw = True

    def on_headers_complete(self) -> None:
        if not self.answered.done():
            self.answered.set_result(self._parser.get_status_code())

    def on_message_complete(self) -> None:
        if not self.finished.done():
            self.finished.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        for future in (self.answered, self.finished):
            if not future.done():
                future.set_exception(error or ConnectionError("connection lost"))
                future.exception()  # a stream we close ourselves is no error


async def call(target: Target, method: str, path: str, body: Any = None) -> tuple[int, Tree]:
    """One call on a connection of its own: status and decoded answer."""
    chunks: list[bytes] = []
    content = b"" if body is None else json.dumps(body).encode()
    request = target.request(method, path, content)
    protocol = await connect(target, _Call(request, chunks.append))
    await protocol.finished
    protocol.transport.abort()
    text = b"".join(chunks)
    tree = json.loads(text) if text[:1] == b"{" else {"text": text.decode()}
    return protocol.answered.result(), tree


class Kept:
    """One connection for one request after the other, for what a handshake would drown."""

    def __init__(self, lane: Lane, result: LoadResult, queue: deque[bytes]) -> None:
        self._lane, self._result, self._queue = lane, result, queue

    @classmethod
    async def open(cls, target: Target) -> Kept:
        queue: deque[bytes] = deque()
        result = LoadResult()
        source = iter(lambda: queue.popleft() if queue else None, 0)
        lane = await connect(target, Lane(cast("Iterator[bytes]", source), result))
        return cls(lane, result, queue)

    async def send(self, request: bytes) -> None:
        """Send and wait for the answer. Raises RuntimeError unless it is a success."""
        self._result.statuses.clear()
        self._queue.append(request)
        self._lane.again()
        await self._lane.done
        if self._result.failed:
            raise RuntimeError(f"refused: {self._result.statuses}")

    def close(self) -> None:
        self._lane.close()


async def need(target: Target, method: str, path: str, body: Any = None) -> Tree:
    """A call that has to succeed (an object that exists already is fine)."""
    status, tree = await call(target, method, path, body)
    if status >= 400 and status != 409:
        raise RuntimeError(f"{target.name}: {method} {path}: {status} {tree.get('message', '')}")
    return tree


class Stream:
    """An open watch; ``on_body`` is told each piece as it arrives."""

    def __init__(self, protocol: _Call) -> None:
        self._protocol = protocol

    @classmethod
    async def open(
        cls, target: Target, path: str, on_body: Callable[[bytes], None], *, raw: bool = False
    ) -> Stream:
        request = target.request("GET", path)
        protocol = await connect(target, _Call(request, on_body))
        status = await protocol.answered
        if status != 200:
            raise RuntimeError(f"{target.name}: watch {path}: {status}")
        if raw:
            protocol.stay_raw()
        return cls(protocol)

    def close(self) -> None:
        self._protocol.transport.abort()
