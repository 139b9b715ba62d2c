"""Logs, exec, attach and port-forward of pods, and the node's own API: passed to the node agent.

Between the caller's connection and the agent at ``https://<node>:<port>``; upgrades (WebSocket,
SPDY) are relayed byte by byte, so both ends speak the same protocol with each other.
Upstream: https://kubernetes.io/docs/concepts/architecture/control-plane-node-communication/
"""

from __future__ import annotations

from urllib.parse import quote, urlencode

from kutter.api.errors import (
    ApiError,
    FieldError,
    bad_request,
    invalid,
    invalid_object,
    method_not_allowed,
    unavailable,
)
from kutter.apiserver.context import Call
from kutter.apiserver.ports import AdmissionRequest, Tree
from kutter.apiserver.request_info import is_true
from kutter.http.messages import Request, Response
from kutter.http.relay import proxy_request
from kutter.http.websocket import is_websocket
from kutter.http.websocket_body import answer_in_messages, without_handshake

_ADDRESS_TYPES = ("InternalIP", "Hostname", "InternalDNS", "ExternalIP", "ExternalDNS")
_AGENT_PORT = 10250
# The caller's credentials end here: the agent sees ours.
DROPPED_HEADERS = ("authorization", "x-remote-user", "x-remote-group", "cookie")
_STREAM_FLAGS = (("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty"))


def node_url(call: Call, name: str) -> str:
    """``https://address:port`` of a node's agent. Raises 404 or 503."""
    node = call.server.caches.get("nodes", "", name)
    if node is None:
        raise ApiError(404, "NotFound", f'nodes "{name}" not found', details={"name": name})
    status = node.get("status") or {}
    # Statuses are the nodes' own words: an address may lack what it should have.
    addresses = {
        a.get("type", ""): a["address"]
        for a in reversed(status.get("addresses") or ())
        if a.get("address")
    }
    host = next((addresses[kind] for kind in _ADDRESS_TYPES if kind in addresses), "")
    if not host:
        raise unavailable(f"no preferred addresses found; known addresses: {list(addresses)}")
    endpoint = (status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}
    port = endpoint.get("Port") or _AGENT_PORT
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


async def forward(
    call: Call, url: str, *, timeout_s: float | None = None, request: Request | None = None
) -> Response:
    """Pass the request, or ``request`` in its place, on to a node agent."""
    client = call.server.node_client
    if client is None:
        raise unavailable("this server has no connection to nodes")
    try:
        return await proxy_request(
            request or call.request,
            client,
            url,
            drop_headers=DROPPED_HEADERS,
            timeout_s=timeout_s or 60.0,
        )
    except OSError as error:
        raise ApiError(
            500,
            "InternalError",
            f"Internal error occurred: error trying to reach the node agent: {error}",
        ) from error


async def admit_connect(call: Call, kind: str, options: Tree) -> Tree:
    """Ask admission whether this connection may be made; the options it leaves."""
    request = AdmissionRequest(
        operation="CONNECT",
        resource=call.served.resource,
        subresource=call.info.subresource,
        namespace=call.info.namespace,
        name=call.info.name,
        object=options,
        old=None,
        user=call.user,
        reader=call.server.caches,
        now=call.now,
        kind=kind,
        warnings=call.warnings,
        annotate=call.annotate,
    )
    await call.server.admission.mutate(request)
    await call.server.admission.validate(request)
    return request.object or {}


def proxy_options(call: Call) -> Tree:
    """What admission is shown of a proxied request: the path below, if any."""
    rest = "/".join(call.info.parts[3:])
    path = f"/{rest}" if rest else ""
    if call.info.path.endswith("/") and not path.endswith("/"):
        path += "/"
    return {"path": path} if path else {}


def redirect_to_root(call: Call) -> Response | None:
    """The answer to one who looks at ``.../proxy`` itself: relative links need the slash."""
    request = call.request
    if len(call.info.parts) > 3 or call.info.path.endswith("/") or request.headers.get("upgrade"):
        return None
    if request.method not in ("GET", "HEAD"):
        return None
    suffix = f"?{request.raw_query}" if request.raw_query else ""
    return Response(301, [("Location", quote(call.info.path, safe="/:@") + "/" + suffix)])


def _pod(call: Call) -> Tree:
    return call.served.storage.get(call.info.namespace, call.info.name).tree


def _node_of(pod: Tree) -> str:
    node = (pod.get("spec") or {}).get("nodeName")
    if not node:
        raise bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
    return str(node)


def choose_container(pod: Tree, wanted: str) -> str:
    """The container asked for, or the only one. Raises 400."""
    spec, name = pod.get("spec") or {}, pod["metadata"]["name"]
    containers = [c["name"] for c in spec.get("containers") or ()]
    inits = [c["name"] for c in spec.get("initContainers") or ()]
    ephemeral = [c["name"] for c in spec.get("ephemeralContainers") or ()]
    if wanted:
        if wanted in containers or wanted in inits or wanted in ephemeral:
            return wanted
        raise bad_request(f"container {wanted} is not valid for pod {name}")
    if len(containers) == 1:
        return str(containers[0])
    text = f"a container name must be specified for pod {name}"
    if containers:
        text += f", choose one of: [{' '.join(containers)}]"
    if inits:
        text += f" or one of the init containers: [{' '.join(inits)}]"
    raise bad_request(text)


