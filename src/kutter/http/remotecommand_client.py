"""Client side of exec and attach: WebSocket channels, v5 with v4 as the fall-back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from kutter.http.messages import ByteStream
from kutter.http.remotecommand import CLOSE, RESIZE, STDERR, STDIN, STDOUT
from kutter.http.websocket import HandshakeError, WebSocket, check_handshake, request_headers

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_MESSAGE_BYTES = 32 * 1024
_NAMES = {STDOUT: "stdout", STDERR: "stderr"}

#: Sends an upgrade request with these headers; answers the 101's headers and the connection.
Upgrade = Callable[[Mapping[str, str]], Awaitable[tuple[dict[str, str], ByteStream]]]


class RemoteCommandError(ConnectionError):
    """The command could not be run, or the session broke; the message is the server's."""


class RemoteCommand:
    """A running command. Read ``output`` to its end, then ``exit_code`` is known."""

    def __init__(self, socket: WebSocket, protocol: str) -> None:
        self._socket = socket
        self._protocol = protocol
        self.exit_code: int | None = None

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        """("stdout" | "stderr", bytes) until the command ends.

        Raises RemoteCommandError when it ends without an exit code.
        """
        status: dict[str, Any] | None = None
        while (message := await self._socket.receive()) is not None:
            channel, data = message.data[:1], message.data[1:]
            if channel == b"\x03":
                if data:
                    status = _read_status(data)
            elif data and channel and channel[0] in _NAMES:
                yield _NAMES[channel[0]], data
        self._socket.disconnect()
        self.exit_code = _exit_code(status)

    async def write_stdin(self, data: bytes) -> None:
        """Raises ConnectionError when the session is over."""
        for start in range(0, len(data), _MESSAGE_BYTES):
            await self._socket.send(bytes((STDIN,)) + data[start : start + _MESSAGE_BYTES])

    async def close_stdin(self) -> bool:
        """End the input; False when the server is too old to be told (v4)."""
        if self._protocol != PROTOCOLS[0]:
            return False
        await self._socket.send(bytes((CLOSE, STDIN)))
        return True

    async def resize(self, columns: int, rows: int) -> None:
        """Tell the size of the terminal."""
        size = json.dumps({"Width": columns, "Height": rows}).encode()
        await self._socket.send(bytes((RESIZE,)) + size)

    async def close(self) -> None:
        """Hang up; idempotent."""
        await self._socket.close()
        self._socket.disconnect()


def _read_status(data: bytes) -> dict[str, Any]:
    try:
        status = json.loads(data)
    except ValueError:
        status = None
    if isinstance(status, dict):
        return status
    return {"status": "Failure", "message": data.decode("utf-8", "replace")}


def _exit_code(status: dict[str, Any] | None) -> int:
    if status is None:
        raise RemoteCommandError("the session ended without an outcome")
    if status.get("status") == "Success":
        return 0
    if status.get("reason") == "NonZeroExitCode":
        for cause in (status.get("details") or {}).get("causes") or ():
            if cause.get("reason") == "ExitCode":
                return int(cause.get("message", "1"))
    raise RemoteCommandError(str(status.get("message") or "the command failed"))


async def dial_remote_command(upgrade: Upgrade) -> RemoteCommand:
    """Start a session; what to run and which streams is in the URL that ``upgrade`` asks.

    For example ``lambda headers: transport.upgrade(path, query=query, headers=headers)``.
    Raises what ``upgrade`` raises, and RemoteCommandError for a wrong handshake.
    """
    headers, key = request_headers(PROTOCOLS)
    answered, stream = await upgrade(headers)
    try:
        protocol = check_handshake(answered, key, PROTOCOLS)
    except HandshakeError as error:
        stream.close()
        raise RemoteCommandError(str(error)) from error
    return RemoteCommand(WebSocket(stream, client=True), protocol)
