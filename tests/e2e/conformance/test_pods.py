"""sig-node conformance: running pods, from the first status to the last."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from kubernetes import client, config, watch
from kubernetes.stream import stream
from tests.e2e.cluster import Cluster, Space, Tree, container_status, is_ready, sleeper, wait_until
from tests.e2e.conftest import make_space

_SERVE = ["httpd", "-f", "-vv", "-p", "8080", "-h", "/www"]


@pytest.fixture(scope="module")
def made(cluster: Cluster, conformance_images: None) -> Iterator[Space]:
    space = make_space(cluster, "pods")
    yield space
    space.remove()


@pytest.fixture(scope="module")
def core(cluster: Cluster) -> client.CoreV1Api:
    """The official Python client."""
    return client.CoreV1Api(config.new_client_from_config(str(cluster.kubeconfig)))


def _server(**fields: Any) -> Tree:
    return {"name": "c", "image": "net:1", "command": _SERVE, **fields}


def _restarts(pod: Tree) -> int:
    return int(container_status(pod).get("restartCount", 0))


# Pods


def test_submit_watch_and_remove(made: Space, core: client.CoreV1Api) -> None:
    """The watch sees it added, changed with a deletion time, and deleted; then it is gone."""
    seen: list[tuple[str, bool]] = []
    ready, ended = threading.Event(), threading.Event()

    def follow() -> None:
        for event in watch.Watch().stream(
            core.list_namespaced_pod, made.name, label_selector="time=now", timeout_seconds=60
        ):
            deleting = event["object"].metadata.deletion_timestamp is not None
            seen.append((event["type"], deleting))
            if any(
                c.type == "Ready" and c.status == "True"
                for c in event["object"].status.conditions or []
            ):
                ready.set()
            if event["type"] == "DELETED":
                break
        ended.set()

    follower = threading.Thread(target=follow)
    follower.start()
    made.create_pod("watched", {"containers": [_server()]}, labels={"time": "now"})
    assert ready.wait(30)
    pod = core.read_namespaced_pod("watched", made.name)
    assert pod.status.host_ip == made.cluster.machine.address
    answer = core.delete_namespaced_pod("watched", made.name, grace_period_seconds=1)
    assert answer.metadata.deletion_timestamp is not None
    assert ended.wait(30)
    follower.join()
    assert seen[0] == ("ADDED", False)
    assert ("MODIFIED", True) in seen
    assert seen[-1] == ("DELETED", True)
    assert core.list_namespaced_pod(made.name, label_selector="time=now").items == []


def test_deadline_may_be_added_to_a_running_pod(made: Space) -> None:
    made.create_pod("deadline", {"activeDeadlineSeconds": 30, "containers": [sleeper()]})
    made.wait_ready("deadline")
    made.cluster.patch(f"{made.path}/pods/deadline", {"spec": {"activeDeadlineSeconds": 2}})
    pod = made.wait_phase("deadline", "Failed")
    assert pod["status"]["reason"] == "DeadlineExceeded"
    assert "active on the node longer than the specified deadline" in pod["status"]["message"]


def test_status_can_be_patched_and_replaced(made: Space, core: client.CoreV1Api) -> None:
    # On no node, so that nobody else writes its status.
    made.create_pod("status", {"nodeSelector": {"no": "node"}, "containers": [sleeper()]})
    path = f"{made.path}/pods/status/status"
    made.cluster.patch(path, {"status": {"message": "Patched by e2e", "reason": "E2E"}})
    pod = made.pod("status")
    assert (pod["status"]["message"], pod["status"]["reason"]) == ("Patched by e2e", "E2E")

    def replace() -> bool:
        """The scheduler writes its condition too: try again on a conflict, as upstream does."""
        pod = made.pod("status")
        conditions = pod["status"].setdefault("conditions", [])
        conditions.append({"type": "Ready", "status": "False", "reason": "Tested"})
        status, tree = made.cluster.request("PUT", path, pod)
        assert status in (200, 409), tree
        return status == 200

    wait_until("status replaced", replace)
    reasons = [c.get("reason") for c in made.pod("status")["status"]["conditions"]]
    assert "Tested" in reasons
    made.cluster.delete(f"{made.path}/pods/status", grace_s=0)


def test_collection_is_deleted(made: Space) -> None:
    for number in range(3):
        made.create_pod(f"set-{number}", {"containers": [sleeper()]}, labels={"type": "set"})
    made.wait_ready("set-2")
    made.cluster.delete(f"{made.path}/pods?labelSelector=type=set")
    wait_until("all gone", lambda: not made.pods("type=set"))


def test_exec_and_logs_over_websockets(made: Space, core: client.CoreV1Api) -> None:
    made.create_pod(
        "talks",
        {
            "containers": [
                sleeper(
                    command=[
                        "sh",
                        "-c",
                        "echo container is alive; trap 'exit 0' TERM; sleep 3600 & wait",
                    ]
                )
            ]
        },
    )
    made.wait_ready("talks")
    answer = stream(
        core.connect_get_namespaced_pod_exec,
        "talks",
        made.name,
        command=["/bin/sh", "-c", "echo remote; echo error >&2; exit 3"],
        stdout=True,
        stderr=True,
        stdin=False,
        tty=False,
        _preload_content=False,
    )
    answer.run_forever(timeout=20)
    assert (answer.read_stdout(), answer.read_stderr()) == ("remote\n", "error\n")
    assert answer.returncode == 3
    # Logs as a websocket: the client has no call for it, its upgrade is the same.
    url = f"wss://{made.cluster.machine.address}:6443{made.path}/pods/talks/log?container=c"
    socket = _open_socket(core, url)
    try:
        text = b""
        while b"\n" not in text:
            part = socket.recv()
            text += part if isinstance(part, bytes) else part.encode()
        assert text == b"container is alive\n"
    finally:
        socket.close()


def _open_socket(core: client.CoreV1Api, url: str) -> Any:
    import websocket

    settings = core.api_client.configuration
    return websocket.create_connection(
        url,
        timeout=20,
        subprotocols=["binary.k8s.io"],
        sslopt={
            "ca_certs": settings.ssl_ca_cert,
            "certfile": settings.cert_file,
            "keyfile": settings.key_file,
        },
    )


def test_quality_of_service_class(made: Space) -> None:
    resources = {"limits": {"cpu": "100m", "memory": "100Mi"}}
    made.create_pod("qos", {"containers": [sleeper(resources=resources)]})
    assert made.pod("qos")["status"]["qosClass"] == "Guaranteed"


def test_generation_follows_the_spec(made: Space) -> None:
    """Starts at 1, counts changes of the spec and the start of deletion; status follows."""
    made.create_pod(
        "generation",
        {"containers": [_server()], "terminationGracePeriodSeconds": 5},
        generation=100,
    )
    path = f"{made.path}/pods/generation"
    pod = made.wait_pod(
        "generation", lambda p: is_ready(p) and p["status"].get("observedGeneration") == 1
    )
    assert pod["metadata"]["generation"] == 1
    changes: list[tuple[Tree, int]] = [
        ({"metadata": {"labels": {"a": "b"}}}, 1),
        ({"metadata": {"annotations": {"a": "b"}}}, 1),
        ({"spec": {"activeDeadlineSeconds": 1000}}, 2),
        (
            {
                "spec": {
                    "tolerations": [{"key": "k", "operator": "Exists"}, *pod["spec"]["tolerations"]]
                }
            },
            3,
        ),
    ]
    for body, generation in changes:
        assert made.cluster.patch(path, body)["metadata"]["generation"] == generation
    made.wait_pod("generation", lambda p: p["status"].get("observedGeneration") == 3)
    deleted = made.cluster.delete(path)
    assert deleted["metadata"]["generation"] == 4
    made.wait_gone("generation")


def test_many_changes_are_all_observed(made: Space) -> None:
    made.create_pod("busy", {"containers": [sleeper()]})
    made.wait_ready("busy")
    for number in range(99):
        made.cluster.patch(
            f"{made.path}/pods/busy", {"spec": {"activeDeadlineSeconds": 10_000 - number}}
        )
    pod = made.wait_pod("busy", lambda p: p["status"].get("observedGeneration") == 100)
    assert pod["metadata"]["generation"] == 100


def test_ephemeral_containers(made: Space) -> None:
    made.create_pod("debugged", {"containers": [_server()]})
    made.wait_ready("debugged")
    path = f"{made.path}/pods/debugged/ephemeralcontainers"
    extra = []
    for number in (1, 2):
        extra.append({**sleeper(), "name": f"debugger-{number}", "stdin": True, "tty": True})
        made.cluster.patch(path, {"spec": {"ephemeralContainers": extra}}, "strategic-merge-patch")
        made.wait_pod(
            "debugged",
            lambda p, n=number: (
                "running"
                in container_status(p, n - 1, "ephemeralContainerStatuses").get("state", {})
            ),
        )
    assert len(made.pod("debugged")["spec"]["ephemeralContainers"]) == 2


def test_resize_of_a_running_container(made: Space) -> None:
    """Larger and smaller without a restart, in the kernel and in the status."""

    def sized(cpu: str, memory: str) -> Tree:
        return {
            "requests": {"cpu": cpu, "memory": memory},
            "limits": {"cpu": cpu, "memory": memory},
        }

    containers = [
        sleeper(resources=sized("20m", "20Mi")),
        sleeper(name="d", resources=sized("20m", "20Mi")),
        sleeper(name="e", resources=sized("30m", "30Mi")),
    ]
    made.create_pod("resized", {"containers": containers})
    made.wait_ready("resized")
    wanted = {"c": sized("25m", "25Mi"), "d": sized("25m", "25Mi"), "e": sized("25m", "30Mi")}
    body = {"spec": {"containers": [{"name": k, "resources": v} for k, v in wanted.items()]}}
    path = f"{made.path}/pods/resized/resize"
    changed = made.cluster.patch(path, body, "strategic-merge-patch")
    assert changed["spec"]["containers"][0]["resources"] == wanted["c"]
    pod = made.wait_pod(
        "resized",
        lambda p: (
            {s["name"]: s.get("resources") for s in p["status"]["containerStatuses"]} == wanted
            and not any(c["type"].startswith("PodResize") for c in p["status"]["conditions"])
        ),
    )
    assert [s["restartCount"] for s in pod["status"]["containerStatuses"]] == [0, 0, 0]
    # By replacement of the whole object too, and back again.
    pod["spec"]["containers"][0]["resources"] = sized("20m", "25Mi")
    status, tree = made.cluster.request("PUT", path, pod)
    assert status == 200, tree
    made.wait_pod("resized", lambda p: container_status(p).get("resources") == sized("20m", "25Mi"))


def test_runtime_class(made: Space) -> None:
    """Overhead is set; a class that is not or no longer there refuses the pod."""
    path = "/apis/node.k8s.io/v1/runtimeclasses"
    for name, more in (("plain", {}), ("heavy", {"overhead": {"podFixed": {"cpu": "10m"}}})):
        made.cluster.create(path, {"metadata": {"name": name}, "handler": "other", **more})
        made.create_pod(name, {"runtimeClassName": name, "containers": [sleeper()]})
    assert "overhead" not in made.pod("plain")["spec"]
    assert made.pod("heavy")["spec"]["overhead"] == {"cpu": "10m"}
    for name in ("plain", "heavy"):
        made.wait_pod(name, lambda p: p["spec"].get("nodeName"))
        made.cluster.delete(f"{path}/{name}")
        made.cluster.delete(f"{made.path}/pods/{name}", grace_s=0)
    for name in ("plain", "never-was"):
        body = {
            "metadata": {"name": f"no-{name}"},
            "spec": {"runtimeClassName": name, "containers": [sleeper()]},
        }
        status, tree = made.cluster.request("POST", f"{made.path}/pods", body)
        assert status == 403, tree
        assert f'pod rejected: RuntimeClass "{name}" not found' in tree["message"]


# Hooks


def test_lifecycle_hooks_are_called(made: Space) -> None:
    """postStart and preStop by exec and http, heard by a server that logs requests."""
    server = "net:1"
    made.create_pod("heard", {"containers": [_server(image=server)]})
    address = made.wait_ready("heard")["status"]["podIP"]

    def hook(kind: str, path: str) -> Tree:
        url = f"/cgi-bin/echo?{path}"
        if kind == "http":
            return {"httpGet": {"host": address, "port": 8080, "path": url}}
        return {"exec": {"command": ["sh", "-c", f"curl -s 'http://{address}:8080{url}'"]}}

    for kind in ("exec", "http"):
        for moment in ("postStart", "preStop"):
            lifecycle = {moment: hook(kind, f"{moment}-{kind}")}
            name = f"{moment}-{kind}".lower()
            made.create_pod(
                name,
                {"containers": [sleeper(lifecycle=lifecycle)], "terminationGracePeriodSeconds": 5},
            )

    def heard(word: str) -> bool:
        return word in made.logs("heard")

    for kind in ("exec", "http"):
        made.wait_ready(f"prestop-{kind}")
        wait_until("hook", lambda k=kind: heard(f"postStart-{k}"))
        made.cluster.delete(f"{made.path}/pods/prestop-{kind}")
    for kind in ("exec", "http"):
        wait_until("hook", lambda k=kind: heard(f"preStop-{k}"))
        made.wait_gone(f"prestop-{kind}")


# Probes

_HTTP = {"httpGet": {"path": "/", "port": 8080}}
_FAST = {
    "periodSeconds": 1,
    "failureThreshold": 1,
    "initialDelaySeconds": 1,
    "timeoutSeconds": 5,
}
_FLAKY = "mkdir -p /w; touch /w/healthz; httpd -p 8080 -h /w; sleep 2; rm /w/healthz; sleep 3600"

# Pods whose liveness probe holds; they must run on.
_LIVE: dict[str, Tree] = {
    "live-exec": sleeper(livenessProbe={"exec": {"command": ["cat", "/etc/passwd"]}, **_FAST}),
    "live-verbose": sleeper(
        livenessProbe={"exec": {"command": ["head", "-c", "5000000", "/dev/zero"]}, **_FAST}
    ),
    "live-http": _server(livenessProbe={**_HTTP, **_FAST}),
    "live-tcp": _server(livenessProbe={"tcpSocket": {"port": 8080}, **_FAST}),
    "live-redirect": _server(livenessProbe={"httpGet": {"path": "/folder", "port": 8080}, **_FAST}),
    "never-ready": sleeper(readinessProbe={"exec": {"command": ["/bin/false"]}, **_FAST}),
}
# Pods whose liveness probe stops to hold; they must be restarted.
_DYING: dict[str, Tree] = {
    "dying-exec": sleeper(
        command=["sh", "-c", "echo ok >/tmp/health; sleep 2; rm /tmp/health; sleep 3600"],
        livenessProbe={"exec": {"command": ["cat", "/tmp/health"]}, **_FAST},
    ),
    "dying-http": sleeper(
        command=["sh", "-c", _FLAKY],
        livenessProbe={"httpGet": {"path": "/healthz", "port": 8080}, **_FAST},
    ),
    "dying-grpc": _server(livenessProbe={"grpc": {"port": 2333}, **_FAST}),
    "dying-startup": sleeper(startupProbe={"exec": {"command": ["/bin/false"]}, **_FAST}),
}


@pytest.fixture(scope="module")
def probed(made: Space) -> Space:
    for name, container in (_LIVE | _DYING).items():
        made.create_pod(name, {"containers": [container]})
    delayed = {**_HTTP, "initialDelaySeconds": 4, "periodSeconds": 1}
    made.create_pod("delayed", {"containers": [_server(readinessProbe=delayed)]})
    return made


@pytest.mark.parametrize("name", _DYING)
def test_failing_liveness_restarts(name: str, probed: Space) -> None:
    probed.wait_pod(name, lambda p: _restarts(p) >= 1)
    text = "\n".join(probed.events(name))
    kind = "Startup" if name == "dying-startup" else "Liveness"
    assert f"Warning Unhealthy: {kind} probe failed: " in text
    assert f"Normal Killing: Container c failed {kind.lower()} probe, will be restarted" in text


def test_restart_count_only_grows(probed: Space) -> None:
    counts: list[int] = []

    def grown() -> bool:
        counts.append(_restarts(probed.pod("dying-http")))
        return counts[-1] >= 2

    wait_until("second restart", grown, timeout_s=45, every_s=0.2)
    assert counts == sorted(counts)


def test_ready_only_after_the_initial_delay(probed: Space) -> None:
    pod = probed.wait_ready("delayed")
    started = container_status(pod)["state"]["running"]["startedAt"]
    ready = next(c for c in pod["status"]["conditions"] if c["type"] == "Ready")
    passed = _moment(ready["lastTransitionTime"]) - _moment(started)
    assert passed >= 3
    assert _restarts(pod) == 0


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize("name", _LIVE)
def test_holding_probes_restart_nothing(name: str, probed: Space) -> None:
    """By now they have been probed for as long as the others took to die."""
    pod = probed.wait_pod(name, lambda p: "running" in container_status(p).get("state", {}))
    assert _restarts(pod) == 0
    assert is_ready(pod) is (name != "never-ready")


def test_node_lease_is_renewed(cluster: Cluster) -> None:
    """Held by the node, renewed well within its duration."""
    node = cluster.get("/api/v1/nodes")["items"][0]
    path = (
        f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node['metadata']['name']}"
    )
    first = cluster.get(path)
    assert first["spec"]["holderIdentity"] == node["metadata"]["name"]
    assert first["spec"]["leaseDurationSeconds"] == 40
    assert first["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]
    renewed = wait_until(
        "renewal",
        lambda: (r := cluster.get(path)["spec"]["renewTime"]) != first["spec"]["renewTime"] and r,
        timeout_s=20,
        every_s=0.5,
    )
    assert renewed > first["spec"]["renewTime"]
