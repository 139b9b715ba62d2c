"""Pods stay five minutes on a node that went away, unless they say otherwise.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#defaulttolerationseconds
"""

from __future__ import annotations

from kutter.apiserver.admission.plugin import Plugin
from kutter.apiserver.ports import AdmissionRequest, Operation, Tree

_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_EFFECTS = ("NoExecute", "")
_SECONDS = 300


class DefaultTolerationSeconds(Plugin):
    name = "DefaultTolerationSeconds"
    repeatable = True
    spares_spec = True

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource == "pods" and operation in ("CREATE", "UPDATE")

    async def mutate(self, request: AdmissionRequest) -> None:
        assert request.object is not None
        spec: Tree = request.object.setdefault("spec", {})
        tolerations: list[Tree] = spec.get("tolerations") or []
        lacking: tuple[str, ...] = _TAINTS
        for own in tolerations:
            if own.get("effect", "") in _EFFECTS:
                key = own.get("key", "")
                lacking = tuple([taint for taint in lacking if key not in (taint, "")])
        if lacking:
            more = [
                {
                    "key": taint,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": _SECONDS,
                }
                for taint in lacking
            ]
            request.object["spec"] = {**spec, "tolerations": [*tolerations, *more]}
