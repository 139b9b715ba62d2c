"""How a client reaches an API server: one protocol, two implementations (local, HTTP)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

import msgspec

from kutter.http.messages import ByteStream

Query = Sequence[tuple[str, str]]


class Answer(msgspec.Struct):
    """A complete answer. Header names are lower case."""

    status: int
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: bytes = b""
    warnings: tuple[str, ...] = ()


class StreamAnswer(Protocol):
    """An answer that goes on: iterate ``chunks``; leaving early needs ``close``."""

    status: int
    headers: dict[str, str]

    def chunks(self) -> AsyncIterator[bytes]: ...

    async def close(self) -> None: ...


class Transport(Protocol):
    """Raises ``OSError`` (``ConnectionError``, ``TimeoutError``) when the server is unreachable."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float | None = None,
    ) -> Answer: ...

    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> StreamAnswer: ...

    async def upgrade(
        self,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
    ) -> tuple[dict[str, str], ByteStream]:
        """Raises ApiError when the server answers anything but 101."""

    async def close(self) -> None: ...
