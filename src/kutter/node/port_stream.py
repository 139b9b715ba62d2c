"""A forwarded port of a sandbox as a ByteStream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable


class PortStream:
    """The three functions :meth:`ContainerRuntime.connect_port` answers, as one stream."""

    def __init__(
        self,
        read: Callable[[int], Awaitable[bytes]],
        write: Callable[[bytes], Awaitable[None]],
        close: Callable[[], None],
    ) -> None:
        self._read = read
        self._write = write
        self._close = close

    async def read(self, limit: int = 65536) -> bytes:
        return await self._read(limit)

    async def write(self, data: bytes) -> None:
        await self._write(data)

    async def write_eof(self) -> None:
        """The near end sends no more: a program that reads to the end must see it, and answer."""
        await self._write(b"")

    def close(self) -> None:
        self._close()
