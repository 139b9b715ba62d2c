"""Claims, volumes and attributes classes being deleted stay while something uses them.

Owns: the protection finalizers that admission puts on them. Reads: all three, and pods.
Invariants: a finalizer goes only from an object that is being deleted and is not in use.
Upstream: kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kutter.api.errors import ApiError, is_reason
from kutter.api.types.core_v1 import PersistentVolume, PersistentVolumeClaim, Pod
from kutter.api.types.meta_v1 import KubeObject
from kutter.api.types.storage_v1 import VolumeAttributesClass
from kutter.client.client import Client
from kutter.machinery.controller import Change, Result, Source, own_key
from kutter.machinery.informer import InformerFactory, split_key

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"
CLASS_FINALIZER = "kubernetes.io/vac-protection"


def claims_of(pod: Pod) -> list[str]:
    """Names of the claims a pod uses. One that is not scheduled will not start with a claim
    that is being deleted, so it does not count. Pure.
    """
    if not pod.spec.node_name:
        return []
    names = []
    for volume in pod.spec.volumes:
        if volume.persistent_volume_claim is not None:
            names.append(volume.persistent_volume_claim.claim_name)
        elif volume.ephemeral is not None:
            names.append(f"{pod.metadata.name}-{volume.name}")
    return names


class ClaimProtection:
    name = "persistentvolumeclaim-protection"

    def __init__(self, client: Client, informers: InformerFactory) -> None:
        self._client = client
        self._claims = informers.informer(PersistentVolumeClaim)
        self._pods = informers.informer(Pod)
        self._pods.add_index("claim", _claim_keys)

    def sources(self) -> Sequence[Source]:
        return [Source(self._claims, own_key), Source(self._pods, self._pod_keys)]

    def _pod_keys(self, change: Change[Pod]) -> Iterable[str]:
        """A pod that is gone may have been the last user of its claims."""
        return _claim_keys(change.old) if change.new is None and change.old is not None else ()

    async def reconcile(self, key: str) -> Result:
        claim = self._claims.get(key)
        if claim is None or not _is_held(claim, CLAIM_FINALIZER):
            return Result()
        users = self._pods.by_index("claim", key)
        if users:
            return Result(f"it is used by pod {users[0].metadata.name}")
        await _let_go(self._client, claim, CLAIM_FINALIZER)
        return Result("no pod uses it")


class VolumeProtection:
    name = "persistentvolume-protection"

    def __init__(self, client: Client, informers: InformerFactory) -> None:
        self._client = client
        self._volumes = informers.informer(PersistentVolume)

    def sources(self) -> Sequence[Source]:
        return [Source(self._volumes, own_key)]

    async def reconcile(self, key: str) -> Result:
        _, name = split_key(key)
        volume = self._volumes.get(key)
        if volume is None or not _is_held(volume, VOLUME_FINALIZER):
            return Result()
        if volume.status.phase == "Bound":
            return Result(f"volume {name} is bound to a claim")
        await _let_go(self._client, volume, VOLUME_FINALIZER)
        return Result("no claim is bound to it")


class AttributesClassProtection:
    name = "volumeattributesclass-protection"

    def __init__(self, client: Client, informers: InformerFactory) -> None:
        self._client = client
        self._classes = informers.informer(VolumeAttributesClass)
        self._claims = informers.informer(PersistentVolumeClaim)
        self._volumes = informers.informer(PersistentVolume)
        self._claims.add_index("attributes-class", classes_of_claim)
        self._volumes.add_index("attributes-class", classes_of_volume)

    def sources(self) -> Sequence[Source]:
        return [
            Source(self._classes, own_key),
            Source(self._claims, self._claim_keys),
            Source(self._volumes, self._volume_keys),
        ]

    def _claim_keys(self, change: Change[PersistentVolumeClaim]) -> Iterable[str]:
        """Classes that a claim named before: this may have been their last user."""
        return classes_of_claim(change.old) if change.old is not None else ()

    def _volume_keys(self, change: Change[PersistentVolume]) -> Iterable[str]:
        return classes_of_volume(change.old) if change.old is not None else ()

    async def reconcile(self, key: str) -> Result:
        item = self._classes.get(key)
        if item is None or not _is_held(item, CLASS_FINALIZER):
            return Result()
        users: list[KubeObject] = [
            *self._claims.by_index("attributes-class", key),
            *self._volumes.by_index("attributes-class", key),
        ]
        if users:
            return Result(f"{users[0].metadata.name} names it")
        await _let_go(self._client, item, CLASS_FINALIZER)
        return Result("no claim and no volume names it")


def classes_of_claim(claim: PersistentVolumeClaim) -> list[str]:
    """Attributes classes that a claim wants, has, or is on the way to. Pure."""
    modify = claim.status.modify_volume_status
    named = (
        claim.spec.volume_attributes_class_name,
        claim.status.current_volume_attributes_class_name,
        modify.target_volume_attributes_class_name if modify is not None else None,
    )
    return list(dict.fromkeys(name for name in named if name))


def classes_of_volume(volume: PersistentVolume) -> list[str]:
    name = volume.spec.volume_attributes_class_name
    return [name] if name else []


def _claim_keys(pod: Pod) -> list[str]:
    return [f"{pod.metadata.namespace}/{name}" for name in claims_of(pod)]


def _is_held(item: KubeObject, finalizer: str) -> bool:
    return bool(item.metadata.deletion_timestamp) and finalizer in item.metadata.finalizers


async def _let_go(client: Client, item: KubeObject, finalizer: str) -> None:
    meta = item.metadata
    body = {
        "metadata": {
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
            "finalizers": [f for f in meta.finalizers if f != finalizer],
        }
    }
    try:
        await client.patch(item.resource, meta.name, body, meta.namespace)
    except ApiError as error:
        if not is_reason(error, "NotFound"):
            raise
