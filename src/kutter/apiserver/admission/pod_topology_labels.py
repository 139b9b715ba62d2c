"""A pod carries the zone and region of its node as labels (PodTopologyLabels).

So that the downward API can tell it, without rights to read nodes.
https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#podtopologylabels
"""

from __future__ import annotations

from kutter.apiserver.admission.plugin import Plugin
from kutter.apiserver.ports import AdmissionRequest, Operation

_KEYS = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class PodTopologyLabels(Plugin):
    name = "PodTopologyLabels"
    repeatable = True
    reads_bound_pods = False

    def wants(self, resource: str, operation: Operation) -> bool:
        if resource == "pods":
            return operation == "CREATE"
        # What a binding changes is its pod.
        return resource == "pods/binding" and operation == "UPDATE"

    async def mutate(self, request: AdmissionRequest) -> None:
        assert request.object is not None
        node = (request.object.get("spec") or {}).get("nodeName")
        if not node:
            return
        labels = request.reader.labels("nodes", "", node) or {}
        found = {key: labels[key] for key in _KEYS if key in labels}
        if not found:
            return
        own = request.object["metadata"].get("labels") or {}
        # A pod that is born on its node keeps what it says; the scheduler's choice overrides.
        request.object["metadata"]["labels"] = (
            {**own, **found} if request.subresource else {**found, **own}
        )
