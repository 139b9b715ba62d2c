"""A new node takes no pods before it has reported ready (TaintNodesByCondition).

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#taintnodesbycondition
"""

from __future__ import annotations

from kutter.apiserver.admission.plugin import Plugin
from kutter.apiserver.ports import AdmissionRequest, Operation, Tree

_NOT_READY = "node.kubernetes.io/not-ready"


class TaintNodesByCondition(Plugin):
    name = "TaintNodesByCondition"

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource == "nodes" and operation == "CREATE"

    async def mutate(self, request: AdmissionRequest) -> None:
        assert request.object is not None
        spec: Tree = request.object.setdefault("spec", {})
        taints: list[Tree] = spec.get("taints") or []
        if not any(t.get("key") == _NOT_READY and t.get("effect") == "NoSchedule" for t in taints):
            spec["taints"] = [*taints, {"key": _NOT_READY, "effect": "NoSchedule"}]
