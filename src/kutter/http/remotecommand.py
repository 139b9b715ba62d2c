"""Server side of exec and attach: one session over WebSocket channels or SPDY streams.

Between an upgraded connection and what runs a command. Follows upstream's remotecommand
protocol: WebSocket subprotocols ``v5.channel.k8s.io`` down to ``base64.channel.k8s.io``, SPDY
``v4.channel.k8s.io`` down to v1. From v4 on the outcome is a ``metav1.Status`` on the error
channel; before that, an error is plain text and success says nothing.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from kutter.base.log import get_logger
from kutter.base.tasks import Scope
from kutter.http.messages import ByteStream, Request, Response
from kutter.http.spdy import PROTOCOL, SpdyConnection, SpdyStream
from kutter.http.websocket import (
    HandshakeError,
    WebSocket,
    WebSocketError,
    accept_handshake,
    is_websocket,
    offered_protocols,
)

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
WEBSOCKET_PROTOCOLS = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
)
SPDY_PROTOCOLS = (
    "v4.channel.k8s.io",
    "v3.channel.k8s.io",
    "v2.channel.k8s.io",
    "channel.k8s.io",
)
_VERSION_HEADER = "X-Stream-Protocol-Version"
_OPEN_TIMEOUT_S = 30.0
_FAREWELL_S = 2.0
_STDIN_BYTES = 256 * 1024
_MESSAGE_BYTES = 64 * 1024

_log = get_logger("http.remotecommand")


class RemoteCommandSession:
    """The caller's end of an exec or attach; satisfies ``kutter.runtime.cri.ExecIo``."""

    def __init__(self, *, stdin: bool, status_json: bool) -> None:
        self._status_json = status_json
        self._stdin: deque[bytes] = deque()
        self._stdin_bytes = 0
        self._stdin_done = not stdin
        self._stdin_changed = asyncio.Event()
        self._stdin_room = asyncio.Event()
        self._stdin_room.set()
        self._size: tuple[int, int] | None = None
        self._resize_changed = asyncio.Event()
        self._resize_text = ""
        self._finished = False
        self.gone = asyncio.Event()  #: set when the caller hung up
        self.finished = asyncio.Event()  #: set by :meth:`finish`

    async def read_stdin(self) -> bytes:
        """Some input; ``b""`` at its end or when the caller is gone."""
        while not self._stdin:
            if self._stdin_done or self.gone.is_set():
                return b""
            self._stdin_changed.clear()
            await self._stdin_changed.wait()
        data = self._stdin.popleft()
        self._stdin_bytes -= len(data)
        if self._stdin_bytes < _STDIN_BYTES // 2:
            self._stdin_room.set()
        return data

    async def write_stdout(self, data: bytes) -> None:
        """Raises ConnectionError when the caller is gone."""
        await self._write(STDOUT, data)

    async def write_stderr(self, data: bytes) -> None:
        """Raises ConnectionError when the caller is gone."""
        await self._write(STDERR, data)

    async def next_resize(self) -> tuple[int, int] | None:
        """Wait for (columns, rows); the newest wins; None when no more will come."""
        while self._size is None:
            if self.gone.is_set() or self._finished:
                return None
            self._resize_changed.clear()
            await self._resize_changed.wait()
        size, self._size = self._size, None
        return size

    async def finish(self, exit_code: int = 0, error: str = "") -> None:
        """Tell the caller how it ended: an exit code, or why there is none. Idempotent."""
        if self._finished:
            return
        self._finished = True
        self._resize_changed.set()
        with contextlib.suppress(ConnectionError):
            await self._write(ERROR, self._outcome(exit_code, error))
        self.finished.set()

    def _outcome(self, exit_code: int, error: str) -> bytes:
        status = outcome_status(exit_code, error)
        if self._status_json:
            return json.dumps(status, separators=(",", ":")).encode()
        return str(status.get("message", "")).encode()

    async def _write(self, channel: int, data: bytes) -> None:
        raise NotImplementedError

    async def _take_stdin(self, data: bytes) -> None:
        if data and not self._stdin_done and not self._finished:
            self._stdin.append(data)
            self._stdin_bytes += len(data)
            self._stdin_changed.set()
            if self._stdin_bytes > _STDIN_BYTES:
                self._stdin_room.clear()
                await self._stdin_room.wait()

    def _end_stdin(self) -> None:
        self._stdin_done = True
        self._stdin_changed.set()

    def _take_resize(self, data: bytes) -> None:
        """JSON objects one after the other, however they are cut."""
        self._resize_text += data.decode("utf-8", "replace")
        decoder = json.JSONDecoder()
        while text := self._resize_text.lstrip():
            try:
                size, end = decoder.raw_decode(text)
            except ValueError:
                self._resize_text = text[-1024:]
                return
            self._resize_text = text[end:]
            if isinstance(size, dict):
                self._size = (_side(size, "Width"), _side(size, "Height"))
                self._resize_changed.set()

    def _lost(self) -> None:
        self.gone.set()
        self._stdin_changed.set()
        self._stdin_room.set()
        self._resize_changed.set()


