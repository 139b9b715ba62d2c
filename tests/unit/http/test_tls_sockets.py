"""Listening for TLS and connecting with it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl

import pytest

from kutter.http.tls import ServerTls, client_context
from kutter.http.tls_sockets import TlsListener, connect_tls, listen_tls


class Echo(asyncio.Protocol):
    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.received: asyncio.Queue[bytes] = asyncio.Queue()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received.put_nowait(data)
        self.transport.write(data)


class Ear(Echo):
    def data_received(self, data: bytes) -> None:
        self.received.put_nowait(data)


async def listen(pki, port: int = 0, host: str = "127.0.0.1") -> TlsListener:
    tls = ServerTls(pki.path("server.crt"), pki.path("server.key"))
    return await listen_tls(host, port, tls.context, Echo, backlog=8, handshake_timeout_s=15)


def port_of(listener: TlsListener) -> int:
    return int(listener.sockets[0].getsockname()[1])


async def test_connect_and_speak(pki) -> None:
    listener = await listen(pki)
    context = client_context(ca_file=pki.path("ca.crt"))
    ear = Ear()
    transport = await connect_tls("127.0.0.1", port_of(listener), context, lambda: ear)
    assert ear.transport is transport
    transport.write(b"hello")
    async with asyncio.timeout(20):
        assert await ear.received.get() == b"hello"
    transport.close()
    listener.close()


async def test_a_server_that_is_not_who_we_mean_is_refused(pki) -> None:
    listener = await listen(pki)
    context = client_context(ca_file=pki.path("ca.crt"))
    with pytest.raises(ssl.SSLCertVerificationError):
        await connect_tls(
            "127.0.0.1", port_of(listener), context, Ear, server_hostname="elsewhere.example"
        )
    listener.close()


async def test_nobody_there_is_an_error(pki) -> None:
    listener = await listen(pki)
    port = port_of(listener)
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        await connect_tls("127.0.0.1", port, client_context(insecure=True), Ear)


async def test_a_server_that_hangs_up_or_says_nothing_is_an_error() -> None:
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen()
    port = silent.getsockname()[1]
    context = client_context(insecure=True)
    with pytest.raises(TimeoutError):
        await connect_tls("127.0.0.1", port, context, Ear, handshake_timeout_s=0.05)
    connecting = asyncio.ensure_future(connect_tls("127.0.0.1", port, context, Ear))
    (await asyncio.to_thread(silent.accept))[0].close()
    (await asyncio.to_thread(silent.accept))[0].close()
    with pytest.raises(OSError):
        await connecting
    silent.close()


async def test_an_address_in_use_is_told_and_nothing_stays_open(pki) -> None:
    listener = await listen(pki)
    with pytest.raises(OSError, match="cannot listen on 127") as failure:
        await listen(pki, port_of(listener))
    assert failure.value.errno == errno.EADDRINUSE
    port = port_of(listener)
    listener.close()
    again = await listen(pki, port)
    assert port_of(again) == port
    again.close()


async def test_every_address_of_a_name_is_listened_on(pki) -> None:
    listener = await listen(pki, host="")
    families = {s.family for s in listener.sockets}
    assert socket.AF_INET in families
    assert len(listener.sockets) == len(families)
    listener.close()


async def test_without_descriptors_accepting_pauses_and_goes_on(
    pki, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.setattr("kutter.http.tls_sockets._ACCEPT_PAUSE_S", 0.01)
    listener = await listen(pki)
    real = socket.socket.accept
    failures = [errno.EMFILE, errno.EMFILE]

    def accept(listening: socket.socket) -> object:
        if failures:
            raise OSError(failures.pop(), "Too many open files")
        return real(listening)

    monkeypatch.setattr(socket.socket, "accept", accept)
    context = client_context(ca_file=pki.path("ca.crt"))
    async with asyncio.timeout(20):
        transport = await connect_tls("127.0.0.1", port_of(listener), context, Ear)
    assert not failures
    assert "no room to accept" in caplog.text
    transport.close()
    listener.close()


async def begun(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A handshake that was begun and goes no further."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x16\x03\x01")
    return reader, writer


async def ended(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()


async def test_many_begun_handshakes_keep_nobody_out(pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kutter.http.tls_sockets._HANDSHAKES_MAX", 2)
    listener = await listen(pki)
    port = port_of(listener)
    first = await begun(port)
    async with asyncio.timeout(20):
        while not listener._handshakes:  # accepted
            await asyncio.sleep(0.005)
    others = [await begun(port) for _ in range(2)]
    await ended(*first)
    context = client_context(ca_file=pki.path("ca.crt"))
    async with asyncio.timeout(20):
        transport = await connect_tls("127.0.0.1", port, context, Ear)
    assert len(listener._handshakes) <= 2
    transport.close()
    for _, writer in others:
        writer.close()
    listener.close()


async def test_a_closed_listener_leaves_no_handshake_behind(pki) -> None:
    listener = await listen(pki)
    half = await begun(port_of(listener))
    async with asyncio.timeout(20):
        while not listener._handshakes:
            await asyncio.sleep(0.005)
    listener.close()
    await ended(*half)
    assert not listener._handshakes
