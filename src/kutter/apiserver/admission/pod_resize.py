"""A resize that can never fit its node is refused (PodResizeValidator).

https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/
"""

from __future__ import annotations

from kutter.api.pod_requests import pod_requests
from kutter.api.quantity import milli, whole
from kutter.api.types.base import convert
from kutter.api.types.core_v1 import Pod
from kutter.apiserver.admission.plugin import Plugin, refusal
from kutter.apiserver.ports import AdmissionRequest, Operation

_OS = "kubernetes.io/os"


class PodResizeValidator(Plugin):
    name = "PodResizeValidator"

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource == "pods/resize" and operation == "UPDATE"

    async def validate(self, request: AdmissionRequest) -> None:
        new, old = request.object or {}, request.old or {}
        name = (new.get("spec") or {}).get("nodeName")
        if not name or new["metadata"].get("generation") == old["metadata"].get("generation"):
            return
        node = request.reader.get("nodes", "", name)
        if node is None:
            raise refusal(request, f'node "{name}" not found')
        allocatable = (node.get("status") or {}).get("allocatable") or {}
        asked = pod_requests(convert(Pod, new))
        lacking = [
            f"{resource}, requested: {asked[resource]}, allocatable: {there}"
            for resource, there in (
                ("cpu", milli(allocatable.get("cpu", "0"))),
                ("memory", whole(allocatable.get("memory", "0"))),
            )
            if asked.get(resource, 0) > there
        ]
        if lacking:
            raise refusal(
                request, f"Node didn't have enough allocatable resources: {'; '.join(lacking)}"
            )
        system = (node["metadata"].get("labels") or {}).get(_OS, "")
        if system != "linux":
            raise refusal(
                request,
                f'pod resize is only supported on linux nodes, node "{name}" is "{system}"',
            )
