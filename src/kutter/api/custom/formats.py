"""Formats of text that a custom schema may name, as upstream's ``strfmt`` knows them.

A format nobody knows is no restriction.
Upstream: kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions
"""

from __future__ import annotations

import binascii
import ipaddress
import re
from collections.abc import Callable
from datetime import date, datetime
from urllib.parse import urlsplit

Check = Callable[[str], bool]


def _matches(pattern: str, flags: int = 0) -> Check:
    match = re.compile(pattern, re.ASCII | flags).fullmatch
    return lambda text: match(text) is not None


def _date_time(text: str) -> bool:
    if not _date_time_form(text):
        return False
    try:
        datetime.fromisoformat(text.replace("z", "Z").replace("t", "T"))
    except ValueError:
        return False
    return True


def _date(text: str) -> bool:
    if not _date_form(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _byte(text: str) -> bool:
    try:
        binascii.a2b_base64(text.replace("\n", "").replace("\r", ""), strict_mode=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _address(version: int) -> Check:
    def check(text: str) -> bool:
        try:
            return ipaddress.ip_address(text).version == version
        except ValueError:
            return False

    return check


def _cidr(text: str) -> bool:
    if "/" not in text:
        return False
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _uri(text: str) -> bool:
    """An absolute URI, or a path from the root (Go's ``ParseRequestURI``)."""
    if any(c <= " " or c == "\x7f" for c in text):
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and _scheme(parts.scheme)) or text.startswith("/")


def _email(text: str) -> bool:
    local, at, domain = text.rpartition("@")
    return bool(at and _local_part(local) and _hostname(domain))


def _hostname(text: str) -> bool:
    return len(text) <= 255 and _hostname_form(text)


_hour = r"([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)"
_date_form = _matches(r"\d{4}-\d\d-\d\d")
_date_time_form = _matches(rf"\d{{4}}-\d\d-\d\d[Tt]{_hour}([.,]\d+)?([Zz]|[+-]\d\d:\d\d)")
_scheme = _matches(r"[A-Za-z][A-Za-z0-9+.-]*")
_local_part = _matches(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+|\"[^\"]*\"")
_hostname_form = _matches(
    r"[A-Za-z0-9]([A-Za-z0-9-]{0,62})?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,62})?)*\.?"
)
_HEX = "[0-9a-f]"


def _uuid(version: str = "") -> Check:
    third = f"{version}{_HEX}{{3}}" if version else f"{_HEX}{{4}}"
    fourth = f"[89ab]{_HEX}{{3}}" if version in ("4", "5") else f"{_HEX}{{4}}"
    return _matches(rf"{_HEX}{{8}}-?{_HEX}{{4}}-?{third}-?{fourth}-?{_HEX}{{12}}", re.IGNORECASE)


_unit = r"(ns|us|µs|μs|ms|s|m|h)"
_words = "nanos(econds)?|micros(econds)?|millis(econds)?|seconds?|minutes?|hours?|days?|weeks?"
_short_name = _matches(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_long_name = _matches(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

FORMATS: dict[str, Check] = {
    "bsonobjectid": _matches(r"[0-9a-fA-F]{24}"),
    "byte": _byte,
    "cidr": _cidr,
    "creditcard": _matches(r"[ -]?(?:\d[ -]?){13,16}"),
    "date": _date,
    "date-time": _date_time,
    "datetime": _date_time,
    "duration": _matches(rf"[+-]?(0|((\d+(\.\d*)?|\.\d+){_unit})+)|\d+ *({_words}|[nsmhdw])"),
    "email": _email,
    "hexcolor": _matches(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "hostname": _hostname,
    "ipv4": _address(4),
    "ipv6": _address(6),
    "isbn": _matches(r"(?:97[89][ -]?)?(?:\d[ -]?){9}[\dXx]"),
    "isbn10": _matches(r"(?:\d[ -]?){9}[\dXx]"),
    "isbn13": _matches(r"97[89][ -]?(?:\d[ -]?){10}"),
    "k8s-long-name": lambda text: len(text) <= 253 and _long_name(text),
    "k8s-short-name": _short_name,
    "mac": _matches(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5,7}|([0-9a-fA-F]{4}\.){2}[0-9a-fA-F]{4}"),
    "password": lambda _: True,
    "rgbcolor": _matches(r"rgb\(\s*\d{1,3}\s*,\s*\d{1,3}\s*,\s*\d{1,3}\s*\)"),
    "ssn": _matches(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "uri": _uri,
    "uuid": _uuid(),
    "uuid3": _uuid("3"),
    "uuid4": _uuid("4"),
    "uuid5": _uuid("5"),
}

INTEGER_BOUNDS = {
    "int32": (-(1 << 31), (1 << 31) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
    "uint32": (0, (1 << 32) - 1),
    "uint64": (0, (1 << 64) - 1),
}
