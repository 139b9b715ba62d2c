"""Interfaces, addresses and routes through rtnetlink, as plain functions on a socket.

Every function takes the socket, so it acts in the network namespace the socket was made in.
Adding what is there and removing what is gone is no error; everything else is an ``OSError``.
Man page: rtnetlink(7).
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from dataclasses import dataclass

from kutter.linux.netlink import (
    NLM_CREATE,
    NLM_EXCLUSIVE,
    NLM_REPLACE,
    NetlinkSocket,
    attribute,
    nested,
    parse_attributes,
    text,
    u32,
)

_NEWLINK, _DELLINK, _GETLINK, _SETLINK = 16, 17, 18, 19
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER = 1, 3, 4, 10
_IFLA_PROTINFO, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 12, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER, _BRPORT_HAIRPIN = 1, 2, 1, 4
_IFLA_OPERSTATE, _STATE_UNKNOWN, _STATE_UP = 16, b"\x00", b"\x06"
_INFO_SLAVE_KIND, _INFO_SLAVE_DATA, _BRPORT_STATE, _PORT_FORWARDING = 4, 5, 1, b"\x03"
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY = 1, 4, 5, 6

_UP = 1
_AF_BRIDGE = 7
_TABLE_MAIN, _PROTOCOL_STATIC, _TYPE_UNICAST = 254, 4, 1
SCOPE_UNIVERSE, SCOPE_LINK, SCOPE_HOST = 0, 253, 254

_LINK = struct.Struct("=BxHiII")
_ADDR = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")


@dataclass(frozen=True, slots=True)
class Link:
    """An interface as it is. ``master`` is an index, 0 for none.

    ``passing``: it has a carrier, its queue is live and, on a bridge port, frames are forwarded.
    """

    index: int
    name: str
    up: bool
    mtu: int
    mac: str
    master: int
    passing: bool = False


def _mac(value: str) -> bytes:
    return bytes.fromhex(value.replace(":", ""))


def _link_header(index: int = 0, flags: int = 0, change: int = 0, family: int = 0) -> bytes:
    return _LINK.pack(family, 0, index, flags, change)


def _parse_link(body: bytes) -> Link:
    _, _, index, flags, _ = _LINK.unpack_from(body)
    found = parse_attributes(body, _LINK.size)
    return Link(
        index=index,
        name=found.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(),
        up=bool(flags & _UP),
        mtu=struct.unpack("=I", found.get(_IFLA_MTU, b"\0\0\0\0"))[0],
        mac=found.get(_IFLA_ADDRESS, b"").hex(":"),
        master=struct.unpack("=I", found.get(_IFLA_MASTER, b"\0\0\0\0"))[0],
        passing=found.get(_IFLA_OPERSTATE) in (_STATE_UNKNOWN, _STATE_UP)
        and _port_state(found) in (b"", _PORT_FORWARDING),
    )


def _port_state(link: dict[int, bytes]) -> bytes:
    info = parse_attributes(link.get(_IFLA_LINKINFO, b""))
    if info.get(_INFO_SLAVE_KIND, b"").rstrip(b"\0") != b"bridge":
        return b""
    return parse_attributes(info.get(_INFO_SLAVE_DATA, b"")).get(_BRPORT_STATE, b"")


def find_link(kernel: NetlinkSocket, name: str) -> Link | None:
    """The interface of this name, or None."""
    try:
        return _parse_link(kernel.get(_GETLINK, _link_header() + text(_IFLA_IFNAME, name)))
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise


def list_links(kernel: NetlinkSocket) -> list[Link]:
    return [_parse_link(body) for body in kernel.dump(_GETLINK, _link_header())]


def add_bridge(kernel: NetlinkSocket, name: str, *, mac: str, mtu: int) -> None:
    """Make a bridge, up, with its own address so that ports never change it."""
    kernel.request(
        _NEWLINK,
        _link_header(flags=_UP, change=_UP)
        + text(_IFLA_IFNAME, name)
        + attribute(_IFLA_ADDRESS, _mac(mac))
        + u32(_IFLA_MTU, mtu)
        + nested(_IFLA_LINKINFO, text(_INFO_KIND, "bridge")),
        NLM_CREATE | NLM_EXCLUSIVE,
    )


def add_veth(
    kernel: NetlinkSocket,
    name: str,
    *,
    master: int,
    mtu: int,
    peer_namespace: int,
    peer_name: str,
    peer_mac: str,
) -> None:
    """Make a pair: ours up and a port of ``master``, the peer in another namespace.

    The kernel refuses to bring the peer up in the same breath (its partner is not there yet).
    """
    peer = (
        _link_header()
        + text(_IFLA_IFNAME, peer_name)
        + attribute(_IFLA_ADDRESS, _mac(peer_mac))
        + u32(_IFLA_MTU, mtu)
        + u32(_IFLA_NET_NS_FD, peer_namespace)
    )
    kernel.request(
        _NEWLINK,
        _link_header(flags=_UP, change=_UP)
        + text(_IFLA_IFNAME, name)
        + u32(_IFLA_MTU, mtu)
        + u32(_IFLA_MASTER, master)
        + nested(
            _IFLA_LINKINFO,
            text(_INFO_KIND, "veth"),
            nested(_INFO_DATA, attribute(_VETH_PEER, peer)),
        ),
        NLM_CREATE | NLM_EXCLUSIVE,
    )


def set_hairpin(kernel: NetlinkSocket, index: int) -> None:
    """Let a bridge port send frames back where they came from."""
    kernel.request(
        _SETLINK,
        _link_header(index, family=_AF_BRIDGE)
        + nested(_IFLA_PROTINFO, attribute(_BRPORT_HAIRPIN, b"\x01")),
    )


def set_link(kernel: NetlinkSocket, index: int, *, mtu: int = 0) -> None:
    """Bring an interface up, and set its MTU when given."""
    extra = u32(_IFLA_MTU, mtu) if mtu else b""
    kernel.request(_NEWLINK, _link_header(index, _UP, _UP) + extra)


def set_master(kernel: NetlinkSocket, index: int, master: int) -> None:
    """Make an interface a port of a bridge."""
    kernel.request(_NEWLINK, _link_header(index) + u32(_IFLA_MASTER, master))


def delete_link(kernel: NetlinkSocket, name: str) -> None:
    try:
        kernel.request(_DELLINK, _link_header() + text(_IFLA_IFNAME, name))
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


def _packed(address: str) -> tuple[int, bytes]:
    parsed = ipaddress.ip_address(address)
    family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
    return family, parsed.packed


def add_address(
    kernel: NetlinkSocket, index: int, address: str, prefix: int, *, scope: int = SCOPE_UNIVERSE
) -> None:
    family, packed = _packed(address)
    kernel.request(
        _NEWADDR,
        _ADDR.pack(family, prefix, 0, scope, index)
        + attribute(_IFA_LOCAL, packed)
        + attribute(_IFA_ADDRESS, packed),
        NLM_CREATE | NLM_REPLACE,
    )


def delete_address(kernel: NetlinkSocket, index: int, address: str, prefix: int) -> None:
    family, packed = _packed(address)
    try:
        kernel.request(
            _DELADDR, _ADDR.pack(family, prefix, 0, 0, index) + attribute(_IFA_LOCAL, packed)
        )
    except OSError as error:
        if error.errno not in (errno.EADDRNOTAVAIL, errno.ENODEV):
            raise


def list_addresses(kernel: NetlinkSocket) -> list[tuple[int, str, int]]:
    """(interface index, IPv4 address, prefix length) of every address."""
    found = []
    for body in kernel.dump(_GETADDR, _ADDR.pack(socket.AF_INET, 0, 0, 0, 0)):
        _, prefix, _, _, index = _ADDR.unpack_from(body)
        local = parse_attributes(body, _ADDR.size).get(_IFA_LOCAL)
        if local:
            found.append((index, str(ipaddress.ip_address(local)), prefix))
    return found


def add_route(
    kernel: NetlinkSocket, index: int, destination: str, *, gateway: str = "", scope: int = 0
) -> None:
    """Add or replace a route; ``destination`` in CIDR notation."""
    network = ipaddress.ip_network(destination)
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    body = _ROUTE.pack(
        family, network.prefixlen, 0, 0, _TABLE_MAIN, _PROTOCOL_STATIC, scope, _TYPE_UNICAST, 0
    )
    if network.prefixlen:
        body += attribute(_RTA_DST, network.network_address.packed)
    if gateway:
        body += attribute(_RTA_GATEWAY, ipaddress.ip_address(gateway).packed)
    kernel.request(_NEWROUTE, body + u32(_RTA_OIF, index), NLM_CREATE | NLM_REPLACE)


def find_uplink(kernel: NetlinkSocket) -> Link | None:
    """The interface of the IPv4 default route with the best metric, or None."""
    best: tuple[int, int] | None = None
    for body in kernel.dump(_GETROUTE, _ROUTE.pack(socket.AF_INET, *([0] * 8))):
        _, length, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(body)
        if length or table != _TABLE_MAIN or kind != _TYPE_UNICAST:
            continue
        found = parse_attributes(body, _ROUTE.size)
        if _RTA_OIF not in found:
            continue
        metric = struct.unpack("=I", found.get(_RTA_PRIORITY, b"\0\0\0\0"))[0]
        index = struct.unpack("=I", found[_RTA_OIF])[0]
        if best is None or metric < best[0]:
            best = (metric, index)
    if best is None:
        return None
    return _parse_link(kernel.get(_GETLINK, _link_header(best[1])))
