"""SPDY/3.1 connections, both sides: many byte streams over one upgraded connection.

Between a ByteStream and Go's moby/spdystream as kubectl and client-go use it: there is no flow
control, so a stream nobody reads holds up its connection (bounded at ``STREAM_BYTES``), as it
does there. Use ``async with``; leaving ends the streams and closes the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from kutter.base.log import get_logger
from kutter.base.tasks import Scope
from kutter.http.messages import ByteStream
from kutter.http.spdy_frames import Decoder, Encoder, Frame, Kind, Reset, SpdyError

PROTOCOL = "SPDY/3.1"
STREAM_BYTES = 1024 * 1024
_STREAMS_LIMIT = 2048
_CHUNK_BYTES = 64 * 1024
_OPEN_TIMEOUT_S = 30.0

_log = get_logger("http.spdy")


class SpdyStream:
    """One stream: a :class:`~kutter.http.messages.ByteStream` with headers."""

    def __init__(
        self, connection: SpdyConnection, stream_id: int, headers: Mapping[str, str]
    ) -> None:
        self.id = stream_id
        self.headers = headers
        self._connection = connection
        self._chunks: deque[bytes] = deque()
        self.buffered = 0
        self.remote_done = False
        self.local_done = False
        self.was_reset = False
        self.replied = connection.loop.create_future()
        self._readable: asyncio.Future[None] | None = None
        self.room = asyncio.Event()
        self.room.set()

    async def read(self, limit: int = 65536) -> bytes:
        """Some bytes; ``b""`` when the peer finished or reset the stream."""
        while not self._chunks:
            if self.remote_done:
                return b""
            assert self._readable is None, "two readers on one stream"
            self._readable = self._connection.loop.create_future()
            try:
                await self._readable
            finally:
                self._readable = None
        data = self._chunks.popleft()
        if len(data) > limit:
            self._chunks.appendleft(data[limit:])
            data = data[:limit]
        self.buffered -= len(data)
        if self.buffered < STREAM_BYTES // 2:
            self.room.set()
        return data

    async def write(self, data: bytes) -> None:
        """Send, waiting while the peer is slow. Raises ConnectionError after an end or reset."""
        view = memoryview(data)
        for start in range(0, len(data), _CHUNK_BYTES):
            if self.local_done or self.was_reset:
                raise ConnectionResetError("the stream is closed")
            part = bytes(view[start : start + _CHUNK_BYTES])
            await self._connection.send(Frame(Kind.DATA, self.id, data=part))

    async def write_eof(self) -> None:
        """Nothing more will be written. Idempotent; never raises for a gone peer."""
        if not self.local_done:
            self.local_done = True
            if not self.was_reset:
                with contextlib.suppress(ConnectionError):
                    await self._connection.send(Frame(Kind.DATA, self.id, fin=True))
            self._connection.forget_if_done(self)

    async def reset(self, reason: int = Reset.CANCEL) -> None:
        """Give the stream up in both directions. Idempotent."""
        if not self.was_reset:
            self.end(reset=True)
            with contextlib.suppress(ConnectionError):
                await self._connection.send(Frame(Kind.RST_STREAM, self.id, number=reason))
            self._connection.forget_if_done(self)

    def close(self) -> None:
        """Reset without waiting; idempotent."""
        if not (self.was_reset or (self.local_done and self.remote_done)):
            self.end(reset=True)
            self._connection.send_later(Frame(Kind.RST_STREAM, self.id, number=Reset.CANCEL))
            self._connection.forget_if_done(self)

    # -- connection side ------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        self._chunks.append(data)
        self.buffered += len(data)
        if self.buffered > STREAM_BYTES:
            self.room.clear()
        self._wake()

    def end(self, *, reset: bool = False) -> None:
        """The peer will send no more."""
        self.remote_done = True
        if reset:
            self.was_reset = self.local_done = True
        self.room.set()
        if not self.replied.done():
            self.replied.set_result(not reset)
        self._wake()

    def _wake(self) -> None:
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)


class SpdyConnection:
    """``accept`` what the peer opens, ``open`` streams of our own."""

    def __init__(self, stream: ByteStream, *, client: bool) -> None:
        self.loop = asyncio.get_running_loop()
        self._stream = stream
        self._client = client
        self._next_id = 1 if client else 2
        self._encoder = Encoder()
        self._decoder = Decoder()
        self._streams: dict[int, SpdyStream] = {}
        self._accepted: asyncio.Queue[SpdyStream | None] = asyncio.Queue(_STREAMS_LIMIT + 1)
        self._last_accepted = 0
        self._scope = Scope("spdy")
        self._closing = False
        self.closed = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._scope.start(self._run(), "reader")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def accept(self) -> SpdyStream | None:
        """The next stream the peer opened (it is already replied to); None when none will come."""
        if self.closed.is_set() and self._accepted.empty():
            return None
        return await self._accepted.get()

    async def open(self, headers: Mapping[str, str]) -> SpdyStream:
        """Open a stream. Raises ConnectionError when refused, TimeoutError without an answer."""
        if self.closed.is_set() or self._closing:
            raise ConnectionResetError("the connection is closed")
        if len(self._streams) >= _STREAMS_LIMIT:
            raise ConnectionError("too many streams on this connection")
        stream = SpdyStream(self, self._next_id, headers)
        self._next_id += 2
        self._streams[stream.id] = stream
        await self.send(Frame(Kind.SYN_STREAM, stream.id, headers=headers))
        async with asyncio.timeout(_OPEN_TIMEOUT_S):
            accepted = await stream.replied
        if not accepted:
            raise ConnectionRefusedError("the stream was refused")
        return stream

    async def close(self) -> None:
        """Say goodbye and close the connection. Idempotent."""
        if not self._closing:
            self._closing = True
            with contextlib.suppress(ConnectionError):
                await self.send(Frame(Kind.GOAWAY, self._last_accepted))
        self._stream.close()
        await self._scope.close()
        self._ended()

    async def send(self, frame: Frame) -> None:
        """Encode and send in one step: header blocks depend on their order."""
        if self.closed.is_set():
            raise ConnectionResetError("the connection is closed")
        await self._stream.write(self._encoder.encode(frame))

    def send_later(self, frame: Frame) -> None:
        """Send from where nothing can be awaited."""
        if not self._closing and not self.closed.is_set():
            self._scope.start(self._send_quietly(frame), "send")

    def forget_if_done(self, stream: SpdyStream) -> None:
        """Both directions are over: late frames of it are dropped."""
        if stream.local_done and stream.remote_done:
            self._streams.pop(stream.id, None)

    async def _send_quietly(self, frame: Frame) -> None:
        with contextlib.suppress(ConnectionError):
            await self.send(frame)

    async def _run(self) -> None:
        try:
            while data := await self._stream.read():
                for frame in self._decoder.feed(data):
                    await self._take(frame)
        except SpdyError as error:
            _log.warning("spdy peer broke the protocol", error=str(error))
            self._stream.close()
        except ConnectionError:
            pass
        finally:
            self._ended()

    def _ended(self) -> None:
        if self.closed.is_set():
            return
        self.closed.set()
        for stream in list(self._streams.values()):
            stream.end(reset=not stream.remote_done)
        self._streams.clear()
        with contextlib.suppress(asyncio.QueueFull):
            self._accepted.put_nowait(None)

    async def _take(self, frame: Frame) -> None:
        kind = frame.kind
        if kind is Kind.DATA:
            stream = self._streams.get(frame.stream_id)
            if stream is None or stream.remote_done:
                return  # late data of a stream that was reset
            if frame.data:
                stream.take(frame.data)
            if frame.fin:
                stream.end()
                self.forget_if_done(stream)
            else:
                await stream.room.wait()
        elif kind is Kind.SYN_STREAM:
            await self._take_stream(frame)
        elif kind is Kind.SYN_REPLY:
            stream = self._streams.get(frame.stream_id)
            if stream is not None and not stream.replied.done():
                stream.replied.set_result(True)
                if frame.fin:
                    stream.end()
        elif kind is Kind.RST_STREAM:
            stream = self._streams.pop(frame.stream_id, None)
            if stream is not None:
                stream.end(reset=True)
        elif kind is Kind.PING and bool(frame.number % 2) != self._client:
            await self.send(frame)  # theirs; the answer to one of ours is not sent back
        # GOAWAY: the peer opens no more; its streams end one by one. HEADERS and WINDOW_UPDATE
        # need nothing: there is no flow control (see above).

    async def _take_stream(self, frame: Frame) -> None:
        stream_id = frame.stream_id
        if bool(stream_id % 2) == self._client or stream_id <= self._last_accepted:
            raise SpdyError(f"unexpected stream id {stream_id}")
        self._last_accepted = stream_id
        if len(self._streams) >= _STREAMS_LIMIT or self._accepted.full():
            await self.send(Frame(Kind.RST_STREAM, stream_id, number=Reset.REFUSED_STREAM))
            return
        stream = SpdyStream(self, stream_id, frame.headers)
        stream.replied.set_result(True)
        self._streams[stream_id] = stream
        if frame.fin:
            stream.end()
        await self.send(Frame(Kind.SYN_REPLY, stream_id))
        self._accepted.put_nowait(stream)
