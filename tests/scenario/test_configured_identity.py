"""Authentication and authorization as files configure them, through the public API."""

from __future__ import annotations

import json
import time
from pathlib import Path

import jwt
import pytest
import urllib3
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.conformance_kit import Rest, wait_until
from tests.webhook_kit import WebhookServer

from kutter.apiserver import configuration_file
from kutter.cluster.api_options import ApiServerOptions
from kutter.http import Response
from kutter.testing.cluster import LocalCluster

WHOAMI = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
KEY = rsa.generate_private_key(65537, 2048)


class Issuer:
    """An OpenID Connect issuer on loopback."""

    def __init__(self):
        self.server = WebhookServer(self._answer)

    def _answer(self, call):
        url = self.url
        if call.path == "/issuer/.well-known/openid-configuration":
            return {"issuer": url, "jwks_uri": f"{url}/keys"}
        if call.path == "/issuer/keys":
            key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
            return {"keys": [{**key, "kid": "one", "alg": "RS256", "use": "sig"}]}
        return Response(404)

    @property
    def url(self):
        return self.server.url("/issuer")

    def token(self, **claims):
        body = {"iss": self.url, "aud": "kutter", "exp": int(time.time()) + 3600, **claims}
        return jwt.encode(body, KEY, algorithm="RS256", headers={"kid": "one"})


def authentication(issuer, *, prefix="oidc:", **more):
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [
            {
                "issuer": {
                    "url": issuer.url,
                    "audiences": ["kutter"],
                    "certificateAuthority": issuer.server.ca_pem.decode(),
                },
                "claimValidationRules": [
                    {"expression": "claims.?tenant.orValue('ours') == 'ours'"}
                ],
                "claimMappings": {
                    "username": {"claim": "sub", "prefix": prefix},
                    "groups": {"expression": "claims.?groups.orValue([])"},
                    "extra": [{"key": "example.com/sub", "valueExpression": "claims.sub"}],
                },
                "userValidationRules": [
                    {"expression": "!user.username.startsWith('system:')", "message": "no"}
                ],
            }
        ],
        **more,
    }


def webhook_file(path, server):
    """A kubeconfig that names a webhook."""
    cluster = {"server": server.url("/review"), "certificate-authority-data": server.ca_bundle}
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "hook", "cluster": cluster}],
                "users": [{"name": "api", "user": {"token": "the-servers-own"}}],
                "contexts": [{"name": "hook", "context": {"cluster": "hook", "user": "api"}}],
                "current-context": "hook",
            }
        )
    )
    return path


def ask(cluster, token="", method="GET", path="/api/v1/namespaces", body=None):
    ca = cluster.kubeconfig_path.parent / "pki" / "ca.crt"
    with urllib3.PoolManager(ca_certs=str(ca), retries=False) as pool:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        response = pool.request(method, cluster.url + path, json=body, headers=headers)
        try:
            return response.status, response.json()
        except ValueError:
            return response.status, response.data


def whoami(cluster, token):
    body = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}
    status, answer = ask(cluster, token, "POST", WHOAMI, body)
    return answer["status"]["userInfo"] if status == 201 else status


@pytest.fixture(scope="module", autouse=True)
def eager():
    """Files are looked at more often than in the world."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(configuration_file, "CHECK_EVERY_S", 0.2)
        yield


@pytest.fixture(scope="module")
def issuer():
    made = Issuer()
    with made.server:
        yield made


def token_review(call):
    """The webhook's view of tokens."""
    token = call.body["spec"]["token"]
    if token == "hook-token":
        status = {
            "authenticated": True,
            "user": {"username": "hooked", "uid": "7", "groups": ["h"], "extra": {"a": ["b"]}},
        }
    else:
        status = {"authenticated": False}
    return {**call.body, "status": status}


@pytest.fixture(scope="module")
def token_hook():
    with WebhookServer(token_review) as server:
        yield server


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return tmp_path_factory.mktemp("identity")


@pytest.fixture(scope="module")
def cluster(issuer, token_hook, files):
    file = files / "authentication.yaml"
    file.write_text(yaml.safe_dump(authentication(issuer)))
    tokens = files / "tokens.csv"
    tokens.write_text('static-token,stanislaw,77,"statics,others"\n')
    hook = webhook_file(files / "hook.yaml", token_hook)
    options = ApiServerOptions(
        authentication_config=str(file),
        token_auth_file=str(tokens),
        authentication_token_webhook_config_file=str(hook),
        authentication_token_webhook_version="v1",
    )
    with LocalCluster(controllers=False, scheduler=False, api=options) as running:
        yield running


