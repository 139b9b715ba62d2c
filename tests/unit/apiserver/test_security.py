"""The deciding parts in their place: a whole API server over the memory store."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.unit.apiserver.authn.authn_kit import pem_of

from kutter.apiserver.bootstrap import SYSTEM_NAMESPACES, _Writer, bootstrap
from kutter.apiserver.kinds.registry import Kinds
from kutter.apiserver.security import Security, SecurityOptions
from kutter.apiserver.server import ApiServer, ServerParts
from kutter.http.messages import Request
from kutter.store.memory import MemoryStore

RBAC = "/apis/rbac.authorization.k8s.io/v1"


class Cluster:
    def __init__(self, server: ApiServer, security: Security) -> None:
        self.server = server
        self.security = security

    async def ask(
        self, method: str, path: str, tree: Any = None, *, token: str = "", **headers: str
    ) -> tuple[int, dict[str, Any]]:
        found = {k.replace("_", "-"): v for k, v in headers.items()}
        if token:
            found["authorization"] = f"Bearer {token}"
        path, _, query = path.partition("?")
        request = Request(
            method, path, query, headers={**found, "content-type": "application/json"},
            body=b"" if tree is None else orjson.dumps(tree),
            header_list=list(found.items()),
        )  # fmt: skip
        response = await self.server.handle(request)
        return response.status, orjson.loads(response.body) if response.body else {}

    async def make(self, path: str, kind: str, name: str, **fields: Any) -> dict[str, Any]:
        tree = {"kind": kind, "metadata": {"name": name}, **fields}
        status, answer = await self.ask("POST", path, tree, token=await self.boss())
        assert status == 201, answer
        return answer

    async def boss(self) -> str:
        return await self.token("kube-system", "boss")

    async def token(self, namespace: str, account: str, **claims: Any) -> str:
        tree = self.server.caches.get("serviceaccounts", namespace, account)
        assert tree is not None
        issuer = self.security.issuer
        return issuer.issue(tree, audiences=[issuer.issuer], lifetime_s=3600, **claims)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    options = SecurityOptions(token_key_pem=pem_of(ec.generate_private_key(ec.SECP256R1())))
    security = Security(options)
    parts = ServerParts(store=MemoryStore(), strategy_for=Kinds().strategy_for, **security.parts())
    server = ApiServer(parts)
    await server.start()
    security.follow(server.caches)
    await bootstrap(server.handle, server.caches)
    made = Cluster(server, security)
    await _as_system(
        server, "/api/v1/namespaces/kube-system/serviceaccounts", {"metadata": {"name": "boss"}}
    )
    await _as_system(
        server, "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}}
    )
    await _as_system(
        server,
        f"{RBAC}/clusterrolebindings",
        {
            "metadata": {"name": "boss"},
            "roleRef": {"kind": "ClusterRole", "name": "cluster-admin", "apiGroup": RBAC[6:-3]},
            "subjects": [{"kind": "ServiceAccount", "name": "boss", "namespace": "kube-system"}],
        },
    )
    yield made
    await server.stop()


async def _as_system(server: ApiServer, path: str, tree: dict[str, Any]) -> None:
    await _Writer(server.handle).post(path, tree)


POD = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
PODS = "/api/v1/namespaces/default/pods"


async def test_bootstrap_fills_an_empty_cluster_once(cluster: Cluster) -> None:
    caches = cluster.server.caches
    assert all(caches.exists("namespaces", "", name) for name in SYSTEM_NAMESPACES)
    assert caches.exists("clusterroles.rbac.authorization.k8s.io", "", "cluster-admin")
    assert caches.exists("priorityclasses.scheduling.k8s.io", "", "system-node-critical")
    started = time.perf_counter()
    assert await bootstrap(cluster.server.handle, caches) == 0
    assert time.perf_counter() - started < 1


async def test_who_gets_in(cluster: Cluster) -> None:
    assert (await cluster.ask("GET", "/version"))[0] == 200
    status, answer = await cluster.ask("GET", "/api/v1/pods")
    assert (status, answer["reason"], answer["message"]) == (401, "Unauthorized", "Unauthorized")
    status, answer = await cluster.ask("GET", "/api/v1/pods", token="nonsense")
    assert (status, answer["code"]) == (401, 401)
    token = await cluster.token("default", "default")
    status, answer = await cluster.ask("GET", PODS, token=token)
    assert status == 403
    assert answer["message"] == (
        'pods is forbidden: User "system:serviceaccount:default:default" cannot list resource '
        '"pods" in API group "" in the namespace "default"'
    )
    status, answer = await cluster.ask("GET", "/metrics", token=token)
    assert answer["message"] == (
        'forbidden: User "system:serviceaccount:default:default" cannot get path "/metrics"'
    )
    assert (await cluster.ask("GET", PODS, token=await cluster.boss()))[0] == 200


async def test_a_binding_counts_at_once(cluster: Cluster) -> None:
    token = await cluster.token("default", "default")
    await cluster.make(
        f"{RBAC}/namespaces/default/rolebindings",
        "RoleBinding",
        "v",
        roleRef={"kind": "ClusterRole", "name": "view", "apiGroup": RBAC[6:-3]},
        subjects=[{"kind": "ServiceAccount", "name": "default", "namespace": "default"}],
    )
    assert (await cluster.ask("GET", PODS, token=token))[0] == 200
    path = f"{RBAC}/namespaces/default/rolebindings/v"
    assert (await cluster.ask("DELETE", path, token=await cluster.boss()))[0] == 200
    assert (await cluster.ask("GET", PODS, token=token))[0] == 403


async def test_a_pod_passes_all_plugins(cluster: Cluster) -> None:
    answer = await cluster.make(PODS, "Pod", "p", spec=POD["spec"])
    spec = answer["spec"]
    assert spec["serviceAccountName"] == "default"
    assert spec["priority"] == 0
    assert len(spec["tolerations"]) == 2
    assert spec["volumes"][0]["name"].startswith("kube-api-access-")
    status, answer = await cluster.ask(
        "POST", "/api/v1/namespaces/nowhere/pods", POD, token=await cluster.boss()
    )
    assert (status, answer["message"]) == (404, 'namespaces "nowhere" not found')


async def test_the_token_subresource(cluster: Cluster) -> None:
    pod = await cluster.make(PODS, "Pod", "p", spec=POD["spec"])
    path = "/api/v1/namespaces/default/serviceaccounts/default/token"
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": pod["metadata"]["uid"]}
    status, answer = await cluster.ask(
        "POST", path, {"spec": {"boundObjectRef": reference, "expirationSeconds": 600}},
        token=await cluster.boss(),
    )  # fmt: skip
    assert status == 201, answer
    assert (answer["kind"], answer["apiVersion"]) == ("TokenRequest", "authentication.k8s.io/v1")
    token = answer["status"]["token"]
    who = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    status, answer = await cluster.ask("POST", who, {}, token=token)
    assert status == 201, answer
    info = answer["status"]["userInfo"]
    assert info["username"] == "system:serviceaccount:default:default"
    assert info["extra"]["authentication.kubernetes.io/pod-name"] == ["p"]
    deleted, _ = await cluster.ask(
        "DELETE", f"{PODS}/p?gracePeriodSeconds=0", token=await cluster.boss()
    )
    assert deleted == 200
    status, _ = await cluster.ask("POST", who, {}, token=token)
    assert status == 401
    status, answer = await cluster.ask(
        "POST", path, {"spec": {"expirationSeconds": 5}}, token=await cluster.boss()
    )
    assert status == 422
    assert answer["details"]["causes"][0]["field"] == "spec.expirationSeconds"


async def test_reviews_over_the_pipeline(cluster: Cluster) -> None:
    token = await cluster.token("default", "default")
    question = {"spec": {"resourceAttributes": {"verb": "list", "resource": "pods"}}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    for asker, allowed in ((token, False), (await cluster.boss(), True)):
        status, answer = await cluster.ask("POST", path, question, token=asker)
        assert (status, answer["status"]["allowed"]) == (201, allowed)
    status, answer = await cluster.ask(
        "POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}},
        token=await cluster.boss(),
    )  # fmt: skip
    assert answer["status"]["authenticated"] is True
    status, answer = await cluster.ask(
        "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        {"spec": {"namespace": "default"}}, token=token,
    )  # fmt: skip
    assert (status, answer["status"]["incomplete"]) == (201, False)
    where = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews"
    local = {
        "spec": {
            "user": "x",
            "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"},
        }
    }
    status, answer = await cluster.ask("POST", where, local, token=await cluster.boss())
    assert (status, answer["status"]) == (201, {"allowed": False})


async def test_escalation_and_impersonation_over_the_pipeline(cluster: Cluster) -> None:
    role = {
        "metadata": {"name": "all"},
        "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
    }
    await cluster.make(
        f"{RBAC}/namespaces/default/rolebindings",
        "RoleBinding",
        "a",
        roleRef={"kind": "ClusterRole", "name": "admin", "apiGroup": RBAC[6:-3]},
        subjects=[{"kind": "User", "name": "ann"}],
    )
    boss = await cluster.boss()
    roles = f"{RBAC}/namespaces/default/roles"
    status, answer = await cluster.ask("POST", roles, role, token=boss, impersonate_user="ann")
    assert status == 403
    assert "is attempting to grant RBAC permissions not currently held" in answer["message"]
    assert (await cluster.ask("POST", roles, role, token=boss))[0] == 201
    status, answer = await cluster.ask("GET", "/api/v1/pods", token=boss, impersonate_user="ann")
    assert 'User "ann" cannot list resource "pods"' in answer["message"]
    token = await cluster.token("default", "default")
    status, answer = await cluster.ask("GET", PODS, token=token, impersonate_user="ann")
    assert 'cannot impersonate resource "users"' in answer["message"]


async def test_issuer_discovery(cluster: Cluster) -> None:
    boss = await cluster.boss()
    status, answer = await cluster.ask("GET", "/.well-known/openid-configuration", token=boss)
    assert (status, answer["jwks_uri"].endswith("/openid/v1/jwks")) == (200, True)
    status, answer = await cluster.ask("GET", "/openid/v1/jwks", token=boss)
    (key,) = answer["keys"]
    assert len(base64.urlsafe_b64decode(key["x"] + "=")) == 32
    token = await cluster.token("default", "default")
    assert (await cluster.ask("GET", "/openid/v1/jwks", token=token))[0] == 200
