"""What a pod's RuntimeClass costs and where it can run becomes part of the pod.

https://kubernetes.io/docs/concepts/containers/runtime-class/
"""

from __future__ import annotations

from kutter.apiserver.admission.plugin import Plugin, refusal
from kutter.apiserver.ports import AdmissionRequest, Operation, Tree

_CLASSES = "runtimeclasses.node.k8s.io"


class RuntimeClass(Plugin):
    name = "RuntimeClass"
    repeatable = True

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource == "pods" and operation == "CREATE"

    async def mutate(self, request: AdmissionRequest) -> None:
        assert request.object is not None
        spec: Tree = request.object.setdefault("spec", {})
        runtime_class = _class_of(request, spec)
        if runtime_class is None:
            return
        overhead = (runtime_class.get("overhead") or {}).get("podFixed")
        if overhead:
            if spec.get("overhead") and spec["overhead"] != overhead:
                raise refusal(
                    request,
                    "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
                )
            spec["overhead"] = dict(overhead)
        _restrict(request, spec, runtime_class.get("scheduling") or {})

    async def validate(self, request: AdmissionRequest) -> None:
        assert request.object is not None
        spec: Tree = request.object.get("spec") or {}
        runtime_class = _class_of(request, spec)
        defined = ((runtime_class or {}).get("overhead") or {}).get("podFixed")
        if spec.get("overhead") and not defined:
            raise refusal(
                request,
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined "
                "Overhead",
            )


def _class_of(request: AdmissionRequest, spec: Tree) -> Tree | None:
    name = spec.get("runtimeClassName")
    if not name:
        return None
    found = request.reader.get(_CLASSES, "", name)
    if found is None:
        raise refusal(request, f'pod rejected: RuntimeClass "{name}" not found')
    return found


def _restrict(request: AdmissionRequest, spec: Tree, scheduling: Tree) -> None:
    selector: Tree = scheduling.get("nodeSelector") or {}
    own: Tree = spec.get("nodeSelector") or {}
    for key, value in selector.items():
        if key in own and own[key] != value:
            raise refusal(
                request,
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {own[key]}",
            )
    if selector:
        spec["nodeSelector"] = {**own, **selector}
    have: list[Tree] = spec.get("tolerations") or []
    lacking = [dict(t) for t in scheduling.get("tolerations") or () if t not in have]
    if lacking:
        spec["tolerations"] = have + lacking
