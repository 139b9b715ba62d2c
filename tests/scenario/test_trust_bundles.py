"""ClusterTrustBundles: what they may hold, and who may speak for a signer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.certificate_kit import make_authority
from tests.conformance_kit import Rest

from kutter.cluster.api_options import ApiServerOptions
from kutter.testing.cluster import LocalCluster

BUNDLES = "/apis/certificates.k8s.io/v1beta1/clustertrustbundles"
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
SIGNER = "a.example.com/mine"
ONE, TWO = make_authority("one"), make_authority("two")
EVE = {"impersonate-user": "eve"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    api = ApiServerOptions(runtime_config="certificates.k8s.io/v1beta1=true")
    with LocalCluster(scheduler=False, controllers=False, api=api) as running:
        yield running


@pytest.fixture
def rest(cluster: LocalCluster) -> Rest:
    return Rest(cluster.kubernetes_client())


def bundle(name: str, content: str = ONE, signer: str = "") -> dict[str, Any]:
    spec = {"trustBundle": content, **({"signerName": signer} if signer else {})}
    return {
        "apiVersion": "certificates.k8s.io/v1beta1",
        "kind": "ClusterTrustBundle",
        "metadata": {"name": name},
        "spec": spec,
    }


def causes(answer: Any) -> list[tuple[str, str]]:
    assert answer.status == 422, answer.tree
    return [(c["field"], c["message"]) for c in answer.tree["details"]["causes"]]


OMITTED = 'Invalid value: "<value omitted>": '


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        ("", ["at least one trust anchor must be provided"]),
        ("nothing in PEM", ["at least one trust anchor must be provided"]),
        (ONE + TWO + ONE, ["duplicate trust anchor (indices [0 2])"]),
        (make_authority("x", ca=False), ["entry 0 does not have the CA bit set"]),
        (ONE + make_authority("x", ca=None), ["entry 1 does not have the CA bit set"]),
        (ONE.replace("CERTIFICATE", "SECRET"), ["entry 0 has bad block type: SECRET"]),
        (
            ONE + TWO.replace("E-----\n", "E-----\na: b\n\n", 1),
            ["entry 1 has PEM block headers"],
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + ONE,
            ["entry 0 does not parse as X.509"],
        ),
    ],
)
def test_what_is_no_bundle(rest: Rest, content: str, messages: list[str]) -> None:
    found = causes(rest.answer("POST", BUNDLES, bundle("bad", content)))
    assert found == [("spec.trustBundle", OMITTED + message) for message in messages]


def test_names_say_the_signer(rest: Rest) -> None:
    found = causes(rest.answer("POST", BUNDLES, bundle("a:b")))
    assert found[0][1].endswith(
        'ClusterTrustBundle without signer name must not have ":" in its name'
    )
    found = causes(rest.answer("POST", BUNDLES, bundle("mine", ONE, SIGNER)))
    wanted = (
        f"ClusterTrustBundle for signerName {SIGNER} must be named with prefix a.example.com:mine:"
    )
    assert found[0][1].endswith(wanted)
    found = causes(rest.answer("POST", BUNDLES, bundle("x:y", ONE, "short")))
    assert "spec.signerName" in [field for field, _ in found]


def test_the_signer_stays_and_selects(rest: Rest) -> None:
    rest.post(BUNDLES, bundle("plain", ONE + "words between\n" + TWO))
    made = rest.post(BUNDLES, bundle("a.example.com:mine:one", ONE, SIGNER))
    selected = rest.get(BUNDLES, fieldSelector=f"spec.signerName={SIGNER}")["items"]
    assert [item["metadata"]["name"] for item in selected] == ["a.example.com:mine:one"]
    accept = {"accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
    rows = rest.ok("GET", BUNDLES, headers=accept)["rows"]
    cells = [row["cells"] for row in rows]
    assert ["plain", "<none>"] in cells
    assert ["a.example.com:mine:one", SIGNER] in cells
    made["spec"]["signerName"] = "a.example.com/other"
    found = causes(rest.answer("PUT", f"{BUNDLES}/a.example.com:mine:one", made))
    assert "spec.signerName" in [field for field, _ in found]


def test_who_may_attest(rest: Rest) -> None:
    rules = [
        {
            "apiGroups": ["certificates.k8s.io"],
            "resources": ["clustertrustbundles"],
            "verbs": ["create", "update"],
        }
    ]
    rest.post(ROLES, {"metadata": {"name": "bundles"}, "rules": rules})
    rest.post(
        BINDINGS,
        {
            "metadata": {"name": "bundles"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "bundles",
            },
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve"}],
        },
    )
    rest.ok("POST", BUNDLES, bundle("eves"), headers=EVE)
    name = "a.example.com:mine:eve"
    mine = bundle(name, ONE, SIGNER)
    refused = rest.answer("POST", BUNDLES, mine, headers=EVE)
    assert refused.status == 403
    wanted = f'user not permitted to attest for signerName "{SIGNER}"'
    assert refused.tree["message"].endswith(wanted)
    made = rest.post(BUNDLES, mine)
    # What it says is her matter only with the right to attest; who keeps it is not.
    made["metadata"]["finalizers"] = ["a.example.com/kept"]
    made = rest.ok("PUT", f"{BUNDLES}/{name}", made, headers=EVE)
    made["metadata"]["labels"] = {"a": "b"}
    assert rest.answer("PUT", f"{BUNDLES}/{name}", made, headers=EVE).status == 403
    attest = {
        "apiGroups": ["certificates.k8s.io"],
        "resources": ["signers"],
        "resourceNames": ["a.example.com/*"],
        "verbs": ["attest"],
    }
    rest.patch(f"{ROLES}/bundles", {"rules": [*rules, attest]})
    made["spec"]["trustBundle"] = TWO
    rest.ok("PUT", f"{BUNDLES}/{name}", made, headers=EVE)


def test_service_accounts_read_them(rest: Rest) -> None:
    account = {
        "impersonate-user": "system:serviceaccount:default:any",
        "impersonate-group": "system:serviceaccounts",
    }
    assert rest.answer("GET", BUNDLES, headers=account).status == 200
    assert rest.answer("GET", BUNDLES, headers=EVE).status == 403
