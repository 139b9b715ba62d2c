"""sig-auth: ServiceAccounts, tokens and their issuer, SubjectReview, signing requests."""

import base64
import json

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kubernetes import client as k8s
from tests.conformance_kit import Rest, condition, pod, wait_until

AUTHORIZATION = "/apis/authorization.k8s.io/v1"


def accounts(namespace, name="", sub=""):
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    return "/".join(part for part in (path, name, sub) if part)


def test_should_run_through_the_lifecycle_of_a_service_account(rest, namespace):
    labels = {"test-serviceaccount-static": "true"}
    selector = {"labelSelector": "test-serviceaccount-static=true"}
    with rest.watch(accounts(namespace), **selector) as events:
        rest.post(accounts(namespace), {"metadata": {"name": "testsa", "labels": labels}})
        events.until("ADDED")
        patch = {"automountServiceAccountToken": False}
        rest.patch(accounts(namespace, "testsa"), patch, "strategic")
        events.until("MODIFIED", lambda t: t["automountServiceAccountToken"] is False)
        found = rest.get("/api/v1/serviceaccounts", **selector)["items"]
        assert [a["metadata"]["name"] for a in found] == ["testsa"]
        rest.delete(accounts(namespace), **selector)
        events.until("DELETED")


def test_should_update_a_service_account(rest, namespace):
    body = {"metadata": {"name": "e2e-sa"}, "automountServiceAccountToken": False}
    made = rest.post(accounts(namespace), body)
    assert made["automountServiceAccountToken"] is False
    made["automountServiceAccountToken"] = True
    updated = rest.put(accounts(namespace, "e2e-sa"), made)
    assert updated["automountServiceAccountToken"] is True


def mounts(tree):
    return [m["mountPath"] for c in tree["spec"]["containers"] for m in c.get("volumeMounts") or ()]


@pytest.mark.parametrize(
    ("account", "of_pod", "mounted"),
    [
        (None, None, True),
        (False, None, False),
        (True, None, True),
        (None, True, True),
        (None, False, False),
        (True, False, False),
        (False, True, True),
    ],
)
def test_should_mount_a_token_into_pods_and_allow_opting_out(
    rest, namespace, account, of_pod, mounted
):
    body = {"metadata": {"name": "acct"}}
    if account is not None:
        body["automountServiceAccountToken"] = account
    rest.post(accounts(namespace), body)
    spec = {"serviceAccountName": "acct"}
    if of_pod is not None:
        spec["automountServiceAccountToken"] = of_pod
    tree = rest.post(f"/api/v1/namespaces/{namespace}/pods", pod("p", **spec))
    wanted = ["/var/run/secrets/kubernetes.io/serviceaccount"] if mounted else []
    assert mounts(tree) == wanted
    if mounted:
        sources = tree["spec"]["volumes"][0]["projected"]["sources"]
        assert [next(iter(s)) for s in sources] == [
            "serviceAccountToken",
            "configMap",
            "downwardAPI",
        ]
        assert sources[0]["serviceAccountToken"] == {"expirationSeconds": 3607, "path": "token"}


def test_should_create_a_token_and_ensure_a_successful_token_review(client, rest, namespace):
    made = rest.post(accounts(namespace), {"metadata": {"name": "sa-review"}})
    request = {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "spec": {"expirationSeconds": 600, "audiences": None},
    }
    answered = rest.post(accounts(namespace, "sa-review", "token"), request)
    token = answered["status"]["token"]
    assert answered["status"]["expirationTimestamp"]
    reviewed = k8s.AuthenticationV1Api(client).create_token_review(
        k8s.V1TokenReview(spec=k8s.V1TokenReviewSpec(token=token))
    )
    assert reviewed.status.error is None
    assert reviewed.status.authenticated is True
    user = reviewed.status.user
    assert user.username == f"system:serviceaccount:{namespace}:sa-review"
    assert user.uid == made["metadata"]["uid"]
    assert set(user.groups) == {
        "system:serviceaccounts",
        f"system:serviceaccounts:{namespace}",
        "system:authenticated",
    }
    rest.delete(accounts(namespace, "sa-review"))
    again = {"spec": {"token": token}}
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    wait_until(lambda: not rest.post(path, again)["status"].get("authenticated"))


