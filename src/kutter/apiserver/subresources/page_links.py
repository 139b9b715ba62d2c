"""Links of pages seen through a proxy: absolute ones are led through the proxy too.

Pure. Between what a pod or service answers and the caller, to whom the same server is at
``<prefix>/``: redirects, and links in HTML, to the server itself get the prefix; relative links
and those to other hosts stay as they are. Only the values of attributes that are links change.
https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/
"""

from __future__ import annotations

import html
import posixpath
import re
import zlib
from html.parser import HTMLParser
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

# Attributes that hold links, by element (HTML 4.01 and HTML5).
_LINKS = {
    "a": {"href"},
    "applet": {"codebase"},
    "area": {"href"},
    "audio": {"src"},
    "base": {"href"},
    "blockquote": {"cite"},
    "body": {"background"},
    "button": {"formaction"},
    "command": {"icon"},
    "del": {"cite"},
    "embed": {"src"},
    "form": {"action"},
    "frame": {"longdesc", "src"},
    "head": {"profile"},
    "html": {"manifest"},
    "iframe": {"longdesc", "src"},
    "img": {"longdesc", "src", "usemap"},
    "input": {"src", "usemap", "formaction"},
    "ins": {"cite"},
    "link": {"href"},
    "object": {"classid", "codebase", "data", "usemap"},
    "q": {"cite"},
    "script": {"src"},
    "source": {"src"},
    "video": {"poster", "src"},
}
_ATTRIBUTE = re.compile(
    r"""(?P<head>[\s/"'](?P<name>[a-zA-Z]+)\s*=\s*)(?P<value>"[^"]*"|'[^']*'|[^\s>"']+)"""
)
_ENCODINGS = {"gzip": 31, "deflate": -15}  # zlib's window bits


class Proxied(NamedTuple):
    """Where a page came from. ``prefix`` is the proxy's own path, without the slash at its end.

    ``hosts`` are the names the server itself goes by: its address, and what the caller asked for.
    """

    prefix: str
    hosts: frozenset[str]


def rewrite_link(link: str, page: Proxied) -> str:
    """The link as it must be for one who comes through the proxy."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return link
    if (parts.netloc and parts.netloc not in page.hosts) or not parts.path.startswith("/"):
        return link
    path = parts.path
    if not path.startswith(page.prefix):
        # Made plain first: no number of steps up leads out of the proxy.
        path = page.prefix + posixpath.normpath("/" + path.lstrip("/"))
        if parts.path.endswith("/") and not path.endswith("/"):
            path += "/"
    return urlunsplit(("", "", path, parts.query, parts.fragment))


class _Tags(HTMLParser):
    """Finds start tags: where each begins, its name and its text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.found: list[tuple[tuple[int, int], str, str]] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in _LINKS:
            self.found.append((self.getpos(), tag, self.get_starttag_text() or ""))


def rewrite_page(text: str, page: Proxied) -> str:
    """HTML with its links rewritten, all else as it was."""
    tags = _Tags()
    tags.feed(text)
    tags.close()
    starts = [0]
    starts += [found.end() for found in re.finditer("\n", text)]
    parts, done = [], 0
    for (line, column), name, tag in tags.found:
        at = starts[line - 1] + column
        parts += [text[done:at], _rewrite_tag(tag, _LINKS[name], page)]
        done = at + len(tag)
    return "".join([*parts, text[done:]])


def _rewrite_tag(tag: str, names: set[str], page: Proxied) -> str:
    def attribute(found: re.Match[str]) -> str:
        if found["name"].lower() not in names:
            return found[0]
        value = found["value"]
        bare = value[1:-1] if value[0] in "\"'" else value
        old = html.unescape(bare)
        new = rewrite_link(old, page)
        return found[0] if new == old else f'{found["head"]}"{html.escape(new)}"'

    return _ATTRIBUTE.sub(attribute, tag)


def rewrite_body(body: bytes, encoding: str, page: Proxied, limit_bytes: int) -> bytes | None:
    """A page's body, also a compressed one; None when it is too long or cannot be read."""
    if not encoding:
        return _rewrite_bytes(body, page)
    bits = _ENCODINGS.get(encoding)
    if bits is None:
        return None
    reader = zlib.decompressobj(bits)
    try:
        plain = reader.decompress(body, limit_bytes)
    except zlib.error:
        return None
    if not reader.eof:
        return None
    writer = zlib.compressobj(wbits=bits)
    return writer.compress(_rewrite_bytes(plain, page)) + writer.flush()


def _rewrite_bytes(body: bytes, page: Proxied) -> bytes:
    # Whatever the bytes mean, those that are not ASCII come out as they went in.
    return rewrite_page(body.decode("latin-1"), page).encode("latin-1")
