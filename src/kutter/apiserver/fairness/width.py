"""How many seats a request takes: long lists and writes that many watch take several.

Estimated as upstream's in shape: a seat for each hundred objects a list goes through, and for each
ten watchers a write is told to. Here those are told within the write itself, in the same loop, so
their work counts while the request runs; upstream adds it after its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kutter.apiserver.request_info import RequestInfo

if TYPE_CHECKING:
    from kutter.apiserver.server import ApiServer

_OBJECTS_PER_SEAT = 100
_WATCHES_PER_SEAT = 10
_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


class Width:
    """Called with a request and the most seats it may take."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    def __call__(self, info: RequestInfo, query: Mapping[str, str], limit: int) -> int:
        verb = info.verb
        if limit == 1 or not info.is_resource:
            return 1
        if verb in ("list", "watch"):
            if verb == "watch" and not _begins_with_state(query):
                return 1
            # One name is one object, whatever the collection holds.
            count = 0 if info.name else self._server.count_of(info.group, info.resource)
            return min(limit, max(1, -(-count // _OBJECTS_PER_SEAT)))
        if verb in _WRITES:
            watchers = self._server.watchers_of(info.group, info.resource)
            return min(limit, max(1, -(-watchers // _WATCHES_PER_SEAT)))
        return 1


def _begins_with_state(query: Mapping[str, str]) -> bool:
    """Whether a watch is sent what there is before what changes."""
    return "sendInitialEvents" in query or query.get("resourceVersion", "") in ("", "0")
