"""What a process in a pod finds: names, services, the API, the world outside."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from tests.e2e.cluster import Cluster, Space, sleeper, wait_until

UPSTREAM_ANSWER = "203.0.113.7"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


class UpstreamDns:
    """Answers every question for an address with one address."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        self.asked: list[str] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            question, peer = self._socket.recvfrom(4096)
            if question == b"end":
                return
            end = question.index(b"\0", 12) + 5
            labels, at = [], 12
            while question[at]:
                labels.append(question[at + 1 : at + 1 + question[at]].decode())
                at += 1 + question[at]
            self.asked.append(".".join(labels))
            kind = struct.unpack("!H", question[end - 4 : end - 2])[0]
            answers = 1 if kind == 1 else 0
            head = question[:2] + struct.pack("!HHHHH", 0x8180, 1, answers, 0, 0)
            record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 30, 4)
            packed = record + socket.inet_aton(UPSTREAM_ANSWER) if answers else b""
            self._socket.sendto(head + question[12:end] + packed, peer)

    def close(self) -> None:
        own = self._socket.getsockname()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ender:
            ender.sendto(b"end", own)
        self._thread.join()
        self._socket.close()


@pytest.fixture(scope="module")
def upstream(cluster: Cluster) -> Iterator[UpstreamDns]:
    made = UpstreamDns(cluster.machine.outside)
    yield made
    made.close()


@pytest.fixture(scope="module")
def space(module_space: Space) -> Space:
    """A client, two servers behind a service of each kind."""
    space = module_space
    for name in ("web-0", "web-1"):
        container = {"name": "c", "image": "nginx:1.7.9", "ports": [{"containerPort": 80}]}
        space.create_pod(
            name,
            {"containers": [container], "hostname": name, "subdomain": "bare"},
            labels={"app": "web"},
        )
    space.create_pod("client", {"containers": [sleeper()], "serviceAccountName": "default"})
    ports = [{"name": "http", "port": 8080, "targetPort": 80}]
    selector = {"app": "web"}
    space.create(
        "services", {"metadata": {"name": "web"}, "spec": {"ports": ports, "selector": selector}}
    )
    space.create(
        "services",
        {
            "metadata": {"name": "bare"},
            "spec": {"ports": ports, "selector": selector, "clusterIP": "None"},
        },
    )
    space.create(
        "services",
        {
            "metadata": {"name": "away"},
            "spec": {"type": "ExternalName", "externalName": "elsewhere.example"},
        },
    )
    for name in ("web-0", "web-1", "client"):
        space.wait_ready(name)
    return space


def look_up(space: Space, name: str, kind: str = "a") -> str:
    done = space.kubectl("exec", "client", "--", "nslookup", f"-type={kind}", name, check=False)
    return done.stdout + done.stderr


def fetch(space: Space, url: str) -> str:
    return space.exec("client", "curl", "-sS", "--max-time", "5", url)


@pytest.mark.parametrize("form", ["web", "web.{ns}", "web.{ns}.svc", "web.{ns}.svc.cluster.local"])
def test_service_by_every_form_of_its_name(space: Space, form: str) -> None:
    host = form.format(ns=space.name)
    wait_until(
        "the service answers", lambda: fetch(space, f"http://{host}:8080/") == "nginx:1.7.9\n"
    )


def test_names_of_services(space: Space) -> None:
    domain = f"{space.name}.svc.cluster.local"
    address = space.cluster.get(f"{space.path}/services/web")["spec"]["clusterIP"]
    assert address in look_up(space, f"web.{domain}")
    pods = {name: space.pod(name)["status"]["podIP"] for name in ("web-0", "web-1")}
    wait_until(
        "headless addresses",
        lambda: all(a in look_up(space, f"bare.{domain}") for a in pods.values()),
    )
    for name, pod_address in pods.items():
        assert pod_address in look_up(space, f"{name}.bare.{domain}")
        assert fetch(space, f"http://{name}.bare.{space.name}:80/") == "nginx:1.7.9\n"
    answer = look_up(space, f"_http._tcp.web.{domain}", "srv")
    assert re.search(rf"8080\s+web\.{re.escape(domain)}", answer), answer
    answer = look_up(space, f"_http._tcp.bare.{domain}", "srv")
    assert "web-0.bare." in answer, answer
    assert "NXDOMAIN" in look_up(space, f"missing.{domain}")
    kube_dns = look_up(space, "kubernetes.default.svc.cluster.local")
    assert "10.43.0.1" in kube_dns


