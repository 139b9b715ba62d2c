"""Which objects the pods of a node refer to, kept up to date from the read cache.

Between pods as they are bound and :mod:`kutter.apiserver.authz.node`. Laws:

* A pod counts from the moment it is bound to a node until it is deleted.
* What a pod refers to is fixed when it is bound, so its later changes cost nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from kutter.apiserver.ports import Change, Reader, Snapshot, Tree

Reference = tuple[str, str, str]  # resource, namespace, name

# Without it in its bytes a pod is not bound: most changes of unbound pods need no decoding.
_NODE_NAME = b'"nodeName":'

# Without them in its bytes none of a pod's containers refers to anything, so that only the rest of
# the specification is read: a scheduler binds thousands.
_OF_CONTAINERS = (b'"envFrom":', b'"valueFrom":')

# Volume sources that name a secret under ``secretRef`` or the like.
_SECRET_FIELDS = ("secretRef", "nodePublishSecretRef", "chapAuthSecretRef")


class _Spec(msgspec.Struct, rename="camel", omit_defaults=True):
    """All that is looked at in a specification but containers."""

    node_name: str | None = None
    service_account_name: str | None = None
    service_account: str | None = None
    image_pull_secrets: list[Any] | None = None
    volumes: list[Any] | None = None
    resource_claims: list[Any] | None = None


class _Pod(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)


_decode_pod = msgspec.json.Decoder(_Pod).decode


class NodeGraph:
    """References of bound pods, by node."""

    def __init__(self) -> None:
        self._pods: dict[tuple[str, str], tuple[str, tuple[Reference, ...]]] = {}
        self._by_node: dict[str, Counter[Reference]] = {}

    def follow(self, reader: Reader) -> None:
        """Load the pods ``reader`` holds and follow their changes."""
        reader.on_change("pods", self._changed)
        for tree in reader.list("pods"):
            self.add_pod(tree)

    def refers(self, node: str, resource: str, namespace: str, name: str) -> bool:
        """Whether a pod on ``node`` refers to the object."""
        counts = self._by_node.get(node)
        return counts is not None and (resource, namespace, name) in counts

    def is_on(self, node: str, namespace: str, pod: str) -> bool:
        """Whether the pod is bound to ``node``."""
        found = self._pods.get((namespace, pod))
        return found is not None and found[0] == node

    def _changed(self, changes: list[Change]) -> None:
        for change in changes:
            key = (change.current.namespace, change.current.name)
            if change.type == "DELETED":
                self.remove_pod(*key)
            elif key not in self._pods and _NODE_NAME in change.current.tail:
                self.add_pod(_relevant_part(change.current))

    def add_pod(self, tree: Tree) -> None:
        """A pod is there; it counts if it is bound."""
        metadata, spec = tree["metadata"], tree.get("spec") or {}
        node = spec.get("nodeName")
        key = (metadata["namespace"], metadata["name"])
        if not node or key in self._pods:
            return
        references = tuple(dict.fromkeys(references_of(tree)))
        self._pods[key] = (node, references)
        self._by_node.setdefault(node, Counter()).update(references)

    def remove_pod(self, namespace: str, name: str) -> None:
        """A pod is gone."""
        node, references = self._pods.pop((namespace, name), ("", ()))
        counts = self._by_node.get(node)
        if counts is None:
            return
        for reference in references:
            counts[reference] -= 1
            if counts[reference] <= 0:
                del counts[reference]
        if not counts:
            del self._by_node[node]


def _relevant_part(pod: Snapshot) -> Tree:
    """What :func:`references_of` looks at, and the node."""
    tail = pod.tail
    if any(mark in tail for mark in _OF_CONTAINERS):
        return pod.tree
    spec: Tree = msgspec.to_builtins(_decode_pod(b"{" + tail).spec)
    return {"metadata": {"namespace": pod.namespace, "name": pod.name}, "spec": spec}


def references_of(pod: Tree) -> Iterator[Reference]:
    """Everything of its namespace a pod may make its node read."""
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    namespace = metadata["namespace"]
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        yield ("serviceaccounts", namespace, account)
    for resource, name in _of_spec(metadata["name"], spec):
        if name:
            yield (resource, namespace, name)


def _of_spec(pod_name: str, spec: Tree) -> Iterator[tuple[str, str]]:
    for secret in spec.get("imagePullSecrets") or ():
        yield ("secrets", secret.get("name", ""))
    for field in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            yield from _of_container(container)
    for volume in spec.get("volumes") or ():
        yield from _of_volume(pod_name, volume)
    for claim in spec.get("resourceClaims") or ():
        yield ("resourceclaims", claim.get("resourceClaimName") or "")


def _of_container(container: Tree) -> Iterator[tuple[str, str]]:
    for source in container.get("envFrom") or ():
        yield ("configmaps", (source.get("configMapRef") or {}).get("name", ""))
        yield ("secrets", (source.get("secretRef") or {}).get("name", ""))
    for variable in container.get("env") or ():
        value = variable.get("valueFrom") or {}
        yield ("configmaps", (value.get("configMapKeyRef") or {}).get("name", ""))
        yield ("secrets", (value.get("secretKeyRef") or {}).get("name", ""))


def _of_volume(pod_name: str, volume: Tree) -> Iterator[tuple[str, str]]:
    for kind, source in volume.items():
        if not isinstance(source, dict):
            continue
        match kind:
            case "secret":
                yield ("secrets", source.get("secretName", ""))
            case "configMap":
                yield ("configmaps", source.get("name", ""))
            case "persistentVolumeClaim":
                yield ("persistentvolumeclaims", source.get("claimName", ""))
            case "ephemeral":
                yield ("persistentvolumeclaims", f"{pod_name}-{volume.get('name', '')}")
            case "azureFile":
                yield ("secrets", source.get("secretName", ""))
            case "projected":
                for part in source.get("sources") or ():
                    yield ("secrets", (part.get("secret") or {}).get("name", ""))
                    yield ("configmaps", (part.get("configMap") or {}).get("name", ""))
            case _:
                for field in _SECRET_FIELDS:
                    reference = source.get(field)
                    if isinstance(reference, dict):
                        yield ("secrets", reference.get("name", ""))
