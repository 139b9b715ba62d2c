"""The node authorizer: a node reads what its own pods need, and keeps up its own objects.

Between the graph of pods (:mod:`node_graph`) and requests of ``system:node:<name>`` in
``system:nodes``. What a node may *change* of the objects it is let at is for the NodeRestriction
admission plugin. https://kubernetes.io/docs/reference/access-authn-authz/node/
"""

from __future__ import annotations

from kutter.api.quoting import quote
from kutter.apiserver.authn.identity import User
from kutter.apiserver.authz.node_graph import NodeGraph
from kutter.apiserver.authz.node_identity import node_of
from kutter.apiserver.authz.policy import node_rules
from kutter.apiserver.authz.rules import any_allows, compile_rules
from kutter.apiserver.ports import Attributes, Decision, Reader

LEASE_NAMESPACE = "kube-node-lease"
_READ = frozenset({"get", "list", "watch"})
_OWN_OBJECT_VERBS = frozenset({"get", "create", "update", "patch", "delete"})

_ALLOWED = Decision(True)
_NO_OPINION = Decision(False)


def _no(reason: str) -> Decision:
    return Decision(False, reason)


class NodeAuthorizer:
    """Decides for nodes only; has no opinion about anybody else."""

    def __init__(self, graph: NodeGraph, reader: Reader) -> None:
        self._graph = graph
        self._reader = reader
        self._rules = compile_rules(node_rules())

    async def authorize(self, attributes: Attributes) -> Decision:
        return self.decide(attributes)

    def decide(self, a: Attributes) -> Decision:
        """As ``authorize``, without waiting."""
        node, is_node = node_of(a.user)
        if not is_node:
            return _NO_OPINION
        if not node:
            return _no(f"unknown node for user {quote(a.user.name)}")
        if a.is_resource:
            decision = self._decide_resource(node, a)
            if decision is not None:
                return decision
        return _ALLOWED if any_allows(self._rules, a) else _NO_OPINION

    def _decide_resource(self, node: str, a: Attributes) -> Decision | None:
        match (a.group, a.resource):
            case ("", "secrets" | "configmaps"):
                return self._read_namespaced(node, a)
            case ("", "persistentvolumeclaims"):
                if a.subresource == "status":
                    return self._claim_status(node, a)
                return self._get(node, a)
            case ("", "persistentvolumes") | ("storage.k8s.io", "volumeattachments"):
                return self._get(node, a)
            case ("resource.k8s.io", "resourceclaims"):
                return self._get(node, a)
            case ("resource.k8s.io", "resourceslices"):
                return self._slice(node, a)
            case ("", "serviceaccounts"):
                if a.verb == "get" and not a.subresource:
                    return self._read_namespaced(node, a)
                return self._token(node, a)
            case ("", "nodes"):
                return _own_node(node, a)
            case ("", "pods"):
                return self._pods(node, a)
            case ("coordination.k8s.io", "leases"):
                return _own_lease(node, a)
            case ("storage.k8s.io", "csinodes"):
                return _own_csi_node(node, a)
        return None

    # -- objects pods refer to --------------------------------------------------------

    def _read_namespaced(self, node: str, a: Attributes) -> Decision:
        if a.verb not in _READ:
            return _no("can only read resources of this type")
        if a.subresource:
            return _no("cannot read subresource")
        if not a.namespace:
            return _no("can only read namespaced object of this type")
        return self._related(node, a)

    def _get(self, node: str, a: Attributes) -> Decision:
        if a.verb != "get":
            return _no("can only get individual resources of this type")
        if a.subresource:
            return _no("cannot get subresource")
        return self._related(node, a)

    def _claim_status(self, node: str, a: Attributes) -> Decision:
        if a.verb not in ("update", "patch"):  # the reason names get as well, as upstream's does
            return _no("can only get/update/patch this type")
        return self._related(node, a)

    def _token(self, node: str, a: Attributes) -> Decision:
        if a.verb != "create" or not a.name:
            return _no("can only create tokens for individual service accounts")
        if a.subresource != "token":
            return _no("can only create token subresource of serviceaccount")
        return self._related(node, a)

    def _slice(self, node: str, a: Attributes) -> Decision:
        """A node's own slices; what it creates is looked at by admission."""
        if a.subresource:
            return _no("cannot authorize ResourceSlice subresources")
        match a.verb:
            case "create":
                return _ALLOWED
            case "get" | "update" | "patch" | "delete":
                return self._related(node, a)
            case "list" | "watch" | "deletecollection":
                if _requires(a.field_selector, "spec.nodeName", node):
                    return _ALLOWED
                return _no(
                    "can only list/watch/deletecollection resourceslices with nodeName field "
                    "selector"
                )
        return _no(
            "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, "
            "update, patch, delete, deletecollection"
        )

    def _related(self, node: str, a: Attributes) -> Decision:
        if not a.name:
            return _no("No Object name found")
        if self._has_path(node, a):
            return _ALLOWED
        return _no(_unrelated(node))

    def _has_path(self, node: str, a: Attributes) -> bool:
        if a.resource == "persistentvolumes":
            return self._volume_is_used(node, a.name)
        if a.resource in ("volumeattachments", "resourceslices"):
            tree = self._reader.get(f"{a.resource}.{a.group}", "", a.name)
            return tree is not None and (tree.get("spec") or {}).get("nodeName") == node
        if self._graph.refers(node, a.resource, a.namespace, a.name):
            return True
        if a.resource == "secrets":
            return self._volume_secret(node, a)
        return False

    def _volume_is_used(self, node: str, name: str) -> bool:
        tree = self._reader.get("persistentvolumes", "", name)
        claim = ((tree or {}).get("spec") or {}).get("claimRef") or {}
        return self._graph.refers(
            node,
            "persistentvolumeclaims",
            str(claim.get("namespace", "")),
            str(claim.get("name", "")),
        )

    def _volume_secret(self, node: str, a: Attributes) -> bool:
        """Secrets named by the volumes behind claims of the node's pods. Rare, so walked."""
        for volume in self._reader.list("persistentvolumes"):
            if _names_secret(volume, a.namespace, a.name) and self._volume_is_used(
                node, volume["metadata"]["name"]
            ):
                return True
        return False

    # -- pods -------------------------------------------------------------------------

    def _pods(self, node: str, a: Attributes) -> Decision | None:
        if a.verb == "get" and not a.subresource:
            if self._graph.is_on(node, a.namespace, a.name):
                return _ALLOWED
            return _no(_unrelated(node))
        if a.verb in ("list", "watch"):
            if _requires(a.field_selector, "spec.nodeName", node):
                return _ALLOWED
            if a.name and a.namespace and self._graph.is_on(node, a.namespace, a.name):
                return _ALLOWED
            return _no("can only list/watch pods with spec.nodeName field selector")
        return None


