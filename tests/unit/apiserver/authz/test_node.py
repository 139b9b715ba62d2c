from __future__ import annotations

from typing import Any

import pytest
from tests.unit.apiserver.fake_reader import FakeReader

from kutter.apiserver.authn.identity import User
from kutter.apiserver.authz.node import NodeAuthorizer
from kutter.apiserver.authz.node_graph import NodeGraph, references_of
from kutter.apiserver.ports import Attributes

N1 = User("system:node:n1", groups=("system:nodes", "system:authenticated"))
FAKE = User("system:node:n1", groups=("system:authenticated",))


def pod(name: str, node: str, tag: str) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "serviceAccountName": f"sa-{tag}",
        "imagePullSecrets": [{"name": f"pull-{tag}"}],
        "containers": [
            {
                "name": "c",
                "env": [
                    {"name": "A", "valueFrom": {"secretKeyRef": {"name": f"env-{tag}"}}},
                    {"name": "B", "valueFrom": {"configMapKeyRef": {"name": f"cm-env-{tag}"}}},
                ],
                "envFrom": [{"secretRef": {"name": f"from-{tag}"}}],
            }
        ],
        "volumes": [
            {"name": "a", "secret": {"secretName": f"vol-{tag}"}},
            {"name": "b", "projected": {"sources": [{"configMap": {"name": f"proj-{tag}"}}]}},
            {"name": "c", "persistentVolumeClaim": {"claimName": f"claim-{tag}"}},
            {"name": "d", "csi": {"driver": "x", "nodePublishSecretRef": {"name": f"csi-{tag}"}}},
        ],
    }
    if node:
        spec["nodeName"] = node
    return {"metadata": {"name": name, "namespace": "blue"}, "spec": spec}


@pytest.fixture
def reader() -> FakeReader:
    made = FakeReader()
    made.put("pods", pod("one", "n1", "1"))
    made.put("pods", pod("two", "n2", "2"))
    made.put("pods", pod("unbound", "", "3"))
    made.put(
        "persistentvolumes",
        {
            "metadata": {"name": "pv1"},
            "spec": {
                "claimRef": {"namespace": "blue", "name": "claim-1"},
                "csi": {"nodeStageSecretRef": {"namespace": "vault", "name": "stage"}},
            },
        },
    )
    made.put(
        "volumeattachments.storage.k8s.io",
        {"metadata": {"name": "va1"}, "spec": {"nodeName": "n1"}},
    )
    for name, node in (("own", "n1"), ("other", "n2")):
        made.put(
            "resourceslices.resource.k8s.io",
            {"metadata": {"name": name}, "spec": {"nodeName": node}},
        )
    return made


@pytest.fixture
def authorizer(reader: FakeReader) -> NodeAuthorizer:
    graph = NodeGraph()
    graph.follow(reader)
    return NodeAuthorizer(graph, reader)


