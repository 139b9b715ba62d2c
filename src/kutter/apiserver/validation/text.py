"""The forms a text may have: names, labels, keys, ports, addresses.

Between the validation of fields and the regular expressions behind them. Each check answers
with what is wrong, empty when nothing is; the texts are upstream's wire texts
(apimachinery ``util/validation`` and ``api/validate/content``). Answers are cached because the
same few names come again with every write; the caches are bounded.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache

Problems = tuple[str, ...]
Check = Callable[[str], Problems]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = _LABEL + r"(\." + _LABEL + ")*"
_LABEL_UNDERSCORE = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_UNDERSCORE = _LABEL_UNDERSCORE + r"(\." + _LABEL_UNDERSCORE + ")*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = "(" + _KEY + ")?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_HTTP_HEADER = "[-A-Za-z0-9]+"
_PERCENT = "[0-9]+%"
_WILDCARD = r"\*\." + _SUBDOMAIN

_label_re = re.compile(_LABEL)
_subdomain_re = re.compile(_SUBDOMAIN)
_subdomain_underscore_re = re.compile(_SUBDOMAIN_UNDERSCORE)
_label_1035_re = re.compile(_LABEL_1035)
_key_re = re.compile(_KEY)
_value_re = re.compile(_VALUE)
_config_key_re = re.compile(_CONFIG_KEY)
_http_header_re = re.compile(_HTTP_HEADER)
_percent_re = re.compile(_PERCENT)
_wildcard_re = re.compile(_WILDCARD)
_port_charset_re = re.compile("[-a-z0-9]+")

_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character"
)
_KEY_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character"
)


def max_length(length: int) -> str:
    return f"must be no more than {length} bytes"


def regex_text(message: str, pattern: str, *examples: str) -> str:
    """A failed expression as upstream words it, with examples."""
    if not examples:
        return f"{message} (regex used for validation is '{pattern}')"
    listed = " or ".join(f"'{e}', " for e in examples)
    return f"{message} (e.g. {listed}regex used for validation is '{pattern}')"


def inclusive_range(low: int, high: int) -> str:
    return f"must be between {low} and {high}, inclusive"


@lru_cache(4096)
def dns_label(value: str) -> Problems:
    """RFC 1123 label: container and volume names, namespaces."""
    problems: Problems = ()
    if len(value) > 63:
        problems += (max_length(63),)
    if not _label_re.fullmatch(value):
        if _subdomain_re.fullmatch(value):
            problems += ("must not contain dots",)
        else:
            problems += (
                regex_text(
                    "a lowercase RFC 1123 label must consist of lower case alphanumeric "
                    "characters or '-', and must start and end with an alphanumeric character",
                    _LABEL,
                    "my-name",
                    "123-abc",
                ),
            )
    return problems


@lru_cache(8192)
def dns_subdomain(value: str) -> Problems:
    """RFC 1123 subdomain: most object names."""
    problems: Problems = ()
    if len(value) > 253:
        problems += (max_length(253),)
    if not _subdomain_re.fullmatch(value):
        problems += (regex_text(_SUBDOMAIN_TEXT, _SUBDOMAIN, "example.com"),)
    return problems


@lru_cache(1024)
def dns_subdomain_underscore(value: str) -> Problems:
    """As a subdomain, underscores allowed: DNS search domains."""
    problems: Problems = ()
    if len(value) > 253:
        problems += (max_length(253),)
    if not _subdomain_underscore_re.fullmatch(value):
        message = _SUBDOMAIN_TEXT.replace("characters, '-'", "characters, '_', '-'")
        problems += (regex_text(message, _SUBDOMAIN_UNDERSCORE, "example.com"),)
    return problems


@lru_cache(4096)
def dns_label_1035(value: str) -> Problems:
    """RFC 1035 label: service names."""
    problems: Problems = ()
    if len(value) > 63:
        problems += (max_length(63),)
    if not _label_1035_re.fullmatch(value):
        problems += (
            regex_text(
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
                "start with an alphabetic character, and end with an alphanumeric character",
                _LABEL_1035,
                "my-name",
                "abc-123",
            ),
        )
    return problems


@lru_cache(1024)
def wildcard_subdomain(value: str) -> Problems:
    """``*.example.com``: hosts of ingress rules."""
    problems: Problems = ()
    if len(value) > 253:
        problems += (max_length(253),)
    if not _wildcard_re.fullmatch(value):
        problems += (
            regex_text(
                "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS "
                "subdomain, which must consist of lower case alphanumeric characters, '-' or '.' "
                "and end with an alphanumeric character",
                _WILDCARD,
                "*.example.com",
            ),
        )
    return problems


@lru_cache(8192)
def qualified_name(value: str) -> Problems:
    """A label key: a name with an optional DNS prefix."""
    parts = value.split("/")
    problems: Problems = ()
    if len(parts) == 1:
        name = value
    elif len(parts) == 2:
        prefix, name = parts
        if not prefix:
            problems += ("prefix part must be non-empty",)
        else:
            problems += tuple("prefix part " + p for p in dns_subdomain(prefix))
    else:
        text = regex_text(_KEY_TEXT, _KEY, "MyName", "my.name", "123-abc")
        return (
            f"a valid label key {text} with an optional DNS subdomain prefix and '/' "
            "(e.g. 'example.com/MyName')",
        )
    if not name:
        problems += ("name part must be non-empty",)
    elif len(name) > 63:
        problems += ("name part " + max_length(63),)
    if not _key_re.fullmatch(name):
        text = regex_text(_KEY_TEXT, _KEY, "MyName", "my.name", "123-abc")
        problems += ("name part " + text,)
    return problems


@lru_cache(8192)
def label_value(value: str) -> Problems:
    problems: Problems = ()
    if len(value) > 63:
        problems += (max_length(63),)
    if not _value_re.fullmatch(value):
        message = (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', "
            "'_' or '.', and must start and end with an alphanumeric character"
        )
        problems += (regex_text(message, _VALUE, "MyValue", "my_value", "12345"),)
    return problems


@lru_cache(1024)
def port_name(value: str) -> Problems:
    """IANA service name: at most 15 characters, at least one letter."""
    problems: Problems = ()
    if len(value) > 15:
        problems += (max_length(15),)
    if not _port_charset_re.fullmatch(value):
        problems += ("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",)
    if not any("a" <= c <= "z" for c in value):
        problems += ("must contain at least one letter (a-z)",)
    if "--" in value:
        problems += ("must not contain consecutive hyphens",)
    if value and (value[0] == "-" or value[-1] == "-"):
        problems += ("must not begin or end with a hyphen",)
    return problems


def port_number(value: int) -> Problems:
    return () if 1 <= value <= 65535 else (inclusive_range(1, 65535),)


def posix_id(value: int) -> Problems:
    """A user or group id."""
    return () if 0 <= value <= 0xFFFFFFFF else (inclusive_range(0, 0xFFFFFFFF),)


@lru_cache(4096)
def env_name(value: str) -> Problems:
    """An environment variable's name: printable ASCII without ``=``."""
    if not value:
        return ("environment variable name must be non-empty",)
    if any(not " " <= c <= "~" or c == "=" for c in value):
        return (
            "a valid environment variable name must consist only of printable ASCII characters "
            "other than '='",
        )
    return ()


