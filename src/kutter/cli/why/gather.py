"""Fetches what an explanation needs, and nothing it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kutter.api.errors import ApiError
from kutter.api.selectors import from_tree
from kutter.cli import moments
from kutter.cli.describe.events import events_of
from kutter.cli.fetch import fill_kind
from kutter.cli.why.finding import Facts
from kutter.cli.why.workload import sick_pods

if TYPE_CHECKING:
    from kutter.api.resources import Resource
    from kutter.cli.session import Session

Tree = dict[str, Any]
_PODS_EXPLAINED = 10
_REMAINING_SHOWN = 20
_OWNED = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController", "Job")


class Gatherer:
    """One talk's worth of fetching; nodes are fetched once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._nodes: dict[str, Tree | None] = {}

    def facts(self, resource: Resource, tree: Tree) -> Facts:
        fill_kind(tree, resource)
        kind = tree["kind"]
        events = events_of(self._session, tree)
        if kind == "Pod":
            return self._pod(tree, events)
        if kind in _OWNED:
            return self._workload(tree, events)
        if kind == "Service":
            return self._service(tree, events)
        more: dict[str, Any] = {}
        if kind == "Node":
            more["lease"] = self._find("leases", tree["metadata"]["name"], "kube-node-lease")
        elif kind == "Namespace" and (tree.get("status") or {}).get("phase") == "Terminating":
            more["remaining"] = self._remaining(tree["metadata"]["name"])
        elif kind == "PersistentVolumeClaim":
            more |= self._storage(tree)
        return Facts(tree=tree, now=moments.now(), events=events, **more)

    def _pod(self, pod: Tree, events: list[Tree]) -> Facts:
        name = (pod.get("spec") or {}).get("nodeName", "")
        if name and name not in self._nodes:
            self._nodes[name] = self._find("nodes", name, "")
        node = self._nodes.get(name)
        return Facts(
            tree=pod,
            now=moments.now(),
            events=events,
            node=node,
            node_is_missing=bool(name) and node is None,
            missing=self._missing(pod),
        )

    def _missing(self, pod: Tree) -> list[str]:
        if (pod.get("status") or {}).get("phase") not in (None, "Pending"):
            return []
        namespace = pod["metadata"]["namespace"]
        return [
            f"{kind}/{name}"
            for kind, name in sorted(needed_objects(pod))
            if self._find(f"{kind}s", name, namespace, unknown={}) is None
        ]

    def _workload(self, tree: Tree, events: list[Tree]) -> Facts:
        namespace, kind = tree["metadata"]["namespace"], tree["kind"]
        selector = (tree.get("spec") or {}).get("selector") or {}
        if kind == "ReplicationController":
            text = ",".join(f"{k}={v}" for k, v in sorted(selector.items()))
        else:
            text = str(from_tree(selector))
        owners = {tree["metadata"].get("uid")}
        sets: list[Tree] = []
        set_events: list[Tree] = []
        if kind == "Deployment":
            resource = self._session.kinds.find("replicasets.apps")
            sets = [
                fill_kind(r, resource)
                for r in self._session.list(resource, namespace, selector=text)
                if _owned_by(r, owners)
            ]
            owners = {r["metadata"].get("uid") for r in sets}
            for replica_set in sets:
                if (replica_set.get("spec") or {}).get("replicas"):
                    set_events += events_of(self._session, replica_set)
        pods = [p for p in self._pods(namespace, text) if _owned_by(p, owners)]
        return Facts(
            tree=tree,
            now=moments.now(),
            events=events,
            pods=pods,
            pod_facts=self._explained(pods),
            replica_sets=sets,
            replica_set_events=set_events,
        )

    def _service(self, tree: Tree, events: list[Tree]) -> Facts:
        metadata = tree["metadata"]
        namespace = metadata["namespace"]
        selector = (tree.get("spec") or {}).get("selector") or {}
        text = ",".join(f"{k}={v}" for k, v in sorted(selector.items()))
        pods = self._pods(namespace, text) if text else []
        slices = self._session.list(
            self._session.kinds.find("endpointslices.discovery.k8s.io"),
            namespace,
            selector=f"kubernetes.io/service-name={metadata['name']}",
        )
        return Facts(
            tree=tree,
            now=moments.now(),
            events=events,
            pods=pods,
            pod_facts=self._explained(pods),
            slices=slices,
            other_pods=self._pods(namespace, "") if text and not pods else (),
        )

    def _explained(self, pods: list[Tree]) -> list[Facts]:
        return [
            self._pod(pod, events_of(self._session, pod))
            for pod in sick_pods(pods)[:_PODS_EXPLAINED]
        ]

    def _pods(self, namespace: str, selector: str) -> list[Tree]:
        resource = self._session.kinds.find("pods")
        found = self._session.list(resource, namespace, selector=selector)
        return [fill_kind(pod, resource) for pod in found]

    def _remaining(self, namespace: str) -> list[str]:
        """What is left in a namespace, with the finalizers that hold it."""
        left: list[str] = []
        for resource in self._session.kinds.preferred():
            if not resource.namespaced or "list" not in resource.verbs:
                continue
            if resource.plural == "events" or len(left) >= _REMAINING_SHOWN:
                continue
            try:
                items = self._session.list(resource, namespace)
            except ApiError:
                continue  # a group that does not answer is named in the namespace's conditions
            for item in items:
                held = ", ".join(item["metadata"].get("finalizers") or ())
                name = f"{resource.singular or resource.plural}/{item['metadata']['name']}"
                left.append(f"{name} (finalizers: {held})" if held else name)
        return left

    def _storage(self, claim: Tree) -> dict[str, Any]:
        name = (claim.get("spec") or {}).get("storageClassName")
        classes = self._session.list(self._session.kinds.find("storageclasses"))
        default = "storageclass.kubernetes.io/is-default-class"
        return {
            "storage_class": next((c for c in classes if c["metadata"]["name"] == name), None),
            "has_default_class": any(
                (c["metadata"].get("annotations") or {}).get(default) == "true" for c in classes
            ),
        }

    def _find(
        self, plural: str, name: str, namespace: str, *, unknown: Tree | None = None
    ) -> Tree | None:
        """The object; ``unknown`` when we may not look."""
        try:
            return self._session.find(self._session.kinds.find(plural), name, namespace)
        except ApiError as error:
            if error.code == 403:
                return unknown
            raise


