"""The ``kubernetes`` service in the default namespace: how pods find the API server.

Between a started :class:`ApiServer` and everything in the cluster. The service is created once,
at the first address of the service range; its endpoints follow the advertised address. Other
objects every cluster begins with are made in :mod:`kutter.apiserver.bootstrap`.
"""

from __future__ import annotations

import ipaddress

from kutter.api.errors import ApiError
from kutter.apiserver.bootstrap import SYSTEM_USER
from kutter.apiserver.ports import Tree
from kutter.apiserver.server import ApiServer
from kutter.apiserver.writing import WriteContext

_SERVICE_PORT = 443


async def ensure_kubernetes_service(
    server: ApiServer, *, service_cidrs: tuple[str, ...], advertised: tuple[str, int]
) -> None:
    """Create what is missing; ``advertised`` is the address and port that pods reach.

    The default namespace must be there.
    """
    service = _service(service_cidrs, advertised[1])
    await _ensure(server, ("", "v1", "services"), "default", service)
    await publish_address(server, advertised)


async def publish_address(server: ApiServer, advertised: tuple[str, int]) -> None:
    """Point the ``kubernetes`` service's endpoints at this server.

    A loopback address is nothing that pods could reach: nothing is published then.
    """
    host, port = advertised
    if ipaddress.ip_address(host).is_loopback:
        return
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    metadata = {
        "name": "kubernetes",
        "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
    }
    endpoints: Tree = {
        "metadata": metadata,
        "subsets": [{"addresses": [{"ip": host}], "ports": ports}],
    }
    await _ensure(server, ("", "v1", "endpoints"), "default", endpoints, replace=("subsets",))
    family = "IPv6" if ipaddress.ip_address(host).version == 6 else "IPv4"
    slice_: Tree = {
        "metadata": {
            "name": "kubernetes",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": family,
        "endpoints": [{"addresses": [host], "conditions": {"ready": True}}],
        "ports": ports,
    }
    await _ensure(
        server,
        ("discovery.k8s.io", "v1", "endpointslices"),
        "default",
        slice_,
        replace=("endpoints", "ports"),
    )


def _service(service_cidrs: tuple[str, ...], port: int) -> Tree:
    # The first address of the range is reserved for this service.
    first = str(ipaddress.ip_network(service_cidrs[0])[1])
    return {
        "metadata": {
            "name": "kubernetes",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": first,
            "clusterIPs": [first],
            "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None",
            "ports": [
                {"name": "https", "port": _SERVICE_PORT, "protocol": "TCP", "targetPort": port}
            ],
        },
    }


async def _ensure(
    server: ApiServer,
    place: tuple[str, str, str],
    namespace: str,
    tree: Tree,
    *,
    replace: tuple[str, ...] = (),
) -> None:
    group, version, plural = place
    resource = server.catalog.find(group, version, plural)
    assert resource is not None, f"{plural} is built in"
    storage = server.served_for(resource).storage
    name = tree["metadata"]["name"]
    found = storage.cache.get(namespace, name)
    if found is None:
        wanted = {
            "kind": resource.kind,
            "apiVersion": resource.api_version,
            **tree,
            "metadata": {**tree["metadata"]},
        }
        try:
            await storage.create(_context(server), namespace, wanted)
        except ApiError as error:
            # Another server of the same store was first.
            if error.reason != "AlreadyExists":
                raise
        return
    if not replace:
        return

    def transform(old: Tree | None) -> Tree:
        assert old is not None, "updates of bootstrap objects never create"
        for field in replace:
            old[field] = tree[field]
        return old

    await storage.update(_context(server), namespace, name, transform)


def _context(server: ApiServer) -> WriteContext:
    return WriteContext(user=SYSTEM_USER, now=server.clock.now())
