"""Between two connections: bytes passed on, and whole requests forwarded to another server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from kutter.http.client import HttpClient, HttpStream
from kutter.http.heads import HOP_BY_HOP
from kutter.http.messages import ByteStream, Request, Response

_COLLECT_BYTES = 256 * 1024


async def relay(a: ByteStream, b: ByteStream) -> None:
    """Pass bytes both ways until both ends are done; closes both.

    The end of one direction is passed on as a half-close. Back-pressure is the streams' own:
    a reader is only asked again when the other side took what it gave.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_pump(a, b))
            tasks.create_task(_pump(b, a))
    except* ConnectionError:
        pass
    finally:
        a.close()
        b.close()


async def _pump(source: ByteStream, sink: ByteStream) -> None:
    while data := await source.read(65536):
        await sink.write(data)
    await sink.write_eof()


async def proxy_request(
    request: Request,
    client: HttpClient,
    url: str,
    *,
    set_headers: Iterable[tuple[str, str]] = (),
    drop_headers: Iterable[str] = (),
    timeout_s: float | None = 60.0,
) -> Response:
    """Forward ``request`` to ``url`` (with its query) and answer what that server answers.

    Hop-by-hop headers are not passed on, nor ``drop_headers`` (lower case); ``set_headers``
    replace. A body streams; an upgrade is relayed. ``timeout_s`` is for the answer's head.
    Raises OSError when the server cannot be reached.
    """
    replaced = list(set_headers)
    unwanted = {*HOP_BY_HOP, "host", "content-length", "expect", *drop_headers}
    unwanted.update(name.lower() for name, _ in replaced)
    unwanted.update(_named_by_connection(request.headers.get("connection", "")))
    headers = [(n, v) for n, v in request.header_list if n not in unwanted] + replaced
    protocol = request.headers.get("upgrade", "")
    if protocol and "upgrade" in request.headers.get("connection", "").lower():
        headers.append(("Upgrade", protocol))
        return await _proxy_upgrade(request.method, client, url, headers, timeout_s)
    answer = await client.stream(
        request.method, url, headers=headers, body=request.body, timeout_s=timeout_s
    )
    passed = _passed_on(answer.header_list)
    length = answer.headers.get("content-length", "")
    if request.method == "HEAD":
        await answer.close()
        return Response(answer.status, passed)
    if length.isdigit() and int(length) <= _COLLECT_BYTES:
        async with answer:
            body = b"".join([chunk async for chunk in answer.chunks()])
        return Response(answer.status, passed, body)
    return Response(answer.status, passed, stream=_Body(answer))


async def _proxy_upgrade(
    method: str,
    client: HttpClient,
    url: str,
    headers: list[tuple[str, str]],
    timeout_s: float | None,
) -> Response:
    answer = await client.upgrade(url, method=method, headers=headers, timeout_s=timeout_s)
    passed = _passed_on(answer.header_list)
    upstream = answer.stream
    if upstream is None:
        return Response(answer.status, passed, answer.body)

    passed.append(("Upgrade", answer.headers.get("upgrade", headers[-1][1])))
    return Response(101, passed, upgrade=_Relay(upstream))


class _Relay:
    """An upgrade handler that can also be let go without having run."""

    def __init__(self, upstream: ByteStream) -> None:
        self._upstream = upstream

    async def __call__(self, stream: ByteStream) -> None:
        await relay(stream, self._upstream)

    async def aclose(self) -> None:
        self._upstream.close()


class _Body:
    """A body passed on; unlike a generator it lets go even if it was never started."""

    def __init__(self, answer: HttpStream) -> None:
        self._answer = answer

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        data = await self._answer.read()
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        await self._answer.close()


def _named_by_connection(value: str) -> list[str]:
    return [token.strip().lower() for token in value.split(",") if token.strip()]


def _passed_on(header_list: list[tuple[str, str]]) -> list[tuple[str, str]]:
    unwanted = set(HOP_BY_HOP)
    for name, value in header_list:
        if name == "connection":
            unwanted.update(_named_by_connection(value))
    return [(_spelled(n), v) for n, v in header_list if n not in unwanted]


def _spelled(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))
