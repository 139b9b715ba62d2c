"""Binds claims to volumes that exist, and tells each volume's phase.

Owns: ``spec.claimRef`` and phase of volumes, ``spec.volumeName`` and status of claims.
Reads: claims, volumes, storage classes.
Invariants: the volume is reserved before the claim is told, each at the revision read, so a
volume never has two claims; a volume once bound is given to nobody else.
Not here: volumes made on demand, and classes that wait for a pod (a later issue: storage).
Upstream: kubernetes.io/docs/concepts/storage/persistent-volumes/#lifecycle-of-a-volume-and-claim
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kutter.api.types.core_v1 import PersistentVolume, PersistentVolumeClaim
from kutter.api.types.storage_v1 import StorageClass
from kutter.client.client import Client
from kutter.controllers.volumes.matching import (
    choose_volume,
    is_reserved_for,
    storage_class,
    why_not,
)
from kutter.machinery.controller import Change, Result, Source, own_key
from kutter.machinery.events import EventRecorder
from kutter.machinery.informer import InformerFactory, key_of

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"


class ClaimBinder:
    name = "persistentvolumeclaim-binder"

    def __init__(self, client: Client, informers: InformerFactory, recorder: EventRecorder) -> None:
        self._client = client
        self._recorder = recorder
        self._claims = informers.informer(PersistentVolumeClaim)
        self._volumes = informers.informer(PersistentVolume)
        self._classes = informers.informer(StorageClass)

    def sources(self) -> Sequence[Source]:
        return [
            Source(self._claims, own_key),
            Source(self._volumes, self._claims_of_change),
            Source(self._classes, lambda _: ()),
        ]

    def _claims_of_change(self, change: Change[PersistentVolume]) -> Iterable[str]:
        """The claim it is bound to; a free volume may be any waiting claim's."""
        keys = set()
        for volume in (change.old, change.new):
            ref = volume.spec.claim_ref if volume is not None else None
            if ref is not None:
                keys.add(f"{ref.namespace}/{ref.name}")
        if change.new is not None and change.new.spec.claim_ref is None:
            keys.update(key_of(c) for c in self._claims.items() if c.status.phase == "Pending")
        return keys

    async def reconcile(self, key: str) -> Result:
        claim = self._claims.get(key)
        if claim is None or claim.metadata.deletion_timestamp:
            return Result()
        if BIND_COMPLETED in claim.metadata.annotations:
            return await self._check_bound(claim)
        if claim.spec.volume_name:
            volume = self._volumes.get(claim.spec.volume_name)
            if volume is None:
                return Result(f"volume {claim.spec.volume_name} does not exist yet")
            if volume.spec.claim_ref is not None and not is_reserved_for(volume, claim):
                return Result(f"volume {claim.spec.volume_name} belongs to another claim")
            problem = why_not(volume, claim)
            if problem:
                text = f'Cannot bind to requested volume "{claim.spec.volume_name}": {problem}'
                self._recorder.event(claim, "Warning", "VolumeMismatch", text)
                return Result(text)
        else:
            volume = choose_volume(claim, self._volumes.items())
            if volume is None:
                return self._say_why_waiting(claim)
        await self._bind(claim, volume)
        return Result(f"bound to volume {volume.metadata.name}")

    def _say_why_waiting(self, claim: PersistentVolumeClaim) -> Result:
        name = storage_class(claim)
        found = self._classes.get(name) if name else None
        if found is not None and found.volume_binding_mode == "WaitForFirstConsumer":
            text = "waiting for first consumer to be created before binding"
            self._recorder.event(claim, "Normal", "WaitForFirstConsumer", text)
        elif not name:
            text = "no persistent volumes available for this claim and no storage class is set"
            self._recorder.event(claim, "Normal", "FailedBinding", text)
        elif found is None:
            text = f'storageclass.storage.k8s.io "{name}" not found'
            self._recorder.event(claim, "Warning", "ProvisioningFailed", text)
        else:
            text = (
                "Waiting for a volume to be created either by the external provisioner "
                f"'{found.provisioner}' or manually by the system administrator. If volume "
                "creation is delayed, please verify that the provisioner is running and "
                "correctly registered."
            )
            self._recorder.event(claim, "Normal", "ExternalProvisioning", text)
        return Result(text)

    async def _bind(self, claim: PersistentVolumeClaim, volume: PersistentVolume) -> None:
        await self._reserve(claim, volume)
        meta, volume_meta = claim.metadata, volume.metadata
        notes = {BIND_COMPLETED: "yes"}
        if not claim.spec.volume_name:
            notes[BOUND_BY_CONTROLLER] = "yes"
        body: dict[str, Any] = {
            "metadata": {
                "uid": meta.uid,
                "resourceVersion": meta.resource_version,
                "annotations": notes,
            },
            "spec": {"volumeName": volume_meta.name},
        }
        await self._client.patch(PersistentVolumeClaim, meta.name, body, meta.namespace)
        await self._write_status(claim, volume)

    async def _reserve(self, claim: PersistentVolumeClaim, volume: PersistentVolume) -> None:
        """Write the claim into the volume, at the revision the choice was made from."""
        meta, ref = claim.metadata, volume.spec.claim_ref
        if ref is not None and ref.uid == meta.uid:
            return
        body: dict[str, Any] = {
            "metadata": {
                "uid": volume.metadata.uid,
                "resourceVersion": volume.metadata.resource_version,
            },
            "spec": {
                "claimRef": {
                    "kind": "PersistentVolumeClaim",
                    "apiVersion": "v1",
                    "namespace": meta.namespace,
                    "name": meta.name,
                    "uid": meta.uid,
                    "resourceVersion": meta.resource_version,
                }
            },
        }
        if ref is None:
            body["metadata"]["annotations"] = {BOUND_BY_CONTROLLER: "yes"}
        await self._client.patch(PersistentVolume, volume.metadata.name, body)

    async def _check_bound(self, claim: PersistentVolumeClaim) -> Result:
        volume = self._volumes.get(claim.spec.volume_name)
        if volume is not None and is_reserved_for(volume, claim):
            await self._write_status(claim, volume)
            return Result(f"bound to volume {claim.spec.volume_name}")
        if claim.status.phase != "Lost":
            text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
            self._recorder.event(claim, "Warning", "ClaimLost", text)
            meta = claim.metadata
            body = {"status": {"phase": "Lost", "accessModes": None, "capacity": None}}
            await self._client.patch(
                PersistentVolumeClaim, meta.name, body, meta.namespace, subresource="status"
            )
        return Result("its volume is gone")

    async def _write_status(self, claim: PersistentVolumeClaim, volume: PersistentVolume) -> None:
        status = claim.status
        wanted = (volume.spec.access_modes, {"storage": volume.spec.capacity.get("storage", "0")})
        if status.phase == "Bound" and (status.access_modes, status.capacity) == wanted:
            return
        body = {"status": {"phase": "Bound", "accessModes": list(wanted[0]), "capacity": wanted[1]}}
        meta = claim.metadata
        await self._client.patch(
            PersistentVolumeClaim, meta.name, body, meta.namespace, subresource="status"
        )


