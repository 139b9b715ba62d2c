"""The local transport: calls the API server's pipeline in the same process, no sockets.

The pipeline is the same one that HTTP requests pass; only authentication is replaced by the
identity given here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from urllib.parse import urlencode

from kutter.client.transport import Answer, Query
from kutter.http.messages import ByteStream, Handler, Request, Response


class LocalStream:
    """A streamed answer of the pipeline."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers}
        self._response = response

    async def chunks(self) -> AsyncIterator[bytes]:
        if self._response.stream is None:
            yield self._response.body
            return
        async for chunk in self._response.stream:
            yield chunk

    async def close(self) -> None:
        stream = self._response.stream
        if stream is not None and hasattr(stream, "aclose"):
            await stream.aclose()


class LocalTransport:
    """Requests as ``user`` straight into ``handler``."""

    def __init__(self, handler: Handler, user: object) -> None:
        self._handler = handler
        self._user = user

    def _make(
        self, method: str, path: str, query: Query, headers: Mapping[str, str] | None, body: bytes
    ) -> Request:
        return Request(
            method=method,
            path=path,
            raw_path=path,
            raw_query=urlencode(query) if query else "",
            headers=dict(headers) if headers else {},
            body=body,
            local_user=self._user,
            remote_address="local",
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float | None = None,
    ) -> Answer:
        response = await self._handler(self._make(method, path, query, headers, body))
        names: dict[str, str] = {}
        warnings: list[str] = []
        for name, value in response.headers:
            key = name.lower()
            if key == "warning":
                warnings.append(value)
            names[key] = value
        content = response.body
        if response.stream is not None:
            content = b"".join([chunk async for chunk in response.stream])
        return Answer(response.status, names, content, tuple(warnings))

    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> LocalStream:
        return LocalStream(await self._handler(self._make(method, path, query, headers, body)))

    async def upgrade(
        self,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
    ) -> tuple[dict[str, str], ByteStream]:
        raise ConnectionError("the local transport has no connection to upgrade; use HTTP")

    async def close(self) -> None:
        return
