"""Certificate requests: decided, signed and used, through the public API and kubectl."""

from __future__ import annotations

import base64
import shutil
import subprocess

import pytest
from cryptography import x509
from tests.certificate_kit import CSRS, make_request, request_object
from tests.conformance_kit import Rest, condition, wait_until

from kutter.testing.clock import ShiftedClock
from kutter.testing.cluster import LocalCluster

API_CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
CLIENT = ["client auth", "digital signature", "key encipherment"]
SERVING = ["server auth", "digital signature", "key encipherment"]


@pytest.fixture(scope="module")
def clock():
    return ShiftedClock()


@pytest.fixture(scope="module")
def cluster(clock):
    with LocalCluster(scheduler=False, clock=clock) as running:
        yield running


@pytest.fixture(scope="module")
def rest(cluster):
    return Rest(cluster.kubernetes_client())


def kubectl(cluster, *words):
    assert shutil.which("kubectl"), "kubectl is part of the test environment"
    done = subprocess.run(
        ["kubectl", f"--kubeconfig={cluster.kubeconfig_path}", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def approve(rest, name):
    def decide(tree):
        tree.setdefault("status", {})["conditions"] = [
            {"type": "Approved", "status": "True", "reason": "Test", "message": "by hand"}
        ]

    tree = rest.get(f"{CSRS}/{name}")
    decide(tree)
    return rest.put(f"{CSRS}/{name}/approval", tree)


def as_user(name, *groups):
    return {"impersonate-user": name, **({"impersonate-group": groups[0]} if groups else {})}


def test_an_approved_client_gets_in_with_its_certificate(cluster, rest, tmp_path):
    request, key = make_request("jane", "kutter:cluster-admins")
    rest.post(CSRS, request_object("jane", request, API_CLIENT, CLIENT, expirationSeconds=3600))
    assert "Pending" in kubectl(cluster, "get", "csr", "jane")
    assert "approved" in kubectl(cluster, "certificate", "approve", "jane")
    tree = wait_until(
        lambda: (found := rest.get(f"{CSRS}/jane"))["status"].get("certificate") and found,
        30,
    )
    assert "Approved,Issued" in kubectl(cluster, "get", "csr", "jane")
    pem = base64.b64decode(tree["status"]["certificate"])
    found = x509.load_pem_x509_certificate(pem)
    life = found.not_valid_after_utc - found.not_valid_before_utc
    assert life.total_seconds() == 3600 + 300
    (tmp_path / "jane.crt").write_bytes(pem)
    (tmp_path / "jane.key").write_bytes(key)
    words = [f"--server={cluster.url}", "--kubeconfig=/dev/null", "auth", "whoami", "-o=json"]
    done = subprocess.run(
        [
            "kubectl",
            *words,
            f"--certificate-authority={cluster.kubeconfig_path.parent}/pki/ca.crt",
            f"--client-certificate={tmp_path}/jane.crt",
            f"--client-key={tmp_path}/jane.key",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert '"jane"' in done.stdout, done.stderr


def test_a_denied_request_is_never_signed(cluster, rest):
    rest.post(CSRS, request_object("mallory", make_request("mallory")[0], API_CLIENT, CLIENT))
    kubectl(cluster, "certificate", "deny", "mallory")
    assert "Denied" in kubectl(cluster, "get", "csr", "mallory")
    tree = rest.get(f"{CSRS}/mallory")
    assert condition(tree, "Denied")["status"] == "True"
    tree["status"]["conditions"] = []
    rest.fails(422, "Invalid", "PUT", f"{CSRS}/mallory/approval", tree)


def test_nodes_client_requests_are_approved_for_those_who_may_ask(rest):
    rest.post(
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        {
            "metadata": {"name": "node-client-auto-approve-csr"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
            },
            "subjects": [{"kind": "Group", "name": "joining"}],
        },
    )
    rest.post(
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        {
            "metadata": {"name": "may-request"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:node-bootstrapper",
            },
            "subjects": [
                {"kind": "Group", "name": "joining"},
                {"kind": "User", "name": "stranger"},
            ],
        },
    )
    for name, headers in (
        ("node-ok", as_user("joiner", "joining")),
        ("node-stranger", as_user("stranger")),
    ):
        request, _ = make_request(f"system:node:{name}", "system:nodes")
        tree = request_object(name, request, KUBELET_CLIENT, CLIENT)
        rest.ok("POST", CSRS, tree, headers=headers)
    tree = wait_until(
        lambda: (found := rest.get(f"{CSRS}/node-ok"))["status"].get("certificate") and found, 30
    )
    assert condition(tree, "Approved")["reason"] == "AutoApproved"
    assert condition(tree, "Approved")["message"] == (
        "Auto approving kubelet client certificate after SubjectAccessReview."
    )
    assert tree["spec"]["username"] == "joiner"
    assert condition(rest.get(f"{CSRS}/node-stranger"), "Approved") == {}


def test_a_request_its_signer_does_not_take_fails_for_good(rest):
    request, _ = make_request("system:node:n1", "system:nodes")
    rest.post(CSRS, request_object("bare", request, KUBELET_SERVING, SERVING))
    approve(rest, "bare")
    failed = wait_until(lambda: condition(rest.get(f"{CSRS}/bare"), "Failed"), 30)
    assert failed["reason"] == "SignerValidationFailure"
    assert failed["message"] == "DNS or IP subjectAltName is required"
    assert "certificate" not in rest.get(f"{CSRS}/bare")["status"]


def test_other_signers_requests_are_left_alone(rest):
    request, _ = make_request("x")
    rest.post(CSRS, request_object("foreign", request, "example.com/signer", ["client auth"]))
    approve(rest, "foreign")
    ours = request_object("ours", request, "kubernetes.io/kube-apiserver-client", ["client auth"])
    rest.post(CSRS, ours)
    approve(rest, "ours")
    wait_until(lambda: rest.get(f"{CSRS}/ours")["status"].get("certificate"), 30)
    assert "certificate" not in rest.get(f"{CSRS}/foreign")["status"]


def test_what_is_decided_or_signed_is_not_taken_back(rest):
    path = f"{CSRS}/ours"
    tree = rest.get(path)
    tree["status"]["certificate"] = base64.b64encode(b"x").decode()
    status = rest.fails(422, "Invalid", "PUT", f"{path}/status", tree)
    assert "updates may not modify existing certificate content" in status["message"]
    tree = rest.get(path)
    decided = tree["status"]["conditions"]
    tree["status"]["conditions"] = [{**decided[0], "message": "otherwise"}]
    # As upstream: not refused, and not taken.
    assert rest.put(f"{path}/status", tree)["status"]["conditions"] == decided


@pytest.mark.parametrize(
    "change",
    [
        {"request": base64.b64encode(b"none").decode()},
        {"usages": []},
        {"usages": ["client auth", "client auth"]},
        {"usages": ["dancing"]},
        {"signerName": "no-domain"},
        {"signerName": "kubernetes.io/legacy-unknown"},
        {"expirationSeconds": 599},
    ],
)
def test_requests_that_are_none_are_refused(rest, change):
    tree = request_object("odd", make_request("odd")[0], API_CLIENT, CLIENT)
    tree["spec"].update(change)
    rest.fails(422, "Invalid", "POST", CSRS, tree)


def test_nobody_becomes_a_master_by_request(rest):
    request, _ = make_request("root", "system:masters")
    tree = request_object("root", request, API_CLIENT, CLIENT)
    rest.fails(403, "Forbidden", "POST", CSRS, tree)


def test_old_requests_are_removed(rest, clock):
    rest.post(CSRS, request_object("old", make_request("old")[0], API_CLIENT, CLIENT))
    rest.post(CSRS, request_object("decided", make_request("old")[0], API_CLIENT, CLIENT))
    approve(rest, "decided")
    wait_until(lambda: rest.get(f"{CSRS}/decided")["status"].get("certificate"), 30)

    def touch(name):
        """Make the cleaner look now, if it has not looked since the clock went on."""
        seen = {"metadata": {"annotations": {"seen": str(clock.now())}}}
        headers = {"content-type": "application/merge-patch+json"}
        answer = rest.answer("PATCH", f"{CSRS}/{name}", seen, headers=headers)
        assert answer.status in (200, 404), answer.tree

    clock.advance(3700)
    touch("decided")
    rest.wait_gone(f"{CSRS}/decided", 30)
    assert not rest.gone(f"{CSRS}/old")
    clock.advance(24 * 3600)
    touch("old")
    rest.wait_gone(f"{CSRS}/old", 30)
