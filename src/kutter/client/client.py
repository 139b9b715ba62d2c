"""The client every component and the command line share.

Reads decode into views (frozen, only the fields read) or plain trees; writes are trees, patches
and delete options. Every failure is an :class:`kutter.api.errors.ApiError`; an unreachable
server is an ``OSError``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec
import orjson

from kutter.api.errors import ApiError
from kutter.api.resources import Resource
from kutter.api.types.base import decode
from kutter.api.types.meta_v1 import KubeObject
from kutter.client.transport import Answer, Query, StreamAnswer, Transport

V = TypeVar("V", bound=KubeObject)

Tree = dict[str, Any]
Target = Resource | type[KubeObject]

PATCH_TYPES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


def resource_of(target: Target) -> Resource:
    """The resource a target names."""
    return target if isinstance(target, Resource) else target.resource


class ListResult(msgspec.Struct, Generic[V]):
    """``resource_version`` is where a watch continues."""

    items: list[V]
    resource_version: str
    continue_token: str = ""


class WatchEvent(msgspec.Struct, Generic[V]):
    """``kind`` is ADDED, MODIFIED, DELETED or BOOKMARK."""

    kind: str
    object: V


WatchBatch = list[WatchEvent[V]]
Malformed = Callable[[bytes, Exception], None]
JsonList = list[Any]


class _ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _Frame(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


_frame_decoder = msgspec.json.Decoder(_Frame)
# How frames begin as everybody writes them: what is between is the object.
_OPENINGS = {
    b'{"type":"%s","object":{' % kind.encode(): kind
    for kind in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK")
}
_OPENING = b'","object":{'


def _open_frame(line: bytes) -> tuple[str, bytes]:
    """The type of a watch's event and its object, which is not looked through for that."""
    end = line.find(_OPENING, 0, 32) + len(_OPENING)
    kind = _OPENINGS.get(line[:end])
    # The object's decoder finds out if this is not where it ends.
    if kind is not None and line.endswith(b"}}"):
        return kind, line[end - 1 : -1]
    frame = _frame_decoder.decode(line)
    return frame.type, bytes(frame.object)


class _List(msgspec.Struct, frozen=True):
    metadata: _ListMeta = _ListMeta()
    items: list[msgspec.Raw] | None = None


_list_decoder = msgspec.json.Decoder(_List)


def _decode(view: type[V], data: bytes, malformed: Malformed | None) -> V | None:
    try:
        return decode(view, data)
    except msgspec.ValidationError as error:
        if malformed is None:
            raise
        malformed(data, error)
        return None


def raise_for_status(answer: Answer) -> Answer:
    """Raise the ApiError an answer carries, if it is one."""
    if answer.status < 400:
        return answer
    raise error_from(answer.status, answer.body)


def error_from(status: int, body: bytes) -> ApiError:
    """The ApiError of a failed answer, whatever its body."""
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError:
        tree = None
    if isinstance(tree, dict) and tree.get("kind") == "Status":
        return ApiError.from_status(tree, status)
    return ApiError(status, "", body.decode(errors="replace").strip() or f"HTTP status {status}")


