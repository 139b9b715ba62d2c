"""The pod's cgroup, parent of its containers' groups."""

from __future__ import annotations

from kutter.node.hooks.base import HookFailure, PodWork
from kutter.node.resources import pod_cgroup, pod_resources


class CgroupHook:
    async def prepare(self, work: PodWork) -> None:
        group = pod_cgroup(work.pod, work.kit.options.cgroup_root)
        try:
            work.kit.cgroups.create(group, pod_resources(work.pod))
        except OSError as error:
            message = f"unable to ensure pod container exists: {error}"
            raise HookFailure("FailedCreatePodContainer", message) from error

    async def release(self, work: PodWork) -> None:
        work.kit.cgroups.remove(pod_cgroup(work.pod, work.kit.options.cgroup_root))
