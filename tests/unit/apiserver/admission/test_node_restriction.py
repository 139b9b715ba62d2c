from __future__ import annotations

from typing import Any

import pytest
from tests.unit.apiserver.admission.admission_kit import ANN, NODE, admit, pod, refused, request
from tests.unit.apiserver.fake_reader import FakeReader

from kutter.apiserver.admission.node_restriction import NodeRestriction
from kutter.apiserver.ports import AdmissionRequest

OWNER = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1", "controller": True}


def world() -> FakeReader:
    reader = FakeReader()
    reader.put("nodes", {"metadata": {"name": "n1", "uid": "u1"}})
    volumes = [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {}}]}}]
    for name, node in (("mine", "n1"), ("other", "n2")):
        tree = pod(name, nodeName=node, volumes=volumes)
        tree["metadata"]["uid"] = f"uid-{name}"
        reader.put("pods", tree)
    return reader


def mirror(**changes: Any) -> dict[str, Any]:
    tree = pod("m", nodeName="n1")
    tree["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "hash"}
    tree["metadata"]["ownerReferences"] = [OWNER]
    tree["metadata"].update(changes.pop("metadata", {}))
    tree["spec"].update(changes)
    return tree


def node(name: str = "n1", labels: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels or {}}, **more}


def on_pod(name: str, what: str = "pods", operation: str = "DELETE") -> AdmissionRequest:
    reader = world()
    old = reader.get("pods", "blue", name)
    new = None if operation == "DELETE" else reader.get("pods", "blue", name)
    if what.endswith("eviction"):
        new, old = {"metadata": {"name": name}}, None
    return request(what, new, reader, operation=operation, old=old, user=NODE, name=name)


def on_node(
    new: dict[str, Any], old: dict[str, Any] | None = None, what: str = "nodes"
) -> AdmissionRequest:
    operation = "UPDATE" if old else "CREATE"
    return request(what, new, world(), operation=operation, old=old, user=NODE, namespace="")


def on_token(**spec: Any) -> AdmissionRequest:
    tree = {"metadata": {}, "spec": spec}
    return request("serviceaccounts/token", tree, world(), user=NODE, name="default")


def bound(name: str, uid: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}


def on_lease(namespace: str, name: str) -> AdmissionRequest:
    tree = {"metadata": {"name": name}}
    return request("leases.coordination.k8s.io", tree, world(), user=NODE, namespace=namespace)


def create(tree: dict[str, Any]) -> AdmissionRequest:
    return request("pods", tree, world(), user=NODE)


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (create(mirror()), ""),
        (create(pod(nodeName="n1")), "can only create mirror pods"),
        (create(mirror(nodeName="n2")), "can only create pods with spec.nodeName set to itself"),
        (create(mirror(metadata={"ownerReferences": []})), "with an owner reference set to itself"),
        (
            create(mirror(metadata={"ownerReferences": [{**OWNER, "name": "n2"}]})),
            "with an owner reference set to itself",
        ),
        (
            create(mirror(metadata={"ownerReferences": [{**OWNER, "uid": "x"}]})),
            "UID mismatch: expected x got u1",
        ),
        (
            create(mirror(metadata={"ownerReferences": [{**OWNER, "controller": False}]})),
            "with a controller owner reference",
        ),
        (
            create(mirror(metadata={"ownerReferences": [OWNER, OWNER]})),
            "with a single owner reference",
        ),
        (
            create(mirror(volumes=[{"name": "s", "secret": {"secretName": "s"}}])),
            "can not create pods that reference secrets",
        ),
        (
            create(mirror(serviceAccountName="default")),
            "can not create pods that reference a service account",
        ),
        (on_pod("mine"), ""),
        (on_pod("other"), "can only delete pods with spec.nodeName set to itself"),
        (on_pod("mine", operation="UPDATE"), "can only create and delete mirror pods"),
        (on_pod("mine", "pods/status", "UPDATE"), ""),
        (on_pod("other", "pods/status", "UPDATE"), "can only update pod status for pods"),
        (on_pod("mine", "pods/eviction", "CREATE"), ""),
        (on_pod("other", "pods/eviction", "CREATE"), "can only evict pods"),
        (on_pod("mine", "pods/binding", "CREATE"), 'unexpected pod subresource "binding"'),
        (on_node(node()), ""),
        (on_node(node("n2")), 'is not allowed to modify node "n2"'),
        (on_node(node(labels={"kubernetes.io/hostname": "n1", "mine": "x"})), ""),
        (
            on_node(node(labels={"node-restriction.kubernetes.io/a": "x"})),
            "is not allowed to set the following labels: node-restriction.kubernetes.io/a",
        ),
        (
            on_node(node(labels={"node-role.kubernetes.io/control-plane": ""})),
            "is not allowed to set the following labels",
        ),
        (on_node(node(labels={"x.node.kubernetes.io/y": "1"}), node()), ""),
        (
            on_node(node(labels={"node-role.kubernetes.io/x": ""}), node()),
            "is not allowed to modify labels: node-role.kubernetes.io/x",
        ),
        (
            on_node(node(), node(labels={"node-restriction.kubernetes.io/a": "x"})),
            "is not allowed to modify labels",
        ),
        (
            on_node(node(spec={"taints": []}), node(spec={"taints": [{"key": "a"}]})),
            "is not allowed to modify taints",
        ),
        (on_node(node(status={"a": 1}), node(), "nodes/status"), ""),
        (on_node(node("n2"), node("n2"), "nodes/status"), 'not allowed to modify node "n2"'),
        (on_token(boundObjectRef=bound("mine", "uid-mine")), ""),
        (on_token(), "node requested token not bound to a pod"),
        (on_token(boundObjectRef=bound("mine", "")), "with a pod binding without a uid"),
        (on_token(boundObjectRef=bound("mine", "x")), "does not match the UID in record"),
        (on_token(boundObjectRef=bound("other", "uid-other")), "scheduled on a different node"),
        (
            on_token(boundObjectRef=bound("mine", "uid-mine"), audiences=["vault"]),
            'audience "vault" not found in pod spec volume',
        ),
        (on_lease("kube-node-lease", "n1"), ""),
        (on_lease("kube-node-lease", "n2"), "same name as the requesting node"),
        (on_lease("kube-system", "n1"), 'leases in the "kube-node-lease" system namespace'),
        (
            request("persistentvolumeclaims", pod(), world(), operation="UPDATE", user=NODE),
            "may only update PVC status",
        ),
    ],
)
async def test_table(asked: AdmissionRequest, complaint: str) -> None:
    if not complaint:
        await admit(NodeRestriction(), asked)
        return
    error = await refused(NodeRestriction(), asked)
    assert complaint in error.message
    assert error.code in (403, 409)


async def test_labels_of_pods_are_not_changed_through_status() -> None:
    asked = on_pod("mine", "pods/status", "UPDATE")
    assert asked.object is not None
    asked.object["metadata"]["labels"] = {"app": "stolen"}
    error = await refused(NodeRestriction(), asked)
    assert "cannot update labels through pod status" in error.message


async def test_nobody_else_is_restricted() -> None:
    await admit(NodeRestriction(), request("pods", pod(nodeName="n9"), world(), user=ANN))
