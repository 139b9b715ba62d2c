"""One resource as one group-version serves it.

Between a path's resource and the stored one: usually the same, for older or parallel versions
with a conversion each way.
"""

from __future__ import annotations

from collections.abc import Callable

from kutter.api.apply import Updater
from kutter.api.protobuf import message_of
from kutter.api.resources import Resource
from kutter.api.schema import KindSchema
from kutter.apiserver.converting import Converter
from kutter.apiserver.encoders import (
    Encoder,
    ObjectEncoder,
    PartialEncoder,
    TableEncoder,
    WatchTableEncoder,
)
from kutter.apiserver.negotiation import PROTOBUF, Accepted
from kutter.apiserver.ports import CallHandler, TablePrinter, Tree
from kutter.apiserver.protobuf_encoders import (
    MessageCache,
    ProtobufEncoder,
    ProtobufPartialEncoder,
)
from kutter.apiserver.storage import ObjectStorage
from kutter.apiserver.watching import Broadcaster
from kutter.base.clock import Clock

Convert = Callable[[Tree], Tree]


class Served:
    """``storage`` and ``broadcaster`` are None for resources that are not stored."""

    def __init__(
        self,
        resource: Resource,
        *,
        storage: ObjectStorage | None,
        broadcaster: Broadcaster | None,
        printer: TablePrinter,
        clock: Clock,
        schema: KindSchema | None,
        handler: CallHandler | None = None,
        convert_in: Convert | None = None,
        convert_out: Convert | None = None,
        deprecation: str = "",
        messages: MessageCache | None = None,
    ) -> None:
        self.resource = resource
        self.verbs = frozenset(resource.verbs)
        self._storage = storage
        self._broadcaster = broadcaster
        self.handler = handler
        self.printer = printer
        self.deprecation = deprecation
        self._clock = clock
        self._convert_in = convert_in
        self._convert_out = convert_out
        self.converts = convert_in is not None or convert_out is not None
        # Storage works in the served version then, and entries have to be brought into it.
        self.converter: Converter | None = storage.converter if storage is not None else None
        # The rules of field ownership by subresource, made when first needed.
        self.updaters: dict[str, Updater] = {}
        self.encoder = ObjectEncoder(resource, convert_out)
        message = message_of(resource.api_version, resource.kind)
        self._protobuf_encoder: ProtobufEncoder | None = None
        if message is not None:
            self._protobuf_encoder = ProtobufEncoder(
                resource, message, convert_out, messages or MessageCache()
            )
        self.schema = schema

    @property
    def protobuf(self) -> bool:
        """Whether this kind has a message: the built-in ones in today's versions."""
        return self._protobuf_encoder is not None

    @property
    def stored(self) -> bool:
        return self._storage is not None

    @property
    def storage(self) -> ObjectStorage:
        assert self._storage is not None, f"{self.resource.group_resource} is not stored"
        return self._storage

    @property
    def broadcaster(self) -> Broadcaster:
        assert self._broadcaster is not None, f"{self.resource.group_resource} is not stored"
        return self._broadcaster

    def to_stored(self, tree: Tree) -> Tree:
        """A tree of the served version in the stored one; may change ``tree``."""
        if self._convert_in is not None:
            tree = self._convert_in(tree)
        stored = self.storage.resource
        tree["kind"], tree["apiVersion"] = stored.kind, stored.api_version
        return tree

    def to_served(self, tree: Tree) -> Tree:
        """The reverse; may change ``tree``."""
        if self._convert_out is not None:
            tree = self._convert_out(tree)
        tree["kind"], tree["apiVersion"] = self.resource.kind, self.resource.api_version
        return tree

    def encoder_for(
        self, accepted: Accepted, include_object: str = "", *, watch: bool = False
    ) -> Encoder:
        """The encoder of the negotiated form; of one ``watch`` if it is for that."""
        if accepted.media == PROTOBUF:
            if accepted.form == "partial":
                return ProtobufPartialEncoder(accepted.version)
            assert self._protobuf_encoder is not None, "negotiated without a message"
            return self._protobuf_encoder
        if accepted.form == "table":
            include = include_object or "Metadata"
            make = WatchTableEncoder if watch else TableEncoder
            return make(self.printer, accepted.version, include, self._clock.now)
        if accepted.form == "partial":
            return PartialEncoder(accepted.version)
        return self.encoder
