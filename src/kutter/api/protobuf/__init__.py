"""Protobuf of the built-in kinds: JSON trees to upstream's bytes and back, driven by tables.

Usual use::

    tree = decode_object(request_body)          # ProtobufError: the sender's fault
    answer = encode_object(tree)
"""

from kutter.api.protobuf.encoding import encode_message
from kutter.api.protobuf.envelope import (
    PREFIX,
    decode_object,
    encode_object,
    list_content,
    unwrap,
    watch_frame,
    wrap,
)
from kutter.api.protobuf.tables import message_of
from kutter.api.protobuf.wire import ProtobufError

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"

__all__ = [
    "MEDIA_TYPE",
    "PREFIX",
    "ProtobufError",
    "decode_object",
    "encode_message",
    "encode_object",
    "list_content",
    "message_of",
    "unwrap",
    "watch_frame",
    "wrap",
]
