"""Netlink message format, and the kernel on read-only questions."""

from __future__ import annotations

import errno
import struct

import pytest

from kutter.linux.links import add_route, find_link, list_addresses, list_links
from kutter.linux.netlink import NetlinkSocket, attribute, nested, parse_attributes, text, u32


def test_attributes_round_trip() -> None:
    data = text(3, "eth0") + u32(4, 1500) + nested(18, text(1, "veth"), attribute(2, b"\1\2\3"))
    found = parse_attributes(data)
    assert found[3] == b"eth0\0"
    assert struct.unpack("=I", found[4]) == (1500,)
    assert parse_attributes(found[18]) == {1: b"veth\0", 2: b"\1\2\3"}


@pytest.mark.parametrize("data", [b"\1", b"\3\0\1\0", b"\xff\0\1\0abcd", b"\0" * 8])
def test_malformed_attributes_stop(data) -> None:
    assert parse_attributes(data) == {}


def test_loopback_is_found() -> None:
    with NetlinkSocket() as kernel:
        link = find_link(kernel, "lo")
        assert link is not None
        assert (link.index, link.name) == (1, "lo")
        assert link in list_links(kernel)
        assert find_link(kernel, "no-such-link") is None
        assert all("." in address for _, address, _ in list_addresses(kernel))


def test_refusal_is_an_error_with_its_number() -> None:
    with NetlinkSocket() as kernel:
        with pytest.raises(OSError) as caught:
            add_route(kernel, 2**31 - 2, "198.51.100.0/24")
        assert caught.value.errno in (errno.ENODEV, errno.EPERM)
        assert list_links(kernel)  # the socket is still good