class Client:
    """Typed and raw access over one transport."""

    def __init__(self, transport: Transport, *, user_agent: str = "kutter") -> None:
        self.transport = transport
        self._headers = {"user-agent": user_agent, "accept": "application/json"}
        self._write_headers = {**self._headers, "content-type": "application/json"}

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: bytes | Tree | JsonList | None = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """One request; raises ApiError for a status of 400 or more."""
        payload = b""
        sent: Mapping[str, str] = self._headers
        if body is not None:
            payload = body if isinstance(body, bytes) else orjson.dumps(body)
            sent = (
                self._write_headers
                if content_type == "application/json"
                else {**self._headers, "content-type": content_type}
            )
        if headers:
            sent = {**sent, **headers}
        answer = await self.transport.request(
            method, path, query=query, headers=sent, body=payload, timeout_s=timeout_s
        )
        return raise_for_status(answer)

    # Reading

    async def get(
        self, view: type[V], name: str, namespace: str = "", *, subresource: str = ""
    ) -> V:
        """One object as a view. Raises ApiError NotFound."""
        answer = await self.request("GET", view.resource.path(namespace, name, subresource))
        return decode(view, answer.body)

    async def get_tree(
        self, target: Target, name: str, namespace: str = "", *, subresource: str = ""
    ) -> Tree:
        """One object as a plain tree."""
        path = resource_of(target).path(namespace, name, subresource)
        tree: Tree = orjson.loads((await self.request("GET", path)).body)
        return tree

    async def list(
        self,
        view: type[V],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
        malformed: Malformed | None = None,
    ) -> ListResult[V]:
        """A list of views, with the version a watch continues from.

        An object that is no such view raises msgspec.ValidationError, unless ``malformed``
        takes it: then it is left out.
        """
        query = _selectors(label_selector, field_selector)
        if limit:
            query.append(("limit", str(limit)))
        if continue_token:
            query.append(("continue", continue_token))
        if resource_version:
            query.append(("resourceVersion", resource_version))
        answer = await self.request("GET", view.resource.path(namespace), query=query)
        shape = _list_decoder.decode(answer.body)
        items = []
        for item in shape.items or ():
            decoded = _decode(view, bytes(item), malformed)
            if decoded is not None:
                items.append(decoded)
        return ListResult(items, shape.metadata.resource_version, shape.metadata.continue_)

    async def list_tree(
        self,
        target: Target,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Tree:
        """A list as a plain tree."""
        query = _selectors(label_selector, field_selector)
        path = resource_of(target).path(namespace)
        tree: Tree = orjson.loads((await self.request("GET", path, query=query)).body)
        return tree

    async def watch(
        self,
        view: type[V],
        namespace: str = "",
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        timeout_s: int = 0,
        bookmarks: bool = True,
        malformed: Malformed | None = None,
    ) -> AsyncIterator[WatchBatch[V]]:
        """Batches of events until the server ends the watch. Raises ApiError (410 Expired).

        ``malformed`` as in :meth:`list`.
        """
        query = _selectors(label_selector, field_selector)
        query.append(("watch", "true"))
        if resource_version:
            query.append(("resourceVersion", resource_version))
        if bookmarks:
            query.append(("allowWatchBookmarks", "true"))
        if timeout_s:
            query.append(("timeoutSeconds", str(timeout_s)))
        stream = await self.open_stream("GET", view.resource.path(namespace), query=query)
        try:
            async for lines in split_lines(stream):
                batch: WatchBatch[V] = []
                for line in lines:
                    kind, data = _open_frame(line)
                    if kind == "ERROR":
                        if batch:
                            yield batch
                        raise error_from(500, data)
                    decoded = _decode(view, data, malformed)
                    if decoded is not None:
                        batch.append(WatchEvent(kind, decoded))
                if batch:
                    yield batch
        finally:
            await stream.close()

    async def open_stream(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> StreamAnswer:
        """A streamed answer; raises ApiError when it failed."""
        sent = {**self._headers, **headers} if headers else self._headers
        stream = await self.transport.stream(method, path, query=query, headers=sent, body=body)
        if stream.status >= 400:
            content = b"".join([chunk async for chunk in stream.chunks()])
            await stream.close()
            raise error_from(stream.status, content)
        return stream

    # Writing

    async def create(
        self,
        target: Target,
        tree: Tree,
        namespace: str = "",
        *,
        name: str = "",
        subresource: str = "",
        query: Query = (),
    ) -> Tree:
        """Create an object, or post to a subresource of ``name``."""
        path = resource_of(target).path(namespace, name, subresource)
        created: Tree = orjson.loads(
            (await self.request("POST", path, body=tree, query=query)).body
        )
        return created

    async def update(
        self, target: Target, tree: Tree, namespace: str = "", *, subresource: str = ""
    ) -> Tree:
        """Replace an object; its ``metadata.resourceVersion`` guards against lost updates."""
        meta = tree["metadata"]
        path = resource_of(target).path(
            namespace or meta.get("namespace", ""), meta["name"], subresource
        )
        updated: Tree = orjson.loads((await self.request("PUT", path, body=tree)).body)
        return updated

    async def patch(
        self,
        target: Target,
        name: str,
        body: Tree | JsonList,
        namespace: str = "",
        *,
        kind: str = "merge",
        subresource: str = "",
        query: Query = (),
    ) -> Tree:
        """Patch an object; ``kind`` is json, merge, strategic or apply."""
        path = resource_of(target).path(namespace, name, subresource)
        answer = await self.request(
            "PATCH", path, body=body, content_type=PATCH_TYPES[kind], query=query
        )
        patched: Tree = orjson.loads(answer.body)
        return patched

    async def delete(
        self,
        target: Target,
        name: str,
        namespace: str = "",
        *,
        grace_period_s: int | None = None,
        propagation_policy: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> Tree:
        """Delete an object; answers a Status or the object while it is going."""
        options = _delete_options(grace_period_s, propagation_policy, uid, resource_version)
        path = resource_of(target).path(namespace, name)
        answered: Tree = orjson.loads((await self.request("DELETE", path, body=options)).body)
        return answered

    async def delete_collection(
        self,
        target: Target,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        grace_period_s: int | None = None,
        propagation_policy: str | None = None,
    ) -> None:
        """Delete all objects that match."""
        options = _delete_options(grace_period_s, propagation_policy, None, None)
        query = _selectors(label_selector, field_selector)
        path = resource_of(target).path(namespace)
        await self.request("DELETE", path, body=options, query=query)

    async def close(self) -> None:
        await self.transport.close()


def _selectors(label_selector: str, field_selector: str) -> list[tuple[str, str]]:
    query = []
    if label_selector:
        query.append(("labelSelector", label_selector))
    if field_selector:
        query.append(("fieldSelector", field_selector))
    return query


def _delete_options(
    grace_period_s: int | None,
    propagation_policy: str | None,
    uid: str | None,
    resource_version: str | None,
) -> Tree:
    options: Tree = {"kind": "DeleteOptions", "apiVersion": "v1"}
    if grace_period_s is not None:
        options["gracePeriodSeconds"] = grace_period_s
    if propagation_policy is not None:
        options["propagationPolicy"] = propagation_policy
    preconditions = {}
    if uid is not None:
        preconditions["uid"] = uid
    if resource_version is not None:
        preconditions["resourceVersion"] = resource_version
    if preconditions:
        options["preconditions"] = preconditions
    return options


async def split_lines(stream: StreamAnswer) -> AsyncIterator[list[bytes]]:
    """Whole lines as they arrive, several at once when they arrived together."""
    rest = b""
    async for chunk in stream.chunks():
        data = rest + chunk if rest else chunk
        lines = data.split(b"\n")
        rest = lines.pop()
        whole = [line for line in lines if line]
        if whole:
            yield whole
    if rest.strip():
        yield [rest]
