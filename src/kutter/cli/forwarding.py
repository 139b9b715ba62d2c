"""Listening on this machine and carrying each connection into a pod."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kutter.base.tasks import Scope
from kutter.cli.command import CommandError
from kutter.client.http import HttpTransport
from kutter.http.portforward import PortForwarder, dial_port_forward
from kutter.http.remotecommand_client import RemoteCommandError

if TYPE_CHECKING:
    from kutter.client.kubeconfig import Connection

_READ_BYTES = 65536


class LocalStream:
    """An accepted connection as a :class:`~kutter.http.messages.ByteStream`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, limit: int = _READ_BYTES) -> bytes:
        try:
            return await self._reader.read(limit)
        except ConnectionError:
            return b""

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def write_eof(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()


class Forwarding:
    """Listeners that share one connection to the pod; ``run`` until that ends."""

    def __init__(self, connection: Connection, path: str) -> None:
        self._connection = connection
        self._path = path

    async def run(self, addresses: Sequence[str], pairs: Sequence[tuple[int, int]]) -> int:
        """Forward until interrupted. Raises CommandError, ApiError."""
        transport = HttpTransport(self._connection)
        try:
            forwarder = await dial_port_forward(
                lambda headers: transport.upgrade(self._path, headers=headers)
            )
            async with Scope("port-forward") as scope, forwarder:
                servers: list[asyncio.Server] = []
                try:
                    for local, remote in pairs:
                        servers += await self._listen(scope, forwarder, addresses, local, remote)
                    await forwarder.closed.wait()
                finally:
                    for server in servers:
                        server.close()
            raise CommandError("lost connection to pod")
        except RemoteCommandError as error:
            raise CommandError(str(error)) from error
        finally:
            await transport.close()

    async def _listen(
        self,
        scope: Scope,
        forwarder: PortForwarder,
        addresses: Sequence[str],
        local: int,
        remote: int,
    ) -> list[asyncio.Server]:
        servers: list[asyncio.Server] = []
        problems = []
        for address in addresses:

            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                port = writer.get_extra_info("sockname")[1]
                print(f"Handling connection for {port}", flush=True)
                work = _carry(forwarder, LocalStream(reader, writer), port, remote)
                scope.start(work, f"connection-{remote}")

            try:
                server = await asyncio.start_server(accept, address, local)
            except OSError as error:
                problems.append(f"{address}: {error.strerror or error}")
                continue
            servers.append(server)
            local = server.sockets[0].getsockname()[1]
            shown = f"[{address}]" if ":" in address else address
            print(f"Forwarding from {shown}:{local} -> {remote}", flush=True)
        if not servers:
            raise CommandError(
                f"unable to listen on port {local}: {'; '.join(problems)}",
                hint="choose another local port, or :PORT for any",
            )
        return servers


async def _carry(forwarder: PortForwarder, local: LocalStream, port: int, remote: int) -> None:
    try:
        await forwarder.forward(local, remote)
    except (RemoteCommandError, ConnectionError) as error:
        print(f"an error occurred forwarding {port} -> {remote}: {error}", file=sys.stderr)
