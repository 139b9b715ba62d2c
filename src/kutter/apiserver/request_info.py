"""From method and path to what is asked: verb, resource, namespace, name, subresource.

Between the HTTP request and authorization. Pure; the rules are upstream's
(``apiserver/pkg/endpoints/request/requestinfo.go``): ``/api/VERSION`` is the group without a
name, ``?watch=true`` turns a list into a watch, ``/watch/`` and ``/proxy/`` are prefixes of
old, GET without a name is a list and DELETE without one a deletecollection.
"""

from __future__ import annotations

import msgspec

_METHOD_VERBS = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
# Requests that last as long as their callers like.
LONG_RUNNING = frozenset({"log", "exec", "attach", "portforward", "proxy"})
# Namespaces have subresources of their own; anything else below one is a resource in it.
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})


class RequestInfo(msgspec.Struct):
    """What a request asks for. ``parts`` are the path segments from the resource on."""

    verb: str
    path: str
    is_resource: bool = False
    prefix: str = ""
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    parts: tuple[str, ...] = ()
    field_selector: str = ""
    label_selector: str = ""


def is_true(text: str | None) -> bool:
    """A query parameter that means yes: present, not ``0`` and not ``false`` (as upstream)."""
    return text is not None and text.lower() not in ("0", "false")


def parse_request_info(method: str, path: str, query: dict[str, str]) -> RequestInfo:
    """The request info of one request. ``query`` holds the first value of each parameter."""
    if path.startswith("//"):
        return RequestInfo(method.lower(), path)
    segments = path.strip("/").split("/")
    head = segments[0]
    if head == "api" and len(segments) > 2:
        info = RequestInfo("", path, is_resource=True, prefix="api", group="", version=segments[1])
        rest = segments[2:]
    elif head == "apis" and len(segments) > 3:
        info = RequestInfo(
            "", path, is_resource=True, prefix="apis", group=segments[1], version=segments[2]
        )
        rest = segments[3:]
    else:
        return RequestInfo(method.lower(), path)
    verb = _METHOD_VERBS.get(method, "")
    if rest[0] == "watch" and len(rest) > 1:
        verb, rest = "watch", rest[1:]
    elif rest[0] == "proxy" and len(rest) > 1:
        verb, rest = "proxy", rest[1:]
    if rest[0] == "namespaces" and len(rest) > 1:
        info.namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
            rest = rest[2:]
    info.parts = tuple(rest)
    info.resource = rest[0]
    if len(rest) > 1:
        info.name = rest[1]
    if len(rest) > 2 and verb != "proxy":
        info.subresource = rest[2]
    if query:
        info.field_selector = query.get("fieldSelector", "")
        info.label_selector = query.get("labelSelector", "")
    if not info.name:
        if verb == "get":
            verb = "watch" if is_true(query.get("watch")) else "list"
        elif verb == "delete":
            verb = "deletecollection"
        if verb in ("list", "watch"):
            info.name = _name_of(info.field_selector)
    info.verb = verb
    return info


def _name_of(field_selector: str) -> str:
    """The name a field selector pins, so that authorization can allow by resource name."""
    if "metadata.name=" not in field_selector:
        return ""
    for term in field_selector.split(","):
        key, separator, value = term.partition("=")
        if separator and key == "metadata.name":
            return value.removeprefix("=")
    return ""