def _side(size: dict[str, Any], name: str) -> int:
    value = size.get(name, size.get(name.lower(), 0))
    return value if isinstance(value, int) and 0 <= value < 65536 else 0


def outcome_status(exit_code: int, error: str) -> dict[str, Any]:
    """The ``metav1.Status`` of an outcome, as upstream's kubelet writes it."""
    if error:
        return {
            "metadata": {},
            "status": "Failure",
            "message": f"Internal error occurred: {error}",
            "reason": "InternalError",
            "details": {"causes": [{"message": error}]},
            "code": 500,
        }
    if exit_code:
        return {
            "metadata": {},
            "status": "Failure",
            "message": f"command terminated with non-zero exit code: exit status {exit_code}",
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": str(exit_code)}]},
        }
    return {"metadata": {}, "status": "Success"}


Run = Callable[[RemoteCommandSession], Awaitable[int]]


def answer_remote_command(
    request: Request, run: Run, *, stdin: bool, stdout: bool, stderr: bool, tty: bool
) -> Response:
    """Answer an exec or attach request; ``run`` gets the session and answers the exit code.

    What ``run`` raises is told to the caller as an internal error. ``run`` goes on when the
    caller hangs up (see ``session.gone``), as upstream's does.
    """
    if not (stdin or stdout or stderr):
        return refuse(400, "you must specify at least 1 of stdin, stdout, stderr")
    if is_websocket(request):
        return _answer_websocket(request, run, stdin=stdin, stdout=stdout, stderr=stderr)
    if request.headers.get("upgrade", "").lower() == PROTOCOL.lower():
        wanted = {
            name
            for name, on in (
                ("error", True),
                ("stdin", stdin),
                ("stdout", stdout),
                ("stderr", stderr and not tty),
            )
            if on
        }
        return _answer_spdy(request, run, wanted, tty=tty)
    return refuse(400, "Upgrade request required")


def accept_remote_command(
    request: Request, *, stdin: bool, stdout: bool, stderr: bool, tty: bool
) -> tuple[Response, asyncio.Future[RemoteCommandSession]]:
    """Like :func:`answer_remote_command`, for callers that run the command elsewhere.

    The future has the session once the streams are open; call its ``finish`` when done. It
    fails with ConnectionError when the request is refused.
    """
    ready: asyncio.Future[RemoteCommandSession] = asyncio.get_running_loop().create_future()

    async def run(session: RemoteCommandSession) -> int:
        ready.set_result(session)
        await session.finished.wait()
        return 0

    response = answer_remote_command(
        request, run, stdin=stdin, stdout=stdout, stderr=stderr, tty=tty
    )
    if response.upgrade is None:
        ready.set_exception(ConnectionRefusedError("the request was refused"))
        ready.exception()
    return response, ready


