"""How many pods the owners of some pods want in all.

Known workloads are read from informers; any other owner is asked for its scale subresource, so
that custom resources count too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kutter.api.catalog import Catalog, split_api_version
from kutter.api.errors import ApiError, is_reason
from kutter.api.types.apps_v1 import Deployment, ReplicaSet, StatefulSet
from kutter.api.types.core_v1 import Pod, ReplicationController
from kutter.api.types.meta_v1 import KubeObject, OwnerReference
from kutter.client.client import Client
from kutter.machinery.informer import Informer, InformerFactory
from kutter.machinery.ownership import controller_of


class ScaleUnknown(Exception):
    """The message says which pod's owner cannot be asked, and why."""


class OwnerScales:
    """Looks up the size that controllers of pods are meant to have."""

    def __init__(self, client: Client, informers: InformerFactory, catalog: Catalog) -> None:
        self._client = client
        self._catalog = catalog
        self._known: dict[tuple[str, str], Informer[Any]] = {
            (view.resource.group, view.resource.kind): informers.informer(view)
            for view in (ReplicationController, ReplicaSet, Deployment, StatefulSet)
        }

    def informers(self) -> Iterable[Informer[Any]]:
        """The workloads whose change of size matters."""
        return self._known.values()

    async def total(self, pods: Iterable[Pod]) -> tuple[int, list[str]]:
        """The sum over the distinct owners, and the names of pods nobody owns.

        Raises ScaleUnknown when an owner has no size.
        """
        total = 0
        unmanaged: list[str] = []
        seen: set[str] = set()
        for pod in pods:
            owner = controller_of(pod)
            if owner is None:
                unmanaged.append(pod.metadata.name)
                continue
            if owner.uid in seen:
                continue
            seen.add(owner.uid)
            top, size = await self._size(pod, owner)
            if top not in seen or top == owner.uid:
                total += size
                seen.add(top)
        return total, unmanaged

    async def _size(self, pod: Pod, owner: OwnerReference) -> tuple[str, int]:
        """Whose size counts (its uid), and the size."""
        namespace = pod.metadata.namespace
        found = self._lookup(owner, namespace)
        above = controller_of(found) if found is not None else None
        if above is not None and above.kind == "Deployment":
            higher = self._lookup(above, namespace)
            if higher is not None:
                return above.uid, _replicas(higher)
        if found is not None:
            return owner.uid, _replicas(found)
        return owner.uid, await self._ask(pod, owner)

    def _lookup(self, owner: OwnerReference, namespace: str) -> KubeObject | None:
        group, _ = split_api_version(owner.api_version)
        informer = self._known.get((group, owner.kind))
        found: KubeObject | None = informer.get(f"{namespace}/{owner.name}") if informer else None
        return found if found is not None and found.metadata.uid == owner.uid else None

    async def _ask(self, pod: Pod, owner: OwnerReference) -> int:
        group, version = split_api_version(owner.api_version)
        resource = self._catalog.find_kind(group, version, owner.kind)
        if resource is not None and "scale" not in resource.subresources:
            raise ScaleUnknown(
                f"{resource.group_resource} does not implement the scale subresource"
            )
        if resource is not None:
            try:
                scale = await self._client.get_tree(
                    resource, owner.name, pod.metadata.namespace, subresource="scale"
                )
            except ApiError as error:
                if not is_reason(error, "NotFound"):
                    raise
            else:
                if scale["metadata"].get("uid") == owner.uid:
                    return int((scale.get("spec") or {}).get("replicas") or 0)
        raise ScaleUnknown(f'found no controllers for pod "{pod.metadata.name}"')


def _replicas(item: Any) -> int:
    return item.spec.replicas if item.spec.replicas is not None else 1
