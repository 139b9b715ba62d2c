"""A claim without a storage class and an ingress without an ingress class get the default one.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#defaultstorageclass
https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#defaultingressclass
"""

from __future__ import annotations

from kutter.apiserver.admission.plugin import Plugin
from kutter.apiserver.ports import AdmissionRequest, Operation, Reader, Tree

_STORAGE_MARKS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
_INGRESS_MARKS = ("ingressclass.kubernetes.io/is-default-class",)


class DefaultStorageClass(Plugin):
    name = "DefaultStorageClass"

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource == "persistentvolumeclaims" and operation == "CREATE"

    async def mutate(self, request: AdmissionRequest) -> None:
        assert request.object is not None
        spec: Tree = request.object.setdefault("spec", {})
        # An empty name is a choice: no class.
        if spec.get("storageClassName") is not None:
            return
        if "volume.beta.kubernetes.io/storage-class" in _annotations(request.object):
            return
        chosen = _newest_default(request.reader, "storageclasses.storage.k8s.io", _STORAGE_MARKS)
        if chosen is not None:
            spec["storageClassName"] = chosen


class DefaultIngressClass(Plugin):
    name = "DefaultIngressClass"

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource == "ingresses.networking.k8s.io" and operation == "CREATE"

    async def mutate(self, request: AdmissionRequest) -> None:
        assert request.object is not None
        spec: Tree = request.object.setdefault("spec", {})
        if spec.get("ingressClassName") is not None:
            return
        if "kubernetes.io/ingress.class" in _annotations(request.object):
            return
        chosen = _newest_default(request.reader, "ingressclasses.networking.k8s.io", _INGRESS_MARKS)
        if chosen is not None:
            spec["ingressClassName"] = chosen


def _annotations(tree: Tree) -> Tree:
    return (tree.get("metadata") or {}).get("annotations") or {}


def _newest_default(reader: Reader, resource: str, marks: tuple[str, ...]) -> str | None:
    """Of several defaults the newest counts, of equally new ones the first by name."""
    names = [
        tree["metadata"]
        for tree in reader.list(resource)
        if any(_annotations(tree).get(mark) == "true" for mark in marks)
    ]
    names.sort(key=lambda metadata: str(metadata["name"]))
    newest = max(names, key=lambda metadata: metadata.get("creationTimestamp") or "", default=None)
    return None if newest is None else str(newest["name"])
