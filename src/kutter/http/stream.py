"""Between an asyncio transport and :class:`~kutter.http.messages.ByteStream`.

An upgraded connection, of either side. Reading is bounded: past ``HIGH_BYTES`` unread bytes the
transport stops reading, so the peer feels the back-pressure. Writing waits while the
transport's own buffer is full.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import cast

HIGH_BYTES = 256 * 1024
LOW_BYTES = 64 * 1024


def detect_dead_peer(transport: asyncio.BaseTransport) -> None:
    """Let the kernel notice a peer that vanished without a word, within about two minutes."""
    raw = transport.get_extra_info("socket")
    if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)


class TransportStream(asyncio.Protocol):
    """A full-duplex byte connection over a transport; give it what was read too early."""

    def __init__(self, early: bytes = b"") -> None:
        self._buffer = bytearray(early)
        self._eof = False
        self._lost: BaseException | None = None
        self._reader: asyncio.Future[None] | None = None
        self._drain: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._reading = True
        # Asked once: asyncio's TLS transport cannot be asked any more while it is closing.
        self._tls = False
        self._closed = asyncio.get_running_loop().create_future()

    def adopt(self, transport: asyncio.Transport) -> None:
        """Take over an open transport from another protocol."""
        self._transport = transport
        if transport.is_closing():
            self._eof = True
        else:
            self._tls = transport.get_extra_info("ssl_object") is not None
        transport.set_protocol(self)
        transport.resume_reading()

    # -- transport side -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._tls = transport.get_extra_info("ssl_object") is not None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._reading and len(self._buffer) > HIGH_BYTES and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._eof = True
        self._wake()
        return self._transport is not None and not self._tls

    def connection_lost(self, exc: Exception | None) -> None:
        self._eof = True
        self._lost = exc or ConnectionResetError("the connection is closed")
        self._wake()
        if self._drain is not None and not self._drain.done():
            self._drain.set_result(None)
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        if self._drain is None:
            self._drain = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        drain, self._drain = self._drain, None
        if drain is not None and not drain.done():
            drain.set_result(None)

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # -- stream side ----------------------------------------------------------------------

    async def read(self, limit: int = 65536) -> bytes:
        """Some bytes, at most ``limit``; ``b""`` at the peer's end. One reader at a time."""
        while not self._buffer:
            if self._eof:
                return b""
            assert self._reader is None, "two readers on one stream"
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        if len(self._buffer) <= limit:
            data = bytes(self._buffer)
            self._buffer.clear()
        else:
            data = bytes(self._buffer[:limit])
            del self._buffer[:limit]
        if not self._reading and len(self._buffer) < LOW_BYTES and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Send, waiting while the peer is slow. Raises ConnectionError."""
        transport = self._transport
        if self._lost is not None or transport is None or transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        transport.write(data)
        if self._drain is not None:
            await asyncio.shield(self._drain)
            if self._lost is not None:
                raise ConnectionResetError("the connection is closed")

    async def write_eof(self) -> None:
        """Half-close where the transport can (TLS cannot: closes)."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if not self._tls and transport.can_write_eof():
            try:
                transport.write_eof()
            except OSError:
                transport.close()
        else:
            transport.close()

    def close(self) -> None:
        """Close at once (what was written is still flushed); idempotent."""
        if self._transport is not None:
            self._transport.close()
            if not self._reading:
                # A paused transport would never see the peer go.
                self._reading = True

    def abort(self) -> None:
        """Close without flushing."""
        if self._transport is not None:
            self._transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the transport is gone."""
        await asyncio.shield(self._closed)
