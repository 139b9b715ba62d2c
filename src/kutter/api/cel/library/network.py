"""Addresses and networks: ``ip('10.0.0.1')``, ``cidr('10.0.0.0/8').containsIP(…)``.

Upstream: https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-ip-address-library
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
)
from typing import Any

from kutter.api.cel.declarations import Cost, Estimate, Library, Overload
from kutter.api.cel.errors import EvaluationError
from kutter.api.cel.estimates import CallEstimate, Range, Sized
from kutter.api.cel.library.costs import (
    TEXT,
    actual_size,
    by_target,
    by_target_twice,
    estimate_parsing,
    estimate_parsing_twice,
)
from kutter.api.cel.types import BOOL, INT, STRING, Type, opaque
from kutter.api.cel.values import Opaque
from kutter.api.quoting import quote

IP, CIDR = opaque("net.IP"), opaque("net.CIDR")
_prefix = re.compile(r"/(0|[1-9]\d{0,2})", re.ASCII).search


class Address(Opaque):
    """An IP address."""

    __slots__ = ("address",)
    cel_type = IP

    def __init__(self, address: IPv4Address | IPv6Address) -> None:
        self.address = address

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and self.address == other.address

    def __hash__(self) -> int:
        return hash(self.address)

    @property
    def size(self) -> int:
        return len(self.address.packed)


class Network(Opaque):
    """An address with the length of its prefix; bits behind it are kept."""

    __slots__ = ("interface",)
    cel_type = CIDR

    def __init__(self, interface: IPv4Interface | IPv6Interface) -> None:
        self.interface = interface

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Network) and self.interface == other.interface

    def __hash__(self) -> int:
        return hash(self.interface)

    @property
    def size(self) -> int:
        return -(-self.interface.network.prefixlen // 8)


def _parse_ip(text: str) -> Address:
    try:
        found = ip_address(text)
    except ValueError:
        raise EvaluationError(
            f"IP Address {quote(text)} parse error during conversion from string: "
            f"ParseAddr({quote(text)}): unable to parse IP"
        ) from None
    if isinstance(found, IPv6Address):
        if found.scope_id is not None:
            text = f"IP address {quote(text)} with zone value is not allowed"
            raise EvaluationError(text)
        if found.ipv4_mapped is not None:
            text = f"IPv4-mapped IPv6 address {quote(text)} is not allowed"
            raise EvaluationError(text)
    return Address(found)


def _parse_cidr(text: str) -> Network:
    what = "network address parse error during conversion from string: "
    match = _prefix(text)
    try:
        if match is None or match.end() != len(text) or "%" in text:
            raise ValueError
        found = ip_interface(text)
    except ValueError:
        shown = quote(text)
        lacks = "no '/'" if "/" not in text else "unable to parse"
        detail = f"netip.ParsePrefix({shown}): {lacks}"
        raise EvaluationError(f"{what}{what}{detail}") from None
    if isinstance(found, IPv6Interface) and found.ip.ipv4_mapped is not None:
        detail = f"IPv4-mapped IPv6 address {quote(text)} is not allowed"
        raise EvaluationError(f"{what}{detail}")
    return Network(found)


def _is(parse: Callable[[str], Any]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except EvaluationError:
            return False
        return True

    return check


def _canonical(text: str) -> bool:
    return str(_parse_ip(text).address) == text


def _is_global(ip: Address) -> bool:
    """Go's word: anything that goes to one host, private ranges too."""
    address = ip.address
    return not (
        address.is_unspecified
        or address.is_loopback
        or address.is_multicast
        or address.is_link_local
        or str(address) == "255.255.255.255"
    )


def _is_local_multicast(ip: Address) -> bool:
    packed = ip.address.packed
    if len(packed) == 4:
        return packed[:3] == b"\xe0\x00\x00"
    return packed[0] == 0xFF and packed[1] & 0x0F == 2


def _contains_ip(network: Network, other: Any) -> bool:
    ip = _parse_ip(other) if type(other) is str else other
    return ip.address in network.interface.network


def _contains_cidr(network: Network, other: Any) -> bool:
    inner = _parse_cidr(other) if type(other) is str else other
    one, two = network.interface.network, inner.interface.network
    return (
        one.version == two.version and one.prefixlen <= two.prefixlen and two.network_address in one
    )


