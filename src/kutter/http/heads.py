"""Between response values and header bytes: status lines, header blocks, the Date header.

Pure but for the Date cache. Header names and values never carry CR or LF: a value that does is
our bug and raises instead of splitting the answer (RFC 9112, section 11.1).
"""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import format_datetime
from http import HTTPStatus

from kutter.base.clock import Clock

# Headers of one connection, never forwarded nor taken from a handler (RFC 9110, 7.6.1).
HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
_FRAMING = frozenset(("connection", "transfer-encoding", "content-length", "keep-alive", "date"))

# Statuses that never carry a body nor Content-Length (RFC 9110, 6.4.1 and 8.6).
BODILESS = frozenset((204, 304))


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"


_STATUS_LINES = {s: f"HTTP/1.1 {s} {_reason(s)}\r\n" for s in [*map(int, HTTPStatus)]}


def render_response_head(
    status: int, headers: Iterable[tuple[str, str]], framing: str, date: str
) -> bytes:
    """The bytes up to and including the empty line.

    ``framing`` is whole header lines (Content-Length or Transfer-Encoding, Connection) that
    replace whatever the handler said about them. Raises ValueError for CR or LF in a header.
    """
    text = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} {_reason(status)}\r\n"
    for pair in headers:
        line = _lines.get(pair)
        text += line if line is not None else _header_line(pair)
    return f"{text}{date}{framing}\r\n".encode("latin-1", "replace")


# Most header lines of answers repeat endlessly: each is checked and rendered once.
_lines: dict[tuple[str, str], str] = {}
_LINES_MAX = 256
_VARYING = frozenset(("audit-id", "content-length", "location", "set-cookie", "warning", "etag"))


def _header_line(pair: tuple[str, str]) -> str:
    """One header as its line, empty for those ``framing`` says. Raises ValueError."""
    name, value = pair
    lower = name.lower()
    line = "" if lower in _FRAMING else f"{name}: {value}\r\n"
    if "\n" in name or "\r" in name or "\n" in value or "\r" in value:
        raise ValueError("a response header contains a line break")
    if lower not in _VARYING and len(_lines) < _LINES_MAX and len(line) < _LINES_MAX:
        _lines[pair] = line
    return line


def header_text(value: str) -> str:
    """A header's value as the text its sender meant: UTF-8 where its bytes are that."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except (UnicodeDecodeError, UnicodeEncodeError):
        return value


def render_request_head(method: str, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """A request's head. Raises ValueError for line breaks or spaces where they do not belong."""
    if any(c in target or c in method for c in " \r\n"):
        raise ValueError("a request line contains a space or a line break")
    parts = [f"{method} {target} HTTP/1.1\r\n"]
    parts += [f"{name}: {value}\r\n" for name, value in headers]
    text = "".join(parts)
    if text.count("\n") != len(parts) or text.count("\r") != len(parts):
        raise ValueError("a request header contains a line break")
    return f"{text}\r\n".encode("latin-1", "replace")


class DateHeader:
    """The ``Date`` line, rendered at most once a second."""

    __slots__ = ("_clock", "_line", "_until")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = -1.0
        self._line = ""

    def line(self, monotonic_s: float) -> str:
        """The header line at this moment of the loop's clock."""
        if monotonic_s >= self._until:
            self._line = f"Date: {format_datetime(self._clock.now(), usegmt=True)}\r\n"
            self._until = monotonic_s + 1.0
        return self._line