async def pod_log(call: Call) -> Response:
    """GET a container's log, as text; over a WebSocket when asked so."""
    if call.info.verb != "get":
        raise method_not_allowed("")
    query = call.query
    _check_log_options(call)
    pod = _pod(call)
    container = choose_container(pod, query.get("container", ""))
    node = (pod.get("spec") or {}).get("nodeName")
    if not node:
        # Not bound yet: there is no log, which is an empty one (as upstream).
        return Response(200, [("Content-Type", "text/plain")], b"")
    passed = [(k, v) for k, v in call.request.query if k not in ("container", "pretty")]
    namespace, name = call.info.namespace, call.info.name
    path = f"/containerLogs/{namespace}/{name}/{container}"
    suffix = f"?{urlencode(passed)}" if passed else ""
    url = node_url(call, node) + path + suffix
    if not is_websocket(call.request):
        return _as_status(await forward(call, url))
    plain = without_handshake(call.request)
    return answer_in_messages(call.request, _as_status(await forward(call, url, request=plain)))


def _as_status(response: Response) -> Response:
    """The agent refuses in plain text; clients of the API expect a Status. Raises ApiError."""
    if response.status < 400:
        return response
    text = response.body.decode(errors="replace").strip()
    if response.status == 400:
        raise bad_request(text)
    if response.status == 404:
        raise ApiError(404, "NotFound", text or "the server could not find the requested resource")
    if response.status < 500:
        raise ApiError(response.status, "", text)
    raise ApiError(500, "InternalError", f"Internal error occurred: {text}")


def _check_log_options(call: Call) -> None:
    query = call.query
    errors: list[FieldError] = []
    for name, minimum in (("tailLines", 0), ("limitBytes", 1), ("sinceSeconds", 1)):
        text = query.get(name)
        if text is None:
            continue
        try:
            number = int(text)
        except ValueError:
            raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
        if number < minimum:
            detail = f"must be greater than {'or equal to ' if minimum == 0 else ''}0"
            errors.append(invalid(name, number, detail))
    if "sinceSeconds" in query and "sinceTime" in query:
        detail = "at most one of `sinceTime` or `sinceSeconds` may be specified"
        errors.append(FieldError("", "FieldValueForbidden", f"Forbidden: {detail}"))
    if errors:
        raise invalid_object("PodLogOptions", call.info.name, errors)


async def pod_stream(call: Call) -> Response:
    """Exec, attach and port-forward: an upgrade passed through to the agent."""
    info, request = call.info, call.request
    if info.verb not in ("get", "create"):
        raise method_not_allowed("")
    pod = _pod(call)
    namespace, name, subresource = info.namespace, info.name, info.subresource
    if subresource == "portforward":
        asked = [int(port) for port in request.params("ports") if port.isdecimal()]
        await admit_connect(call, "PodPortForwardOptions", {"ports": asked} if asked else {})
        ports = [("port", port) for port in request.params("ports")]
        suffix = f"?{urlencode(ports)}" if ports else ""
        url = node_url(call, _node_of(pod)) + f"/portForward/{namespace}/{name}{suffix}"
        return await forward(call, url)
    container = choose_container(pod, call.query.get("container", ""))
    commands = request.params("command")
    if subresource == "exec" and not commands:
        raise bad_request("you must specify at least 1 command for the container")
    flags = {flag: is_true(call.query.get(flag)) for flag, _ in _STREAM_FLAGS}
    if not any(flags[flag] for flag in ("stdin", "stdout", "stderr")):
        raise bad_request("Unable to upgrade: you must specify at least 1 of stdin, stdout, stderr")
    kind = "PodExecOptions" if subresource == "exec" else "PodAttachOptions"
    options: Tree = {flag: True for flag in flags if flags[flag]}
    options["container"] = container
    if subresource == "exec":
        options["command"] = commands
    options = await admit_connect(call, kind, options)
    container = choose_container(pod, options.get("container") or "")
    passed = [("command", command) for command in options.get("command") or ()]
    passed += [(agents, "1") for flag, agents in _STREAM_FLAGS if options.get(flag)]
    path = f"/{subresource}/{namespace}/{name}/{container}?{urlencode(passed)}"
    return await forward(call, node_url(call, _node_of(pod)) + path)


async def node_proxy(call: Call) -> Response:
    """The node agent's own HTTP API below ``/nodes/<name>/proxy/``."""
    # Node names may carry a port: nodes/x:10250/proxy.
    name, _, port = call.info.name.partition(":")
    base = node_url(call, name)
    if port:
        base = base.rpartition(":")[0] + f":{port}"
    rest = "/".join(quote(part) for part in call.info.parts[3:])
    await admit_connect(call, "NodeProxyOptions", proxy_options(call))
    if (redirect := redirect_to_root(call)) is not None:
        return redirect
    suffix = f"?{call.request.raw_query}" if call.request.raw_query else ""
    return await forward(call, f"{base}/{rest}{suffix}")
