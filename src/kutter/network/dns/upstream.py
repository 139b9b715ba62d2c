"""Asks the servers of ``resolv.conf``: between the name server and the world outside.

Laws: every question has its own socket (a port the kernel picks at random) and a random id, and
an answer counts only with that id and that question, from that server. Equal questions under
way share one exchange; so even a forwarding loop through ourselves is one question that times
out, never a storm. A truncated answer is fetched again over TCP.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.tasks import Scope
from kutter.network.dns.cache import AnswerCache
from kutter.network.dns.codec import (
    NO_SUCH_NAME,
    OK,
    QR,
    TRUNCATED,
    DnsFormatError,
)

Server = tuple[str, int]
_ATTEMPT_TIMEOUTS_S = (1.0, 2.0)
_TCP_TIMEOUT_S = 3.0
_MAXIMUM_SERVERS = 3  # as resolv.conf(5)
_MAXIMUM_IN_FLIGHT = 1000
_RELOAD_AFTER_S = 5.0


class UpstreamError(Exception):
    """No server gave an answer."""


def parse_resolv_conf(text: str, *, exclude: Collection[str] = ()) -> list[Server]:
    """The name servers, without ourselves."""
    servers: list[Server] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and words[1] not in exclude:
            servers.append((words[1], 53))
    return servers[:_MAXIMUM_SERVERS]


class _Exchange(asyncio.DatagramProtocol):
    def __init__(self, accept: Callable[[bytes], bool]) -> None:
        self._accept = accept
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, peer: object) -> None:
        if not self.answer.done() and self._accept(data):
            self.answer.set_result(data)

    def error_received(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.answer.done():
            self.answer.cancel()


class Upstream:
    """``servers`` fixed, or read from ``resolv_conf`` and again when that file changes."""

    def __init__(
        self,
        *,
        servers: Sequence[Server] | None = None,
        resolv_conf: Path = Path("/etc/resolv.conf"),
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._fixed = list(servers) if servers is not None else None
        self._path = resolv_conf
        self._clock = clock
        self._own: frozenset[str] = frozenset()
        self._servers: list[Server] = []
        self._read_at = float("-inf")
        self._stamp: tuple[int, int] | None = None
        self._preferred = 0
        self._cache = AnswerCache(clock)
        self._in_flight: dict[tuple[bytes, bytes], asyncio.Task[bytes]] = {}
        self._scope = Scope("dns-upstream")

    def exclude(self, addresses: Collection[str]) -> None:
        """Never ask these: they are our own."""
        self._own = frozenset(addresses)
        self._read_at, self._stamp = float("-inf"), None

    def servers(self) -> list[Server]:
        """Whom we would ask now."""
        if self._fixed is not None:
            return [server for server in self._fixed if server[0] not in self._own]
        now = self._clock.monotonic()
        if now - self._read_at > _RELOAD_AFTER_S:
            self._read_at = now
            try:
                status = self._path.stat()
                stamp = (status.st_mtime_ns, status.st_ino)
                if stamp != self._stamp:
                    text = self._path.read_text(errors="replace")
                    self._servers = parse_resolv_conf(text, exclude=self._own)
                    self._stamp = stamp
                    self._cache.clear()
            except OSError:
                self._servers, self._stamp = [], None
        return self._servers

    async def ask(self, query: bytes, question_end: int) -> bytes:
        """The answer to a whole query message, with that query's id. Raises UpstreamError.

        ``question_end`` is where the (single) question ends.
        """
        question = query[12:question_end]
        # What follows the question (EDNS) and the flags are part of what was asked.
        key = (question.lower(), query[2:4] + query[question_end:])
        data = self._cache.get(key)
        if data is None:
            data = await self._ask_shared(key, query, question_end)
        return query[:2] + data[2:12] + question + data[question_end:]

    async def _ask_shared(self, key: tuple[bytes, bytes], query: bytes, question_end: int) -> bytes:
        task = self._in_flight.get(key)
        if task is None:
            if len(self._in_flight) >= _MAXIMUM_IN_FLIGHT:
                raise UpstreamError("too many questions under way")
            task = self._scope.start(self._collect(key, query, question_end), "question")
            self._in_flight[key] = task
            task.add_done_callback(lambda _: self._in_flight.pop(key, None))
        outcome = await asyncio.shield(task)
        if not outcome:
            raise UpstreamError("no server answered")
        return outcome

    async def _collect(self, key: tuple[bytes, bytes], query: bytes, question_end: int) -> bytes:
        """Empty when nobody answered: the failure belongs to those who wait, not the scope."""
        data = await self._ask_each(query, question_end)
        try:
            if data:
                self._cache.put(key, data)
        except DnsFormatError:
            return b""
        return data

    async def _ask_each(self, query: bytes, question_end: int) -> bytes:
        servers = self.servers()
        refusal = b""
        for timeout_s in _ATTEMPT_TIMEOUTS_S:
            for offset in range(len(servers)):
                index = (self._preferred + offset) % len(servers)
                try:
                    data = await self._ask_one(servers[index], query, question_end, timeout_s)
                except (OSError, TimeoutError, EOFError):
                    continue
                if data[3] & 0xF in (OK, NO_SUCH_NAME):
                    self._preferred = index
                    return data
                refusal = data
            if refusal:
                break
        return refusal

    async def _ask_one(
        self, server: Server, query: bytes, question_end: int, timeout_s: float
    ) -> bytes:
        identity = secrets.token_bytes(2)
        query = identity + query[2:]
        folded = query[12:question_end].lower()

        def accept(data: bytes) -> bool:
            return (
                len(data) >= question_end
                and data[:2] == identity
                and data[2] & (QR >> 8) != 0
                and data[4:6] == b"\0\1"
                and data[12:question_end].lower() == folded
            )

        loop = asyncio.get_running_loop()
        transport, exchange = await loop.create_datagram_endpoint(
            lambda: _Exchange(accept), remote_addr=server
        )
        try:
            transport.sendto(query)
            async with asyncio.timeout(timeout_s):
                data = await exchange.answer
        finally:
            transport.close()
        if data[2] & (TRUNCATED >> 8):
            return await self._ask_tcp(server, query, accept)
        return data

    async def _ask_tcp(
        self, server: Server, query: bytes, accept: Callable[[bytes], bool]
    ) -> bytes:
        async with asyncio.timeout(_TCP_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(*server)
            try:
                writer.write(struct.pack("!H", len(query)) + query)
                length = struct.unpack("!H", await reader.readexactly(2))[0]
                data = await reader.readexactly(length)
            finally:
                writer.close()
        if not accept(data):
            raise ConnectionError("answer to another question")
        return data

    async def close(self) -> None:
        await self._scope.close()
