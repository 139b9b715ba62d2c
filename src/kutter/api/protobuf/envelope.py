r"""Objects on the wire: the prefix, the envelope that names their kind, watch frames.

Upstream: https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding . An
object is ``k8s\0`` and a ``runtime.Unknown`` with its kind, apiVersion and the message's bytes.
A watch is a stream of frames, a length of four bytes (big-endian) each, around a bare
``WatchEvent`` whose object is again in an envelope.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from kutter.api.protobuf.decoding import decode_message
from kutter.api.protobuf.encoding import encode_message
from kutter.api.protobuf.tables import message, message_of
from kutter.api.protobuf.values import bytes_of, scan, text_of
from kutter.api.protobuf.wire import ProtobufError, delimited, varint

PREFIX = b"k8s\x00"
# contentEncoding and contentType, both empty, as upstream writes them.
_REST = b"\x1a\x00\x22\x00"


@lru_cache(maxsize=512)
def _type_meta(api_version: str, kind: str) -> bytes:
    named = delimited(b"\x0a", api_version.encode()) + delimited(b"\x12", kind.encode())
    return PREFIX + delimited(b"\x0a", named)


def wrap(api_version: str, kind: str, raw: bytes) -> bytes:
    """A message in its envelope."""
    return _type_meta(api_version, kind) + delimited(b"\x12", raw) + _REST


def unwrap(data: bytes) -> tuple[str, str, bytes]:
    """(apiVersion, kind, message). The first two are empty when the sender left them out."""
    if not data:
        raise ProtobufError("empty data")
    if not data.startswith(PREFIX):
        raise ProtobufError(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
        )
    if len(data) == len(PREFIX):
        raise ProtobufError("empty body")
    try:
        unknown = scan(data, len(PREFIX), len(data))
        named = bytes_of(unknown, 1)
        type_meta = scan(named, 0, len(named))
        return text_of(type_meta, 1), text_of(type_meta, 2), bytes_of(unknown, 2)
    except IndexError:
        raise ProtobufError("unexpected EOF") from None
    except UnicodeDecodeError:
        raise ProtobufError("proto: string field contains invalid UTF-8") from None


def encode_object(tree: dict[str, Any]) -> bytes:
    """A tree with kind and apiVersion as an object on the wire.

    Raises ProtobufError; :func:`kutter.api.protobuf.message_of` tells beforehand whether a kind
    has a message.
    """
    api_version, kind = tree["apiVersion"], tree["kind"]
    held = message_of(api_version, kind)
    if held is None:
        raise ProtobufError(_unregistered(api_version, kind))
    return wrap(api_version, kind, encode_message(held, tree))


def list_content(metadata: dict[str, Any], items: list[bytes]) -> bytes:
    """The message of a list whose items are encoded already; all lists have the same two fields."""
    head = delimited(b"\x0a", encode_message(message("meta/v1", "ListMeta"), metadata))
    parts = [head]
    for item in items:
        parts += (b"\x12", varint(len(item)), item)
    return b"".join(parts)


def decode_object(data: bytes, *, api_version: str = "", kind: str = "") -> dict[str, Any]:
    """An object on the wire as a tree, kind and apiVersion first. Raises ProtobufError.

    ``api_version`` and ``kind`` stand in for what the envelope leaves out.
    """
    found_version, found_kind, raw = unwrap(data)
    found_version, found_kind = found_version or api_version, found_kind or kind
    if not found_kind:
        raise ProtobufError("Object 'Kind' is missing in the envelope")
    if not found_version:
        raise ProtobufError("Object 'apiVersion' is missing in the envelope")
    held = message_of(found_version, found_kind)
    if held is None:
        raise ProtobufError(_unregistered(found_version, found_kind))
    return {"kind": found_kind, "apiVersion": found_version, **decode_message(held, raw)}


def _unregistered(api_version: str, kind: str) -> str:
    return f'no kind "{kind}" is registered for version "{api_version}" in scheme'


_EVENT_TYPES = {
    type: delimited(b"\x0a", type.encode())
    for type in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR")
}


def watch_frame(type: str, encoded: bytes) -> bytes:
    """One watch event on the wire; ``encoded`` is an object in its envelope."""
    event = _EVENT_TYPES[type] + delimited(b"\x12", delimited(b"\x0a", encoded))
    return len(event).to_bytes(4, "big") + event
