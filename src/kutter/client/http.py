"""The HTTP transport: a :class:`~kutter.client.transport.Transport` over kept connections."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.client.client import error_from
from kutter.client.credentials import Credentials
from kutter.client.kubeconfig import Connection
from kutter.client.transport import Answer, Query
from kutter.http.client import HttpAnswer, HttpClient, HttpStream
from kutter.http.messages import ByteStream

_TIMEOUT_S = 60.0
_HEAD_TIMEOUT_S = 60.0
_PATH_SAFE = "/%:@!$&'()*+,;=~-._"


class HttpTransport:
    """Requests to the API server of ``connection``.

    A 401 is answered once by renewed credentials (token file, exec plugin) where there are any:
    the server refused before it did anything, so any request may be sent again.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        user_agent: str = "kutter",
        timeout_s: float = _TIMEOUT_S,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.connection = connection
        self._user_agent = user_agent
        self._timeout_s = timeout_s
        self._credentials = Credentials(connection, clock)
        self._client = HttpClient(
            tls=self._credentials.tls, server_hostname=connection.tls_server_name
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
        url = self._url(path, query)
        async with asyncio.timeout(timeout_s or self._timeout_s):
            answer = await self._once(method, url, headers, body)
            if answer.status == 401 and self._credentials.can_renew():
                answer = await self._once(method, url, headers, body)
        warnings = tuple(v for n, v in answer.header_list if n == "warning")
        return Answer(answer.status, answer.headers, answer.body, warnings)

    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> HttpStream:
        url = self._url(path, query)
        answer = await self._open(method, url, headers, body)
        if answer.status == 401 and self._credentials.can_renew():
            await answer.close()
            answer = await self._open(method, url, headers, body)
        return answer

    async def upgrade(
        self,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
    ) -> tuple[dict[str, str], ByteStream]:
        """Raises ApiError when the server answers anything but 101."""
        sent = await self._headers(headers)
        answer = await self._client.upgrade(
            self._url(path, query), method=method, headers=sent, timeout_s=_HEAD_TIMEOUT_S
        )
        if answer.stream is None:
            raise error_from(answer.status, answer.body)
        return answer.headers, answer.stream

    async def close(self) -> None:
        await self._client.close()

    async def _once(
        self, method: str, url: str, headers: Mapping[str, str] | None, body: bytes
    ) -> HttpAnswer:
        sent = await self._headers(headers)
        return await self._client.request(method, url, headers=sent, body=body, timeout_s=None)

    async def _open(
        self, method: str, url: str, headers: Mapping[str, str] | None, body: bytes
    ) -> HttpStream:
        sent = await self._headers(headers)
        return await self._client.stream(
            method, url, headers=sent, body=body, timeout_s=_HEAD_TIMEOUT_S
        )

    def _url(self, path: str, query: Query) -> str:
        url = self.connection.server + quote(path, safe=_PATH_SAFE)
        return f"{url}?{urlencode(query)}" if query else url

    async def _headers(self, headers: Mapping[str, str] | None) -> list[tuple[str, str]]:
        pairs = [("User-Agent", self._user_agent)]
        pairs += (await self._credentials.headers()).items()
        pairs += [("Impersonate-Group", g) for g in self.connection.impersonate_groups]
        if headers:
            given = {name.lower() for name in headers}
            pairs = [p for p in pairs if p[0].lower() not in given]
            pairs += headers.items()
        return pairs
