"""pods/proxy and services/proxy: HTTP to what runs in the cluster, through the API server.

Names may carry scheme and port: ``https:web:443``.
Upstream: https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/
"""

from __future__ import annotations

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
from kutter.http.messages import Response
from kutter.http.relay import proxy_request


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
    client = call.server.node_client
    if client is None:
        raise unavailable("this server has no connection to pods")
    if (redirect := redirect_to_root(call)) is not None:
        return redirect
    rest = "/".join(quote(part) for part in call.info.parts[3:])
    if call.info.path.endswith("/") and rest:
        rest += "/"
    host = f"[{address}]" if ":" in address else address
    suffix = f"?{call.request.raw_query}" if call.request.raw_query else ""
    try:
        return await proxy_request(
            call.request,
            client,
            f"{scheme}://{host}:{port}/{rest}{suffix}",
            drop_headers=DROPPED_HEADERS,
        )
    except OSError as error:
        raise unavailable(f"error trying to reach service: {error}") from error
