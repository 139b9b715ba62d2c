"""Links of proxied pages."""

from __future__ import annotations

import zlib

import pytest

from kutter.apiserver.subresources.page_links import (
    Proxied,
    rewrite_body,
    rewrite_link,
    rewrite_page,
)

_PREFIX = "/api/v1/namespaces/ns/pods/p:80/proxy"
_PAGE = Proxied(_PREFIX, frozenset({"10.0.0.1:80", "cluster.example"}))


@pytest.mark.parametrize(
    ("link", "wanted"),
    [
        ("/x/y?q=1#f", f"{_PREFIX}/x/y?q=1#f"),
        ("/x/", f"{_PREFIX}/x/"),
        ("/", f"{_PREFIX}/"),
        ("http://10.0.0.1:80/x", f"{_PREFIX}/x"),
        ("https://cluster.example/x", f"{_PREFIX}/x"),
        ("//10.0.0.1:80/x", f"{_PREFIX}/x"),
        (f"{_PREFIX}/x", f"{_PREFIX}/x"),
        ("/a/../../../../../../../../x", f"{_PREFIX}/x"),
        ("http://elsewhere.example/x", "http://elsewhere.example/x"),
        ("x/y", "x/y"),
        ("?q=1", "?q=1"),
        ("#top", "#top"),
        ("mailto:me@example.com", "mailto:me@example.com"),
        ("http://[broken", "http://[broken"),
    ],
)
def test_links(link: str, wanted: str) -> None:
    assert rewrite_link(link, _PAGE) == wanted


@pytest.mark.parametrize(
    ("page", "wanted"),
    [
        ("<a href='/x'>/x</a>", f'<a href="{_PREFIX}/x">/x</a>'),
        ("<A HREF=/x>", f'<A HREF="{_PREFIX}/x">'),
        ('<img alt="/x" src="/y"/>', f'<img alt="/x" src="{_PREFIX}/y"/>'),
        (
            'a\n\n b<form\n action="/x?a=1&amp;b=2">',
            f'a\n\n b<form\n action="{_PREFIX}/x?a=1&amp;b=2">',
        ),
        ('<script>x = "<a href=/x>";</script>', '<script>x = "<a href=/x>";</script>'),
        ("<!-- <a href=/x> -->", "<!-- <a href=/x> -->"),
        ('<p title="/x" data-href="/y">', '<p title="/x" data-href="/y">'),
        ('<a title="x href=/y" href="z">', '<a title="x href=/y" href="z">'),
        ("<a href='/x' unfinished", "<a href='/x' unfinished"),
        ("no page at all < > &", "no page at all < > &"),
    ],
)
def test_only_links_change(page: str, wanted: str) -> None:
    assert rewrite_page(page, _PAGE) == wanted


def test_bytes_come_out_as_they_went_in() -> None:
    body = b'<a href="/x">' + bytes(range(256)) + "ü€".encode()
    rewritten = rewrite_body(body, "", _PAGE, 1000)
    assert rewritten == body.replace(b"/x", f"{_PREFIX}/x".encode(), 1)


def test_a_compressed_page_is_bounded() -> None:
    writer = zlib.compressobj(wbits=31)
    bomb = writer.compress(b"0" * 10_000_000) + writer.flush()
    assert rewrite_body(bomb, "gzip", _PAGE, 1_000_000) is None
