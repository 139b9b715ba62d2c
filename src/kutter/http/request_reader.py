"""Between the bytes of one connection and its requests, in order.

Laws: bodies, headers and requests read ahead are bounded; what is no HTTP becomes an answer in
its turn, and nothing after it is read; after an offer to upgrade bytes are kept, not read, until
it is decided. Follows RFC 9112.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

import httptools
import msgspec

from kutter.base.log import get_logger
from kutter.http.messages import PeerCertificate, Request, Response, parse_target

if TYPE_CHECKING:
    from kutter.http.server import HttpServer

_log = get_logger("http.server")

PIPELINE_LIMIT = 32  # requests read ahead of the one being answered
_EARLY_LIMIT_BYTES = 256 * 1024  # bytes read before an upgrade is decided
# Bigger header blocks are parsed each time: a connection must not hold much.
_KNOWN_LIMIT_BYTES = 4096
_TARGET = rb"(/[-A-Za-z0-9._~!$&'()*+,;=:@/?%]*) HTTP/1\.1"
_BARE_LINE = re.compile(rb"(GET|DELETE) " + _TARGET)
_BODIED_LINE = re.compile(rb"(POST|PUT|PATCH|DELETE) " + _TARGET)
_OF_THE_PARSER = frozenset(("transfer-encoding", "expect", "upgrade"))
_METHODS = {b"GET": "GET", b"POST": "POST", b"PUT": "PUT", b"PATCH": "PATCH", b"DELETE": "DELETE"}
_LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]{1,9})\r\n", re.IGNORECASE)

# Header names repeat endlessly: decode and lower each spelling once.
_names: dict[bytes, str] = {}


def _header_name(raw: bytes) -> str:
    name = _names.get(raw)
    if name is None:
        name = raw.decode("latin-1").lower()
        if len(_names) < 1024:
            _names[raw] = name
    return name


class _Refused(Exception):
    """Raised inside parser callbacks to stop parsing with a status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Pending(msgspec.Struct):
    """A parsed request, or the answer to something that is none."""

    request: Request
    keep_alive: bool = True
    http_1_0: bool = False
    upgrade: bool = False
    refused: Response | None = None


class _Known:
    """The header block of a connection's last plain request, as bytes and as read by the parser.

    Clients send the same headers again and again; only the first line differs, and how long the
    body is. A read that has the very bytes that were parsed before needs no parser. ``block`` is
    all of them, or for requests with a body those before the length; ``rest`` those behind it.
    """

    __slots__ = ("block", "header_list", "headers", "remembered", "rest")

    def __init__(
        self,
        block: bytes,
        rest: bytes,
        headers: dict[str, str],
        header_list: list[tuple[str, str]],
    ) -> None:
        self.block = block
        self.rest = rest
        self.headers = headers
        self.header_list = header_list
        self.remembered: dict[object, Any] = {}


class Source(Protocol):
    """The connection a reader reads for."""

    def message_began(self) -> None:
        """The first bytes of a request are there."""

    def head_complete(self) -> None:
        """A request's headers are there; its body may be to come."""

    def pause_reading(self) -> None:
        """Enough was read for now."""