def test_should_support_oidc_discovery_of_service_account_issuer(cluster, rest, namespace):
    found = rest.answer("GET", "/.well-known/openid-configuration")
    assert found.headers["content-type"] == "application/json"
    assert {"issuer", "jwks_uri", "response_types_supported", "subject_types_supported"} <= set(
        found.tree
    )
    assert found.tree["response_types_supported"] == ["id_token"]
    # The keys have a media type of their own, and no other (as upstream).
    assert rest.answer("GET", "/openid/v1/jwks").status == 406
    keys = rest.answer("GET", "/openid/v1/jwks", headers={"accept": "*/*"})
    assert keys.headers["content-type"] == "application/jwk-set+json"
    request = {"spec": {"audiences": ["oidc-discovery-test"], "expirationSeconds": 600}}
    token = rest.post(accounts(namespace, "default", "token"), request)["status"]["token"]
    key_id = jwt.get_unverified_header(token)["kid"]
    key = next(k for k in jwt.PyJWKSet.from_dict(keys.tree).keys if k.key_id == key_id)
    claims = jwt.decode(
        token,
        key.key,
        algorithms=found.tree["id_token_signing_alg_values_supported"],
        audience="oidc-discovery-test",
        issuer=found.tree["issuer"],
    )
    assert claims["sub"] == f"system:serviceaccount:{namespace}:default"
    # A service account may read the documents with its own token.
    token = rest.post(accounts(namespace, "default", "token"), {})["status"]["token"]
    config = k8s.Configuration()
    config.host, config.verify_ssl = cluster.url, True
    config.ssl_ca_cert = ca_file(cluster)
    caller = k8s.ApiClient(config)
    headers = {"authorization": f"Bearer {token}", "accept": "*/*"}
    for path in ("/.well-known/openid-configuration", "/openid/v1/jwks"):
        assert Rest(caller).answer("GET", path, headers=headers).status == 200
    caller.close()


def ca_file(cluster):
    path = cluster.kubeconfig_path.parent / "ca.crt"
    import yaml

    tree = yaml.safe_load(cluster.kubeconfig_path.read_text())
    data = tree["clusters"][0]["cluster"]["certificate-authority-data"]
    path.write_bytes(base64.b64decode(data))
    return str(path)