def _unrelated(node: str) -> str:
    return f"no relationship found between node '{node}' and this object"


def _own_node(node: str, a: Attributes) -> Decision | None:
    if a.subresource or a.verb not in _READ:
        return None
    if a.name == node:
        return _ALLOWED
    if a.verb != "get" and not a.name:
        return _no(f"node '{node}' cannot read all nodes, only its own Node object")
    return _no(f"node '{node}' cannot read '{a.name}', only its own Node object")


def _own_lease(node: str, a: Attributes) -> Decision:
    if a.verb not in _OWN_OBJECT_VERBS:
        return _no("can only get, create, update, patch, or delete a node lease")
    if a.subresource:
        return _no("cannot access subresources of a node lease")
    if a.namespace != LEASE_NAMESPACE:
        return _no(f"can only access leases in the {quote(LEASE_NAMESPACE)} system namespace")
    # The name of an object being created may not be known yet; admission looks at it.
    if a.name != node and (a.verb != "create" or a.name):
        return _no("can only access node lease with the same name as the requesting node")
    return _ALLOWED


def _own_csi_node(node: str, a: Attributes) -> Decision:
    if a.verb not in _OWN_OBJECT_VERBS:
        return _no("can only get, create, update, patch, or delete a CSINode")
    if a.subresource:
        return _no("cannot authorize CSINode subresources")
    if a.name != node and (a.verb != "create" or a.name):
        return _no("can only access CSINode with the same name as the requesting node")
    return _ALLOWED


def _names_secret(volume: dict[str, object], namespace: str, name: str) -> bool:
    spec = volume.get("spec")
    if not isinstance(spec, dict):
        return False
    for source in spec.values():
        if not isinstance(source, dict):
            continue
        for field, reference in source.items():
            if (
                isinstance(reference, dict)
                and field.lower().endswith("secretref")
                and not field.startswith("controller")
                and reference.get("name") == name
                and reference.get("namespace", namespace) == namespace
            ):
                return True
    return False


def _requires(selector: str, field: str, value: str) -> bool:
    for term in selector.split(","):
        key, separator, found = term.partition("=")
        if separator and key == field and found.removeprefix("=") == value:
            return True
    return False


def is_node(user: User) -> bool:
    """Whether the caller is a node, whichever."""
    return node_of(user)[1]
