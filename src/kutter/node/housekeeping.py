"""What an agent does beside pods: orphans, log rotation, image and pressure watch.

Timers are coarse (10 s and more), so that an idle node stays idle.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kutter.api.types.core_v1 import Pod
from kutter.base.log import get_logger
from kutter.base.tasks import Scope, supervise
from kutter.node.container_config import POD_GRACE
from kutter.node.eviction import (
    Signals,
    choose_victim,
    compute_pressure,
    disk_usage_bytes,
    read_signals,
)
from kutter.node.images import collect_images
from kutter.node.log_rotation import rotate_log
from kutter.node.node_object import Pressure
from kutter.node.pod_admission import Rejection
from kutter.node.resources import parse_amount, qos_class
from kutter.runtime.cri import ContainerState, CriError

if TYPE_CHECKING:
    from kutter.node.agent import NodeAgent

_log = get_logger("node.housekeeping")

LOG_CHECK_S = 10.0
PRESSURE_CHECK_S = 10.0
IMAGE_CHECK_S = 300.0
PRESSURE_HOLD_S = 300.0


class Housekeeping:
    """``pressure`` is what the Node's conditions tell."""

    def __init__(self, agent: NodeAgent) -> None:
        self._agent = agent
        self.pressure = Pressure()
        self._held_since: dict[str, float] = {}

    def start(self, scope: Scope) -> None:
        clock = self._agent.clock
        for name, work in (
            ("log-rotation", self._rotate_forever),
            ("pressure", self._watch_pressure),
            ("image-gc", self._collect_forever),
        ):
            scope.start(supervise(name, work, clock=clock), name)

    # Orphans

    async def remove_orphans(self) -> None:
        """Stop and remove what belongs to pods the API no longer knows."""
        agent = self._agent
        known = set(agent.workers)
        left = agent.view.pods() - known
        await asyncio.gather(*(self._remove_orphan(uid) for uid in left))
        for folder in ("pods", "memory"):
            base = agent.options.root / folder
            for path in base.iterdir() if base.exists() else ():
                if path.name not in known:
                    await asyncio.to_thread(agent.remove_pod_files, path.name)

    async def _remove_orphan(self, uid: str) -> None:
        agent = self._agent
        try:
            runs = [r for runs in agent.view.containers(uid).values() for r in runs]
            running = [r for r in runs if r.state is ContainerState.RUNNING]
            await asyncio.gather(
                *(
                    agent.runtime.stop_container(r.id, float(r.annotations.get(POD_GRACE, 30)))
                    for r in running
                )
            )
            for sandbox in agent.view.sandboxes(uid):
                await agent.runtime.remove_sandbox(sandbox.id)
                await agent.view.refresh(sandbox.id)
            for kind in ("", "/burstable", "/besteffort"):
                agent.kit.cgroups.remove(f"{agent.options.cgroup_root}{kind}/pod{uid}")
        except (CriError, OSError) as error:
            _log.error("orphan not removed", pod_uid=uid, error=str(error))
        else:
            _log.info("orphan removed", pod_uid=uid, containers=len(running))

    # Logs

    async def _rotate_forever(self) -> None:
        agent = self._agent
        while True:
            await agent.clock.sleep(LOG_CHECK_S)
            for run in agent.view.all_containers():
                if run.state is not ContainerState.RUNNING:
                    continue
                try:
                    await rotate_log(
                        run,
                        agent.runtime,
                        maximum_bytes=agent.options.log_maximum_bytes,
                        maximum_files=agent.options.log_maximum_files,
                        moment=agent.clock.now(),
                    )
                except (CriError, OSError) as error:
                    _log.warning("log not rotated", container=run.id, error=str(error))

    # Images

    async def _collect_forever(self) -> None:
        agent, options = self._agent, self._agent.options
        while True:
            await agent.clock.sleep(IMAGE_CHECK_S)
            removed, missing = await collect_images(
                agent.images,
                high=options.image_gc_high,
                low=options.image_gc_low,
                minimum_age_s=options.image_gc_minimum_age_s,
            )
            if removed:
                agent.registration.report_soon()
            if missing and agent.registration.node is not None:
                agent.kit.recorder.event(
                    agent.registration.node,
                    "Warning",
                    "FreeDiskSpaceFailed",
                    f"Failed to garbage collect required amount of images. Attempted to free "
                    f"{missing} bytes, but only found 0 bytes eligible to free.",
                )

    # Pressure

    async def _watch_pressure(self) -> None:
        agent = self._agent
        while True:
            signals = await asyncio.to_thread(read_signals, agent.options.root)
            await self.check_pressure(signals)
            await self.check_volume_sizes()
            await agent.clock.sleep(PRESSURE_CHECK_S)

    async def check_pressure(self, signals: Signals) -> None:
        """Take new signals in: conditions, and one eviction at a time."""
        agent = self._agent
        now = agent.clock.monotonic()
        found = compute_pressure(signals, agent.options.eviction)
        for name in ("memory", "disk", "pid"):
            if getattr(found, name):
                self._held_since[name] = now
        held = Pressure(
            *(
                name in self._held_since and now - self._held_since[name] < PRESSURE_HOLD_S
                for name in ("memory", "disk", "pid")
            )
        )
        if held != self.pressure:
            self.pressure = held
            agent.registration.report_soon()
        if not (found.memory or found.disk or found.pid):
            return
        if found.disk:
            removed = await agent.images.collect_garbage(
                free_bytes=signals.disk_capacity_bytes // 10, minimum_age_s=0
            )
            if removed:
                return
        workers = [w for w in agent.workers.values() if not w.terminating and not w.ended]
        usage = {w.uid: await self._memory_of(w.uid) for w in workers}
        victim = choose_victim([w.pod for w in workers], usage, found)
        if victim is not None:
            worker = agent.workers[victim.pod.metadata.uid]
            agent.kit.recorder.event(worker.pod, "Warning", "Evicted", victim.message)
            worker.terminate(reason="Evicted", message=victim.message, grace_s=0, phase="Failed")

    async def check_volume_sizes(self) -> None:
        """Evict pods whose ``emptyDir`` on disk outgrew its ``sizeLimit``."""
        for worker in list(self._agent.workers.values()):
            if worker.terminating or worker.ended:
                continue
            for volume in worker.pod.spec.volumes:
                source, path = volume.empty_dir, worker.work.volumes.paths.get(volume.name)
                if source is None or not source.size_limit or path is None:
                    continue
                if source.medium == "Memory":
                    continue  # the kernel holds it to its size
                used = await asyncio.to_thread(disk_usage_bytes, path)
                if used > parse_amount(source.size_limit):
                    message = (
                        f'Usage of EmptyDir volume "{volume.name}" exceeds the limit '
                        f'"{source.size_limit}". '
                    )
                    self._agent.kit.recorder.event(worker.pod, "Warning", "Evicted", message)
                    worker.terminate(reason="Evicted", message=message, grace_s=0, phase="Failed")

    async def _memory_of(self, uid: str) -> int:
        total = 0
        for sandbox in self._agent.view.sandboxes(uid)[:1]:
            try:
                stats = await self._agent.runtime.sandbox_stats(sandbox.id)
            except CriError:
                continue
            total += sum(c.memory_working_set_bytes for c in stats.containers)
        return total

    def refuses(self, pod: Pod) -> Rejection | None:
        """Whether pressure keeps a new pod out."""
        pressure = self.pressure
        if (pod.spec.priority or 0) >= 2_000_000_000:
            return None
        names = [
            name
            for name, on in (
                ("MemoryPressure", pressure.memory and qos_class(pod) == "BestEffort"),
                ("DiskPressure", pressure.disk),
                ("PIDPressure", pressure.pid),
            )
            if on
        ]
        if not names:
            return None
        text = " ".join(names)
        return Rejection("Evicted", f"The node had condition: [{text}]. ")
