"""Plain request and response values: all that code above the HTTP layer sees."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

import msgspec


class ByteStream(Protocol):
    """A full-duplex byte connection after an upgrade (bytes already read included)."""

    async def read(self, limit: int = 65536) -> bytes:
        """Some bytes; ``b""`` at the peer's end."""

    async def write(self, data: bytes) -> None:
        """Send, waiting while the peer is slow. Raises ConnectionError."""

    async def write_eof(self) -> None:
        """Half-close where the transport can (TLS cannot: closes)."""

    def close(self) -> None:
        """Close at once; idempotent."""


class PeerCertificate(msgspec.Struct):
    """The verified client certificate, DER.

    ``for_client``: an authority of clients vouches for it; ``for_proxy``: one of proxies that may
    speak for others does. One of them at least.
    """

    der: bytes
    for_client: bool = True
    for_proxy: bool = False


# Structs rather than dataclasses: they are made in C, and every request makes several.
class Request(msgspec.Struct):
    """One request, body complete. Header names are lower case.

    ``header_list`` has all lines but the body's length, which ``body`` says.
    ``peer_certificate`` is set only when it was verified; ``refused_certificate`` says why the
    one that was given does not hold.
    """

    method: str
    path: str  # percent-decoded, without the query
    raw_query: str = ""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: bytes = b""
    peer_certificate: PeerCertificate | None = None
    remote_address: str = ""
    raw_path: str = ""
    header_list: list[tuple[str, str]] = msgspec.field(default_factory=list)
    # Set by the client's local transport only, never from the wire: who calls. See
    # kutter.apiserver.authn.identity.User.
    local_user: object | None = None
    refused_certificate: str = ""
    # Set while the connection sends one header block again and again: what readers of headers made
    # of them, by reader. It lives as long as the block is sent; None: nothing is to be remembered.
    remembered: dict[object, Any] | None = None
    _query: list[tuple[str, str]] | None = None

    @property
    def query(self) -> list[tuple[str, str]]:
        """Query parameters in order, decoded."""
        if self._query is None:
            self._query = parse_qsl(self.raw_query, keep_blank_values=True)
        return self._query

    def param(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        for key, value in self.query:
            if key == name:
                return value
        return default

    def params(self, name: str) -> list[str]:
        """All values of a query parameter."""
        return [value for key, value in self.query if key == name]


UpgradeHandler = Callable[[ByteStream], Awaitable[None]]
Push = Callable[[bytes | None], bool]


class PushStream(Protocol):
    """A stream that can hand over its items as they come, without anybody being woken."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def attach(self, push: Push | None) -> None:
        """While its reader waits for an item, the stream may give it to ``push`` instead; False
        from there means: not taken, wake the reader. ``push(None)`` at any time gives up a client
        that does not read. ``attach(None)``: no more.
        """


class Response(msgspec.Struct):
    """One answer. Exactly one of ``body``, ``stream``, ``upgrade`` is used.

    * ``body``: sent with Content-Length.
    * ``stream``: sent chunked (or whole, if ``headers`` have its Content-Length); each item
      flushed at once; ``aclose()``d when the client goes - perhaps before its first item, when
      a generator's ``finally`` does not run: acquire inside, or give an object with ``aclose``.
      One with ``attach`` (:class:`PushStream`) may push.
    * ``upgrade``: status 101 is sent with ``headers``, then the handler owns the connection.
    """

    status: int = 200
    headers: list[tuple[str, str]] = msgspec.field(default_factory=list)
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    upgrade: UpgradeHandler | None = None


class ImmutableResponse(Response):
    """An answer that says itself how long it may be kept."""


Handler = Callable[[Request], Awaitable[Response]]


def parse_target(target: str) -> tuple[str, str]:
    """Split a request target into decoded path and raw query."""
    path, _, query = target.partition("?")
    return (unquote(path) if "%" in path else path), query
