"""Tokens kept in secrets: filled in, good for their account, gone with it."""

from __future__ import annotations

import base64

import pytest
import urllib3
from tests.conformance_kit import Rest, wait_until

from kutter.testing.cluster import LocalCluster

SECRETS = "/api/v1/namespaces/default/secrets"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(scheduler=False) as running:
        yield running


@pytest.fixture(scope="module")
def rest(cluster):
    return Rest(cluster.kubernetes_client())


def token_secret(name, account):
    return {
        "metadata": {
            "name": name,
            "annotations": {"kubernetes.io/service-account.name": account},
        },
        "type": "kubernetes.io/service-account-token",
    }


def filled(rest, name):
    data = wait_until(
        lambda: (found := rest.get(f"{SECRETS}/{name}").get("data") or {}).get("token") and found,
        30,
    )
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def whoami(cluster, token):
    with urllib3.PoolManager(
        ca_certs=str(cluster.kubeconfig_path.parent / "pki" / "ca.crt"), retries=False
    ) as pool:
        response = pool.request(
            "POST",
            f"{cluster.url}/apis/authentication.k8s.io/v1/selfsubjectreviews",
            json={"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"},
            headers={"authorization": f"Bearer {token}"},
        )
        if response.status != 201:
            return response.status
        return response.json()["status"]["userInfo"]["username"]


def test_a_secret_is_filled_in_and_good_for_its_account(cluster, rest):
    account = rest.post(ACCOUNTS, {"metadata": {"name": "robot"}})
    rest.post(SECRETS, token_secret("robot-token", "robot"))
    data = filled(rest, "robot-token")
    assert data["namespace"] == "default"
    assert data["ca.crt"] == (cluster.kubeconfig_path.parent / "pki" / "ca.crt").read_text()
    annotations = rest.get(f"{SECRETS}/robot-token")["metadata"]["annotations"]
    assert annotations["kubernetes.io/service-account.uid"] == account["metadata"]["uid"]
    assert whoami(cluster, data["token"]) == "system:serviceaccount:default:robot"
    rest.patch(f"{SECRETS}/robot-token", {"metadata": {"labels": {"touched": "yes"}}})
    assert filled(rest, "robot-token")["token"] == data["token"]
    rest.delete(f"{ACCOUNTS}/robot")
    rest.wait_gone(f"{SECRETS}/robot-token", 30)
    assert whoami(cluster, data["token"]) == 401


def test_a_secret_of_no_account_goes(rest):
    rest.post(SECRETS, token_secret("nobodys", "no-such-account"))
    rest.wait_gone(f"{SECRETS}/nobodys", 30)


def test_an_account_of_the_same_name_is_another(cluster, rest):
    rest.post(ACCOUNTS, {"metadata": {"name": "twin"}})
    rest.post(SECRETS, token_secret("twin-token", "twin"))
    token = filled(rest, "twin-token")["token"]
    rest.delete(f"{ACCOUNTS}/twin")
    rest.post(ACCOUNTS, {"metadata": {"name": "twin"}})
    rest.wait_gone(f"{SECRETS}/twin-token", 30)
    assert whoami(cluster, token) == 401


def test_a_token_ends_with_its_secret(cluster, rest):
    rest.post(ACCOUNTS, {"metadata": {"name": "short"}})
    rest.post(SECRETS, token_secret("short-token", "short"))
    token = filled(rest, "short-token")["token"]
    assert whoami(cluster, token) == "system:serviceaccount:default:short"
    rest.delete(f"{SECRETS}/short-token")
    assert whoami(cluster, token) == 401