@lru_cache(4096)
def config_key(value: str) -> Problems:
    """A key of a ConfigMap or Secret: it becomes a file name."""
    problems: Problems = ()
    if len(value) > 253:
        problems += (max_length(253),)
    if not _config_key_re.fullmatch(value):
        message = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        problems += (regex_text(message, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"),)
    if value == ".":
        problems += ("must not be '.'",)
    elif value == "..":
        problems += ("must not be '..'",)
    elif value.startswith(".."):
        problems += ("must not start with '..'",)
    return problems


@lru_cache(256)
def http_header_name(value: str) -> Problems:
    if _http_header_re.fullmatch(value):
        return ()
    message = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return (regex_text(message, _HTTP_HEADER, "X-Header-Name"),)


def percent(value: str) -> Problems:
    if _percent_re.fullmatch(value):
        return ()
    message = "a valid percent string must be a numeric string followed by an ending '%'"
    return (regex_text(message, _PERCENT, "1%", "93%"),)


def path_segment(value: str) -> Problems:
    """RBAC names: anything that can be one segment of a path."""
    if value in (".", ".."):
        return (f"may not be '{value}'",)
    return tuple(f"may not contain '{c}'" for c in "/%" if c in value)


IP_TEXT = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
CIDR_TEXT = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


@lru_cache(4096)
def ip(value: str) -> Problems:
    """An IPv4 or IPv6 address; leading zeros are read as decimal like upstream."""
    return () if parse_ip(value) is not None else (IP_TEXT,)


def parse_ip(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
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


@lru_cache(1024)
def cidr(value: str) -> Problems:
    if "/" in value:
        try:
            ipaddress.ip_network(value, strict=False)
        except ValueError:
            pass
        else:
            if value.rsplit("/", 1)[1].isdigit():
                return ()
    return (CIDR_TEXT,)


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
