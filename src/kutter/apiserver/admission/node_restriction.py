"""What nodes may change: their own Node, their own pods, and little of either.

The counterpart of the node authorizer, which lets nodes at these resources.
https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
"""

from __future__ import annotations

from kutter.api.errors import ApiError, conflict, not_found
from kutter.api.quoting import quote
from kutter.apiserver.admission.node_labels import forbidden_labels
from kutter.apiserver.admission.plugin import Plugin, refusal
from kutter.apiserver.admission.service_account import MIRROR_ANNOTATION, is_mirror
from kutter.apiserver.authz.node import LEASE_NAMESPACE
from kutter.apiserver.authz.node_graph import references_of
from kutter.apiserver.authz.node_identity import node_of
from kutter.apiserver.ports import AdmissionRequest, Operation, Tree

_WANTED = (
    "pods",
    "nodes",
    "persistentvolumeclaims",
    "serviceaccounts/token",
    "leases.coordination.k8s.io",
    "csinodes.storage.k8s.io",
)


class NodeRestriction(Plugin):
    name = "NodeRestriction"
    repeatable = True
    reads_bound_pods = False

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource in _WANTED or resource.startswith(
            ("pods/", "nodes/", "persistentvolumeclaims/")
        )

    async def validate(self, request: AdmissionRequest) -> None:
        node, is_node = node_of(request.user)
        if not is_node:
            return
        if not node:
            raise refusal(request, f"could not determine node from user {quote(request.user.name)}")
        if request.operation == "CONNECT":
            return
        match request.resource.plural, request.subresource:
            case "pods", "":
                _check_pod(request, node)
            case "pods", "status":
                _check_pod_status(request, node)
            case "pods", "eviction":
                _check_eviction(request, node)
            case "pods", other:
                raise refusal(
                    request,
                    f"unexpected pod subresource {quote(other)}, only 'status' and 'eviction' are "
                    "allowed",
                )
            case "nodes", _:
                _check_node(request, node)
            case "persistentvolumeclaims", subresource:
                if subresource != "status":
                    raise refusal(request, "may only update PVC status")
            case "serviceaccounts", _:
                _check_token(request, node)
            case "leases", _:
                _check_lease(request, node)
            case "csinodes", _:
                _check_csi_node(request, node)


# -- pods --------------------------------------------------------------------------


def _check_pod(request: AdmissionRequest, node: str) -> None:
    if request.operation == "CREATE":
        _check_mirror_pod(request, node)
    elif request.operation == "DELETE":
        if _node_of_pod(_current_pod(request)) != node:
            raise refusal(
                request,
                f"node {quote(node)} can only delete pods with spec.nodeName set to itself",
            )
    else:
        raise refusal(
            request,
            f"unexpected operation {quote(request.operation)}, node {quote(node)} can only create "
            "and delete mirror pods",
        )


def _check_mirror_pod(request: AdmissionRequest, node: str) -> None:
    pod = request.object
    assert pod is not None
    who = f"node {quote(node)}"
    if not is_mirror(pod):
        raise refusal(
            request,
            f"pod does not have {quote(MIRROR_ANNOTATION)} annotation, {who} can only create "
            "mirror pods",
        )
    _check_mirror_owner(request, node, pod)
    if _node_of_pod(pod) != node:
        raise refusal(request, f"{who} can only create pods with spec.nodeName set to itself")
    metadata = {"namespace": request.namespace, "name": "", **pod["metadata"]}
    for resource, _, _ in references_of({**pod, "metadata": metadata}):
        noun = "a service account" if resource == "serviceaccounts" else resource
        raise refusal(request, f"{who} can not create pods that reference {noun}")


def _check_mirror_owner(request: AdmissionRequest, node: str, pod: Tree) -> None:
    who = f"node {quote(node)}"
    owners = pod["metadata"].get("ownerReferences") or []
    if len(owners) > 1:
        raise refusal(
            request, f"{who} can only create pods with a single owner reference set to itself"
        )
    if not owners:
        raise refusal(request, f"{who} can only create pods with an owner reference set to itself")
    owner = owners[0]
    if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
        raise refusal(request, f"{who} can only create pods with an owner reference set to itself")
    if not owner.get("controller"):
        raise refusal(
            request, f"{who} can only create pods with a controller owner reference set to itself"
        )
    if owner.get("blockOwnerDeletion"):
        raise refusal(request, f"{who} must not set blockOwnerDeletion on an owner reference")
    tree = request.reader.get("nodes", "", node)
    if tree is None:
        raise not_found("nodes", node)
    if tree["metadata"].get("uid") != owner.get("uid"):
        raise refusal(
            request,
            f"{who} UID mismatch: expected {owner.get('uid')} got {tree['metadata'].get('uid')}",
        )


def _check_pod_status(request: AdmissionRequest, node: str) -> None:
    if request.operation != "UPDATE":
        raise refusal(request, f"unexpected operation {quote(request.operation)}")
    if _node_of_pod(_current_pod(request)) != node:
        raise refusal(
            request,
            f"node {quote(node)} can only update pod status for pods with spec.nodeName set to "  # noqa: S608  (no SQL)
            "itself",
        )
    assert request.object is not None
    assert request.old is not None
    if _labels(request.object) != _labels(request.old):
        raise refusal(request, f"node {quote(node)} cannot update labels through pod status")


