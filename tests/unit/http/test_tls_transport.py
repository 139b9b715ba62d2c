"""TLS over sockets of our own: what a protocol may count on, and what becomes of bad peers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable

from kutter.http.tls import ServerTls, client_context
from kutter.http.tls_sockets import TlsListener, listen_tls
from kutter.http.tls_transport import TlsTransport


class Peer(asyncio.Protocol):
    """The server's end: notes what it is told."""

    def __init__(self) -> None:
        self.transport: TlsTransport
        self.received = bytearray()
        self.told: list[str] = []
        self.news = asyncio.Event()
        self.on_data: Callable[[bytes], None] = lambda data: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, TlsTransport)
        self.transport = transport
        self._tell("made")

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.on_data(data)
        self.news.set()

    def eof_received(self) -> bool:
        self._tell("eof")
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._tell("lost" if error is None else f"lost: {type(error).__name__}")

    def pause_writing(self) -> None:
        self._tell("pause")

    def resume_writing(self) -> None:
        self._tell("resume")

    def _tell(self, what: str) -> None:
        self.told.append(what)
        self.news.set()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not true():
                self.news.clear()
                await self.news.wait()


class Listening:
    def __init__(self, listener: TlsListener, peers: list[Peer]) -> None:
        self.listener = listener
        self.peers = peers
        self.port: int = listener.sockets[0].getsockname()[1]

    async def peer(self, number: int = 0) -> Peer:
        async with asyncio.timeout(20):
            while len(self.peers) <= number:
                await asyncio.sleep(0.005)
        return self.peers[number]


@contextlib.asynccontextmanager
async def listening(pki, *, handshake_timeout_s: float = 15.0) -> AsyncIterator[Listening]:
    peers: list[Peer] = []

    def made() -> Peer:
        peers.append(Peer())
        return peers[-1]

    tls = ServerTls(
        pki.path("server.crt"), pki.path("server.key"), client_ca_file=pki.path("ca.crt")
    )
    listener = await listen_tls(
        "127.0.0.1", 0, tls.context, made, backlog=16, handshake_timeout_s=handshake_timeout_s
    )
    try:
        yield Listening(listener, peers)
    finally:
        listener.close()
        for peer in peers:
            peer.transport.abort()
        await asyncio.sleep(0)


async def connected(
    pki, server: Listening
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, Peer]:
    context = client_context(ca_file=pki.path("ca.crt"))
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", server.port, ssl=context, server_hostname="localhost"
    )
    return reader, writer, await server.peer(len(server.peers) - 1 if server.peers else 0)


def blocking(pki, server: Listening, version: ssl.TLSVersion) -> ssl.SSLSocket:
    context = client_context(ca_file=pki.path("ca.crt"))
    context.maximum_version = version
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    return context.wrap_socket(raw, server_hostname="localhost")


def fill(peer: Peer) -> bytes:
    """Write until the client is behind; what was written."""
    sent = bytearray()
    while "pause" not in peer.told:
        piece = bytes([len(sent) % 251]) * 70_001
        peer.transport.write(piece)
        sent += piece
        assert len(sent) < 64 << 20, "nobody says that the client does not read"
    assert peer.transport.get_write_buffer_size() > 0
    return bytes(sent)


async def test_both_ways_and_both_versions(pki) -> None:
    async with listening(pki) as server:
        for number, version in enumerate((ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)):
            client = await asyncio.to_thread(blocking, pki, server, version)
            peer = await server.peer(number)
            await asyncio.to_thread(client.sendall, b"a" * 100_000)
            await peer.until(lambda peer=peer: len(peer.received) == 100_000)
            peer.transport.write(b"answer")
            assert await asyncio.to_thread(client.recv, 100) == b"answer"
            assert client.version() == ("TLSv1.2", "TLSv1.3")[number]
            assert peer.transport.get_extra_info("peername")[0] == "127.0.0.1"
            assert peer.transport.get_extra_info("ssl_object").version() == client.version()
            client.close()
            await peer.until(lambda peer=peer: peer.told[-1].startswith("lost"))


async def test_a_slow_reader_is_told_of_and_gets_everything(pki) -> None:
    async with listening(pki) as server:
        client = await asyncio.to_thread(blocking, pki, server, ssl.TLSVersion.TLSv1_3)
        peer = await server.peer()
        sent = fill(peer)
        received = bytearray()

        def read() -> None:
            while len(received) < len(sent):
                received.extend(client.recv(65536))

        await asyncio.to_thread(read)
        assert received == sent
        await peer.until(lambda: peer.told[-1] == "resume")
        assert peer.told.count("pause") == 1
        assert peer.transport.get_write_buffer_size() == 0
        client.close()


