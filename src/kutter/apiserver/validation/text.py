"""The forms a text may have, as validation asks for them: cached and hashable.

Between the field rules and :mod:`kutter.api.names`, which holds the rules and upstream's texts.
Answers are cached, because the same few names come again with every write; the caches are
bounded (:mod:`kutter.base.memo`). What only validation needs (addresses, ranges) is here itself.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from kutter.api import names
from kutter.api.quoting import quote
from kutter.base.memo import remember

Problems = tuple[str, ...]
Check = Callable[[str], Problems]


def _cached(check: names.NameCheck, size: int = 4096) -> Check:
    @remember(size)
    def cached(value: str) -> Problems:
        return tuple(check(value))

    return cached


dns_label = _cached(names.check_dns_label)
dns_subdomain = _cached(names.check_dns_subdomain, 8192)
dns_label_1035 = _cached(names.check_dns_label_1035)
wildcard_subdomain = _cached(names.check_wildcard_subdomain, 512)
qualified_name = _cached(names.check_qualified_name, 8192)
label_value = _cached(names.check_label_value, 8192)
port_name = _cached(names.check_port_name, 1024)
env_name = _cached(names.check_env_name)
config_key = _cached(names.check_config_key)
http_header_name = _cached(names.check_header_name, 256)
percent = _cached(names.check_percent, 256)
path_segment = _cached(names.check_path_segment)


def long_name(value: str) -> Problems:
    """A subdomain, in the words of upstream's declared rules: they count bytes."""
    counted = ("must be no more than 253 characters", "must be no more than 253 bytes")
    return tuple(problem.replace(*counted) for problem in dns_subdomain(value))


_LABEL_UNDERSCORE = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_UNDERSCORE = rf"{_LABEL_UNDERSCORE}(\.{_LABEL_UNDERSCORE})*"
_subdomain_underscore = re.compile(_SUBDOMAIN_UNDERSCORE).fullmatch


@remember(512)
def dns_subdomain_underscore(value: str) -> Problems:
    """As a subdomain, underscores allowed: DNS search domains."""
    problems: Problems = ()
    if len(value) > 253:
        problems += ("must be no more than 253 characters",)
    if not _subdomain_underscore(value):
        message = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
            "'_', '-' or '.', and must start and end with an alphanumeric character"
        )
        problems += (names.regex_error(message, _SUBDOMAIN_UNDERSCORE, "example.com"),)
    return problems


def inclusive_range(low: int, high: int) -> str:
    return f"must be between {low} and {high}, inclusive"


def port_number(value: int) -> Problems:
    return () if 1 <= value <= 65535 else (inclusive_range(1, 65535),)


MAX_ID = 2**31 - 1


def posix_id(value: int) -> Problems:
    """A user or group id."""
    return () if 0 <= value <= MAX_ID else (inclusive_range(0, MAX_ID),)


IP_TEXT = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
CIDR_TEXT = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


@remember(4096)
def ip(value: str) -> Problems:
    """An IPv4 or IPv6 address whose reading nobody can doubt."""
    if "%" in value:
        return (IP_TEXT,)
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return (IP_TEXT,) if parse_ip(value) is None else ("must not have leading 0s",)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return ("must not be an IPv4-mapped IPv6 address",)
    return ()


def ip_warnings(value: str, path: str) -> list[str]:
    """What is odd about an address that is valid: another form of it is the usual one."""
    try:
        usual = str(ipaddress.IPv6Address(value))
    except ValueError:
        return []
    if usual == value:
        return []
    return [f'{path}: IPv6 address "{value}" should be in RFC 5952 canonical format ("{usual}")']