def _owned_by(tree: Tree, uids: set[Any]) -> bool:
    return any(
        owner.get("controller") and owner.get("uid") in uids
        for owner in tree["metadata"].get("ownerReferences") or ()
    )


def needed_objects(pod: Tree) -> set[tuple[str, str]]:
    """(kind, name) of what the pod cannot start without. Pure."""
    found: set[tuple[str, str]] = set()

    def need(kind: str, reference: Tree | None, key: str = "name") -> None:
        if reference and reference.get(key) and not reference.get("optional"):
            found.add((kind, reference[key]))

    spec = pod.get("spec") or {}
    for volume in spec.get("volumes") or ():
        need("configmap", volume.get("configMap"))
        need("secret", volume.get("secret"), "secretName")
        need("persistentvolumeclaim", volume.get("persistentVolumeClaim"), "claimName")
        for part in (volume.get("projected") or {}).get("sources") or ():
            need("configmap", part.get("configMap"))
            need("secret", part.get("secret"))
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            for entry in container.get("env") or ():
                source = entry.get("valueFrom") or {}
                need("configmap", source.get("configMapKeyRef"))
                need("secret", source.get("secretKeyRef"))
            for source in container.get("envFrom") or ():
                need("configmap", source.get("configMapRef"))
                need("secret", source.get("secretRef"))
    return found
