"""Blocking HTTP/1.1 to one API server, over one kept connection.

Most commands ask once or twice and end: they need no event loop, and not importing one halves
their time. Commands that talk both ways (exec, port-forward) use :mod:`kutter.client.http`.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    from kutter.client.kubeconfig import Connection

Query = Sequence[tuple[str, str]]
_Content = tuple[Query, Mapping[str, str] | None, bytes]
_PATH_SAFE = "/%:@!$&'()*+,;=~-._"
_CHUNK_BYTES = 65536


class Reply(NamedTuple):
    """A complete answer; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    warnings: tuple[str, ...] = ()


class _Tls(http.client.HTTPSConnection):
    """An HTTPS connection that may expect another name than it dials."""

    def __init__(
        self, host: str, port: int, timeout: float | None, context: ssl.SSLContext, name: str
    ) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._tls = context
        self._name = name or host

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name)


class Wire:
    """Requests as ``connection`` says. Raises OSError when the server is unreachable."""

    def __init__(
        self, connection: Connection, *, timeout_s: float | None = None, verbosity: int = 0
    ) -> None:
        self.connection = connection
        self._timeout_s = timeout_s
        self._verbosity = verbosity
        self._headers = [("User-Agent", "kutter"), *_identity(connection)]
        self._context: ssl.SSLContext | None = None
        self._kept: http.client.HTTPConnection | None = None

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Reply:
        """One request and its whole answer, whatever its status."""
        content = (query, headers, body)
        reused = self._kept is not None
        try:
            answer = self._send(self._connection(), method, path, content)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            # A kept connection may have ended meanwhile; a new one that does is an error.
            self.close()
            if not reused:
                raise
            answer = self._send(self._connection(), method, path, content)
        try:
            received = answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(f"the answer broke off: {error!r}") from error
        if answer.will_close:
            self.close()
        return Reply(answer.status, _lower(answer), received, _warnings(answer))

    def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
    ) -> Stream:
        """An answer that goes on, over a connection of its own, without a time limit."""
        connection = self._open(timeout_s=None)
        answer = self._send(connection, method, path, (query, headers, b""))
        return Stream(connection, answer)

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _connection(self) -> http.client.HTTPConnection:
        if self._kept is None:
            self._kept = self._open(timeout_s=self._timeout_s)
        return self._kept

    def _open(self, *, timeout_s: float | None) -> http.client.HTTPConnection:
        url = urlsplit(self.connection.server)
        host = url.hostname or ""
        if url.scheme == "http":
            return http.client.HTTPConnection(host, url.port or 80, timeout=timeout_s)
        if self._context is None:
            self._context = _tls_context(self.connection)
        name = self.connection.tls_server_name
        return _Tls(host, url.port or 443, timeout_s, self._context, name)

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        content: _Content,
    ) -> http.client.HTTPResponse:
        query, headers, body = content
        target = urlsplit(self.connection.server).path + quote(path, safe=_PATH_SAFE)
        if query:
            target += "?" + urlencode(query)
        try:
            if connection.sock is None:
                connection.connect()
                assert connection.sock is not None
                connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in self._headers:
                connection.putheader(name, value)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body or method in ("POST", "PUT", "PATCH", "DELETE"):
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            answer = connection.getresponse()
        except http.client.RemoteDisconnected:
            raise
        except http.client.HTTPException as error:
            raise ConnectionError(f"the server does not speak HTTP: {error!r}") from error
        except ValueError as error:  # http.client refuses characters HTTP cannot carry
            raise ConnectionError(f"this cannot be sent: {error}") from error
        if self._verbosity >= 6:
            print(f"{method} {target} {answer.status} {answer.reason}", file=sys.stderr)
        return answer


class Stream:
    """An answer read as it comes. ``close`` it, or leave the ``with`` block."""

    def __init__(
        self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse
    ) -> None:
        self._connection = connection
        self._answer = answer
        self.status = answer.status

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def chunks(self) -> Iterator[bytes]:
        """Bytes as they arrive."""
        try:
            while chunk := self._answer.read1(_CHUNK_BYTES):
                yield chunk
        except http.client.HTTPException as error:
            raise ConnectionError(f"the answer broke off: {error!r}") from error

    def lines(self) -> Iterator[bytes]:
        """Whole lines without their end."""
        rest = b""
        for chunk in self.chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def set_timeout(self, seconds: float) -> None:
        """How long to wait for the next bytes; then reading raises TimeoutError."""
        if self._connection.sock is not None:
            self._connection.sock.settimeout(seconds)

    def close(self) -> None:
        # Closing the answer first would read it to its end.
        self._connection.close()


def _identity(connection: Connection) -> list[tuple[str, str]]:
    if connection.exec_plugin is not None:
        import asyncio

        from kutter.client.credentials import Credentials

        pairs = list(asyncio.run(Credentials(connection).headers()).items())
    else:
        pairs = list(_own_identity(connection).items())
    if connection.impersonate_user and "Impersonate-User" not in dict(pairs):
        pairs.append(("Impersonate-User", connection.impersonate_user))
    return pairs + [("Impersonate-Group", group) for group in connection.impersonate_groups]


def _own_identity(connection: Connection) -> dict[str, str]:
    token = connection.token
    if connection.token_file is not None:
        token = connection.token_file.read_text().strip() or token
    if token:
        return {"Authorization": f"Bearer {token}"}
    if connection.username:
        import base64

        pair = f"{connection.username}:{connection.password}".encode()
        return {"Authorization": "Basic " + base64.b64encode(pair).decode()}
    return {}


def _tls_context(connection: Connection) -> ssl.SSLContext:
    """The client's TLS; a twin of :func:`kutter.http.tls.client_context` without its imports."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if connection.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif connection.ca_data:
        context.load_verify_locations(cadata=connection.ca_data.decode("ascii", "replace"))
    elif connection.ca_file is not None:
        context.load_verify_locations(connection.ca_file)
    else:
        context.load_default_certs()
    cert, key = connection.cert_data, connection.key_data
    if not cert and not key and connection.cert_file is not None:
        context.load_cert_chain(connection.cert_file, connection.key_file)
    elif cert or key:
        cert = cert or (connection.cert_file.read_bytes() if connection.cert_file else b"")
        key = key or (connection.key_file.read_bytes() if connection.key_file else b"")
        # OpenSSL wants a path; a memory file keeps the key off every disk.
        descriptor = os.memfd_create("client-identity", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, cert.rstrip() + b"\n" + key)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
    return context


def _lower(answer: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.getheaders()}


def _warnings(answer: http.client.HTTPResponse) -> tuple[str, ...]:
    found = answer.headers.get_all("warning") or ()
    return tuple(_warning_text(value) for value in found)


def _warning_text(value: str) -> str:
    """The text of ``299 - "text"``."""
    start, end = value.find('"'), value.rfind('"')
    if 0 <= start < end:
        return value[start + 1 : end].replace('\\"', '"').replace("\\\\", "\\")
    return value
