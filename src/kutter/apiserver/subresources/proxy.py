"""pods/proxy and services/proxy: HTTP to what runs in the cluster, through the API server.

Names may carry scheme and port: ``https:web:443``. What is behind is not asked who it is and is not
told who we are: a connection of the pods' own kind, never the one to node agents.
Upstream: https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import quote

from kutter.api.errors import bad_request, not_found, unavailable
from kutter.apiserver.context import Call
from kutter.apiserver.ports import Tree
from kutter.apiserver.subresources.node_relay import (
    DROPPED_HEADERS,
    admit_connect,
    proxy_options,
    redirect_to_root,
)
from kutter.apiserver.subresources.page_links import Proxied, rewrite_body, rewrite_link
from kutter.http.messages import Response
from kutter.http.relay import proxy_request

# A longer page is passed on with its links as they are.
PAGE_MAX_BYTES = 4 << 20
_CORS_HEADERS = {
    f"access-control-allow-{word}" for word in ("credentials", "headers", "methods", "origin")
}


def split_name(text: str) -> tuple[str, str, str]:
    """``[scheme:]name[:port]`` as (scheme, name, port). Raises 400."""
    parts = text.split(":")
    if len(parts) == 1:
        return "http", parts[0], ""
    if len(parts) == 2:
        return "http", parts[0], parts[1]
    if len(parts) == 3 and parts[0] in ("http", "https", ""):
        return parts[0] or "http", parts[1], parts[2]
    raise bad_request(f'invalid request "{text}"')


async def pod_proxy(call: Call) -> Response:
    """To a pod's address; without a port to the first one its containers declare."""
    scheme, name, port = split_name(call.info.name)
    pod = call.server.caches.get("pods", call.info.namespace, name)
    if pod is None:
        raise not_found("pods", name)
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        raise bad_request("address not allowed")
    await admit_connect(call, "PodProxyOptions", proxy_options(call))
    return await _pass_on(call, scheme, address, port or _first_port(pod))


def _first_port(pod: Tree) -> str:
    for container in (pod.get("spec") or {}).get("containers") or ():
        for port in container.get("ports") or ():
            return str(port["containerPort"])
    return "80"


async def service_proxy(call: Call) -> Response:
    """To one of a service's ready endpoints."""
    scheme, name, port = split_name(call.info.name)
    namespace = call.info.namespace
    service = call.server.caches.get("services", namespace, name)
    if service is None:
        raise not_found("services", name)
    await admit_connect(call, "ServiceProxyOptions", proxy_options(call))
    wanted = _port_name(service, name, port)
    targets = _targets(call, namespace, name, wanted)
    if not targets:
        raise unavailable(f'no endpoints available for service "{name}"')
    address, target = targets[call.server.rng.choice_index(len(targets))]
    return await _pass_on(call, scheme, address, str(target))


def _port_name(service: Tree, name: str, port: str) -> str:
    """The name of the service's port meant by a name or a number."""
    ports = (service.get("spec") or {}).get("ports") or []
    if not port and len(ports) == 1:
        return str(ports[0].get("name", ""))
    for candidate in ports:
        if port in (candidate.get("name", ""), str(candidate["port"])):
            return str(candidate.get("name", ""))
    raise unavailable(f'no service port "{port}" found for service "{name}"')


def _targets(call: Call, namespace: str, name: str, port: str) -> list[tuple[str, int]]:
    endpoints = call.server.caches.get("endpoints", namespace, name)
    found = []
    for subset in (endpoints or {}).get("subsets") or ():
        for candidate in subset.get("ports") or ():
            if candidate.get("name", "") == port:
                addresses = subset.get("addresses") or ()
                found += [(a["ip"], candidate["port"]) for a in addresses]
    return found


async def _pass_on(call: Call, scheme: str, address: str, port: str) -> Response:
    client = call.server.pod_client
    if client is None:
        raise unavailable("this server has no connection to pods")
    if (redirect := redirect_to_root(call)) is not None:
        return redirect
    request = call.request
    below = call.info.parts[3:]
    rest = "/".join(quote(part) for part in below)
    if call.info.path.endswith("/") and rest:
        rest += "/"
    host = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    suffix = f"?{request.raw_query}" if request.raw_query else ""
    try:
        response = await proxy_request(
            request,
            client,
            f"{scheme}://{host}/{rest}{suffix}",
            set_headers=[("X-Forwarded-Uri", quote(call.info.path, safe="/:@"))],
            drop_headers=DROPPED_HEADERS,
        )
    except OSError as error:
        raise unavailable(f"error trying to reach service: {error}") from error
    if response.upgrade is not None:
        return response
    whole = call.info.path.rstrip("/")
    prefix = whole.removesuffix("/" + "/".join(below)) if below else whole
    hosts = frozenset((host, request.headers.get("host", "")))
    return await _rewrite(response, Proxied(prefix, hosts))


async def _rewrite(response: Response, page: Proxied) -> Response:
    """Lead redirects and a page's links through the proxy; CORS is not the pod's say here."""
    headers = [(name, v) for name, v in response.headers if name.lower() not in _CORS_HEADERS]
    values = {name.lower(): value for name, value in headers}
    response.headers = headers
    if location := values.get("location", ""):
        response.headers = [
            (name, rewrite_link(location, page) if name.lower() == "location" else value)
            for name, value in headers
        ]
        return response
    if values.get("content-type", "").partition(";")[0].strip() != "text/html":
        return response
    collected, rest = await _collect(response)
    body = None
    if rest is None:
        encoding = values.get("content-encoding", "")
        body = rewrite_body(collected, encoding, page, PAGE_MAX_BYTES)
    if body is not None and body != collected:
        collected = body
        response.headers = [(n, v) for n, v in headers if n.lower() != "content-length"]
    if rest is None:
        response.body, response.stream = collected, None
    else:
        response.stream = _Resumed(collected, rest)
    return response


async def _collect(response: Response) -> tuple[bytes, AsyncIterator[bytes] | None]:
    """The body, and what is left of one that is too long for a page."""
    if response.stream is None:
        return response.body, None
    parts, size = [], 0
    stream = response.stream
    async for chunk in stream:
        parts.append(chunk)
        size += len(chunk)
        if size > PAGE_MAX_BYTES:
            return b"".join(parts), stream
    return b"".join(parts), None


class _Resumed:
    """A body whose beginning was read already; lets go of the rest even if it never started."""

    def __init__(self, first: bytes, rest: AsyncIterator[bytes]) -> None:
        self._first = first
        self._rest = rest

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        return await anext(self._rest)

    async def aclose(self) -> None:
        close = getattr(self._rest, "aclose", None)
        if close is not None:
            await close()