def test_should_support_subject_review_api_operations(rest, namespace):
    user = f"system:serviceaccount:{namespace}:e2e"
    rest.post(accounts(namespace), {"metadata": {"name": "e2e"}})
    asked = {"verb": "list", "resource": "configmaps", "version": "v1", "namespace": namespace}
    review = {"spec": {"resourceAttributes": asked, "user": user}}
    path = f"{AUTHORIZATION}/subjectaccessreviews"
    assert rest.post(path, review)["status"]["allowed"] is False
    local = f"{AUTHORIZATION}/namespaces/{namespace}/localsubjectaccessreviews"
    assert rest.post(local, review)["status"]["allowed"] is False
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"
    binding = {
        "metadata": {"name": "view"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "view",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "e2e", "namespace": namespace}],
    }
    rest.post(rbac, binding)
    wait_until(lambda: rest.post(path, review)["status"]["allowed"])
    answered = rest.post(local, {**review, "metadata": {"namespace": namespace}})
    assert answered["status"]["allowed"] is True
    # As the account itself, by impersonation.
    headers = {"impersonate-user": user}
    mine = {"spec": {"resourceAttributes": asked}}
    own = rest.ok("POST", f"{AUTHORIZATION}/selfsubjectaccessreviews", mine, headers=headers)
    assert own["status"]["allowed"] is True
    rules = rest.ok(
        "POST",
        f"{AUTHORIZATION}/selfsubjectrulesreviews",
        {"spec": {"namespace": namespace}},
        headers=headers,
    )["status"]
    assert any("configmaps" in r.get("resources", ()) for r in rules["resourceRules"])
    assert rules["incomplete"] is False
    who = rest.ok("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, headers=headers)
    assert who["status"]["userInfo"]["username"] == user


def request_pem(name):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_should_support_csr_api_operations(rest):
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    listed = rest.get("/apis/certificates.k8s.io/v1")
    known = {r["name"] for r in listed["resources"]}
    assert {f"certificatesigningrequests{s}" for s in ("", "/approval", "/status")} <= known
    names = []
    for number in range(3):
        body = {
            "metadata": {"generateName": "e2e-example-csr-", "labels": {"csr": "e2e"}},
            "spec": {
                "request": base64.b64encode(request_pem(f"e2e-{number}")).decode(),
                "signerName": "example.com/e2e-signer",
                "expirationSeconds": 3600,
                "usages": ["digital signature", "key encipherment", "server auth"],
            },
        }
        made = rest.post(path, body)
        names.append(made["metadata"]["name"])
        assert made["spec"]["username"] == "kubernetes-admin"
        assert "system:authenticated" in made["spec"]["groups"]
    one = f"{path}/{names[0]}"
    made_uid = rest.get(one)["metadata"]["uid"]
    assert len(rest.get(path, fieldSelector="spec.signerName=example.com/e2e-signer")["items"]) == 3
    version = rest.get(path, labelSelector="csr=e2e")["metadata"]["resourceVersion"]
    with rest.watch(path, labelSelector="csr=e2e", resourceVersion=version) as events:
        rest.patch(one, {"metadata": {"annotations": {"patched": "true"}}})
        events.until("MODIFIED", lambda t: t["metadata"]["annotations"].get("patched"))
        tree = rest.get(one)
        tree["metadata"]["annotations"]["updated"] = "true"
        rest.put(one, tree)
        events.until("MODIFIED", lambda t: t["metadata"]["annotations"].get("updated"))

        assert rest.get(f"{one}/approval")["metadata"]["uid"] == made_uid
        asked = {"type": "ApprovalPatch", "status": "True", "reason": "e2e"}
        patch = {
            "metadata": {"annotations": {"patchedapproval": "true"}},
            "status": {"conditions": [asked]},
        }
        approval = rest.patch(f"{one}/approval", patch)
        assert [c["type"] for c in approval["status"]["conditions"]] == ["ApprovalPatch"]
        assert approval["status"]["conditions"][0]["lastTransitionTime"]
        assert approval["metadata"]["annotations"]["patchedapproval"] == "true"
        approved = {"type": "Approved", "status": "True", "reason": "E2E", "message": "Set"}
        approval["status"]["conditions"].append(approved)
        answered = rest.put(f"{one}/approval", approval)
        assert [c["type"] for c in answered["status"]["conditions"]] == [
            "ApprovalPatch",
            "Approved",
        ]
        denied = {**answered, "status": {"conditions": [approved, {**approved, "type": "Denied"}]}}
        status = rest.fails(422, "Invalid", "PUT", f"{one}/approval", denied)
        assert "Approved and Denied conditions are mutually exclusive" in status["message"]

        certificate = base64.b64encode(self_signed()).decode()
        status = rest.get(f"{one}/status")
        status["status"]["certificate"] = certificate
        status["status"]["conditions"].append({**approved, "type": "StatusUpdate"})
        answered = rest.put(f"{one}/status", status)
        assert answered["status"]["certificate"] == certificate
        assert answered["status"]["conditions"][-1]["type"] == "StatusUpdate"
        assert condition(answered, "Approved")
        patch = {"metadata": {"annotations": {"patchedstatus": "true"}}}
        assert rest.patch(f"{one}/status", patch)["metadata"]["annotations"]["patchedstatus"]
        rest.delete(one)
        events.until("DELETED")
    rest.delete(path, labelSelector="csr=e2e")
    assert rest.get(path, labelSelector="csr=e2e")["items"] == []


def self_signed():
    from datetime import UTC, datetime

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "e2e")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
    ).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


def test_a_token_says_whom_it_is_bound_to(rest, namespace):
    """Bound to the pod, as the node asks for projected tokens."""
    tree = rest.post(f"/api/v1/namespaces/{namespace}/pods", pod("p"))
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": tree["metadata"]["uid"]}
    request = {"spec": {"boundObjectRef": bound, "expirationSeconds": 3607}}
    token = rest.post(accounts(namespace, "default", "token"), request)["status"]["token"]
    body = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    told = claims["kubernetes.io"]
    assert told["pod"] == {"name": "p", "uid": tree["metadata"]["uid"]}
    assert told["namespace"] == namespace
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    user = rest.post(path, {"spec": {"token": token}})["status"]["user"]
    assert user["extra"]["authentication.kubernetes.io/pod-name"] == ["p"]
    rest.delete(f"/api/v1/namespaces/{namespace}/pods/p")

    def refused():
        return not rest.post(path, {"spec": {"token": token}})["status"].get("authenticated")

    wait_until(refused)
