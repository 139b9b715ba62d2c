"""The official Python client (``kubernetes`` on PyPI) against the real cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import kubernetes
import pytest
from kubernetes import client, config, stream, watch
from tests.e2e.cluster import Cluster, Space, sleeper, wait_until
from tests.e2e.conftest import make_space


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[client.ApiClient]:
    made = config.new_client_from_config(str(cluster.kubeconfig))
    yield made
    made.close()


@pytest.fixture(scope="module")
def core(api: client.ApiClient) -> Any:
    return client.CoreV1Api(api)


@pytest.fixture(scope="module")
def space(cluster: Cluster) -> Iterator[Space]:
    made = make_space(cluster, "python")
    made.create_pod("works", {"containers": [sleeper()]})
    web = {"name": "c", "image": "nginx:1.7.9"}
    made.create_pod("web", {"containers": [web]}, labels={"app": "web"})
    made.wait_ready("works")
    made.wait_ready("web")
    yield made
    made.remove()


def test_create_list_watch_patch_delete(core: Any, space: Space) -> None:
    name, seen = space.name, []
    start = core.list_namespaced_config_map(name).metadata.resource_version

    def follow() -> None:
        watcher = watch.Watch()
        for event in watcher.stream(
            core.list_namespaced_config_map,
            name,
            resource_version=start,
            label_selector="kept=yes",
            timeout_seconds=20,
        ):
            seen.append((event["type"], event["object"].metadata.name))
            if event["type"] == "DELETED":
                watcher.stop()

    follower = threading.Thread(target=follow)
    follower.start()
    body = client.V1ConfigMap(
        metadata=client.V1ObjectMeta(name="made", labels={"kept": "yes"}), data={"a": "1"}
    )
    made = core.create_namespaced_config_map(name, body)
    assert made.metadata.uid
    changed = core.patch_namespaced_config_map("made", name, {"data": {"b": "2"}})
    assert changed.data == {"a": "1", "b": "2"}
    found = core.list_namespaced_config_map(name, label_selector="kept=yes").items
    assert [item.metadata.name for item in found] == ["made"]
    stale = core.read_namespaced_config_map("made", name)
    stale.metadata.resource_version = made.metadata.resource_version
    with pytest.raises(client.ApiException) as conflict:
        core.replace_namespaced_config_map("made", name, stale)
    assert (conflict.value.status, conflict.value.reason) == (409, "Conflict")
    core.delete_namespaced_config_map("made", name)
    follower.join(30)
    assert seen == [("ADDED", "made"), ("MODIFIED", "made"), ("DELETED", "made")]


def test_typed_deployment(api: client.ApiClient, space: Space) -> None:
    apps = client.AppsV1Api(api)
    labels = {"app": "typed"}
    container = client.V1Container(name="c", image="nginx:1.7.9")
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[container])
    )
    body = client.V1Deployment(
        metadata=client.V1ObjectMeta(name="typed"),
        spec=client.V1DeploymentSpec(
            replicas=2, selector=client.V1LabelSelector(match_labels=labels), template=template
        ),
    )
    apps.create_namespaced_deployment(space.name, body)

    def available(count: int) -> bool:
        status = apps.read_namespaced_deployment("typed", space.name).status
        return bool(status.available_replicas == count)

    wait_until("two replicas", lambda: available(2))
    apps.patch_namespaced_deployment_scale("typed", space.name, {"spec": {"replicas": 1}})
    wait_until("one replica", lambda: available(1))
    apps.delete_namespaced_deployment("typed", space.name, propagation_policy="Foreground")
    wait_until("gone", lambda: not space.pods("app=typed"))


def test_exec(core: Any, space: Space) -> None:
    call = core.connect_get_namespaced_pod_exec
    out = stream.stream(
        call,
        "works",
        space.name,
        command=["echo", "hi"],
        stdout=True,
        stderr=True,
        stdin=False,
        tty=False,
    )
    assert out == "hi\n"
    session = stream.stream(
        call,
        "works",
        space.name,
        command=["sh"],
        stdout=True,
        stderr=True,
        stdin=True,
        tty=False,
        _preload_content=False,
    )
    session.write_stdin("echo to-out; echo to-err >&2; exit 9\n")
    out = err = ""
    while session.is_open():
        session.update(timeout=1)
        out += session.read_stdout() if session.peek_stdout() else ""
        err += session.read_stderr() if session.peek_stderr() else ""
    assert (out, err, session.returncode) == ("to-out\n", "to-err\n", 9)


def test_logs_are_followed(core: Any, space: Space) -> None:
    space.create_pod(
        "talks",
        {
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "c",
                    "image": "tools:1",
                    "command": ["sh", "-c", "for i in 1 2 3 4; do echo line $i; sleep 0.3; done"],
                }
            ],
        },
    )
    space.wait_pod("talks", lambda p: p["status"].get("phase") in ("Running", "Succeeded"))
    answer = core.read_namespaced_pod_log("talks", space.name, follow=True, _preload_content=False)
    assert b"".join(answer.stream()).decode() == "line 1\nline 2\nline 3\nline 4\n"
    assert core.read_namespaced_pod_log("talks", space.name, tail_lines=1) == "line 4\n"


def test_port_forward(core: Any, space: Space) -> None:
    forward = stream.portforward(
        core.connect_get_namespaced_pod_portforward, "web", space.name, ports="80"
    )
    connection = forward.socket(80)
    connection.setblocking(True)
    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
    answer = b""
    while data := connection.recv(65536):
        answer += data
    connection.close()
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))
    assert answer.endswith(b"nginx:1.7.9\n")
    assert forward.error(80) is None


def test_eviction_respects_a_budget(api: client.ApiClient, core: Any, space: Space) -> None:
    policy = client.PolicyV1Api(api)
    budget = client.V1PodDisruptionBudget(
        metadata=client.V1ObjectMeta(name="budget"),
        spec=client.V1PodDisruptionBudgetSpec(
            min_available=1, selector=client.V1LabelSelector(match_labels={"app": "web"})
        ),
    )
    policy.create_namespaced_pod_disruption_budget(space.name, budget)
    eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name="web", namespace=space.name))
    with pytest.raises(client.ApiException) as refused:
        core.create_namespaced_pod_eviction("web", space.name, eviction)
    assert refused.value.status == 429
    policy.delete_namespaced_pod_disruption_budget("budget", space.name)
    space.create_pod("leaves", {"containers": [sleeper()]})
    space.wait_ready("leaves")
    eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name="leaves", namespace=space.name))
    core.create_namespaced_pod_eviction("leaves", space.name, eviction)
    space.wait_gone("leaves")


def test_token_is_requested_and_works(cluster: Cluster, core: Any, space: Space) -> None:
    request = client.AuthenticationV1TokenRequest(
        spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=600)
    )
    answer = core.create_namespaced_service_account_token("default", space.name, request)
    assert answer.status.expiration_timestamp.timestamp() > time.time() + 500
    settings = client.Configuration()
    settings.host = f"https://{cluster.machine.address}:6443"
    settings.api_key = {"authorization": f"Bearer {answer.status.token}"}
    settings.ssl_ca_cert = str(cluster.state / "pki" / "ca.crt")
    with client.ApiClient(settings) as as_account:
        own = client.AuthenticationV1Api(as_account).create_self_subject_review(
            client.V1SelfSubjectReview()
        )
        assert own.status.user_info.username == f"system:serviceaccount:{space.name}:default"
        with pytest.raises(client.ApiException) as refused:
            client.CoreV1Api(as_account).list_namespaced_secret(space.name)
        assert refused.value.status == 403


def test_dynamic_client(api: client.ApiClient, space: Space) -> None:
    dynamic = kubernetes.dynamic.DynamicClient(api)
    services = dynamic.resources.get(api_version="v1", kind="Service")
    body = {"metadata": {"name": "dynamic"}, "spec": {"ports": [{"port": 80}]}}
    made = services.create(body=body, namespace=space.name)
    assert made.spec.clusterIP
    assert services.get(name="dynamic", namespace=space.name).metadata.uid == made.metadata.uid
    services.delete(name="dynamic", namespace=space.name)
