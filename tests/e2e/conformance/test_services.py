"""sig-network conformance: services, their endpoints and names, seen from pods and the node."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from tests.e2e.cluster import Cluster, Space, Tree, sleeper, wait_until
from tests.e2e.conftest import make_space

_PORT = {"port": 80, "targetPort": 8080, "protocol": "TCP"}


@pytest.fixture(scope="module")
def made(cluster: Cluster, conformance_images: None) -> Iterator[Space]:
    """Two servers, a client pod, and the service ``web`` before the servers."""
    space = make_space(cluster, "services")
    for name in ("server-1", "server-2"):
        space.create_pod(name, {"containers": [_server()]}, labels={"app": "web"})
    space.create_pod("client", {"containers": [sleeper()]})
    _service(space, "web", ports=[{"name": "http", **_PORT}])
    for name in ("server-1", "server-2", "client"):
        space.wait_ready(name)
    yield space
    space.remove()


def _server(**fields: object) -> Tree:
    return {"name": "c", "image": "net:1", "ports": [{"containerPort": 8080}], **fields}


def _service(space: Space, name: str, **spec: object) -> Tree:
    body = {"selector": {"app": "web"}, "ports": [_PORT], **spec}
    return space.create("services", {"metadata": {"name": name}, "spec": body})


def _ask(space: Space, url: str, *, check: bool = True) -> str:
    """From the client pod."""
    command = ("curl", "-sS", "--max-time", "3", url)
    return space.exec("client", *command, check=check).strip()


def _names(space: Space, url: str, times: int = 12, *, node: bool = False) -> set[str]:
    """Which servers answer, asked by the pod in one go or by the node."""
    if node:
        return {space.cluster.curl(url, check=False).strip() for _ in range(times)}
    script = f"for i in $(seq {times}); do curl -sS --max-time 3 {url}; done"
    return set(space.exec("client", "sh", "-c", script, check=False).split())


_BOTH = {"server-1", "server-2"}


def test_service_balances_for_pods_and_node(made: Space) -> None:
    address = made.cluster.get(f"{made.path}/services/web")["spec"]["clusterIP"]
    url = f"http://{address}/cgi-bin/hostname"
    wait_until("both answer", lambda: _names(made, url) == _BOTH)
    wait_until("both answer the node", lambda: _names(made, url, node=True) == _BOTH)
    assert _names(made, f"http://web.{made.name}.svc.cluster.local/cgi-bin/hostname") == _BOTH


def test_pods_and_node_reach_pods(made: Space) -> None:
    """Every pod from a pod, itself included, and from the node; UDP by the cluster's DNS."""
    for name in ("server-1", "server-2"):
        url = f"http://{made.pod(name)['status']['podIP']}:8080/cgi-bin/hostname"
        assert _ask(made, url) == name
        assert made.exec(name, "wget", "-qO-", url).strip() == name
        assert made.cluster.curl(url).strip() == name


def test_affinity_is_switched_on_and_off(made: Space) -> None:
    """For the cluster address and the node port."""
    spec = _service(made, "sticky", type="NodePort", sessionAffinity="ClientIP")["spec"]
    urls = [
        f"http://{spec['clusterIP']}/cgi-bin/hostname",
        f"http://{made.cluster.machine.address}:{spec['ports'][0]['nodePort']}/cgi-bin/hostname",
    ]
    for affinity, count in (("ClientIP", 1), ("None", 2), ("ClientIP", 1)):
        body = {"spec": {"sessionAffinity": affinity}}
        if affinity == "None":
            body["spec"]["sessionAffinityConfig"] = None  # type: ignore[assignment]
        changed = made.cluster.patch(f"{made.path}/services/sticky", body)
        config = changed["spec"].get("sessionAffinityConfig")
        expected = {"clientIP": {"timeoutSeconds": 10800}} if affinity == "ClientIP" else None
        assert config == expected
        for url in urls:
            wait_until(
                f"{count} answer {url} with affinity {affinity}",
                lambda u=url, c=count: len(_names(made, u, 16)) == c,  # type: ignore[misc]
            )
    assert len(_names(made, urls[0], 30)) == 1


