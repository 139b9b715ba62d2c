"""Claims grow only where their storage class says volumes can (PersistentVolumeClaimResize).

https://kubernetes.io/docs/concepts/storage/persistent-volumes/#expanding-persistent-volumes-claims
"""

from __future__ import annotations

from kutter.api.quantity import parse
from kutter.apiserver.admission.plugin import Plugin, refusal
from kutter.apiserver.ports import AdmissionRequest, Operation, Tree


class PersistentVolumeClaimResize(Plugin):
    name = "PersistentVolumeClaimResize"

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource == "persistentvolumeclaims" and operation == "UPDATE"

    async def validate(self, request: AdmissionRequest) -> None:
        new, old = request.object or {}, request.old or {}
        wanted, had = _storage(new), _storage(old)
        if wanted is None or had is None or parse(wanted) <= parse(had):
            return
        if (old.get("status") or {}).get("phase") != "Bound":
            raise refusal(request, "Only bound persistent volume claims can be expanded")
        name = (new.get("spec") or {}).get("storageClassName")
        found = name and request.reader.get("storageclasses.storage.k8s.io", "", name)
        if not found or not found.get("allowVolumeExpansion"):
            raise refusal(
                request,
                "only dynamically provisioned pvc can be resized and the storageclass that "
                "provisions the pvc must support resize",
            )


def _storage(claim: Tree) -> str | None:
    resources = (claim.get("spec") or {}).get("resources") or {}
    return (resources.get("requests") or {}).get("storage")