def test_an_issuers_token_is_its_user(cluster, issuer):
    info = whoami(cluster, issuer.token(sub="jane", groups=["dev"]))
    assert info["username"] == "oidc:jane"
    assert set(info["groups"]) == {"dev", "system:authenticated"}
    assert info["extra"]["example.com/sub"] == ["jane"]
    assert ask(cluster, issuer.token(sub="jane"))[0] == 403


def test_tokens_that_do_not_hold_are_401(cluster, issuer):
    stranger = rsa.generate_private_key(65537, 2048)
    body = {"iss": issuer.url, "aud": "kutter", "sub": "x", "exp": int(time.time()) + 60}
    for token in (
        issuer.token(sub="jane", exp=int(time.time()) - 1),
        issuer.token(sub="jane", aud="other"),
        issuer.token(sub="jane", tenant="theirs"),
        issuer.token(sub=""),
        jwt.encode(body, stranger, algorithm="RS256", headers={"kid": "one"}),
    ):
        assert whoami(cluster, token) == 401


def test_a_token_review_says_what_the_issuers_token_is_worth(cluster, issuer):
    rest = Rest(cluster.kubernetes_client())
    review = {
        "kind": "TokenReview",
        "apiVersion": "authentication.k8s.io/v1",
        "spec": {"token": issuer.token(sub="jane")},
    }
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    assert rest.post(path, review)["status"]["user"]["username"] == "oidc:jane"
    review["spec"]["token"] = issuer.token(sub="jane", aud="other")
    status = rest.post(path, review)["status"]
    assert not status.get("authenticated")
    assert status["error"]


def test_static_tokens(cluster):
    info = whoami(cluster, "static-token")
    assert (info["username"], info["uid"]) == ("stanislaw", "77")
    assert set(info["groups"]) == {"statics", "others", "system:authenticated"}


def test_a_webhook_knows_the_other_tokens_and_is_asked_once(cluster, token_hook):
    info = whoami(cluster, "hook-token")
    assert (info["username"], info["uid"], info["extra"]) == ("hooked", "7", {"a": ["b"]})
    assert set(info["groups"]) == {"h", "system:authenticated"}
    for _ in range(3):
        assert whoami(cluster, "hook-token") != 401
        assert whoami(cluster, "unknown") == 401
    asked = [call.body["spec"]["token"] for call in token_hook.calls]
    assert asked.count("hook-token") == 1
    assert asked.count("unknown") == 1
    call = token_hook.calls[-1]
    assert call.headers["authorization"] == "Bearer the-servers-own"
    assert (call.path, call.body["kind"]) == ("/review", "TokenReview")
    assert call.body["apiVersion"] == "authentication.k8s.io/v1"
    assert call.body["spec"]["audiences"]


def test_the_file_is_followed_and_a_wrong_one_changes_nothing(cluster, issuer, files):
    file = files / "authentication.yaml"
    file.write_text("kind: Nonsense")
    token = issuer.token(sub="follower")
    assert whoami(cluster, token)["username"] == "oidc:follower"
    anonymous = {"enabled": True, "conditions": [{"path": "/livez"}]}
    file.write_text(yaml.safe_dump(authentication(issuer, prefix="new:", anonymous=anonymous)))
    # Another token each time: one that held is remembered for seconds.
    wait_until(
        lambda: whoami(cluster, issuer.token(sub="f", n=time.time()))["username"] == "new:f", 60
    )
    assert ask(cluster, path="/livez")[0] == 200
    assert ask(cluster, path="/version")[0] == 401
    file.write_text(yaml.safe_dump(authentication(issuer, anonymous={"enabled": False})))
    wait_until(lambda: ask(cluster, path="/livez")[0] == 401, 60)
    file.write_text(yaml.safe_dump(authentication(issuer, anonymous={"enabled": True})))
    wait_until(lambda: ask(cluster, path="/api/v1/namespaces")[0] == 403, 60)
    assert "system:anonymous" in ask(cluster, path="/api/v1/namespaces")[1]["message"]


def test_the_older_flags_mean_the_same(issuer, tmp_path):
    ca = tmp_path / "ca.pem"
    ca.write_bytes(issuer.server.ca_pem)
    options = ApiServerOptions(
        oidc_issuer_url=issuer.url,
        oidc_client_id="kutter",
        oidc_ca_file=str(ca),
        oidc_groups_claim="groups",
        oidc_groups_prefix="g:",
        oidc_required_claim="tenant=ours",
    )
    with LocalCluster(controllers=False, scheduler=False, api=options) as running:
        info = whoami(running, issuer.token(sub="jane", groups="dev", tenant="ours"))
        assert info["username"] == f"{issuer.url}#jane"
        assert "g:dev" in info["groups"]
        assert whoami(running, issuer.token(sub="jane")) == 401


