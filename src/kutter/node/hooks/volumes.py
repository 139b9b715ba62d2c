"""The pod's volumes, with claims looked up and bound volumes of this node found."""

from __future__ import annotations

from pathlib import Path

from kutter.api.errors import ApiError
from kutter.api.types.core_v1 import PersistentVolume, PersistentVolumeClaim
from kutter.node.hooks.base import HookFailure, PodWork
from kutter.node.volumes.pod_volumes import ClaimedVolume, VolumeError


class VolumesHook:
    async def prepare(self, work: PodWork) -> None:
        try:
            claims = await _claims(work)
            await work.volumes.set_up(work.context(), claims)
        except VolumeError as error:
            raise HookFailure("FailedMount", str(error)) from error

    async def release(self, work: PodWork) -> None:
        work.volumes.tear_down()


async def _claims(work: PodWork) -> dict[str, ClaimedVolume]:
    found: dict[str, ClaimedVolume] = {}
    client, namespace = work.kit.client, work.pod.metadata.namespace
    for volume in work.pod.spec.volumes:
        if volume.ephemeral is not None:
            name = f"{work.pod.metadata.name}-{volume.name}"
            read_only = False
        elif volume.persistent_volume_claim is not None:
            name = volume.persistent_volume_claim.claim_name
            read_only = volume.persistent_volume_claim.read_only
        else:
            continue
        try:
            claim = await client.get(PersistentVolumeClaim, name, namespace)
            if claim.status.phase != "Bound" or not claim.spec.volume_name:
                raise VolumeError(f'persistentvolumeclaim "{name}" is not bound')
            bound = await client.get(PersistentVolume, claim.spec.volume_name)
        except (ApiError, OSError, TimeoutError) as error:
            message = f'Unable to attach or mount volume "{volume.name}": {error}'
            raise VolumeError(message) from error
        block = bound.spec.volume_mode == "Block"
        if bound.spec.host_path is not None:
            path = Path(bound.spec.host_path.path)
            create = (bound.spec.host_path.type or "") in ("", "DirectoryOrCreate")
            found[volume.name] = ClaimedVolume(path, block, read_only, create)
        elif bound.spec.local is not None:
            path = Path(bound.spec.local.path)
            if not path.exists():
                raise VolumeError(
                    "MountVolume.NewMounter initialization failed for volume "
                    f'"{claim.spec.volume_name}" : path "{path}" does not exist'
                )
            found[volume.name] = ClaimedVolume(path, block, read_only)
    return found