class RequestReader:
    """Reads requests into ``pending``; whoever answers them takes them out from the left."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_head_bytes",
        "_head_fed",
        "_head_fresh",
        "_head_preset",
        "_headers",
        "_known_bare",
        "_known_bodied",
        "_parser",
        "_server",
        "_source",
        "_url",
        "continue_wanted",
        "discarding",
        "headers_done",
        "in_message",
        "peer",
        "pending",
        "refused_certificate",
        "remote",
        "tail",
    )

    def __init__(self, server: HttpServer, source: Source) -> None:
        self._server = server
        self._source = source
        self._parser = httptools.HttpRequestParser(self)
        self.pending: deque[Pending] = deque()
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._head_fed = 0
        self._head_fresh = True
        self._head_preset = False
        self._known_bare: _Known | None = None
        self._known_bodied: _Known | None = None
        self.headers_done = False
        self.in_message = False
        #: The client waits for "100 Continue" before it sends its body.
        self.continue_wanted = False
        #: What came behind an offer to upgrade that is not decided yet; None: there is none.
        self.tail: bytearray | None = None
        #: Nothing is read any more.
        self.discarding = False
        self.peer: PeerCertificate | None = None
        self.refused_certificate = ""
        self.remote = ""

    # -- reading --------------------------------------------------------------------------

    def take(self, data: bytes, *, idle: bool) -> None:
        """Read what arrived. ``idle``: no request is being answered."""
        if self.discarding:
            return
        if self.tail is not None:
            self.tail += data
            if len(self.tail) > _EARLY_LIMIT_BYTES:
                self._source.pause_reading()
            return
        fresh = idle and not (self.in_message or self.pending)
        if fresh and self._take_known(data):
            return
        self._feed(data)
        if fresh and len(self.pending) == 1:
            self._learn(data, self.pending[0])

    def let_go(self) -> None:
        """The connection is over. The parser knows us and we it, and so it is with the source."""
        self.discarding = True
        del self._parser, self._source

    def decline_upgrade(self) -> None:
        """The offer was answered plainly: what follows is the next request."""
        tail, self.tail = bytes(self.tail or b""), None
        if tail:
            self._feed(tail)

    def refuse(self, status: int, message: str) -> None:
        """Answer in its turn, then close; whatever else arrives is discarded."""
        self.discarding = True
        self._body = []
        headers: dict[str, str] = {}
        for name, value in self._headers:
            headers.setdefault(name, value)
        request = Request("", "", headers=headers, header_list=self._headers)
        if status in (413, 500):
            answer = self._server.render_error(status, message)
        else:
            answer = plain_error(status, message)
        self.pending.append(Pending(request, keep_alive=False, refused=answer))

    def _take_known(self, data: bytes) -> bool:
        """Read a request whose headers are known; False: let the parser look at it."""
        known = self._known_bare
        if known is not None and data.endswith(known.block):
            line = _BARE_LINE.fullmatch(data, 0, len(data) - len(known.block))
            headers, body = known.headers.copy(), b""
        else:
            known = self._known_bodied
            if known is None:
                return False
            end = data.find(b"\r\n")
            at = end + len(known.block)
            after = data.find(b"\r\n", at)
            if not data.startswith(known.block, end) or not data.startswith(known.rest, after):
                return False
            length = data[at:after]
            start = after + len(known.rest)
            size = len(data) - start
            # In its shortest form, and all of it here: anything else is the parser's.
            if length != b"%d" % size or not 0 < size <= self._server.limits.body_bytes:
                return False
            line = _BODIED_LINE.fullmatch(data, 0, end)
            headers, body = known.headers.copy(), data[start:]
            headers["content-length"] = length.decode("ascii")
        if line is None:
            return False
        raw_path, _, query = line[2].decode("ascii").partition("?")
        request = Request(
            _METHODS[line[1]],
            unquote(raw_path) if "%" in raw_path else raw_path,
            query,
            headers,
            body,
            self.peer,
            self.remote,
            raw_path,
            known.header_list,
            None,
            self.refused_certificate,
            known.remembered,
        )
        self.pending.append(Pending(request))
        return True

    def _learn(self, data: bytes, item: Pending) -> None:
        """Keep the headers of a request that was one read, one head, its body and nothing else."""
        request = item.request
        end = data.find(b"\r\n")
        size = len(data) - len(request.body)
        if (
            not item.keep_alive
            or item.upgrade
            or item.http_1_0
            or self.in_message
            or item.refused is not None
            or size - end > _KNOWN_LIMIT_BYTES
            or data.find(b"\r\n\r\n") != size - 4
        ):
            return
        headers, header_list = request.headers.copy(), request.header_list
        if not request.body:
            if "content-length" not in headers and _BARE_LINE.fullmatch(data, 0, end):
                self._known_bare = _Known(data[end:], b"", headers, header_list)
            return
        found = _LENGTH.search(data, end, size)
        if (
            found is not None
            and found[1] == b"%d" % len(request.body)
            and headers["content-length"] == str(len(request.body))
            and not headers.keys() & _OF_THE_PARSER
            and _BODIED_LINE.fullmatch(data, 0, end)
        ):
            block, rest = data[end : found.start(1)], data[found.end(1) : size]
            self._known_bodied = _Known(block, rest, headers, header_list)

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._parser = httptools.HttpRequestParser(self)
            rest = data[upgrade.args[0] :]
            if self.pending and self.pending[-1].upgrade:
                self.tail = bytearray(rest)
            else:
                # An offer to upgrade on a request with a body (h2c): the parser stops before
                # the body, so a stand-in head makes a new one read it. Never upgraded.
                self._head_preset = True
                self._feed(self._framing_head() + rest)
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, _Refused):
                self.refuse(cause.status, cause.message)
            elif isinstance(error, httptools.HttpParserCallbackError):
                _log.error("request parser failed", error=repr(cause), exc_info=cause)
                self.refuse(500, "internal error")
            else:
                self.refuse(400, "malformed request")
        else:
            if self.in_message and not self.headers_done:
                # A head spread over reads: count also what the parser holds back.
                if self._head_fresh:
                    self._head_fresh = False
                else:
                    self._head_fed += len(data)
                    if self._head_fed > self._server.limits.header_bytes:
                        self.refuse(431, "request header fields too large")

    def _framing_head(self) -> bytes:
        framing = [
            f"{name}: {value}\r\n"
            for name, value in self._headers
            if name in ("content-length", "transfer-encoding")
        ]
        return ("POST / HTTP/1.1\r\n" + "".join(framing) + "\r\n").encode("latin-1")

    # -- parser callbacks -----------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._head_preset:
            return
        self._url = b""
        self._headers = []
        self._body = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._head_fed = 0
        self._head_fresh = True
        self.headers_done = False
        self.in_message = True
        self._source.message_began()

    def on_url(self, url: bytes) -> None:
        if not self._head_preset:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_preset:
            return
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self._server.limits.header_bytes:
            raise _Refused(431, "request header fields too large")
        if self.headers_done:
            return  # a trailer must never pass for a header (RFC 9110, 6.5.1)
        self._headers.append((_header_name(name), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self.headers_done = True
        limit = self._server.limits.body_bytes
        for name, value in self._headers:
            if name == "content-length" and value.isdigit() and int(value) > limit:
                raise _Refused(413, f"Request entity too large: limit is {limit}")
            if name == "expect" and value.lower() == "100-continue":
                self.continue_wanted = not self._head_preset
        self._source.head_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        limit = self._server.limits.body_bytes
        if self._body_bytes > limit:
            raise _Refused(413, f"Request entity too large: limit is {limit}")
        self._body.append(body)

    def on_message_complete(self) -> None:
        parser = self._parser
        upgrade = parser.should_upgrade() and not self._head_preset
        headers = self._combined_headers()
        if upgrade and (
            headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        ):
            return  # the body is still to come: see _feed
        http_1_0 = parser.get_http_version() == "1.0"
        if "host" not in headers and not http_1_0:
            raise _Refused(400, "missing required Host header")
        target = self._url.decode("latin-1")
        if not target.startswith("/") and "://" in target:
            target = "/" + target.partition("://")[2].partition("/")[2]
        path, query = parse_target(target)
        self.continue_wanted = False
        self._head_preset = False
        self.in_message = False
        body = self._body
        request = Request(
            parser.get_method().decode("ascii"),
            path,
            query,
            headers,
            (body[0] if len(body) == 1 else b"".join(body)) if body else b"",
            self.peer,
            self.remote,
            target.partition("?")[0],
            self._without_length() if body else self._headers,
            refused_certificate=self.refused_certificate,
        )
        self._body = []
        self.pending.append(
            Pending(request, parser.should_keep_alive() or upgrade, http_1_0, upgrade)
        )
        if len(self.pending) >= PIPELINE_LIMIT:
            self._source.pause_reading()

    def _without_length(self) -> list[tuple[str, str]]:
        return [pair for pair in self._headers if pair[0] != "content-length"]

    def _combined_headers(self) -> dict[str, str]:
        """Headers by name; several of one name as one."""
        headers: dict[str, str] = {}
        for name, value in self._headers:
            if name in headers:
                if name == "host":
                    raise _Refused(400, "too many Host headers")
                separator = "; " if name == "cookie" else ", "
                headers[name] = f"{headers[name]}{separator}{value}"
            else:
                headers[name] = value
        return headers


def plain_error(status: int, message: str) -> Response:
    """An answer for a peer that may not speak our protocol at all."""
    headers = [("Content-Type", "text/plain; charset=utf-8")]
    return Response(status, headers, f"{status} {message}\n".encode())
