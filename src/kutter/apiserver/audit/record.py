"""One request's audit record, filled in on its way through the pipeline.

Between the pipeline's steps, which note what they learn, and the sinks, which take encoded
``audit.k8s.io/v1 Event`` lines, one for each stage.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from kutter.api.errors import ApiError
from kutter.apiserver.audit.policy import (
    GROUP_VERSION,
    LEVELS,
    REQUEST,
    REQUEST_RESPONSE,
)
from kutter.apiserver.authn.identity import User
from kutter.apiserver.ports import Tree
from kutter.apiserver.request_info import LONG_RUNNING, RequestInfo
from kutter.base.clock import render_micro_time
from kutter.http.messages import Request

_USER_AGENT_LIMIT = 1024
_TRUNCATED = "...TRUNCATED"
# In the process itself: the sources upstream shows for its own loopback client.
_LOCAL_SOURCE = "127.0.0.1"
# Patches of mutating webhooks.
_OBJECT_ANNOTATIONS = "patch.webhook.admission.k8s.io/"
_STATUS_FIELDS = ("status", "message", "reason", "details", "code")


class Record:
    """What is known of one request so far."""

    __slots__ = (
        "_request",
        "_request_object",
        "_response_object",
        "_tree",
        "annotations",
        "impersonated",
        "level",
        "long_running",
        "omit_managed_fields",
        "omit_stages",
        "reference",
        "status",
    )

    def __init__(
        self,
        request: Request,
        info: RequestInfo,
        user: User | None,
        *,
        audit_id: str,
        received: datetime,
        level: int,
        omit_stages: frozenset[str] = frozenset(),
        omit_managed_fields: bool = False,
    ) -> None:
        self.level = level
        self.omit_stages = omit_stages
        self.omit_managed_fields = omit_managed_fields
        self.long_running = info.verb in ("watch", "proxy") or info.subresource in LONG_RUNNING
        self.annotations: dict[str, str] = {}
        self.impersonated: User | None = None
        self.status: Tree | None = None
        self.reference = _reference(info) if info.is_resource else None
        self._request = request
        self._request_object: object = None
        self._response_object: object = None
        query = f"?{request.raw_query}" if request.raw_query else ""
        self._tree: Tree = {
            "kind": "Event",
            "apiVersion": GROUP_VERSION,
            "level": LEVELS[level],
            "auditID": audit_id,
            "stage": "",
            "requestURI": f"{request.raw_path or request.path}{query}",
            "verb": info.verb,
            "user": user.to_user_info() if user is not None else {},
            "sourceIPs": _sources(request),
            "userAgent": _user_agent(request),
            "requestReceivedTimestamp": render_micro_time(received),
        }

    # -- noted on the way -------------------------------------------------------

    def annotate(self, key: str, value: str) -> None:
        """An annotation of the event; the first value of a key stays (as upstream).

        What holds parts of objects is kept only where the policy lets objects be seen.
        """
        if self.level >= REQUEST or not key.startswith(_OBJECT_ANNOTATIONS):
            self.annotations.setdefault(key, value)

    @property
    def wants_request(self) -> bool:
        return self.level >= REQUEST and self._request_object is None

    @property
    def wants_response(self) -> bool:
        return self.level >= REQUEST_RESPONSE

    def take_object(self, tree: Tree) -> None:
        """The object of the request, right after it was decoded: admission may change it."""
        reference = self.reference
        metadata = tree.get("metadata")
        if reference is not None and isinstance(metadata, dict):
            for name in ("namespace", "name", "uid", "resourceVersion"):
                value = metadata.get(name)
                if isinstance(value, str) and value and not reference.get(name):
                    reference[name] = value
        if self.wants_request:
            self.take_request_tree(tree)

    def take_request_tree(self, tree: Any) -> None:
        """The body of the request, whatever it is."""
        self._request_object = self._fragment(tree)

    def take_response_tree(self, tree: Any) -> None:
        self._response_object = self._fragment(tree)

    def take_status(self, tree: Tree) -> None:
        """How a refused request is answered."""
        self.status = {"metadata": {}, **{k: tree[k] for k in _STATUS_FIELDS if k in tree}}

    def take_error(self, error: ApiError) -> None:
        self.take_status(error.to_status())

    def _fragment(self, tree: Any) -> object:
        if self.omit_managed_fields:
            tree = _without_managed_fields(tree)
        return orjson.Fragment(orjson.dumps(tree))

    # -- written ----------------------------------------------------------------

    def render(self, stage: str, moment: datetime) -> bytes:
        """The event of ``stage``, encoded."""
        tree = self._tree
        tree["stage"] = stage
        event: Tree = {}
        for name, value in tree.items():
            event[name] = value
            if name == "user" and self.impersonated is not None:
                event["impersonatedUser"] = self.impersonated.to_user_info()
            if name == "userAgent":
                if not value:
                    del event[name]
                self._add_findings(event)
        event["stageTimestamp"] = render_micro_time(moment)
        if self.annotations:
            event["annotations"] = self.annotations
        return orjson.dumps(event)

    def _add_findings(self, event: Tree) -> None:
        for name, value in (
            ("objectRef", self.reference),
            ("responseStatus", self.status),
            ("requestObject", self._request_object),
            ("responseObject", self._response_object),
        ):
            if value is not None:
                event[name] = value
        if self.reference is not None:
            event["objectRef"] = {k: v for k, v in self.reference.items() if v}


def _reference(info: RequestInfo) -> Tree:
    found = {
        "resource": info.resource,
        "namespace": info.namespace,
        "name": info.name,
        "uid": "",
        "apiGroup": info.group,
        "apiVersion": info.version,
        "resourceVersion": "",
        "subresource": info.subresource,
    }
    return found


def _sources(request: Request) -> list[str]:
    """The addresses a request says it came through, then the one it came from."""
    found = []
    forwarded = request.headers.get("x-forwarded-for", "")
    if forwarded:
        found = [part.strip() for part in forwarded.split(",") if part.strip()]
    real = request.headers.get("x-real-ip", "").strip()
    if real and real not in found:
        found.append(real)
    remote = request.remote_address
    if not remote or remote == "local":
        remote = _LOCAL_SOURCE
    if not found or found[-1] != remote:
        found.append(remote)
    return [part for part in found if _is_address(part)]


def _is_address(text: str) -> bool:
    from ipaddress import ip_address

    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _user_agent(request: Request) -> str:
    agent = request.headers.get("user-agent", "")
    if len(agent) > _USER_AGENT_LIMIT:
        return agent[:_USER_AGENT_LIMIT] + _TRUNCATED
    return agent


def _without_managed_fields(tree: Any) -> Any:
    """An object, or each object of a list or table, without its owners; copies what it changes."""
    if not isinstance(tree, dict):
        return tree
    metadata = tree.get("metadata")
    if isinstance(metadata, dict) and "managedFields" in metadata:
        kept = {k: v for k, v in metadata.items() if k != "managedFields"}
        tree = {**tree, "metadata": kept}
    if isinstance(tree.get("items"), list):
        tree = {**tree, "items": [_without_managed_fields(item) for item in tree["items"]]}
    if tree.get("kind") == "Table" and isinstance(tree.get("rows"), list):
        rows = [
            {**row, "object": _without_managed_fields(row["object"])}
            if isinstance(row, dict) and "object" in row
            else row
            for row in tree["rows"]
        ]
        tree = {**tree, "rows": rows}
    return tree
