"""Small plugins that are off unless ``--enable-admission-plugins`` names them.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from kutter.api.errors import ApiError, is_reason, not_found, not_supported
from kutter.apiserver.admission.plugin import Plugin, refusal
from kutter.apiserver.ports import AdmissionRequest, Operation, Tree
from kutter.apiserver.validation.pod_resources import is_extended

_HOST_NAME = "kubernetes.io/hostname"
_LISTS = ("initContainers", "containers", "ephemeralContainers")


def _containers(tree: Tree) -> Iterator[tuple[str, Tree]]:
    """Every container of a pod with its path."""
    spec = tree.get("spec") or {}
    for listing in _LISTS:
        for index, container in enumerate(spec.get(listing) or ()):
            yield f"spec.{listing}[{index}]", container


def _images(tree: Tree | None) -> set[str]:
    return {str(c.get("image")) for _, c in _containers(tree or {})}


class AlwaysPullImages(Plugin):
    """A pod cannot run an image that somebody else was allowed to pull."""

    name = "AlwaysPullImages"
    repeatable = True

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource in ("pods", "pods/ephemeralcontainers") and operation != "CONNECT"

    async def mutate(self, request: AdmissionRequest) -> None:
        tree = request.object
        if tree is None or (request.old is not None and _images(tree) <= _images(request.old)):
            return
        for _, container in _containers(tree):
            container["imagePullPolicy"] = "Always"
        for volume in (tree.get("spec") or {}).get("volumes") or ():
            if volume.get("image"):
                volume["image"]["pullPolicy"] = "Always"

    async def validate(self, request: AdmissionRequest) -> None:
        tree = request.object
        if tree is None or (request.old is not None and _images(tree) <= _images(request.old)):
            return
        for path, container in _containers(tree):
            policy = container.get("imagePullPolicy")
            if policy != "Always":
                error = not_supported(f"{path}.imagePullPolicy", policy or "", ["Always"])
                raise refusal(request, str(error))


class AlwaysDeny(Plugin):
    name = "AlwaysDeny"

    def wants(self, resource: str, operation: Operation) -> bool:
        return True

    async def validate(self, request: AdmissionRequest) -> None:
        raise refusal(request, "admission control is denying all modifications")


class DenyServiceExternalIPs(Plugin):
    """Nobody takes over traffic to an address by writing it into a service."""

    name = "DenyServiceExternalIPs"

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource == "services" and operation in ("CREATE", "UPDATE")

    async def validate(self, request: AdmissionRequest) -> None:
        new, old = (
            set(((tree or {}).get("spec") or {}).get("externalIPs") or ())
            for tree in (request.object, request.old)
        )
        if new - old:
            raise refusal(request, "Use of external IPs is denied by admission control.")


class ExtendedResourceToleration(Plugin):
    """Nodes with special hardware can be tainted by its name: who asks for it is tolerant."""

    name = "ExtendedResourceToleration"
    repeatable = True

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource == "pods" and operation in ("CREATE", "UPDATE")

    async def mutate(self, request: AdmissionRequest) -> None:
        assert request.object is not None
        asked = {
            name
            for _, container in _containers(request.object)
            for name in (container.get("resources") or {}).get("requests") or ()
            if is_extended(name)
        }
        if not asked:
            return
        spec = request.object["spec"]
        have: list[Tree] = spec.get("tolerations") or []
        wanted = [
            {"key": name, "operator": "Exists", "effect": "NoSchedule"} for name in sorted(asked)
        ]
        spec["tolerations"] = have + [t for t in wanted if t not in have]


class LimitPodHardAntiAffinityTopology(Plugin):
    """A pod may keep others off its node, not off a whole zone."""

    name = "LimitPodHardAntiAffinityTopology"
    repeatable = True

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource == "pods" and operation in ("CREATE", "UPDATE")

    async def validate(self, request: AdmissionRequest) -> None:
        spec = (request.object or {}).get("spec") or {}
        rules = (spec.get("affinity") or {}).get("podAntiAffinity") or {}
        for term in rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ():
            key = term.get("topologyKey")
            if key != _HOST_NAME:
                raise refusal(
                    request,
                    "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey "
                    f"{key} but only key {_HOST_NAME} is allowed",
                )


CreateNamespace = Callable[[str], Awaitable[None]]


class NamespaceAutoProvision(Plugin):
    """Whoever makes something in a namespace that is not there gets the namespace, too."""

    name = "NamespaceAutoProvision"

    def __init__(self) -> None:
        # Set by the composition, once there is a server to make it in.
        self.create: CreateNamespace | None = None

    def wants(self, resource: str, operation: Operation) -> bool:
        return operation == "CREATE" and resource != "namespaces"

    async def mutate(self, request: AdmissionRequest) -> None:
        namespace = request.namespace
        if not namespace or request.dry_run or self.create is None:
            return
        if not request.resource.namespaced or request.reader.exists("namespaces", "", namespace):
            return
        try:
            await self.create(namespace)
        except ApiError as error:
            if not is_reason(error, "AlreadyExists"):
                raise refusal(request, error.message) from error


class NamespaceExists(Plugin):
    name = "NamespaceExists"
    repeatable = True

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource != "namespaces" and not resource.startswith("namespaces/")

    async def validate(self, request: AdmissionRequest) -> None:
        namespace = request.namespace
        if namespace and not request.reader.exists("namespaces", "", namespace):
            raise not_found("namespaces", namespace)
