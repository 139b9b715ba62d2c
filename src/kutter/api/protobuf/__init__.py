"""Reading upstream's protobuf form of objects: what typed clients send as a request's body.

Only reading: answers are JSON, which every such client lists as acceptable beside protobuf.
"""

from kutter.api.protobuf.reader import CONTENT_TYPE, ProtobufError, read_object

__all__ = ["CONTENT_TYPE", "ProtobufError", "read_object"]