def _masked(network: Network) -> Network:
    return Network(ip_interface(str(network.interface.network)))


def _cidr_text(network: Network) -> str:
    return f"{network.interface.ip}/{network.interface.network.prefixlen}"


def _by_bits(more: int, *, parsed: bool, again: bool) -> Cost:
    """Comparing bytes twice, once more to mask, and reading what is given as text."""

    def cost(result: Any, network: Network, other: Any) -> int:
        size = actual_size(network)
        found = -(-2 * size // 10) + more
        if again:
            found += -(-size // 10)
        if parsed:
            found += -(-actual_size(other) // 10)
        return found

    return cost


def _estimate_bits(*, parsed: bool, again: bool) -> Estimate:
    def estimate(target: Sized | None, arguments: list[Sized]) -> CallEstimate:
        size = Range(4, 16)
        found = size.plus(size).times(TEXT)
        if again:
            found = found.plus(size.times(TEXT)).plus(Range(1, 1))
        if parsed:
            found = found.plus(arguments[0].size().times(TEXT))
        return CallEstimate(found)

    return estimate


def _read(id: str, result: Type, code: Callable[..., Any]) -> tuple[Overload, ...]:
    return (Overload(id, (STRING,), result, code, cost=by_target, estimate=estimate_parsing),)


def _ask(id: str, of: Type, result: Type, code: Callable[..., Any]) -> Overload:
    return Overload(id, (of,), result, code, member=True)


def _within(id: str, other: Type, code: Callable[..., Any], *, again: bool) -> Overload:
    parsed = other is STRING
    return Overload(
        id,
        (CIDR, other),
        BOOL,
        code,
        member=True,
        cost=_by_bits(int(again), parsed=parsed, again=again),
        estimate=_estimate_bits(parsed=parsed, again=again),
    )


NETWORK = Library(
    "kubernetes.net",
    functions={
        "ip": (
            *_read("string_to_ip", IP, _parse_ip),
            _ask("cidr_ip", CIDR, IP, lambda n: Address(n.interface.ip)),
        ),
        "isIP": _read("is_ip", BOOL, _is(_parse_ip)),
        "ip.isCanonical": (
            Overload(
                "ip_is_canonical",
                (STRING,),
                BOOL,
                _canonical,
                cost=by_target_twice,
                estimate=estimate_parsing_twice,
            ),
        ),
        "family": (_ask("ip_family", IP, INT, lambda ip: ip.address.version),),
        "isUnspecified": (
            _ask("ip_is_unspecified", IP, BOOL, lambda ip: ip.address.is_unspecified),
        ),
        "isLoopback": (_ask("ip_is_loopback", IP, BOOL, lambda ip: ip.address.is_loopback),),
        "isLinkLocalMulticast": (
            _ask("ip_is_link_local_multicast", IP, BOOL, _is_local_multicast),
        ),
        "isLinkLocalUnicast": (
            _ask("ip_is_link_local_unicast", IP, BOOL, lambda ip: ip.address.is_link_local),
        ),
        "isGlobalUnicast": (_ask("ip_is_global_unicast", IP, BOOL, _is_global),),
        "cidr": _read("string_to_cidr", CIDR, _parse_cidr),
        "isCIDR": _read("is_cidr", BOOL, _is(_parse_cidr)),
        "containsIP": (
            _within("cidr_contains_ip_string", STRING, _contains_ip, again=False),
            _within("cidr_contains_ip_ip", IP, _contains_ip, again=False),
        ),
        "containsCIDR": (
            _within("cidr_contains_cidr_string", STRING, _contains_cidr, again=True),
            _within("cidr_contains_cidr", CIDR, _contains_cidr, again=True),
        ),
        "prefixLength": (
            _ask("cidr_prefix_length", CIDR, INT, lambda n: n.interface.network.prefixlen),
        ),
        "masked": (_ask("cidr_masked", CIDR, CIDR, _masked),),
        "string": (
            Overload("ip_to_string", (IP,), STRING, lambda ip: str(ip.address)),
            Overload("cidr_to_string", (CIDR,), STRING, _cidr_text),
        ),
    },
    types={"net.IP": IP, "net.CIDR": CIDR},
)
