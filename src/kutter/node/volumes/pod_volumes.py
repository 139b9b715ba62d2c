"""The volumes of one pod on this machine: made before its containers, undone after them.

Between the pod's spec and mounts. Payload volumes (configMap, secret, downwardAPI, projected)
are rewritten in place while the pod runs; ``emptyDir`` lives as long as the pod. Secrets and
tokens lie on a tmpfs shared by all pods, so they never touch a disk. Laws: setting up what is
set up changes nothing; tearing down what is not there succeeds.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kutter.api.types.core_v1 import HostPathVolumeSource, Pod, Volume
from kutter.base.clock import Clock
from kutter.node.environment import PodContext
from kutter.node.facts import AnyContainerSpec
from kutter.node.resources import parse_amount
from kutter.node.volumes.atomic import UnsafePathError, write_payload
from kutter.node.volumes.payload import PayloadError, compute_payload, token_needs
from kutter.node.volumes.subpath import SubPathError, open_below
from kutter.node.volumes.tokens import PodTokens


class Mounts(Protocol):
    """The mount calls volumes need; :mod:`kutter.node.volumes.mounts` makes them."""

    def mount_tmpfs(self, target: Path, *, size_bytes: int = 0, mode: int = 0o777) -> None: ...
    def bind(self, source: Path, target: Path) -> None: ...
    def is_mounted(self, target: Path) -> bool: ...
    def unmount_below(self, path: Path) -> None: ...


class VolumeError(Exception):
    """A volume cannot be set up now; the text goes into the FailedMount event."""


@dataclass(frozen=True, slots=True)
class ClaimedVolume:
    """Where a bound claim's data lies on this machine (hostPath or local volumes)."""

    path: Path
    block: bool = False
    read_only: bool = False
    create: bool = False


def is_payload(volume: Volume) -> bool:
    """Whether the volume's files come from API objects."""
    return bool(volume.config_map or volume.secret or volume.downward_api or volume.projected)