class VolumePhases:
    name = "persistentvolume-phases"

    def __init__(self, client: Client, informers: InformerFactory, recorder: EventRecorder) -> None:
        self._client = client
        self._recorder = recorder
        self._volumes = informers.informer(PersistentVolume)
        self._claims = informers.informer(PersistentVolumeClaim)
        self._volumes.add_index("claim", _claim_key)

    def sources(self) -> Sequence[Source]:
        return [Source(self._volumes, own_key), Source(self._claims, self._volume_keys)]

    def _volume_keys(self, change: Change[PersistentVolumeClaim]) -> Iterable[str]:
        return [key_of(v) for v in self._volumes.by_index("claim", change.key)]

    async def reconcile(self, key: str) -> Result:
        volume = self._volumes.get(key)
        if volume is None:
            return Result()
        phase, message = self._phase(volume)
        if (phase, message) == (volume.status.phase, volume.status.message):
            return Result(f"it is {phase}")
        body = {"status": {"phase": phase, "message": message or None}}
        await self._client.patch(PersistentVolume, volume.metadata.name, body, subresource="status")
        if phase == "Failed":
            self._recorder.event(volume, "Warning", "VolumeFailedDelete", message)
        return Result(f"it became {phase}")

    def _phase(self, volume: PersistentVolume) -> tuple[str, str]:
        """A phase and its message."""
        ref = volume.spec.claim_ref
        if ref is None or not ref.uid:
            return "Available", ""
        claim = self._claims.get(f"{ref.namespace}/{ref.name}")
        if claim is not None and claim.metadata.uid == ref.uid:
            if claim.spec.volume_name == volume.metadata.name:
                return "Bound", ""
            if not claim.spec.volume_name:
                # Reserved; the claim is about to be told.
                return volume.status.phase or "Pending", volume.status.message
        if volume.spec.persistent_volume_reclaim_policy == "Delete":
            name = volume.metadata.name
            return "Failed", (
                f'error getting deleter volume plugin for volume "{name}": '
                "no deletable volume plugin matched"
            )
        return "Released", ""


def _claim_key(volume: PersistentVolume) -> Iterable[str]:
    ref = volume.spec.claim_ref
    return (f"{ref.namespace}/{ref.name}",) if ref is not None else ()