def test_type_changes_between_all_kinds(made: Space) -> None:
    """ExternalName → ClusterIP → NodePort → ExternalName, with names and ports following."""
    path = f"{made.path}/services/changes"
    external = {"type": "ExternalName", "externalName": f"web.{made.name}.svc.cluster.local"}
    made.create("services", {"metadata": {"name": "changes"}, "spec": external})
    name = f"changes.{made.name}.svc.cluster.local"
    url = f"http://{name}/cgi-bin/hostname"
    wait_until("by its external name", lambda: _names(made, url, 4) <= _BOTH and _names(made, url))
    assert external["externalName"] in made.exec("client", "nslookup", "-type=CNAME", name)
    plain = {"type": "ClusterIP", "externalName": None, "selector": {"app": "web"}}
    spec = made.cluster.patch(path, {"spec": {**plain, "ports": [_PORT]}})["spec"]
    assert spec["clusterIP"]
    assert "externalName" not in spec
    wait_until(
        "by its address",
        lambda: _names(made, f"http://{spec['clusterIP']}/cgi-bin/hostname") == _BOTH,
    )
    wait_until(
        "name is the address",
        lambda: spec["clusterIP"] in made.exec("client", "nslookup", name, check=False),
    )
    spec = made.cluster.patch(path, {"spec": {"type": "NodePort"}})["spec"]
    port = spec["ports"][0]["nodePort"]
    node_url = f"http://{made.cluster.machine.address}:{port}/cgi-bin/hostname"
    wait_until("by the node port", lambda: _names(made, node_url, node=True) == _BOTH)
    spec = made.cluster.patch(path, {"spec": {"type": "ClusterIP", "ports": [_PORT]}})["spec"]
    assert "nodePort" not in spec["ports"][0]
    wait_until("port closed", lambda: _names(made, node_url, 1, node=True) == {""})
    back = {**external, "clusterIP": None, "clusterIPs": None, "ports": None, "selector": None}
    spec = made.cluster.patch(path, {"spec": back})["spec"]
    assert "clusterIP" not in spec
    wait_until(
        "alias again",
        lambda: (
            external["externalName"]
            in made.exec("client", "nslookup", "-type=CNAME", name, check=False)
        ),
    )


def test_endpoints_follow_pods_and_ports(made: Space) -> None:
    """Addresses and several ports appear with ready pods and go with them."""
    ports = [
        {"name": "one", "port": 80, "targetPort": 100},
        {"name": "two", "port": 81, "targetPort": "named"},
    ]
    made.create(
        "services",
        {"metadata": {"name": "multi"}, "spec": {"selector": {"app": "multi"}, "ports": ports}},
    )

    def found() -> dict[str, set[int]]:
        status, tree = made.cluster.request("GET", f"{made.path}/endpoints/multi")
        subsets = tree.get("subsets", []) if status == 200 else []
        by_name: dict[str, set[int]] = {}
        for subset in subsets:
            for address in subset.get("addresses", []):
                for port in subset["ports"]:
                    by_name.setdefault(address["targetRef"]["name"], set()).add(port["port"])
        return by_name

    for name, number in (("first", 101), ("second", 102)):
        container = sleeper(ports=[{"name": "named", "containerPort": number}])
        made.create_pod(name, {"containers": [container]}, labels={"app": "multi"})
    wait_until("both", lambda: found() == {"first": {100, 101}, "second": {100, 102}})
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{made.name}/endpointslices"
    listed = made.cluster.get(f"{slices}?labelSelector=kubernetes.io/service-name=multi")["items"]
    assert {p["name"] for s in listed for p in s["ports"]} == {"one", "two"}
    made.cluster.delete(f"{made.path}/pods/first")
    wait_until("one", lambda: found() == {"second": {100, 102}})
    made.cluster.patch(f"{made.path}/pods/second", {"metadata": {"labels": {"app": None}}})
    wait_until("none", lambda: found() == {})
    made.cluster.delete(f"{made.path}/services/multi")
    wait_until(
        "endpoints gone",
        lambda: made.cluster.request("GET", f"{made.path}/endpoints/multi")[0] == 404,
    )
    wait_until(
        "slices gone",
        lambda: (
            not made.cluster.get(f"{slices}?labelSelector=kubernetes.io/service-name=multi")[
                "items"
            ]
        ),
    )