def test_other_names_go_upstream(space: Space, upstream: UpstreamDns) -> None:
    assert UPSTREAM_ANSWER in look_up(space, "somewhere.example")
    assert "somewhere.example" in upstream.asked
    answer = look_up(space, f"away.{space.name}.svc.cluster.local")
    assert "elsewhere.example" in answer
    assert not any(name.endswith("cluster.local") for name in upstream.asked)


def test_resolv_conf(space: Space) -> None:
    text = space.exec("client", "cat", "/etc/resolv.conf")
    assert "nameserver 10.43.0.10" in text
    assert f"search {space.name}.svc.cluster.local svc.cluster.local cluster.local" in text
    assert "ndots:5" in text


def test_the_api_answers_to_the_pods_token(space: Space) -> None:
    def ask(path: str) -> tuple[int, dict[str, object]]:
        script = (
            f'curl -sS --max-time 5 --cacert {ACCOUNT}/ca.crt -w "\\n%{{http_code}}"'
            f' -H "Authorization: Bearer $(cat {ACCOUNT}/token)"'
            f" https://kubernetes.default.svc{path}"
        )
        body, _, status = space.exec("client", "sh", "-c", script).rpartition("\n")
        return int(status), json.loads(body)

    assert space.exec("client", "cat", f"{ACCOUNT}/namespace") == space.name
    status, tree = ask(f"{space.path}/pods")
    assert (status, tree["reason"]) == (403, "Forbidden")
    assert f"system:serviceaccount:{space.name}:default" in str(tree["message"])
    space.kubectl(
        "create",
        "rolebinding",
        "see",
        "--clusterrole=view",
        f"--serviceaccount={space.name}:default",
    )
    wait_until("the binding works", lambda: ask(f"{space.path}/pods")[0] == 200)
    status, tree = ask(f"{space.path}/pods/client")
    assert (status, tree["kind"]) == (200, "Pod")
    assert ask("/version")[0] == 200
    host = space.exec(
        "client", "sh", "-c", "echo $KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT"
    )
    assert host == "10.43.0.1:443\n"


def test_reach(space: Space) -> None:
    """Pod to pod, to itself through its service, to the node, to outside the node."""
    address = space.pod("web-0")["status"]["podIP"]
    assert fetch(space, f"http://{address}/") == "nginx:1.7.9\n"
    done = space.kubectl("exec", "web-0", "--", "wget", "-qO-", f"http://web.{space.name}:8080/")
    assert done.stdout == "nginx:1.7.9\n"
    machine = space.cluster.machine
    for target in (machine.address, machine.outside):
        done = space.kubectl("exec", "client", "--", "ping", "-c1", "-W2", target)
        assert "1 packets received" in done.stdout


def test_session_affinity_and_node_port_from_a_pod(space: Space) -> None:
    body = {
        "metadata": {"name": "sticky"},
        "spec": {
            "type": "NodePort",
            "sessionAffinity": "ClientIP",
            "ports": [{"port": 80}],
            "selector": {"app": "web"},
        },
    }
    port = space.create("services", body)["spec"]["ports"][0]["nodePort"]
    wait_until(
        "it answers", lambda: fetch(space, f"http://sticky.{space.name}/") == "nginx:1.7.9\n"
    )
    assert fetch(space, f"http://{space.cluster.machine.address}:{port}/") == "nginx:1.7.9\n"
    # Which pod answered is in the pods' own logs.
    before = {n: len(space.logs(n)) for n in ("web-0", "web-1")}
    script = f"for i in 1 2 3 4 5 6 7 8; do curl -sS http://sticky.{space.name}/; done"
    assert space.exec("client", "sh", "-c", script) == "nginx:1.7.9\n" * 8
    grown = [n for n in before if len(space.logs(n)) > before[n]]
    assert len(grown) == 1