async def _run_to_end(session: RemoteCommandSession, run: Run) -> None:
    try:
        exit_code = await run(session)
    except ConnectionError as error:
        if not session.gone.is_set():
            await session.finish(error=f"error executing command in container: {error}")
    except Exception as error:
        _log.info("remote command failed", error=repr(error))
        await session.finish(error=f"error executing command in container: {error}")
    else:
        await session.finish(exit_code)


def refuse(status: int, message: str) -> Response:
    """A plain refusal before any upgrade."""
    return Response(
        status, [("Content-Type", "text/plain; charset=utf-8")], f"{message}\n".encode()
    )


# -- WebSocket -------------------------------------------------------------------------------


class _WebSocketSession(RemoteCommandSession):
    def __init__(self, socket: WebSocket, protocol: str, *, stdin: bool) -> None:
        super().__init__(stdin=stdin, status_json=protocol.startswith(("v4.", "v5.")))
        self._socket = socket
        self._base64 = "base64" in protocol
        self._can_close = protocol.startswith("v5.")

    async def _write(self, channel: int, data: bytes) -> None:
        if self.gone.is_set():
            raise ConnectionResetError("the caller is gone")
        for start in range(0, len(data) or 1, _MESSAGE_BYTES):
            part = data[start : start + _MESSAGE_BYTES]
            if self._base64:
                await self._socket.send(b"%d" % channel + base64.b64encode(part), text=True)
            else:
                await self._socket.send(bytes((channel,)) + part)

    async def read_loop(self) -> None:
        try:
            while (message := await self._socket.receive()) is not None:
                await self._take(message.data)
        except WebSocketError as error:
            _log.info("websocket peer broke the protocol", error=str(error))
        finally:
            self._lost()

    async def _take(self, data: bytes) -> None:
        if not data:
            return
        if self._base64:
            channel = data[0] - 0x30
            try:
                payload = base64.b64decode(data[1:], validate=True)
            except ValueError:
                return
        else:
            channel, payload = data[0], data[1:]
        if channel == STDIN:
            await self._take_stdin(payload)
        elif channel == RESIZE:
            self._take_resize(payload)
        elif channel == CLOSE and self._can_close and payload[:1] == b"\x00":
            self._end_stdin()


def choose_protocol(request: Request, supported: tuple[str, ...]) -> str | None:
    """The first subprotocol of the client that we speak; "" when it offers none; else None."""
    offered = offered_protocols(request)
    if not offered:
        return ""
    return next((p for p in offered if p in supported), None)


def _answer_websocket(
    request: Request, run: Run, *, stdin: bool, stdout: bool, stderr: bool
) -> Response:
    protocol = choose_protocol(request, WEBSOCKET_PROTOCOLS)
    if protocol is None:
        return refuse(403, "unable to negotiate a websocket subprotocol")
    try:
        headers = accept_handshake(request, protocol)
    except HandshakeError as error:
        return refuse(400, str(error))

    async def upgrade(stream: ByteStream) -> None:
        socket = WebSocket(stream, client=False)
        session = _WebSocketSession(socket, protocol, stdin=stdin)
        async with Scope("remotecommand") as scope:
            reader = scope.start(session.read_loop(), "reader")
            # Clients wait for a first, empty message to know that the session is up.
            first = STDOUT if stdout else STDERR if stderr else ERROR
            await session._write(first, b"")
            await _run_to_end(session, run)
            session._lost()
            await socket.close()
            # A close with unread input would reset the connection under the last output.
            await asyncio.wait([reader], timeout=_FAREWELL_S)

    return Response(101, headers, upgrade=upgrade)


# -- SPDY ------------------------------------------------------------------------------------


