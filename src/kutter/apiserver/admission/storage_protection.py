"""Claims and volumes in use outlive their deletion (StorageObjectInUseProtection).

https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection
"""

from __future__ import annotations

from kutter.apiserver.admission.plugin import Plugin
from kutter.apiserver.ports import AdmissionRequest, Operation, Tree

_FINALIZERS = {
    "persistentvolumeclaims": "kubernetes.io/pvc-protection",
    "persistentvolumes": "kubernetes.io/pv-protection",
    "volumeattributesclasses.storage.k8s.io": "kubernetes.io/vac-protection",
}


class StorageObjectInUseProtection(Plugin):
    name = "StorageObjectInUseProtection"

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource in _FINALIZERS and operation == "CREATE"

    async def mutate(self, request: AdmissionRequest) -> None:
        assert request.object is not None
        metadata: Tree = request.object.setdefault("metadata", {})
        finalizer = _FINALIZERS[request.resource.group_resource]
        have = metadata.get("finalizers") or []
        if finalizer not in have:
            metadata["finalizers"] = [*have, finalizer]