def test_endpoints_written_by_hand_are_served(made: Space) -> None:
    """A service without selector; its endpoints are mirrored to slices and answered."""
    made.create("services", {"metadata": {"name": "by-hand"}, "spec": {"ports": [_PORT]}})
    pod = made.pod("server-1")
    subsets = [{"addresses": [{"ip": pod["status"]["podIP"]}], "ports": [{"port": 8080}]}]
    made.create("endpoints", {"metadata": {"name": "by-hand"}, "subsets": subsets})
    address = made.cluster.get(f"{made.path}/services/by-hand")["spec"]["clusterIP"]
    url = f"http://{address}/cgi-bin/hostname"
    wait_until("answered", lambda: _names(made, url, 1) == {"server-1"})
    other = made.pod("server-2")["status"]["podIP"]
    changed = [{"addresses": [{"ip": other}], "ports": [{"port": 8080}]}]
    made.cluster.patch(f"{made.path}/endpoints/by-hand", {"subsets": changed})
    wait_until("the other", lambda: _names(made, url, 1) == {"server-2"})
    made.cluster.delete(f"{made.path}/endpoints/by-hand")
    wait_until("refused", lambda: not _names(made, url, 1))


def test_several_slices_make_one_service(made: Space) -> None:
    """One port from two slices: both of their addresses answer."""
    made.create("services", {"metadata": {"name": "sliced"}, "spec": {"ports": [_PORT]}})
    for number in (1, 2):
        address = made.pod(f"server-{number}")["status"]["podIP"]
        made.create(
            "endpointslices",
            {
                "metadata": {
                    "name": f"sliced-{number}",
                    "labels": {"kubernetes.io/service-name": "sliced"},
                },
                "addressType": "IPv4",
                "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
                "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            },
            "apis/discovery.k8s.io/v1",
        )
    address = made.cluster.get(f"{made.path}/services/sliced")["spec"]["clusterIP"]
    wait_until("both", lambda: _names(made, f"http://{address}/cgi-bin/hostname") == _BOTH)


def test_same_port_for_tcp_and_udp(made: Space) -> None:
    """Two ports that differ in protocol only."""
    ports = [{"name": "t", **_PORT}, {"name": "u", **_PORT, "protocol": "UDP"}]
    spec = _service(made, "both-protocols", ports=ports)["spec"]
    assert [(p["port"], p["protocol"]) for p in spec["ports"]] == [(80, "TCP"), (80, "UDP")]
    url = f"http://{spec['clusterIP']}/cgi-bin/hostname"
    wait_until("both", lambda: _names(made, url) == _BOTH)


def test_status_and_collection_of_services(made: Space) -> None:
    path = f"{made.path}/services"
    labels = {"set": "collected"}
    for number in (1, 2, 3):
        body = {"metadata": {"name": f"set-{number}", "labels": labels}, "spec": {"ports": [_PORT]}}
        made.create("services", body)
    condition = {
        "type": "Tested",
        "status": "True",
        "reason": "E2E",
        "message": "m",
        "lastTransitionTime": "2024-01-01T00:00:00Z",
    }
    patched = made.cluster.patch(f"{path}/set-1/status", {"status": {"conditions": [condition]}})
    assert patched["status"]["conditions"] == [condition]
    status, tree = made.cluster.request("PUT", f"{path}/set-1/status", patched)
    assert status == 200, tree
    assert any(
        s["metadata"]["name"] == "kubernetes" for s in made.cluster.get("/api/v1/services")["items"]
    )
    made.cluster.delete(f"{path}?labelSelector=set=collected")
    assert not made.cluster.get(f"{path}?labelSelector=set=collected")["items"]


def test_proxy_through_the_server(made: Space) -> None:
    """Every verb to a pod and a service; redirects and paths are kept."""
    services, pods = f"{made.path}/services", f"{made.path}/pods"
    ports = [{"name": "portname", "port": 80, "targetPort": 8080}]
    _service(made, "proxied", ports=ports)
    wait_until("ready", lambda: made.cluster.request("GET", f"{services}/proxied/proxy/")[0] == 200)
    targets = (
        f"{services}/proxied:portname/proxy",
        f"{services}/proxied:80/proxy",
        f"{services}/http:proxied:portname/proxy",
        f"{pods}/server-1:8080/proxy",
        f"{pods}/server-1/proxy",
        f"{pods}/http:server-1:8080/proxy",
    )
    for target in targets:
        assert made.cluster.request("GET", f"{target}/")[1]["text"] == b"index\n"
        status, tree = made.cluster.request("POST", f"{target}/cgi-bin/echo?a=b", {"x": 1})
        assert (status, tree.get("text", tree)) == (200, b'POST a=b\n{"x": 1}'), target
        status, tree = made.cluster.request("GET", f"{target}/absent")
        assert status == 404
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        status, tree = made.cluster.request(method, f"{targets[3]}/cgi-bin/echo")
        assert (status, tree["text"]) == (200, f"{method} \n".encode()), method


def test_endpoint_latency_is_low(made: Space) -> None:
    """From a new service to its endpoints: half within a second, all within a few."""
    passed = []
    for number in range(30):
        began = time.monotonic()
        _service(made, f"latency-{number}")
        path = f"{made.path}/endpoints/latency-{number}"
        wait_until(
            "endpoints",
            lambda p=path: made.cluster.request("GET", p)[1].get("subsets"),  # type: ignore[misc]
            every_s=0.01,
        )
        passed.append(time.monotonic() - began)
        made.cluster.delete(f"{made.path}/services/latency-{number}")
    passed.sort()
    assert passed[15] < 1
    assert passed[-1] < 5


def test_the_api_from_a_pod(made: Space) -> None:
    """The service ``kubernetes`` is secure, has endpoints and slices, and knows the pod's token."""
    service = made.cluster.get("/api/v1/namespaces/default/services/kubernetes")
    assert [(p["name"], p["port"]) for p in service["spec"]["ports"]] == [("https", 443)]
    endpoints = made.cluster.get("/api/v1/namespaces/default/endpoints/kubernetes")
    assert endpoints["subsets"][0]["addresses"][0]["ip"] == made.cluster.machine.address
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    found = made.cluster.get(f"{slices}?labelSelector=kubernetes.io/service-name=kubernetes")
    assert found["items"][0]["endpoints"][0]["addresses"] == [made.cluster.machine.address]
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    script = (
        f'curl -sS --cacert {folder}/ca.crt -H "Authorization: Bearer $(cat {folder}/token)" '
        f"-o /dev/null -w '%{{http_code}}' "
    )
    url = "https://kubernetes.default.svc"
    assert made.exec("client", "sh", "-c", f"{script} {url}/version") == "200"
    # Known, and not allowed.
    assert made.exec("client", "sh", "-c", f"{script} {url}/api/v1/nodes") == "403"


# HostPort


def test_host_ports_differ_by_address_and_protocol(made: Space) -> None:
    """The same port three times without conflict: other address, other protocol; a fourth waits."""
    address = made.cluster.machine.address
    wanted = {
        "host-1": ("127.0.0.1", "TCP"),
        "host-2": (address, "TCP"),
        "host-3": (address, "UDP"),
    }
    for name, (ip, protocol) in wanted.items():
        port = {"containerPort": 8080, "hostPort": 54323, "hostIP": ip, "protocol": protocol}
        made.create_pod(name, {"containers": [_server(ports=[port])]})
        made.wait_ready(name)
    url = "http://%s:54323/cgi-bin/hostname"
    wait_until("loopback", lambda: _names(made, url % "127.0.0.1", 1, node=True) == {"host-1"})
    wait_until("address", lambda: _names(made, url % address, 1, node=True) == {"host-2"})
    port = {"containerPort": 8080, "hostPort": 54323}
    made.create_pod("host-4", {"containers": [_server(ports=[port])]})
    made.wait_pod(
        "host-4",
        lambda p: any(
            c.get("reason") == "Unschedulable" and "free ports" in c["message"]
            for c in p["status"].get("conditions", [])
        ),
    )
    for name in wanted:
        made.cluster.delete(f"{made.path}/pods/{name}", grace_s=0)
    made.wait_ready("host-4", timeout_s=60)
    wait_until("the fourth", lambda: _names(made, url % address, 1, node=True) == {"host-4"})


# DNS


def test_names_of_services_and_pods(made: Space) -> None:
    """Services, headless ones, host names and subdomains, SRV records, partial names, aliases."""
    ports = [{"name": "http", **_PORT}]
    made.create(
        "services",
        {
            "metadata": {"name": "subdomain"},
            "spec": {"clusterIP": "None", "selector": {"app": "named"}, "ports": ports},
        },
    )
    made.create_pod(
        "named",
        {"hostname": "host", "subdomain": "subdomain", "containers": [sleeper()]},
        labels={"app": "named"},
    )
    named = made.wait_ready("named")["status"]["podIP"]
    web = made.cluster.get(f"{made.path}/services/web")["spec"]["clusterIP"]
    space, zone = made.name, "svc.cluster.local"
    api = made.cluster.get("/api/v1/namespaces/default/services/kubernetes")["spec"]["clusterIP"]
    expected = {
        "kubernetes.default": api,
        f"kubernetes.default.{zone}": api,
        "web": web,
        f"web.{space}": web,
        f"web.{space}.svc": web,
        f"web.{space}.{zone}": web,
        f"subdomain.{space}.{zone}": named,
        f"host.subdomain.{space}.{zone}": named,
    }

    def resolved(name: str) -> str:
        command = ("sh", "-c", f"ping -c1 -W1 {name} 2>&1 | head -1")
        return made.exec("client", *command, check=False)

    for name, address in expected.items():
        wait_until(f"{name} is {address}", lambda n=name, a=address: f"({a})" in resolved(n))  # type: ignore[misc]
    srv = made.exec("client", "nslookup", "-type=SRV", f"_http._tcp.web.{space}.{zone}")
    assert f"0 100 80 web.{space}.{zone}" in srv
    srv = made.exec(
        "client", "nslookup", "-type=SRV", f"_http._tcp.subdomain.{space}.{zone}", check=False
    )
    assert f"host.subdomain.{space}.{zone}" in srv
    hosts = made.exec("named", "cat", "/etc/hosts")
    assert f"{named}\thost.subdomain.{space}.{zone}\thost\n" in hosts
    assert made.exec("named", "hostname").strip() == "host"
    assert made.exec("named", "hostname", "-f").strip() == f"host.subdomain.{space}.{zone}"


def test_alias_follows_its_service(made: Space) -> None:
    path = f"{made.path}/services/alias"
    spec = {"type": "ExternalName", "externalName": "foo.example.com"}
    made.create("services", {"metadata": {"name": "alias"}, "spec": spec})
    name = f"alias.{made.name}.svc.cluster.local"

    def answer(kind: str) -> str:
        return made.exec("client", "nslookup", f"-type={kind}", name, check=False)

    wait_until("alias", lambda: "canonical name = foo.example.com" in answer("CNAME"))
    made.cluster.patch(path, {"spec": {"externalName": "bar.example.com"}})
    wait_until("changed", lambda: "canonical name = bar.example.com" in answer("CNAME"))
    body = {"spec": {"type": "ClusterIP", "externalName": None, "ports": [_PORT]}}
    address = made.cluster.patch(path, body)["spec"]["clusterIP"]
    wait_until("an address", lambda: f"Address: {address}" in answer("A"))


def test_configured_resolver(made: Space) -> None:
    """``dnsPolicy: None`` gives exactly what ``dnsConfig`` says."""
    config = {
        "nameservers": ["1.1.1.1"],
        "searches": ["resolv.conf.local"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
    }
    made.create_pod(
        "resolver", {"dnsPolicy": "None", "dnsConfig": config, "containers": [sleeper()]}
    )
    made.create_pod(
        "appended", {"dnsConfig": {"searches": ["more.local"]}, "containers": [sleeper()]}
    )
    made.wait_ready("resolver")
    text = made.exec("resolver", "cat", "/etc/resolv.conf")
    assert text == "search resolv.conf.local\nnameserver 1.1.1.1\noptions ndots:2 edns0\n"
    made.wait_ready("appended")
    text = made.exec("appended", "cat", "/etc/resolv.conf")
    search = next(line for line in text.splitlines() if line.startswith("search"))
    assert search.split()[1:4] == [
        f"{made.name}.svc.cluster.local",
        "svc.cluster.local",
        "cluster.local",
    ]
    assert search.endswith(" more.local")
    assert "options ndots:5" in text