def ask(verb: str, what: str, name: str = "", namespace: str = "blue", **more: Any) -> Attributes:
    full, _, sub = what.partition("/")
    plural, _, group = full.partition(".")
    return Attributes(
        more.pop("user", N1), verb, group=group, resource=plural, subresource=sub, name=name,
        namespace=namespace, is_resource=True, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "allowed"),
    [
        *((ask("get", "secrets", f"{kind}-1"), True) for kind in ("pull", "env", "from", "vol", "csi")),
        *((ask("get", "secrets", f"{kind}-2"), False) for kind in ("pull", "env", "from", "vol")),
        (ask("get", "secrets", "vol-3"), False),
        (ask("watch", "secrets", "vol-1"), True),
        (ask("list", "secrets"), False),
        (ask("update", "secrets", "vol-1"), False),
        (ask("get", "secrets", "vol-1", namespace="green"), False),
        (ask("get", "secrets", "stage", namespace="vault"), True),
        (ask("get", "configmaps", "proj-1"), True),
        (ask("get", "configmaps", "cm-env-1"), True),
        (ask("get", "configmaps", "proj-2"), False),
        (ask("get", "persistentvolumeclaims", "claim-1"), True),
        (ask("patch", "persistentvolumeclaims/status", "claim-1"), True),
        (ask("patch", "persistentvolumeclaims", "claim-1"), False),
        (ask("get", "persistentvolumes", "pv1", namespace=""), True),
        (ask("get", "persistentvolumes", "pv2", namespace=""), False),
        (ask("get", "volumeattachments.storage.k8s.io", "va1", namespace=""), True),
        (ask("create", "serviceaccounts/token", "sa-1"), True),
        (ask("create", "serviceaccounts/token", "sa-2"), False),
        (ask("get", "serviceaccounts", "sa-1"), True),
        (ask("get", "serviceaccounts", "sa-2"), False),
        (ask("list", "serviceaccounts"), False),
        (ask("get", "persistentvolumeclaims/status", "claim-1"), False),
        (ask("create", "resourceslices.resource.k8s.io", namespace=""), True),
        (ask("update", "resourceslices.resource.k8s.io", "own", namespace=""), True),
        (ask("update", "resourceslices.resource.k8s.io", "other", namespace=""), False),
        (ask("list", "resourceslices.resource.k8s.io", namespace=""), False),
        (ask("deletecollection", "resourceslices.resource.k8s.io", namespace="",
             field_selector="spec.nodeName=n1"), True),
        (ask("get", "nodes", "n1", namespace=""), True),
        (ask("get", "nodes", "n2", namespace=""), False),
        (ask("list", "nodes", namespace=""), False),
        (ask("patch", "nodes/status", "n1", namespace=""), True),
        (ask("create", "nodes", namespace=""), True),
        (ask("get", "pods", "one"), True),
        (ask("get", "pods", "two"), False),
        (ask("list", "pods", namespace="", field_selector="spec.nodeName=n1"), True),
        (ask("watch", "pods", namespace="", field_selector="spec.nodeName=n2"), False),
        (ask("list", "pods", namespace=""), False),
        (ask("update", "pods/status", "one"), True),
        (ask("delete", "pods", "one"), True),
        (ask("create", "pods/eviction", "one"), True),
        (ask("create", "pods/binding", "one"), False),
        (ask("update", "leases.coordination.k8s.io", "n1", namespace="kube-node-lease"), True),
        (ask("create", "leases.coordination.k8s.io", namespace="kube-node-lease"), True),
        (ask("update", "leases.coordination.k8s.io", "n2", namespace="kube-node-lease"), False),
        (ask("update", "leases.coordination.k8s.io", "n1", namespace="kube-system"), False),
        (ask("list", "leases.coordination.k8s.io", namespace="kube-node-lease"), False),
        (ask("list", "services", namespace=""), True),
        (ask("create", "events"), True),
        (ask("list", "runtimeclasses.node.k8s.io", namespace=""), True),
        (ask("delete", "deployments.apps", "x"), False),
        (ask("get", "secrets", "vol-1", user=FAKE), False),
        (ask("create", "certificatesigningrequests.certificates.k8s.io", namespace=""), True),
    ],
)  # fmt: skip
def test_table(authorizer: NodeAuthorizer, attributes: Attributes, allowed: bool) -> None:
    assert authorizer.decide(attributes).allowed is allowed


def test_the_reason(authorizer: NodeAuthorizer) -> None:
    decision = authorizer.decide(ask("get", "secrets", "vol-2"))
    assert decision.reason == "no relationship found between node 'n1' and this object"


def test_it_follows_pods(authorizer: NodeAuthorizer, reader: FakeReader) -> None:
    wanted = ask("get", "secrets", "vol-3")
    assert not authorizer.decide(wanted).allowed
    reader.put("pods", pod("unbound", "n1", "3"))  # bound
    assert authorizer.decide(wanted).allowed
    reader.put("pods", pod("twin", "n1", "3"))
    reader.remove("pods", "blue", "unbound")
    assert authorizer.decide(wanted).allowed
    reader.remove("pods", "blue", "twin")
    assert not authorizer.decide(wanted).allowed


@pytest.mark.parametrize("containers", ["refer", "do not", "are not there"])
def test_a_pod_that_is_bound_refers_to_what_its_whole_tree_does(
    reader: FakeReader, containers: str
) -> None:
    """Only what is looked at is read of most."""
    graph = NodeGraph()
    graph.follow(reader)
    made = pod("late", "", "7")
    spec = made["spec"]
    if containers == "do not":
        spec["containers"] = [{"name": "c", "env": [{"name": "A", "value": '"envFrom":'}]}]
    elif containers == "are not there":
        del spec["containers"]
    spec["volumes"].append({"name": "e", "ephemeral": {"volumeClaimTemplate": {}}})
    spec["serviceAccount"], spec["resourceClaims"] = "sa-7", [{"resourceClaimName": "rc-7"}]
    reader.put("pods", made)
    assert not graph.is_on("n1", "blue", "late")
    bound = {**made, "spec": {**spec, "nodeName": "n1"}}
    reader.put("pods", bound)
    assert graph.is_on("n1", "blue", "late")
    found = [r for r in graph._by_node["n1"] if r[2].endswith("-7") or r[2].startswith("late")]
    assert sorted(found) == sorted(set(references_of(bound)))
    assert len(found) == (11 if containers == "refer" else 8)
