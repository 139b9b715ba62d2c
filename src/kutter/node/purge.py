"""Takes a node's traces off this machine: what ``kutter down --purge`` asks for."""

from __future__ import annotations

import shutil

from kutter.node.kit import PodCgroups
from kutter.node.options import NodeOptions
from kutter.node.volumes.pod_volumes import Mounts

_CLASSES = ("/burstable", "/besteffort", "")


def purge_node(options: NodeOptions, mounts: Mounts, cgroups: PodCgroups) -> None:
    """Unmount volumes and remove folders, pod logs and cgroups.

    The runtime must have been purged before: nothing may run any more. Safe to repeat.
    Raises OSError.
    """
    mounts.unmount_below(options.root)
    pods = options.root / "pods"
    uids = [path.name for path in pods.iterdir()] if pods.is_dir() else []
    for uid in uids:
        for kind in _CLASSES:
            cgroups.remove(f"{options.cgroup_root}{kind}/pod{uid}")
    for kind in _CLASSES:
        cgroups.remove(options.cgroup_root + kind)
    shutil.rmtree(options.root, ignore_errors=True)
    if options.pod_log_root.is_dir():
        for folder in options.pod_log_root.iterdir():
            if folder.name.rpartition("_")[2] in uids:
                shutil.rmtree(folder, ignore_errors=True)
    links = options.container_log_root
    if links is not None and links.is_dir():
        for link in links.iterdir():
            if link.is_symlink() and not link.exists():
                link.unlink(missing_ok=True)
