"""URLs: ``url('https://example.com:80/path?k=v').getHost()``.

Upstream: https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-url-library
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from kutter.api.cel.declarations import Library, Overload
from kutter.api.cel.errors import EvaluationError
from kutter.api.cel.library.costs import by_target, estimate_parsing
from kutter.api.cel.types import BOOL, STRING, Type, list_of, map_of, opaque
from kutter.api.cel.values import Opaque

URL = opaque("kubernetes.URL")
_scheme = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:", re.ASCII).match
_bad_escape = re.compile(r"%(?![0-9a-fA-F]{2})").search
_port = re.compile(r"(?::\d*)?", re.ASCII).fullmatch
_PATH = "/:@!$&'()*+,;=-._~%[]"


class Address(Opaque):
    """A URL that was read."""

    __slots__ = ("parts", "text")
    cel_type = URL

    def __init__(self, text: str, parts: SplitResult) -> None:
        self.text = text
        self.parts = parts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    @property
    def size(self) -> int:
        return len(self.text)

    @property
    def host(self) -> str:
        """With the port; without a user."""
        return self.parts.netloc.rpartition("@")[2]


def _parse(text: str) -> Address:
    """An absolute URL, or a path from the root (Go's ``ParseRequestURI``)."""
    what = f'URL parse error during conversion from string: parse "{text}": '
    if any(char < " " or char == "\x7f" for char in text):
        raise EvaluationError(f"{what}net/url: invalid control character in URL")
    if not text:
        raise EvaluationError(f"{what}empty url")
    if text != "*" and not _scheme(text) and not text.startswith("/"):
        raise EvaluationError(f"{what}invalid URI for request")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise EvaluationError(f"{what}invalid URI for request") from None
    bad = _bad_escape(parts.netloc + parts.path)
    if bad is not None:
        shown = (parts.netloc + parts.path)[bad.start() : bad.start() + 3]
        raise EvaluationError(f'{what}invalid URL escape "{shown}"')
    found = Address(text, parts)
    after = found.host.rpartition("]")[2] if "[" in found.host else found.host
    _, colon, port = after.partition(":")
    if not _port(colon + port):
        raise EvaluationError(f'{what}invalid port "{colon}{port}" after host')
    if " " in found.host:
        raise EvaluationError(f'{what}invalid character " " in host name')
    return found


def _is_url(text: str) -> bool:
    try:
        _parse(text)
    except EvaluationError:
        return False
    return True


def _hostname(url: Address) -> str:
    host = url.host
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _get_port(url: Address) -> str:
    return url.host.rpartition("]")[2].partition(":")[2]


def _escaped_path(url: Address) -> str:
    path = url.parts.path
    return path if quote(unquote(path), safe=_PATH) == path else quote(path, safe=_PATH)


def _query(url: Address) -> dict[str, list[str]]:
    return parse_qs(url.parts.query, keep_blank_values=True)


def _ask(id: str, result: Type, code: Callable[..., Any]) -> tuple[Overload, ...]:
    return (Overload(id, (URL,), result, code, member=True),)


URLS = Library(
    "kubernetes.urls",
    functions={
        "url": (
            Overload(
                "string_to_url", (STRING,), URL, _parse, cost=by_target, estimate=estimate_parsing
            ),
        ),
        "isURL": (Overload("is_url_string", (STRING,), BOOL, _is_url),),
        "getScheme": _ask("url_get_scheme", STRING, lambda url: url.parts.scheme),
        "getHost": _ask("url_get_host", STRING, lambda url: url.host),
        "getHostname": _ask("url_get_hostname", STRING, _hostname),
        "getPort": _ask("url_get_port", STRING, _get_port),
        "getEscapedPath": _ask("url_get_escaped_path", STRING, _escaped_path),
        "getQuery": _ask("url_get_query", map_of(STRING, list_of(STRING)), _query),
    },
    types={"kubernetes.URL": URL},
)


def is_url_problem(text: str) -> list[str]:
    """What is wrong with a URL, in Go's words."""
    try:
        _parse(text)
    except EvaluationError as error:
        return [str(error).removeprefix("URL parse error during conversion from string: ")]
    return []
