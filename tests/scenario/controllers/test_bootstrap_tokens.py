"""Bootstrap tokens through the public API: they let in, sign and go."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
import urllib3
import yaml
from tests.certificate_kit import CSRS, make_request, request_object
from tests.conformance_kit import Rest, condition, wait_until

from kutter.base.clock import SYSTEM_CLOCK, render_time
from kutter.testing.cluster import LocalCluster

SECRETS = "/api/v1/namespaces/kube-system/secrets"
INFO = "/api/v1/namespaces/kube-public/configmaps/cluster-info"


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(scheduler=False) as running:
        yield running


@pytest.fixture(scope="module")
def rest(cluster):
    return Rest(cluster.kubernetes_client())


def token_secret(token_id, secret, **data):
    values = {"token-id": token_id, "token-secret": secret, **data}
    return {
        "metadata": {"name": f"bootstrap-token-{token_id}"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": values,
    }


def ask(cluster, token, method, path, body=None):
    with urllib3.PoolManager(
        ca_certs=str(cluster.kubeconfig_path.parent / "pki" / "ca.crt"), retries=False
    ) as pool:
        headers = {"authorization": f"Bearer {token}"}
        response = pool.request(method, cluster.url + path, json=body, headers=headers)
        return response.status, response.json()


def test_a_node_joins_with_a_token(cluster, rest):
    """From the token to a signed client certificate, as a kubelet does it."""
    token = "aaaaaa.0123456789abcdef"
    whoami = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    review = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}
    assert ask(cluster, token, "POST", whoami, review)[0] == 401
    extra = "system:bootstrappers:kubeadm:default-node-token"
    usage = {"usage-bootstrap-authentication": "true", "auth-extra-groups": extra}
    rest.post(SECRETS, token_secret(*token.split("."), **usage))
    status, answer = ask(cluster, token, "POST", whoami, review)
    assert status == 201, answer
    assert answer["status"]["userInfo"]["username"] == "system:bootstrap:aaaaaa"
    assert {"system:bootstrappers", extra} <= set(answer["status"]["userInfo"]["groups"])
    for name, role in (
        ("kubelet-bootstrap", "system:node-bootstrapper"),
        ("approve", "system:certificates.k8s.io:certificatesigningrequests:nodeclient"),
    ):
        rest.post(
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            {
                "metadata": {"name": name},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": role,
                },
                "subjects": [{"kind": "Group", "name": extra}],
            },
        )
    request, _ = make_request("system:node:joined", "system:nodes")
    signer = "kubernetes.io/kube-apiserver-client-kubelet"
    usages = ["client auth", "digital signature"]
    status, answer = ask(
        cluster, token, "POST", CSRS, request_object("joined", request, signer, usages)
    )
    assert status == 201, answer
    tree = wait_until(
        lambda: (found := rest.get(f"{CSRS}/joined"))["status"].get("certificate") and found, 30
    )
    assert condition(tree, "Approved")["reason"] == "AutoApproved"
    assert ask(cluster, token, "GET", SECRETS)[0] == 403
    rest.delete(f"{SECRETS}/bootstrap-token-aaaaaa")
    assert ask(cluster, token, "POST", whoami, review)[0] == 401


def test_cluster_info_is_signed_by_tokens_for_signing(cluster, rest):
    info = rest.get(INFO)["data"]
    kubeconfig = yaml.safe_load(info["kubeconfig"])
    ca = base64.b64decode(kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"])
    assert ca == (cluster.kubeconfig_path.parent / "pki" / "ca.crt").read_bytes()
    secret = "fedcba9876543210"
    rest.post(SECRETS, token_secret("bbbbbb", secret, **{"usage-bootstrap-signing": "true"}))
    found = wait_until(lambda: rest.get(INFO)["data"].get("jws-kubeconfig-bbbbbb"), 30)
    head, _, mac = found.partition("..")
    payload = base64.urlsafe_b64encode(info["kubeconfig"].encode()).rstrip(b"=").decode()
    expected = hmac.new(secret.encode(), f"{head}.{payload}".encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(mac + "=" * (-len(mac) % 4)) == expected

    rest.patch(INFO, {"data": {"kubeconfig": info["kubeconfig"] + "# changed\n"}})
    wait_until(lambda: rest.get(INFO)["data"].get("jws-kubeconfig-bbbbbb") not in (None, found), 30)
    rest.delete(f"{SECRETS}/bootstrap-token-bbbbbb")
    wait_until(lambda: "jws-kubeconfig-bbbbbb" not in rest.get(INFO)["data"], 30)


def test_expired_tokens_are_removed(rest):
    past = render_time(SYSTEM_CLOCK.now())
    rest.post(SECRETS, token_secret("cccccc", "0123456789abcdef", expiration=past))
    rest.wait_gone(f"{SECRETS}/bootstrap-token-cccccc", 30)
