"""Admission on a real cluster: a webhook behind a service's endpoints changes pods that then run."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.cluster import Cluster, Space, Tree, shell, sleeper, wait_until
from tests.webhook_kit import WebhookServer

CONFIGS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
POLICIES = "/apis/admissionregistration.k8s.io/v1"


def add_variable(call: Any) -> Tree:
    value = [{"name": "ADDED", "value": "by the webhook"}]
    patch = [{"op": "add", "path": "/spec/containers/0/env", "value": value}]
    response = {
        "uid": call.body["request"]["uid"],
        "allowed": True,
        "patchType": "JSONPatch",
        "patch": base64.b64encode(json.dumps(patch).encode()).decode(),
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def once(script: str) -> Tree:
    return {"containers": [shell(script)], "restartPolicy": "Never"}


@pytest.fixture
def webhook(cluster: Cluster, space: Space) -> Iterator[WebhookServer]:
    """It runs in the machine's neighbourhood, and its service leads there."""
    host = cluster.machine.outside
    with WebhookServer(add_variable, names=(f"hook.{space.name}.svc",), host=host) as server:
        service, piece = server.service_objects(space.name, "hook")
        space.create("services", service)
        space.create("endpointslices", piece, "apis/discovery.k8s.io/v1")
        yield server


@pytest.fixture
def configured(cluster: Cluster, space: Space, webhook: WebhookServer) -> Iterator[str]:
    rule = {
        "operations": ["CREATE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["pods"],
    }
    hook = {
        "name": "variables.example.com",
        "clientConfig": {
            "service": {"namespace": space.name, "name": "hook", "path": "/mutate"},
            "caBundle": webhook.ca_bundle,
        },
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.name}},
    }
    cluster.create(CONFIGS, {"metadata": {"name": space.name}, "webhooks": [hook]})
    yield space.name
    cluster.request("DELETE", f"{CONFIGS}/{space.name}")


def test_a_changed_pod_runs_as_changed(
    space: Space, webhook: WebhookServer, configured: str
) -> None:
    space.create_pod("changed", once("echo $ADDED"))
    space.wait_pod("changed", lambda pod: pod["status"].get("phase") == "Succeeded")
    assert space.kubectl("logs", "changed").stdout == "by the webhook\n"
    assert webhook.calls[0].headers["host"] == f"hook.{space.name}.svc:443"


def test_without_endpoints_it_fails_closed_at_once(
    cluster: Cluster, space: Space, configured: str
) -> None:
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{space.name}/endpointslices/hook"
    cluster.delete(slices)
    tree = {"metadata": {"name": "refused"}, "spec": once("true")}
    status, answer = cluster.request("POST", f"{space.path}/pods", tree)
    assert status == 500
    assert answer["message"].endswith('no endpoints available for service "hook"')
    cluster.delete(f"{CONFIGS}/{configured}")
    space.create_pod("fine", once("true"))


def test_a_policy_of_a_workload_is_told_by_its_controller(cluster: Cluster, space: Space) -> None:
    """What admission refuses a controller becomes a condition and an event, as any refusal."""
    rule = {
        "operations": ["CREATE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["pods"],
    }
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "has(object.spec.hostname)", "message": "name your host"}],
    }
    name = f"hosts-{space.name}"
    cluster.create(
        f"{POLICIES}/validatingadmissionpolicies", {"metadata": {"name": name}, "spec": spec}
    )
    match = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.name}}}
    bound = {"policyName": name, "validationActions": ["Deny"], "matchResources": match}
    bindings = f"{POLICIES}/validatingadmissionpolicybindings"
    cluster.create(bindings, {"metadata": {"name": name}, "spec": bound})
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [sleeper()]}}
    workload = {"selector": {"matchLabels": labels}, "template": template}
    space.create("replicasets", {"metadata": {"name": "web"}, "spec": workload}, "apis/apps/v1")
    path = f"/apis/apps/v1/namespaces/{space.name}/replicasets/web"

    def refused() -> Tree | None:
        for condition in cluster.get(path)["status"].get("conditions") or ():
            if condition["type"] == "ReplicaFailure" and "name your host" in condition["message"]:
                return dict(condition)
        return None

    wait_until("the refusal is told", refused)
    cluster.delete(f"{bindings}/{name}")
    wait_until("a pod is made", lambda: space.pods("app=web"), timeout_s=60)
    cluster.delete(f"{POLICIES}/validatingadmissionpolicies/{name}")
    cluster.delete(path)
