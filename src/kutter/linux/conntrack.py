"""The kernel's connection table: read the UDP part of it, remove entries.

Attributes: include/uapi/linux/netfilter/nfnetlink_conntrack.h. Blocking, like all netlink.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from kutter.linux.netlink import NetlinkSocket, attribute, nested, parse_attributes, u32

_CONNTRACK = 1 << 8
_GET, _DELETE = _CONNTRACK | 1, _CONNTRACK | 2
_TUPLE_ORIGINAL, _TUPLE_REPLY, _FILTER = 1, 2, 25
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_SOURCE, _DESTINATION = 1, 2
_PROTO_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_FILTER_ORIGINAL_FLAGS, _FLAG_PROTO_NUMBER = 1, 1 << 3
_GENERIC = struct.pack("=BBH", socket.AF_INET, 0, 0)


@dataclass(frozen=True, slots=True)
class Flow:
    """One tracked connection: where it was sent and who answers. ``handle`` names it."""

    destination: tuple[str, int]
    answered_by: tuple[str, int]
    handle: bytes


def list_udp_flows(kernel: NetlinkSocket) -> Iterator[Flow]:
    """All IPv4 UDP entries; the kernel filters by protocol."""
    udp = nested(_TUPLE_PROTO, attribute(_PROTO_NUMBER, bytes([socket.IPPROTO_UDP])))
    query = nested(_TUPLE_ORIGINAL, udp) + nested(
        _FILTER, u32(_FILTER_ORIGINAL_FLAGS, _FLAG_PROTO_NUMBER)
    )
    for body in kernel.dump(_GET, _GENERIC + query):
        found = parse_attributes(body, 4)
        original, reply = found.get(_TUPLE_ORIGINAL), found.get(_TUPLE_REPLY)
        if original is None or reply is None:
            continue
        number, destination = _parse_end(original, _DESTINATION, _DESTINATION_PORT)
        _, answered_by = _parse_end(reply, _SOURCE, _SOURCE_PORT)
        if number == socket.IPPROTO_UDP:
            yield Flow(destination, answered_by, original)


def _parse_end(data: bytes, side: int, port_side: int) -> tuple[int, tuple[str, int]]:
    parts = parse_attributes(data)
    address = parse_attributes(parts.get(_TUPLE_IP, b"")).get(side, b"\0\0\0\0")
    proto = parse_attributes(parts.get(_TUPLE_PROTO, b""))
    port = struct.unpack("!H", proto.get(port_side, b"\0\0"))[0]
    number = proto.get(_PROTO_NUMBER, b"\0")[0]
    return number, (str(ipaddress.ip_address(address)), port)


def delete_flow(kernel: NetlinkSocket, flow: Flow) -> None:
    """Forget one entry; no error when it has just expired."""
    try:
        kernel.request(_DELETE, _GENERIC + nested(_TUPLE_ORIGINAL, flow.handle))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