async def test_what_was_written_before_a_close_arrives_and_then_the_end(pki) -> None:
    async with listening(pki) as server:
        client = await asyncio.to_thread(blocking, pki, server, ssl.TLSVersion.TLSv1_3)
        peer = await server.peer()
        client.sendall(b"unread by the server when it closes")
        body = fill(peer)
        peer.transport.close()
        assert peer.transport.is_closing()
        peer.transport.write(b"too late")

        def read() -> bytes:
            received = bytearray()
            while piece := client.recv(65536):  # raises unless TLS says that it ends
                received += piece
            return bytes(received)

        assert await asyncio.to_thread(read) == body
        assert peer.told == ["made", "pause", "resume"]  # not lost before the client goes
        client.close()
        await peer.until(lambda: peer.told[-1] == "lost")


async def test_a_client_that_ends_gets_its_answer(pki) -> None:
    async with listening(pki) as server:
        client = await asyncio.to_thread(blocking, pki, server, ssl.TLSVersion.TLSv1_3)
        peer = await server.peer()
        body = fill(peer)

        def leave() -> bytes:
            # Without a word of TLS: its own farewell would stop OpenSSL reading.
            socket.socket.shutdown(client, socket.SHUT_WR)
            received = bytearray()
            while piece := client.recv(65536):
                received.extend(piece)
            return bytes(received)

        assert await asyncio.to_thread(leave) == body
        await peer.until(lambda: peer.told[-1] == "lost")
        assert peer.told.count("eof") == 1
        client.close()


async def test_a_client_that_says_farewell_is_let_go(pki) -> None:
    async with listening(pki) as server:
        _, writer, peer = await connected(pki, server)
        writer.write(b"last words")
        writer.close()
        await peer.until(lambda: peer.told[-1] == "lost")
        assert peer.received == b"last words"
        assert peer.told == ["made", "eof", "lost"]


async def test_a_paused_reader_gets_nothing_until_it_resumes(pki) -> None:
    async with listening(pki) as server:
        _, writer, peer = await connected(pki, server)

        def pause(data: bytes) -> None:
            peer.transport.pause_reading()

        peer.on_data = pause
        writer.write(b"a" * 50_000)  # several records
        await peer.until(lambda: bool(peer.received))
        first = len(peer.received)
        assert first <= 16384
        assert not peer.transport.is_reading()
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(peer.received) == first
        peer.on_data = lambda data: None
        peer.transport.resume_reading()
        await peer.until(lambda: len(peer.received) == 50_000)
        writer.close()


async def test_another_protocol_can_take_over(pki) -> None:
    async with listening(pki) as server:
        _, writer, peer = await connected(pki, server)
        other = Peer()
        peer.transport.set_protocol(other)
        assert peer.transport.get_protocol() is other
        writer.write(b"for the other")
        await other.until(lambda: other.received == b"for the other")
        assert not peer.received
        writer.close()
        await other.until(lambda: bool(other.told) and other.told[-1] == "lost")


async def test_an_aborted_connection_is_lost_at_once_and_once(pki) -> None:
    async with listening(pki) as server:
        reader, writer, peer = await connected(pki, server)
        peer.transport.write(b"x" * (3 << 20))
        peer.transport.abort()
        peer.transport.abort()
        peer.transport.close()
        await peer.until(lambda: peer.told[-1] == "lost")
        assert peer.told.count("lost") == 1
        assert peer.transport.get_write_buffer_size() == 0
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()


async def test_a_protocol_that_fails_loses_its_connection(pki, caplog) -> None:
    async with listening(pki) as server:
        reader, writer, peer = await connected(pki, server)

        def fail(data: bytes) -> None:
            raise ValueError("no")

        peer.on_data = fail
        writer.write(b"x")
        await peer.until(lambda: peer.told[-1] == "lost")
        assert "protocol failed" in caplog.text
        with contextlib.suppress(OSError):
            assert await reader.read() == b""
        writer.close()


async def test_what_is_no_tls_ends_without_a_protocol(pki) -> None:
    async with listening(pki) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                alert = await reader.read()
                assert not alert or alert[0] == 21  # a TLS alert, if anything
        writer.close()
        assert not server.peers
        # ... and the next one is served.
        _, writer, _ = await connected(pki, server)
        writer.close()


async def test_broken_records_end_the_connection(pki) -> None:
    async with listening(pki) as server:
        client = await asyncio.to_thread(blocking, pki, server, ssl.TLSVersion.TLSv1_3)
        peer = await server.peer()
        raw = socket.socket(fileno=client.detach())
        raw.sendall(b"\x17\x03\x03\x00\x20" + b"\x00" * 32)
        await peer.until(lambda: peer.told[-1] == "lost: SSLError")
        raw.close()


async def test_a_handshake_that_takes_too_long_ends(pki) -> None:
    async with listening(pki, handshake_timeout_s=0.05) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"\x16\x03\x01")  # the beginning of a hello
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()
        assert not server.peers
