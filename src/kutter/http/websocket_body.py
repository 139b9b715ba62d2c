"""A body told in WebSocket messages, for callers that ask for a log or a watch that way.

Between a handler's plain answer and a WebSocket client. Subprotocols are upstream's
(``apimachinery/pkg/util/httpstream/wsstream``): none or ``binary.k8s.io`` sends the bytes as they
are, ``base64.binary.k8s.io`` as base64 text.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator

from msgspec.structs import replace

from kutter.http.messages import ByteStream, Request, Response
from kutter.http.remotecommand import refuse
from kutter.http.websocket import (
    HandshakeError,
    WebSocket,
    accept_handshake,
    offered_protocols,
)

BINARY, TEXT = "binary.k8s.io", "base64.binary.k8s.io"
_HANDSHAKE = ("connection", "upgrade")
_CLOSE_TIMEOUT_S = 5.0


def without_handshake(request: Request) -> Request:
    """The request as one for a plain answer."""

    def is_kept(name: str) -> bool:
        return name not in _HANDSHAKE and not name.startswith("sec-websocket-")

    return replace(
        request,
        headers={n: v for n, v in request.headers.items() if is_kept(n)},
        header_list=[(n, v) for n, v in request.header_list if is_kept(n)],
    )


def answer_in_messages(request: Request, answer: Response) -> Response:
    """The upgrade that sends ``answer``'s body as messages, then closes."""
    offered = offered_protocols(request)
    protocol = next((name for name in offered if name in (BINARY, TEXT)), "")
    if offered and not protocol:
        return refuse(403, "unable to negotiate a websocket subprotocol")
    try:
        headers = accept_handshake(request, protocol)
    except HandshakeError as error:
        return refuse(400, str(error))
    return Response(101, headers, upgrade=_Messages(answer, text=protocol == TEXT))


class _Messages:
    """An upgrade handler that can also be let go without having run."""

    def __init__(self, answer: Response, *, text: bool) -> None:
        self._answer = answer
        self._text = text

    async def __call__(self, stream: ByteStream) -> None:
        socket = WebSocket(stream, client=False)
        try:
            async with asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(_listen(socket))
                sending = tasks.create_task(self._send(socket))
                await asyncio.wait((listening, sending), return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    await asyncio.wait((listening,), timeout=_CLOSE_TIMEOUT_S)
                listening.cancel()
                sending.cancel()
        except* ConnectionError:
            pass  # The caller went, which is its right.
        finally:
            await self.aclose()
            socket.disconnect()

    async def aclose(self) -> None:
        close = getattr(self._answer.stream, "aclose", None)
        if close is not None:
            await close()

    async def _send(self, socket: WebSocket) -> None:
        async for chunk in _chunks(self._answer):
            data = base64.b64encode(chunk) if self._text else chunk
            await socket.send(data, text=self._text)
        await socket.close()


async def _chunks(answer: Response) -> AsyncIterator[bytes]:
    if answer.body:
        yield answer.body
    if answer.stream is not None:
        async for chunk in answer.stream:
            yield chunk


async def _listen(socket: WebSocket) -> None:
    """Until the caller closes; what it says does not matter."""
    with contextlib.suppress(ConnectionError):
        while await socket.receive() is not None:
            continue