class _SpdySession(RemoteCommandSession):
    def __init__(self, streams: dict[str, SpdyStream], *, status_json: bool) -> None:
        super().__init__(stdin="stdin" in streams, status_json=status_json)
        self._streams = streams
        self._outputs = {
            STDOUT: streams.get("stdout"),
            STDERR: streams.get("stderr"),
            ERROR: streams.get("error"),
        }

    async def _write(self, channel: int, data: bytes) -> None:
        stream = self._outputs[channel]
        if stream is not None and data:
            await stream.write(data)

    async def read_stdin_loop(self, stream: SpdyStream) -> None:
        while data := await stream.read():
            await self._take_stdin(data)
        self._end_stdin()

    async def read_resize_loop(self, stream: SpdyStream) -> None:
        while data := await stream.read():
            self._take_resize(data)

    async def watch(self, connection: SpdyConnection) -> None:
        await connection.closed.wait()
        self._lost()

    async def close_streams(self) -> None:
        for name in ("stdout", "stderr", "error"):
            stream = self._streams.get(name)
            if stream is not None:
                await stream.write_eof()
        for name in ("stdin", "resize"):
            stream = self._streams.get(name)
            if stream is not None and not stream.remote_done:
                await stream.reset()


def negotiate_spdy(request: Request, supported: tuple[str, ...]) -> tuple[str, Response | None]:
    """(protocol, None), or ("", the refusal). No header means version 1."""
    offered = [
        p.strip() for p in request.headers.get(_VERSION_HEADER.lower(), "").split(",") if p.strip()
    ]
    if not offered:
        return "", None
    chosen = next((p for p in offered if p in supported), None)
    if chosen is not None:
        return chosen, None
    refusal = refuse(
        403,
        f"unable to upgrade: unable to negotiate protocol: client supports {offered}, "
        f"server accepts {list(supported)}",
    )
    refusal.headers += [("X-Accepted-Stream-Protocol-Versions", p) for p in supported]
    return "", refusal


def spdy_headers(protocol: str) -> list[tuple[str, str]]:
    """Headers of the 101 that switches to SPDY."""
    headers = [("Upgrade", PROTOCOL)]
    if protocol:
        headers.append((_VERSION_HEADER, protocol))
    return headers


def _answer_spdy(request: Request, run: Run, wanted: set[str], *, tty: bool) -> Response:
    protocol, refusal = negotiate_spdy(request, SPDY_PROTOCOLS)
    if refusal is not None:
        return refusal
    if tty and protocol.startswith(("v3.", "v4.")):
        wanted = {*wanted, "resize"}

    async def upgrade(stream: ByteStream) -> None:
        async with SpdyConnection(stream, client=False) as connection:
            streams = await _collect(connection, wanted)
            if streams is None:
                return
            session = _SpdySession(streams, status_json=protocol.startswith("v4."))
            async with Scope("remotecommand") as scope:
                if "stdin" in streams:
                    scope.start(session.read_stdin_loop(streams["stdin"]), "stdin")
                if "resize" in streams:
                    scope.start(session.read_resize_loop(streams["resize"]), "resize")
                scope.start(session.watch(connection), "watch")
                await _run_to_end(session, run)
                session._lost()
                await session.close_streams()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_FAREWELL_S):
                        await connection.closed.wait()

    return Response(101, spdy_headers(protocol), upgrade=upgrade)


async def _collect(connection: SpdyConnection, wanted: set[str]) -> dict[str, SpdyStream] | None:
    """The streams the client opens, by type; None when they do not all come in time."""
    streams: dict[str, SpdyStream] = {}
    try:
        async with asyncio.timeout(_OPEN_TIMEOUT_S):
            while wanted - streams.keys():
                stream = await connection.accept()
                if stream is None:
                    return None
                kind = stream.headers.get("streamtype", "")
                if kind in wanted and kind not in streams:
                    streams[kind] = stream
                else:
                    await stream.reset()
    except TimeoutError:
        return None
    return streams
