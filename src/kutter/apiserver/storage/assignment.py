"""A pod is given its node without being taken apart: what a scheduler asks for most often.

Beside :mod:`kutter.apiserver.storage.update`, which it falls back on. A binding changes
``spec.nodeName``, a condition and perhaps labels and annotations: specification and owners are
stored as they were, byte for byte. They were cleaned, defaulted and found valid when they were
written, and what an update does to a pod leaves them as they are (``test_assignment.py`` holds
both ways against each other); a default that is newer than a pod comes to it with its next update.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import orjson

from kutter.api.errors import MODIFIED
from kutter.apiserver.cache import Entry, stamp
from kutter.apiserver.ports import Tree
from kutter.apiserver.storage.stored import UPDATE_ATTEMPTS, attach
from kutter.apiserver.storage.update import Update
from kutter.apiserver.writing import WriteContext
from kutter.store.interface import WriteConflictError

_METADATA = b'"metadata":'
_OWNERS = b',"managedFields":'


class _Pod(msgspec.Struct, gc=False):
    metadata: msgspec.Raw = msgspec.Raw()
    spec: msgspec.Raw = msgspec.Raw()
    status: msgspec.Raw = msgspec.Raw()


class _Spec(msgspec.Struct, gc=False, rename="camel"):
    """What decides whether a pod may be bound."""

    node_name: str | None = None
    scheduling_gates: list[msgspec.Raw] | None = None


_decode_pod = msgspec.json.Decoder(_Pod).decode
_decode_spec = msgspec.json.Decoder(_Spec).decode


class _Parts:
    """A stored pod as three texts; the ends of two of them are written anew."""

    __slots__ = ("_head", "_metadata", "_owners", "_spec", "_stamp", "_status")

    def __init__(self, entry: Entry, found: _Pod) -> None:
        self._head = entry.head
        self._metadata = bytes(found.metadata)
        self._spec = bytes(found.spec)
        self._status = bytes(found.status)
        self._stamp = stamp(entry.revision)[len(_METADATA) :]
        self._owners = entry.owners

    def are_all_of(self, entry: Entry) -> bool:
        """Whether there is nothing else, and all in its place."""
        whole = (_METADATA, self._metadata, b',"spec":', self._spec, b',"status":', self._status)
        return b"".join((*whole, b"}")) == entry.tail and self._metadata.startswith(self._stamp)

    def tree(self) -> Tree | None:
        """The pod without most of its specification; None when its node is there and empty."""
        spec = _decode_spec(self._spec)
        if spec.node_name == "":
            return None
        seen: Tree = {}
        if spec.node_name:
            seen["nodeName"] = spec.node_name
        if spec.scheduling_gates:
            seen["schedulingGates"] = [orjson.loads(bytes(gate)) for gate in spec.scheduling_gates]
        metadata = self._metadata
        if self._owners:
            # No string in an object can look like the key.
            start = metadata.find(_OWNERS)
            metadata = metadata[:start] + metadata[start + len(_OWNERS) + len(self._owners) :]
        return {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": orjson.loads(metadata),
            "spec": seen,
            "status": orjson.loads(self._status),
        }

    def value(self, pod: Tree, *, same_metadata: bool) -> bytes:
        """What to store for ``pod``, which :meth:`tree` was made into."""
        if same_metadata:
            metadata = b"{" + self._metadata[len(self._stamp) :]
        else:
            pod["metadata"].pop("resourceVersion", None)
            attach(pod, self._owners)
            metadata = orjson.dumps(pod["metadata"])
        return b"".join(
            (
                self._head,
                _METADATA,
                metadata,
                b',"spec":',
                self._spec[:-1],
                b',"nodeName":',
                orjson.dumps(pod["spec"]["nodeName"]),
                b'},"status":',
                orjson.dumps(pod["status"]),
                b"}",
            )
        )


class Assignment(Update):
    """Bindings of pods."""

    async def assign(
        self, context: WriteContext, namespace: str, name: str, make: Callable[[Tree], None]
    ) -> bool:
        """Let ``make`` set a pod's node and condition, labels and annotations; it is shown nothing
        else of the specification than what it needs to know whether it may.

        False, and nothing has happened, when that needs more of the pod: somebody else wants to see
        it, or it is stored in another form.
        """
        if self.converter is not None or self._admission.reads_bound_pods():
            return False
        for _ in range(UPDATE_ATTEMPTS):
            entry = self.cache.get(namespace, name)
            if entry is None:
                raise self.not_found(name)
            if entry.head != self.cache.head:
                return False
            parts = _Parts(entry, _decode_pod(b"{" + entry.tail))
            pod = parts.tree() if parts.are_all_of(entry) else None
            if pod is None:
                return False
            old = {**pod, "metadata": dict(pod["metadata"]), "spec": dict(pod["spec"])}
            make(pod)
            place = (entry.namespace, entry.name)
            request = self._request(context, "UPDATE", place, new=pod, old=old)
            await self._admission.mutate(request)
            await self._admission.validate(request)
            if context.dry_run:
                return True
            value = parts.value(pod, same_metadata=pod["metadata"] == old["metadata"])
            try:
                await self.store.put(self._key(*place), value, expected=entry.revision)
            except WriteConflictError as error:
                await self._catch_up(entry, error)
            else:
                return True
        raise self._conflict(name, MODIFIED)
