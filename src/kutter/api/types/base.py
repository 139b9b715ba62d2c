"""What every reader view is made of.

A *view* holds just the fields that some component reads, decoded once per event and shared, so
lists and maps inside it are read-only too. It is never written back whole: writes are patches,
applies or status bodies.

Defaults follow Go's zero values, because that is what the wire means by an absent field: ``""``,
``0``, ``False``, ``()``, ``{}`` or an empty struct where upstream's field is no pointer, ``None``
where absent and zero differ. Timestamps stay text.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar, dataclass_transform

import msgspec
import orjson

V = TypeVar("V", bound="View")


_INITIALS = {"ip": "IP", "ips": "IPs", "cidr": "CIDR", "cidrs": "CIDRs", "id": "ID", "pid": "PID"}
_INITIALS |= {"ipc": "IPC", "uuid": "UUID", "url": "URL", "urls": "URLs", "uid": "UID"}
_INITIALS |= {"fqdn": "FQDN", "cpu": "CPU"}


def wire_name(name: str) -> str:
    """``cluster_ip`` → ``clusterIP``, ``from_`` → ``from``. Exceptions use ``msgspec.field``."""
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(_INITIALS.get(word) or word.capitalize() for word in rest)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class _Frozen(msgspec.StructMeta):
    """Tells type checkers what every view is: frozen, keyword-only."""


class View(
    msgspec.Struct,
    metaclass=_Frozen,
    frozen=True,
    kw_only=True,
    rename=wire_name,
    omit_defaults=True,
    # Values read off the wire cannot hold cycles, so the collector need not walk them: with
    # thousands of objects in informers that was a quarter of all CPU time under writes.
    gc=False,
):
    """Base of all views. Top-level kinds also carry their ``resource`` as a class variable."""

    def tree(self) -> dict[str, Any]:
        """The fields we know as a JSON tree; for references and bodies made of views."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built


@lru_cache(maxsize=512)
def decoder_for(view: type[Any]) -> msgspec.json.Decoder[Any]:
    """The decoder of a view; :func:`decode` also takes nulls."""
    return msgspec.json.Decoder(view)


def decode(view: type[V], data: bytes) -> V:
    """Decode JSON bytes; explicit nulls count as absent, as in Go.

    Raises msgspec.ValidationError or DecodeError when ``data`` is no such object.
    """
    decoder = decoder_for(view)
    try:
        decoded: V = decoder.decode(strip_nulls(data))
    except msgspec.ValidationError:
        # Nulls in text that is not compact.
        decoded = msgspec.convert(_without_nulls(orjson.loads(data)), view)
    return decoded


def strip_nulls(data: bytes) -> bytes:
    """Compact JSON without its null fields (nulls in lists stay).

    An upstream server writes ``"creationTimestamp":null`` and ``"endpoints":null``. Inside a JSON
    string every quote has a backslash before it, so a bare quote right after ``{`` or ``,`` and
    one right before ``:null`` can only be a key's.
    """
    found = data.find(b'":null')
    if found < 0:
        return data
    kept: list[bytes] = []
    start = 0
    while found >= 0:
        key = data.rfind(b'"', start, found)
        end = found + 6
        if (
            key > 0
            and data[key - 1] in b"{,"
            and data[end] in b",}"
            and b"\\" not in data[key:found]
        ):
            kept.append(data[start:key])
            # Take the comma that follows; the one before when there is none.
            start = end
            if data[end] == _COMMA:
                start += 1
            else:
                _drop_comma(kept)
        found = data.find(b'":null', end)
    kept.append(data[start:])
    return b"".join(kept)


_COMMA = ord(",")


def _drop_comma(kept: list[bytes]) -> None:
    """Drop the comma at the end of the last piece that is not empty."""
    for index in range(len(kept) - 1, -1, -1):
        if kept[index]:
            kept[index] = kept[index].removesuffix(b",")
            return


def convert(view: type[V], tree: dict[str, Any]) -> V:
    """Read a view off a JSON tree; same laws as :func:`decode`."""
    try:
        return msgspec.convert(tree, view)
    except msgspec.ValidationError:
        return msgspec.convert(_without_nulls(tree), view)


def _without_nulls(value: Any) -> Any:
    if type(value) is dict:
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if type(value) is list:
        return [_without_nulls(v) for v in value]
    return value
