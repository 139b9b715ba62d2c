"""Pod security admission over HTTP: what is refused, what comes back as a warning."""

import pytest
from tests.conformance_kit import pod, workload

PREFIX = "pod-security.kubernetes.io/"


@pytest.fixture
def restricted(rest, namespace):
    labels = {f"{PREFIX}enforce": "restricted", f"{PREFIX}enforce-version": "latest"}
    rest.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": labels}})
    return namespace


def hardened(name):
    tree = pod(name)
    tree["spec"]["securityContext"] = {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    tree["spec"]["containers"][0]["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    return tree


def test_a_restricted_namespace_takes_hardened_pods_only(rest, restricted):
    path = f"/api/v1/namespaces/{restricted}/pods"
    refused = rest.fails(403, "Forbidden", "POST", path, pod("plain"))
    assert refused["message"] == (
        'pods "plain" is forbidden: violates PodSecurity "restricted:latest": '
        'allowPrivilegeEscalation != false (container "c" must set '
        "securityContext.allowPrivilegeEscalation=false), unrestricted capabilities "
        '(container "c" must set securityContext.capabilities.drop=["ALL"]), '
        'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), '
        'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to '
        '"RuntimeDefault" or "Localhost")'
    )
    rest.post(path, hardened("hardened"))


def test_a_workload_passes_with_a_warning_and_its_pods_do_not(rest, restricted):
    path = f"/apis/apps/v1/namespaces/{restricted}/deployments"
    found = rest.answer("POST", path, workload("Deployment", "plain"))
    assert found.status == 201
    assert 'would violate PodSecurity \\"restricted:latest\\"' in found.headers["warning"]


def test_a_namespace_that_becomes_stricter_answers_with_warnings(rest, namespace):
    rest.post(f"/api/v1/namespaces/{namespace}/pods", pod("shares", hostNetwork=True))
    found = rest.answer(
        "PATCH",
        f"/api/v1/namespaces/{namespace}",
        {"metadata": {"labels": {f"{PREFIX}enforce": "baseline"}}},
        headers={"content-type": "application/merge-patch+json"},
    )
    assert found.status == 200
    assert "violate the new PodSecurity enforce level" in found.headers["warning"]
    assert "shares: host namespaces" in found.headers["warning"]


def test_labels_that_mean_nothing_are_refused(rest, namespace):
    refused = rest.fails(
        422,
        "Invalid",
        "PATCH",
        f"/api/v1/namespaces/{namespace}",
        {"metadata": {"labels": {f"{PREFIX}warn-version": "1.2"}}},
        headers={"content-type": "application/merge-patch+json"},
    )
    assert 'must be "latest" or "v1.x"' in refused["message"]


def test_baseline_takes_plain_pods_and_none_that_share_the_host(rest, namespace):
    labels = {f"{PREFIX}enforce": "baseline"}
    rest.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": labels}})
    path = f"/api/v1/namespaces/{namespace}/pods"
    rest.post(path, pod("plain"))
    shared = pod("shares", hostPID=True)
    volume = {"name": "v", "hostPath": {"path": "/"}}
    privileged = pod("privileged")
    privileged["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    for tree, said in (
        (shared, "host namespaces (hostPID=true)"),
        (pod("mounts", volumes=[volume]), 'hostPath volumes (volume "v")'),
        (privileged, 'privileged (container "c" must not set securityContext.privileged=true)'),
    ):
        refused = rest.fails(403, "Forbidden", "POST", path, tree)
        assert 'violates PodSecurity "baseline:latest"' in refused["message"]
        assert said in refused["message"]


@pytest.mark.parametrize(
    ("version", "asked"),
    [
        ("v1.7", {"runAsNonRoot"}),
        ("v1.18", {"runAsNonRoot", "allowPrivilegeEscalation"}),
        ("v1.21", {"runAsNonRoot", "allowPrivilegeEscalation", "seccompProfile"}),
        ("v1.36", {"runAsNonRoot", "allowPrivilegeEscalation", "seccompProfile", "capabilities"}),
    ],
)
def test_a_version_asks_for_what_it_knew(rest, namespace, version, asked):
    labels = {f"{PREFIX}enforce": "restricted", f"{PREFIX}enforce-version": version}
    rest.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": labels}})
    path = f"/api/v1/namespaces/{namespace}/pods"
    message = rest.fails(403, "Forbidden", "POST", path, pod("plain"))["message"]
    assert f'violates PodSecurity "restricted:{version}"' in message
    every = ("runAsNonRoot", "allowPrivilegeEscalation", "seccompProfile", "capabilities")
    assert {what for what in every if what in message} == asked
    rest.post(path, hardened("hardened"))
