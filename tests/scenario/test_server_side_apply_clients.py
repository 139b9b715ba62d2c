"""Server-side apply as kubectl and the official Python client do it, over TLS."""

import json
import shutil
import subprocess

import pytest
import yaml
from kubernetes import client as k8s
from kubernetes import dynamic

KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")


def deployment(name="web", replicas=2, image="app:1", labels=None):
    spec = {
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {
                "containers": [
                    {"name": "c", "image": image, "ports": [{"containerPort": 80}]},
                ]
            },
        },
    }
    if replicas is not None:
        spec["replicas"] = replicas
    metadata = {"name": name, "namespace": "default", "labels": labels or {"a": "1"}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


@pytest.fixture
def cluster(kutter_cluster_factory):
    return kutter_cluster_factory(controllers=False, scheduler=False)


@pytest.fixture
def kubectl(cluster):
    def run(*arguments, body=None, fails=False):
        done = subprocess.run(
            [KUBECTL, "--kubeconfig", str(cluster.kubeconfig_path), *arguments],
            input=yaml.safe_dump(body) if body is not None else None,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode != 0) is fails, (arguments, done.stdout, done.stderr)
        return done.stderr if fails else done.stdout

    return run


def owners(tree):
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", ""))
        for entry in tree["metadata"].get("managedFields", ())
    }


def shown(kubectl, name, *more):
    return json.loads(kubectl("get", "deploy", name, "-o", "json", *more))


@needs_kubectl
def test_kubectl_applies_conflicts_and_forces(kubectl):
    apply = ("apply", "--server-side", "-f", "-")
    assert "serverside-applied" in kubectl(*apply, body=deployment())
    first = shown(kubectl, "web", "--show-managed-fields")
    kubectl(*apply, body=deployment())
    assert shown(kubectl, "web", "--show-managed-fields") == first
    assert owners(first) == {("kubectl", "Apply", "")}
    assert "managedFields" not in shown(kubectl, "web")["metadata"]

    other = (*apply, "--field-manager=other")
    refused = kubectl(*other, body=deployment(replicas=3, image="app:2"), fails=True)
    assert 'Apply failed with 2 conflicts: conflicts with "kubectl":' in refused
    assert "- .spec.replicas\n" in refused
    assert '- .spec.template.spec.containers[name="c"].image' in refused
    kubectl(*other, "--force-conflicts", body=deployment(replicas=3, image="app:2"))
    found = shown(kubectl, "web")
    assert found["spec"]["replicas"] == 3
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "app:2"

    # The first gives its label up, which the other named too: it stays.
    kubectl(*apply, body=deployment(replicas=None, image="app:2", labels={"b": "2"}))
    assert shown(kubectl, "web")["metadata"]["labels"] == {"a": "1", "b": "2"}

    kubectl("scale", "deploy", "web", "--replicas=7")
    found = shown(kubectl, "web", "--show-managed-fields")
    assert ("kubectl", "Update", "scale") in owners(found)
    refused = kubectl(*other, body=deployment(replicas=3, image="app:2"), fails=True)
    assert 'conflict with "kubectl" with subresource "scale" using apps/v1' in refused


@needs_kubectl
def test_kubectl_moves_from_client_side_to_server_side_and_back(kubectl):
    kubectl("apply", "-f", "-", body=deployment())
    kubectl("apply", "--server-side", "-f", "-", body=deployment(replicas=4, image="app:2"))
    found = shown(kubectl, "web", "--show-managed-fields")
    assert found["spec"]["replicas"] == 4
    assert ("kubectl-client-side-apply", "Update", "") not in owners(found)
    assert ("kubectl", "Apply", "") in owners(found)
    kubectl("apply", "-f", "-", body=deployment(replicas=5, image="app:3"))
    found = shown(kubectl, "web", "--show-managed-fields")
    assert found["spec"]["replicas"] == 5
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "app:3"


@needs_kubectl
def test_kubectl_names_unknown_fields_and_dry_runs(kubectl):
    wrong = deployment()
    wrong["spec"]["foo"] = 1
    refused = kubectl("apply", "--server-side", "-f", "-", body=wrong, fails=True)
    assert ".spec.foo: field not declared in schema" in refused
    apply = ("apply", "--server-side", "--dry-run=server", "-f", "-")
    assert "(server dry run)" in kubectl(*apply, body=deployment("dry"))
    kubectl("get", "deploy", "dry", fails=True)
    # diff asks by a dry run too; 1 means: there is a difference.
    assert "NotFound" not in kubectl(
        "diff", "--server-side", "-f", "-", body=deployment(), fails=True
    )


def test_the_python_client_applies(cluster):
    api = cluster.kubernetes_client()
    try:
        deployments = dynamic.DynamicClient(api).resources.get(
            api_version="apps/v1", kind="Deployment"
        )

        def apply(body, manager, **more):
            return deployments.server_side_apply(
                body=body, name="web", namespace="default", field_manager=manager, **more
            ).to_dict()

        made = apply(deployment(), "one")
        assert owners(made) == {("one", "Apply", "")}
        with pytest.raises(k8s.ApiException) as refused:
            apply(deployment(replicas=5), "two")
        assert refused.value.status == 409
        status = json.loads(refused.value.body)
        assert [cause["field"] for cause in status["details"]["causes"]] == [".spec.replicas"]
        taken = apply(deployment(replicas=5), "two", force_conflicts=True)
        assert taken["spec"]["replicas"] == 5
        # Controllers' full updates send owners back as they got them: nothing is lost.
        apps = k8s.AppsV1Api(api)
        found = apps.read_namespaced_deployment("web", "default")
        found.metadata.annotations = {"note": "x"}
        apps.replace_namespaced_deployment("web", "default", found)
        after = apps.read_namespaced_deployment("web", "default")
        kept = {(entry.manager, entry.operation) for entry in after.metadata.managed_fields}
        assert {("one", "Apply"), ("two", "Apply")} < kept
    finally:
        api.close()