@pytest.mark.parametrize(
    "options",
    [
        ApiServerOptions(oidc_issuer_url="https://x"),
        ApiServerOptions(oidc_issuer_url="http://x", oidc_client_id="y"),
        ApiServerOptions(authentication_config="/does/not/exist"),
        ApiServerOptions(authorization_mode="Nonsense"),
        ApiServerOptions(authorization_mode="Webhook"),
        ApiServerOptions(token_auth_file="/does/not/exist"),
    ],
)
def test_a_configuration_that_cannot_work_stops_the_start(options):
    with pytest.raises(ValueError, match=r".+"):
        LocalCluster(controllers=False, scheduler=False, api=options).start()


def access_review(call):
    """The webhook's view of rights."""
    spec = call.body["spec"]
    asked = spec.get("resourceAttributes") or {}
    status = {"allowed": False}
    if spec.get("user") == "stanislaw":
        if asked.get("resource") == "configmaps":
            status = {"allowed": True, "reason": "configmaps are his"}
        elif asked.get("resource") == "services":
            status = {"allowed": False, "denied": True, "reason": "never services"}
    return {**call.body, "status": status}


def test_authorizers_are_asked_in_their_order(tmp_path: Path):
    tokens = tmp_path / "tokens.csv"
    tokens.write_text("static-token,stanislaw,77\nother-token,olga,78\n")
    with WebhookServer(access_review) as server:
        info = {
            "type": "KubeConfigFile",
            "kubeConfigFile": str(webhook_file(tmp_path / "hook.yaml", server)),
        }
        webhook = {
            "timeout": "5s",
            "subjectAccessReviewVersion": "v1",
            "matchConditionSubjectAccessReviewVersion": "v1",
            "failurePolicy": "Deny",
            "unauthorizedTTL": "1s",
            "connectionInfo": info,
            "matchConditions": [
                {"expression": "!request.user.startsWith('system:')"},
                {"expression": "has(request.resourceAttributes)"},
                {"expression": "request.resourceAttributes.namespace != 'kube-system'"},
            ],
        }
        file = tmp_path / "authorization.yaml"

        def write(**more):
            hook = {"type": "Webhook", "name": "hook", "webhook": {**webhook, **more}}
            tree = {
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "AuthorizationConfiguration",
                "authorizers": [
                    hook,
                    {"type": "Node", "name": "node"},
                    {"type": "RBAC", "name": "rbac"},
                ],
            }
            file.write_text(yaml.safe_dump(tree))

        write()
        options = ApiServerOptions(authorization_config=str(file), token_auth_file=str(tokens))
        with LocalCluster(controllers=False, scheduler=False, api=options) as running:
            rest = Rest(running.kubernetes_client())
            rest.post(
                "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
                {
                    "metadata": {"name": "viewers"},
                    "roleRef": {
                        "apiGroup": "rbac.authorization.k8s.io",
                        "kind": "ClusterRole",
                        "name": "view",
                    },
                    "subjects": [{"kind": "Group", "name": "system:authenticated"}],
                },
            )
            base = "/api/v1/namespaces/default"
            assert ask(running, "static-token", path=f"{base}/configmaps")[0] == 200
            status, answer = ask(running, "static-token", path=f"{base}/services")
            assert status == 403
            assert answer["message"].endswith("never services")
            assert ask(running, "other-token", path=f"{base}/services")[0] == 200
            assert ask(running, "other-token", path=f"{base}/secrets")[0] == 403
            calls = len(server.calls)
            assert ask(running, "other-token", path="/api/v1/namespaces/kube-system/pods")[0] == 200
            assert ask(running, "other-token", path="/version")[0] == 200
            assert len(server.calls) == calls

            review = {
                "kind": "SelfSubjectAccessReview",
                "apiVersion": "authorization.k8s.io/v1",
                "spec": {
                    "resourceAttributes": {
                        "verb": "get",
                        "resource": "services",
                        "namespace": "default",
                    }
                },
            }
            path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
            status, answer = ask(running, "static-token", "POST", path, review)
            assert answer["status"] == {
                "allowed": False,
                "denied": True,
                "reason": "never services",
            }
            rules = {
                "kind": "SelfSubjectRulesReview",
                "apiVersion": "authorization.k8s.io/v1",
                "spec": {"namespace": "default"},
            }
            path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
            status, answer = ask(running, "static-token", "POST", path, rules)
            assert answer["status"]["incomplete"]
            assert answer["status"]["evaluationError"] == (
                "webhook authorizer does not support user rule resolution"
            )

            # A webhook that does not answer: Deny denies, NoOpinion leaves it to the others.
            server.answer = lambda call: Response(404)
            assert ask(running, "other-token", path=f"{base}/endpoints")[0] == 403
            write(failurePolicy="NoOpinion")
            wait_until(lambda: ask(running, "other-token", path=f"{base}/endpoints")[0] == 200, 60)