def parse_ip(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """None for what is none; upstream knows no zones."""
    if "%" in value:
        return None
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        pass
    parts = value.split(".")
    if len(parts) == 4 and all(p.isascii() and p.isdigit() and len(p) < 8 for p in parts):
        try:
            return ipaddress.IPv4Address(".".join(str(int(p)) for p in parts))
        except ValueError:
            return None
    return None


@remember(1024)
def cidr(value: str) -> Problems:
    """A network whose reading nobody can doubt: no leading zeros, no bits after the prefix."""
    address, slash, length = value.rpartition("/")
    parsed = parse_ip(address) if slash and length.isascii() and length.isdigit() else None
    if parsed is None or int(length) > parsed.max_prefixlen:
        return (CIDR_TEXT,)
    if "::" not in address and str(parsed) != address and parsed.version == 4:
        return ("must not have leading 0s in IP or prefix length",)
    if len(length) > 1 and length[0] == "0":
        return ("must not have leading 0s in IP or prefix length",)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return ("must not have an IPv4-mapped IPv6 address",)
    network = ipaddress.ip_network((parsed, int(length)), strict=False)
    if network.network_address != parsed:
        return ("must not have bits set beyond the prefix length",)
    return ()


def cidr_warnings(value: str, path: str) -> list[str]:
    """As :func:`ip_warnings`, for a network."""
    try:
        usual = str(ipaddress.IPv6Network(value))
    except ValueError:
        return []
    if usual == value:
        return []
    return [f'{path}: IPv6 CIDR value "{value}" should be in RFC 5952 canonical format ("{usual}")']


@remember(1024)
def interface_address(value: str) -> Problems:
    """An address with the length of its network, in its one form."""
    address, slash, length = value.rpartition("/")
    parsed = parse_ip(address) if slash and length.isascii() and length.isdigit() else None
    if parsed is None or int(length) > parsed.max_prefixlen:
        example = "(e.g. 10.9.8.7/24 or 2001:db8::1/64)"
        return (f"must be a valid address in CIDR form, {example}",)
    size = int(length)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed, size = parsed.ipv4_mapped, size - 96 if size > 32 else size
    usual = f"{parsed}/{size}"
    return () if usual == value else (f'must be in canonical form ("{usual}")',)


_uuid = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE).fullmatch
_bare_uuid = re.compile("[0-9a-f]{32}", re.IGNORECASE).fullmatch
_URN = "urn:uuid:"


def normal_uuid(value: str) -> Problems:
    """A UUID in the form everybody writes; others that are known get another text."""
    problem = _uuid_problem(value)
    if problem:
        return (f"error validating uid: {problem}",)
    if len(value) == 36 and value == value.lower():
        return ()
    form = "`xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters"
    return (f"uid must be in RFC 4122 normalized form, {form}",)


def _uuid_problem(value: str) -> str:
    rest, check = value, _uuid
    match len(value.encode()):
        case 36:
            pass
        case 45:
            rest = value[len(_URN) :]
            if value[: len(_URN)].lower() != _URN:
                return f"invalid urn prefix: {quote(value[: len(_URN)])}"
        case 38:
            rest = value[1:-1]
            if value[0] != "{" or value[-1] != "}":
                return "invalid bracketed UUID format"
        case 32:
            check = _bare_uuid
        case length:
            return f"invalid UUID length: {length}"
    return "" if check(rest) else "invalid UUID format"


def strict_cidr(value: str) -> Problems:
    """A network in its one form; for kinds that are younger than upstream's leniency."""
    problems = cidr(value)
    if problems:
        return problems
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return (CIDR_TEXT,)
    if ipaddress.ip_address(value.rpartition("/")[0]) != network.network_address:
        return ("must not have bits set beyond the prefix length",)
    return () if str(network) == value else (f'must be in canonical form ("{network}")',)


def non_special_ip(value: str) -> Problems:
    """Addresses that make no sense as an endpoint or external address."""
    address = parse_ip(value)
    if address is None:
        return ("must be a valid IP address",)
    problems: Problems = ()
    if address.is_unspecified:
        problems += (f"may not be unspecified ({value})",)
    if address.is_loopback:
        problems += ("may not be in the loopback range (127.0.0.0/8, ::1/128)",)
    if address.is_link_local:
        problems += ("may not be in the link-local range (169.254.0.0/16, fe80::/10)",)
    if _is_link_local_multicast(address):
        problems += ("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",)
    return problems


def _is_link_local_multicast(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return address.packed[:3] == b"\xe0\x00\x00"
    return address.packed[0] == 0xFF and address.packed[1] & 0x0F == 0x02