def _check_eviction(request: AdmissionRequest, node: str) -> None:
    if request.operation != "CREATE":
        raise refusal(request, f"unexpected operation {request.operation}")
    pod = request.reader.get("pods", request.namespace, request.name)
    if pod is None:
        raise not_found("pods", request.name)
    if _node_of_pod(pod) != node:
        raise refusal(request, f"node {node} can only evict pods with spec.nodeName set to itself")


def _current_pod(request: AdmissionRequest) -> Tree | None:
    return request.old or request.reader.get("pods", request.namespace, request.name)


def _node_of_pod(pod: Tree | None) -> str:
    return str(((pod or {}).get("spec") or {}).get("nodeName") or "")


def _labels(tree: Tree) -> Tree:
    return (tree.get("metadata") or {}).get("labels") or {}


# -- nodes -------------------------------------------------------------------------


def _check_node(request: AdmissionRequest, node: str) -> None:
    new, old = request.object, request.old
    who = f"node {quote(node)}"
    name = request.name or str(((new or {}).get("metadata") or {}).get("name", ""))
    if request.operation == "CREATE" and not request.subresource:
        assert new is not None
        denied = forbidden_labels({}, _labels(new))
        if denied:
            listed = ", ".join(denied)
            raise refusal(request, f"{who} is not allowed to set the following labels: {listed}")
    if name != node:
        raise refusal(request, f"{who} is not allowed to modify node {quote(name)}")
    if request.operation != "UPDATE":
        return
    assert new is not None
    assert old is not None
    if _taints(new) != _taints(old):
        raise refusal(request, f"{who} is not allowed to modify taints")
    if (new["metadata"].get("ownerReferences") or []) != (
        old["metadata"].get("ownerReferences") or []
    ):
        raise refusal(request, f"{who} is not allowed to modify ownerReferences")
    denied = forbidden_labels(_labels(old), _labels(new))
    if denied:
        raise refusal(request, f"{who} is not allowed to modify labels: {', '.join(denied)}")


def _taints(tree: Tree) -> list[Tree]:
    return (tree.get("spec") or {}).get("taints") or []


# -- tokens, leases ----------------------------------------------------------------


def _check_token(request: AdmissionRequest, node: str) -> None:
    spec = ((request.object or {}).get("spec")) or {}
    reference = spec.get("boundObjectRef") or {}
    if reference.get("kind") != "Pod" or not reference.get("name"):
        raise refusal(request, "node requested token not bound to a pod")
    if not reference.get("uid"):
        raise refusal(request, "node requested token with a pod binding without a uid")
    pod = request.reader.get("pods", request.namespace, reference["name"])
    if pod is None:
        raise not_found("pods", reference["name"])
    if pod["metadata"].get("uid") != reference["uid"]:
        raise _other_uid(reference, pod)
    if _node_of_pod(pod) != node:
        raise refusal(request, "node requested token bound to a pod scheduled on a different node")
    audiences = spec.get("audiences") or [""]
    if len(audiences) > 1:
        raise refusal(request, "node may only request 0 or 1 audiences")
    if audiences[0] not in _audiences_of(request, pod):
        raise refusal(request, f"audience {quote(audiences[0])} not found in pod spec volume")


def _other_uid(reference: Tree, pod: Tree) -> ApiError:
    return conflict(
        "Pod",
        reference["name"],
        f"the UID in the bound object reference ({reference['uid']}) does not match the UID in "
        f"record ({pod['metadata'].get('uid')}). The object might have been deleted and then "
        "recreated",
    )


def _audiences_of(request: AdmissionRequest, pod: Tree) -> set[str]:
    """Audiences the pod's volumes ask for; the empty one is the API server's own."""
    audiences: set[str] = set()
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if "serviceAccountToken" in source:
                audiences.add((source["serviceAccountToken"] or {}).get("audience") or "")
        driver = (volume.get("csi") or {}).get("driver")
        if driver:
            tree = request.reader.get("csidrivers.storage.k8s.io", "", driver) or {}
            for asked in (tree.get("spec") or {}).get("tokenRequests") or ():
                audiences.add(asked.get("audience") or "")
    return audiences


def _check_lease(request: AdmissionRequest, node: str) -> None:
    if request.namespace != LEASE_NAMESPACE:
        raise refusal(
            request, f"can only access leases in the {quote(LEASE_NAMESPACE)} system namespace"
        )
    if _name(request) != node:
        raise refusal(
            request, "can only access node lease with the same name as the requesting node"
        )


def _check_csi_node(request: AdmissionRequest, node: str) -> None:
    if _name(request) != node:
        raise refusal(request, "can only access CSINode with the same name as the requesting node")


def _name(request: AdmissionRequest) -> str:
    return request.name or str(((request.object or {}).get("metadata") or {}).get("name", ""))
