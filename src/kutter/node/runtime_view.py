"""What the runtime has, by pod: kept true by its events, relisted as a safety net.

Laws: reading is synchronous and never touches the runtime; after a refresh of a sandbox the view
is at least as new as the call that began it.
"""

from __future__ import annotations

from collections.abc import Callable

from kutter.base.clock import Clock
from kutter.base.log import get_logger
from kutter.node.container_config import CONTAINER_NAME, POD_UID
from kutter.runtime.cri import (
    Container,
    ContainerRuntime,
    CriError,
    NotFoundError,
    Sandbox,
)

_log = get_logger("node.runtime")


class RuntimeView:
    """Sandboxes and containers of pods. ``on_change`` hears the pod uid."""

    def __init__(
        self, runtime: ContainerRuntime, on_change: Callable[[str], None], clock: Clock
    ) -> None:
        self._runtime = runtime
        self._on_change = on_change
        self._clock = clock
        self._sandboxes: dict[str, Sandbox] = {}
        self._containers: dict[str, tuple[Container, ...]] = {}  # by sandbox id
        self._by_pod: dict[str, set[str]] = {}

    def pods(self) -> set[str]:
        """Uids of pods that have something in the runtime."""
        return set(self._by_pod)

    def sandboxes(self, uid: str) -> list[Sandbox]:
        """A pod's sandboxes, newest first."""
        found = [self._sandboxes[i] for i in self._by_pod.get(uid, ())]
        return sorted(found, key=lambda s: (s.metadata.attempt, s.created_at_ns), reverse=True)

    def containers(self, uid: str) -> dict[str, tuple[Container, ...]]:
        """A pod's containers by name, newest run first."""
        found: dict[str, list[Container]] = {}
        for sandbox_id in self._by_pod.get(uid, ()):
            for container in self._containers.get(sandbox_id, ()):
                name = container.labels.get(CONTAINER_NAME, container.metadata.name)
                found.setdefault(name, []).append(container)
        return {
            name: tuple(
                sorted(runs, key=lambda c: (c.metadata.attempt, c.created_at_ns), reverse=True)
            )
            for name, runs in found.items()
        }

    def all_containers(self) -> list[Container]:
        return [c for containers in self._containers.values() for c in containers]

    async def relist(self) -> None:
        """Take everything in anew. Raises CriError."""
        sandboxes = {s.id: s for s in await self._runtime.list_sandboxes()}
        containers: dict[str, list[Container]] = {i: [] for i in sandboxes}
        for container in await self._runtime.list_containers():
            containers.setdefault(container.sandbox_id, []).append(container)
        fresh = {i: tuple(found) for i, found in containers.items() if i in sandboxes}
        changed = {
            self._uid(s)
            for i, s in {**self._sandboxes, **sandboxes}.items()
            if self._sandboxes.get(i) != sandboxes.get(i) or self._containers.get(i) != fresh.get(i)
        }
        self._sandboxes, self._containers = sandboxes, fresh
        self._by_pod = {}
        for sandbox in sandboxes.values():
            self._by_pod.setdefault(self._uid(sandbox), set()).add(sandbox.id)
        for uid in changed:
            self._on_change(uid)

    async def refresh(self, sandbox_id: str) -> None:
        """Look at one sandbox again. Raises CriError."""
        old = self._sandboxes.get(sandbox_id)
        try:
            sandbox = await self._runtime.sandbox(sandbox_id)
            containers = tuple(await self._runtime.list_containers(sandbox_id))
        except NotFoundError:
            self._forget(sandbox_id)
            if old is not None:
                self._on_change(self._uid(old))
            return
        uid = self._uid(sandbox)
        if old == sandbox and self._containers.get(sandbox_id) == containers:
            return
        self._sandboxes[sandbox_id] = sandbox
        self._containers[sandbox_id] = containers
        self._by_pod.setdefault(uid, set()).add(sandbox_id)
        self._on_change(uid)

    def _forget(self, sandbox_id: str) -> None:
        self._containers.pop(sandbox_id, None)
        sandbox = self._sandboxes.pop(sandbox_id, None)
        if sandbox is None:
            return
        uid = self._uid(sandbox)
        ids = self._by_pod.get(uid, set())
        ids.discard(sandbox_id)
        if not ids:
            self._by_pod.pop(uid, None)

    @staticmethod
    def _uid(sandbox: Sandbox) -> str:
        return sandbox.labels.get(POD_UID) or sandbox.metadata.uid

    async def follow(self) -> None:
        """Refresh what events name, until cancelled."""
        while True:
            events = await self._runtime.next_events()
            for sandbox_id in dict.fromkeys(e.sandbox_id for e in events):
                try:
                    await self.refresh(sandbox_id)
                except CriError as error:
                    _log.warning("sandbox not read", sandbox=sandbox_id, error=str(error))

    async def relist_forever(self, every_s: float) -> None:
        """The safety net against lost events."""
        while True:
            await self._clock.sleep(every_s)
            try:
                await self.relist()
            except (CriError, OSError) as error:
                _log.warning("relisting failed", error=str(error))
