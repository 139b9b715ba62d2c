"""A single HTTP GET for probes and lifecycle hooks: no pool, no verification, bounded answer.

Redirects stay on the host that was asked; one that leads elsewhere ends the probing as passed,
as upstream does (``Probe terminated redirects``).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

BODY_LIMIT = 10 * 1024
REDIRECT_LIMIT = 10


class HttpAnswer(NamedTuple):
    status: int
    body: bytes
    redirected_away: bool = False


def _insecure() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def http_get(url: str, headers: Mapping[str, str], timeout_s: float) -> HttpAnswer:
    """Follow ``url`` to an answer. Raises OSError, TimeoutError, ValueError."""
    async with asyncio.timeout(timeout_s):
        first = urlsplit(url).hostname
        for _ in range(REDIRECT_LIMIT):
            status, location, body = await _once(url, headers)
            if status not in (301, 302, 303, 307, 308) or not location:
                return HttpAnswer(status, body)
            url = urljoin(url, location)
            if urlsplit(url).hostname != first:
                return HttpAnswer(status, body, redirected_away=True)
    raise ValueError("stopped after 10 redirects")


async def _once(url: str, headers: Mapping[str, str]) -> tuple[int, str, bytes]:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(host, port, ssl=_insecure() if secure else None)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = {
            "host": parts.netloc,
            "user-agent": "kube-probe/1.36",
            "accept": "*/*",
            "connection": "close",
        }
        lines.update({k.lower(): v for k, v in headers.items()})
        text = "".join(f"{k}: {v}\r\n" for k, v in lines.items() if v)
        writer.write(f"GET {path} HTTP/1.1\r\n{text}\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ", 2)[1])
        fields = {k.strip().lower(): v.strip() for k, _, v in (r.partition(":") for r in rest)}
        body = await _body(reader, fields)
        return status, fields.get("location", ""), body
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError) as error:
        raise ConnectionError("malformed HTTP response") from error
    finally:
        writer.close()


async def _body(reader: asyncio.StreamReader, fields: Mapping[str, str]) -> bytes:
    length = fields.get("content-length")
    limit = min(int(length), BODY_LIMIT) if length is not None else BODY_LIMIT
    body = b""
    while len(body) < limit:
        chunk = await reader.read(limit - len(body))
        if not chunk:
            break
        body += chunk
    return body