class PodVolumes:
    """Sets up, refreshes and tears down the volumes of one pod.

    ``folder`` is the pod's own (``<root>/pods/<uid>``), ``memory`` its folder on the tmpfs.
    """

    def __init__(
        self, folder: Path, memory: Path, mounts: Mounts, tokens: PodTokens, clock: Clock
    ) -> None:
        self._folder = folder
        self._memory = memory
        self._mounts = mounts
        self._tokens = tokens
        self._clock = clock
        self.paths: dict[str, Path] = {}
        # Ids of the images that are volumes, by volume; known once they are pulled.
        self.images: dict[str, str] = {}

    @property
    def renew_at(self) -> float:
        """When a token wants renewing (seconds since the epoch, 0: never)."""
        return self._tokens.renew_at

    async def set_up(self, context: PodContext, claims: Mapping[str, ClaimedVolume]) -> None:
        """Make all volumes. Raises VolumeError."""
        pod = context.pod
        for volume in pod.spec.volumes:
            if volume.image is not None:
                continue  # pulled and mounted with the containers that want it
            try:
                path = await self._one(context, volume, claims)
            except (PayloadError, UnsafePathError, OSError) as error:
                raise VolumeError(
                    f'MountVolume.SetUp failed for volume "{volume.name}" : {error}'
                ) from error
            self.paths[volume.name] = path

    async def refresh(self, context: PodContext) -> bool:
        """Rewrite payload volumes; answers whether anything changed. Raises VolumeError."""
        changed = False
        for volume in context.pod.spec.volumes:
            if not is_payload(volume) or volume.name not in self.paths:
                continue
            try:
                changed |= await self._payload(context, volume, self.paths[volume.name])
            except (PayloadError, UnsafePathError, OSError) as error:
                raise VolumeError(
                    f'MountVolume.SetUp failed for volume "{volume.name}" : {error}'
                ) from error
        return changed

    async def _one(
        self, context: PodContext, volume: Volume, claims: Mapping[str, ClaimedVolume]
    ) -> Path:
        group = fs_group(context.pod)
        if is_payload(volume):
            base = self._folder if volume.config_map is not None else self._memory
            path = base / "volumes" / volume.name
            path.mkdir(parents=True, exist_ok=True)
            await self._payload(context, volume, path)
            return path
        if volume.host_path is not None:
            return check_host_path(volume.host_path)
        if volume.persistent_volume_claim is not None or volume.ephemeral is not None:
            claim = claims.get(volume.name)
            if claim is None:
                raise PayloadError("the claim is not bound to a volume of this node")
            if claim.create:
                claim.path.mkdir(parents=True, exist_ok=True)
            if group is not None and not claim.block and not claim.read_only:
                await asyncio.to_thread(own_tree, claim.path, group, policy(context.pod))
            return claim.path
        if volume.empty_dir is not None or not _is_foreign(volume):
            return self._empty_dir(volume, group)
        raise PayloadError("this kind of volume is not supported on this node")

    def _empty_dir(self, volume: Volume, group: int | None) -> Path:
        path = self._folder / "volumes" / volume.name
        path.mkdir(parents=True, exist_ok=True)
        source = volume.empty_dir
        if source is not None and source.medium.startswith("HugePages"):
            raise PayloadError("emptyDir with huge pages is not supported on this node")
        memory = source is not None and source.medium == "Memory"
        if source is not None and memory and not self._mounts.is_mounted(path):
            size = int(parse_amount(source.size_limit)) if source.size_limit else 0
            self._mounts.mount_tmpfs(path, size_bytes=size, mode=0o777)
        if group is not None:
            os.chown(path, -1, group)
        path.chmod(0o777 if group is None else 0o2777)
        return path

    async def _payload(self, context: PodContext, volume: Volume, path: Path) -> bool:
        tokens = await self._tokens.fetch(context.pod, token_needs(volume))
        payload = compute_payload(context, volume, tokens)
        return write_payload(
            path,
            payload,
            group=fs_group(context.pod),
            moment=self._clock.now(),
        )

    def bind_sub_path(
        self, volume: str, sub_path: str, container: str, index: int, *, read_only: bool
    ) -> Path:
        """A mount of ``sub_path`` of a volume, safe against links. Raises VolumeError."""
        root = self.paths[volume]
        target = self._folder / "volume-subpaths" / volume / container / str(index)
        try:
            mode = stat.S_IMODE(root.stat().st_mode)
            descriptor = open_below(root, sub_path, create=True, mode=mode)
        except (SubPathError, OSError) as error:
            raise VolumeError(
                f'failed to prepare subPath for volumeMount "{volume}" of container "{container}"'
            ) from error
        try:
            if self._mounts.is_mounted(target):
                self._mounts.unmount_below(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                target.mkdir(exist_ok=True)
            else:
                target.touch()
            self._mounts.bind(Path(f"/proc/{os.getpid()}/fd/{descriptor}"), target)
        finally:
            os.close(descriptor)
        return target

    def tear_down(self) -> None:
        """Unmount and remove everything below the pod's folders. Raises OSError."""
        self.paths.clear()
        self._mounts.unmount_below(self._folder)
        for path in (
            self._memory,
            self._folder / "volumes",
            self._folder / "volume-subpaths",
        ):
            if path.exists():
                shutil.rmtree(path)


def _is_foreign(volume: Volume) -> bool:
    return any((volume.csi, volume.ephemeral, volume.nfs))


def image_volumes(pod: Pod, spec: AnyContainerSpec) -> list[Volume]:
    """The volumes a container mounts that are images."""
    mounted = {mount.name for mount in spec.volume_mounts}
    return [v for v in pod.spec.volumes if v.image is not None and v.name in mounted]


def fs_group(pod: Pod) -> int | None:
    """The group that owns the pod's volumes."""
    security = pod.spec.security_context
    return security.fs_group if security is not None else None


def policy(pod: Pod) -> str:
    """``fsGroupChangePolicy``: Always or OnRootMismatch."""
    security = pod.spec.security_context
    return (security.fs_group_change_policy if security is not None else None) or "Always"


def own_tree(root: Path, group: int, change_policy: str) -> None:
    """Give a volume to a group: group read and write, setgid folders. Raises OSError."""
    if change_policy == "OnRootMismatch":
        found = root.stat()
        if found.st_gid == group and found.st_mode & 0o2070 == 0o2070:
            return
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            found = os.lstat(path)
            os.lchown(path, -1, group)
            if stat.S_ISLNK(found.st_mode):
                continue
            extra = 0o2070 if stat.S_ISDIR(found.st_mode) else 0o060
            os.chmod(path, stat.S_IMODE(found.st_mode) | extra)
    os.chown(root, -1, group)
    root.chmod(stat.S_IMODE(root.stat().st_mode) | 0o2070)


_KINDS = {
    "Directory": (stat.S_ISDIR, "is not a directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "is not a directory"),
    "File": (stat.S_ISREG, "is not a file"),
    "FileOrCreate": (stat.S_ISREG, "is not a file"),
    "Socket": (stat.S_ISSOCK, "is not a socket file"),
    "CharDevice": (stat.S_ISCHR, "is not a character device"),
    "BlockDevice": (stat.S_ISBLK, "is not a block device"),
}


def check_host_path(source: HostPathVolumeSource) -> Path:
    """The path, of the kind asked for, made if it says so. Raises PayloadError."""
    path = Path(source.path)
    kind = source.type or ""
    if not path.exists():
        if kind in ("DirectoryOrCreate", ""):
            path.mkdir(parents=True, exist_ok=True, mode=0o755)
        elif kind == "FileOrCreate":
            path.touch(mode=0o644)
    if kind:
        test, complaint = _KINDS[kind]
        if not path.exists() or not test(path.stat().st_mode):
            raise PayloadError(f"hostPath type check failed: {path} {complaint}")
    return path
