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
):
    """Base of all views. Top-level kinds also carry their ``resource`` as a class variable."""

    def tree(self) -> dict[str, Any]:
        """The fields we know as a JSON tree; for references and bodies made of views."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built


@lru_cache(maxsize=512)
def _decoder(view: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(view)


def decode(view: type[V], data: bytes) -> V:
    """Decode JSON bytes; explicit nulls count as absent, as in Go.

    Raises msgspec.ValidationError or DecodeError when ``data`` is no such object.
    """
    try:
        decoded: V = _decoder(view).decode(data)
    except msgspec.ValidationError:
        # Rare: an upstream server writes `"endpoints": null` for an empty list.
        decoded = msgspec.convert(_without_nulls(orjson.loads(data)), view)
    return decoded


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
