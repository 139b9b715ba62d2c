"""A pod's priority is its class's, never its own.

https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/
"""

from __future__ import annotations

from kutter.apiserver.admission.plugin import Plugin, refusal
from kutter.apiserver.ports import AdmissionRequest, Operation, Reader, Tree

CLASSES = "priorityclasses.scheduling.k8s.io"
DEFAULT_POLICY = "PreemptLowerPriority"


def _system_class(name: str, value: int, description: str) -> Tree:
    return {
        "kind": "PriorityClass",
        "apiVersion": "scheduling.k8s.io/v1",
        "metadata": {"name": name},
        "value": value,
        "description": description,
        "preemptionPolicy": DEFAULT_POLICY,
    }


# Every cluster has them; whoever starts the API server creates them. They resolve without being
# there, too: system pods may be the first thing that is created.
SYSTEM_CLASSES: tuple[Tree, ...] = (
    _system_class(
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    _system_class(
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another "
        "node if necessary.",
    ),
)
_SYSTEM_BY_NAME = {tree["metadata"]["name"]: tree for tree in SYSTEM_CLASSES}


class Priority(Plugin):
    name = "Priority"
    repeatable = True

    def __init__(self) -> None:
        self._default: tuple[int, Tree | None] | None = None  # as of a revision

    def wants(self, resource: str, operation: Operation) -> bool:
        if resource == "pods":
            return operation == "CREATE"
        return resource == CLASSES and operation in ("CREATE", "UPDATE")

    async def mutate(self, request: AdmissionRequest) -> None:
        if request.resource.plural != "pods":
            return
        assert request.object is not None
        spec: Tree = request.object.setdefault("spec", {})
        chosen = self._class_of(request, spec)
        priority = int(chosen.get("value", 0)) if chosen else 0
        policy = str((chosen or {}).get("preemptionPolicy") or DEFAULT_POLICY)
        given = spec.get("priority")
        if given is not None and given != priority:
            raise refusal(
                request,
                f"the integer value of priority ({given}) must not be provided in pod spec; "
                f"priority admission controller computed {priority} from the given "
                "PriorityClass name",
            )
        given_policy = spec.get("preemptionPolicy")
        if given_policy is not None and given_policy != policy:
            raise refusal(
                request,
                f"the string value of PreemptionPolicy ({given_policy}) must not be provided in "
                f"pod spec; priority admission controller computed {policy} from the given "
                "PriorityClass name",
            )
        spec["priority"] = priority
        spec["preemptionPolicy"] = policy

    def _class_of(self, request: AdmissionRequest, spec: Tree) -> Tree | None:
        name = spec.get("priorityClassName")
        if name:
            found = request.reader.get(CLASSES, "", name) or _SYSTEM_BY_NAME.get(name)
            if found is None:
                raise refusal(request, f"no PriorityClass with name {name} was found")
            return found
        # Every pod asks; the classes are decoded again only when one has changed.
        revision = request.reader.revision(CLASSES)
        if self._default is None or self._default[0] != revision:
            self._default = (revision, _global_default(request.reader))
        default = self._default[1]
        if default is not None:
            spec["priorityClassName"] = default["metadata"]["name"]
        return default

    async def validate(self, request: AdmissionRequest) -> None:
        tree = request.object
        if request.resource.plural == "pods" or not tree or not tree.get("globalDefault"):
            return
        own = tree["metadata"].get("name")
        other = _global_default(request.reader)
        if other is not None and other["metadata"]["name"] != own:
            raise refusal(
                request,
                f"PriorityClass {other['metadata']['name']} is already marked as default. "
                "Only one default can exist",
            )


def _global_default(reader: Reader) -> Tree | None:
    """The default class; of several the lowest, so that nobody gains by a mistake."""
    defaults = [tree for tree in reader.list(CLASSES) if tree.get("globalDefault")]
    return min(defaults, key=lambda tree: int(tree.get("value", 0)), default=None)
