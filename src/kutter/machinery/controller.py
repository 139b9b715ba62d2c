"""The shell around a controller: queue, workers, retries. The controller only reconciles keys.

A controller declares what it watches as :class:`Source` values (which informer, and which keys a
change concerns). Raising retries with back-off; :class:`Terminal` does not; planned waits are
``Result.requeue_after_s``. Every reconcile answers with one sentence saying what was done and
why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from kutter.api.errors import ApiError, is_reason
from kutter.base.log import get_logger
from kutter.base.metrics import Counter, Registry
from kutter.base.tasks import Scope
from kutter.machinery.informer import Change, Informer, key_of
from kutter.machinery.queue import WorkQueue


class Terminal(Exception):
    """Trying again cannot help until something changes."""


class Result(msgspec.Struct, frozen=True):
    """``why`` is one sentence; ``requeue_after_s`` is a planned wait."""

    why: str = ""
    requeue_after_s: float | None = None


class Source(msgspec.Struct, frozen=True):
    """``keys(change)`` names the keys a change of ``informer`` concerns."""

    informer: Informer[Any]
    keys: Callable[[Change[Any]], Iterable[str]]


def own_key(change: Change[Any]) -> Iterable[str]:
    """The changed object is what is reconciled."""
    return (change.key,)


def owner_keys(kind: str) -> Callable[[Change[Any]], Iterable[str]]:
    """The controller of kind ``kind`` that owns the changed object, old and new."""

    def keys(change: Change[Any]) -> Iterable[str]:
        found = []
        for view in (change.old, change.new):
            if view is None:
                continue
            for owner in view.metadata.owner_references or ():
                if owner.controller and owner.kind == kind:
                    namespace = view.metadata.namespace
                    found.append(f"{namespace}/{owner.name}" if namespace else owner.name)
        return found

    return keys


class Controller(Protocol):
    """What a controller is."""

    name: str

    def sources(self) -> Sequence[Source]: ...

    async def reconcile(self, key: str) -> Result: ...


@runtime_checkable
class Following(Protocol):
    """A controller whose sources come and go: it queues the keys of the later ones itself."""

    def follow(self, enqueue: Callable[[str], None]) -> None: ...


class ControllerRunner:
    """Runs one controller until cancelled."""

    def __init__(
        self, controller: Controller, *, workers: int = 5, metrics: Registry | None = None
    ) -> None:
        self._controller = controller
        self._workers = workers
        self.queue = WorkQueue()
        self._log = get_logger(f"controller.{controller.name}")
        self.outcomes = Counter(
            f"kutter_controller_{controller.name.replace('-', '_')}_reconciles_total",
            "Reconciles by outcome.",
            ("outcome",),
        )
        if metrics is not None:
            metrics.add(self.outcomes)
        for source in controller.sources():
            source.informer.on_event(self._handler(source))
        if isinstance(controller, Following):
            controller.follow(self.queue.add)

    def _handler(self, source: Source) -> Callable[[Change[Any]], None]:
        keys, add = source.keys, self.queue.add

        def on_change(change: Change[Any]) -> None:
            for key in keys(change):
                add(key)

        return on_change

    async def run(self) -> None:
        for source in self._controller.sources():
            await source.informer.wait_synced()
        async with Scope(self._controller.name) as scope:
            for number in range(self._workers):
                scope.start(self._work(), f"worker-{number}")
            await scope.wait_failed()

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self._reconcile(key)
            finally:
                self.queue.done(key)

    async def _reconcile(self, key: str) -> None:
        try:
            result = await self._controller.reconcile(key)
        except AssertionError:
            raise
        except Terminal as error:
            self.outcomes.inc("terminal")
            self.queue.forget(key)
            self._log.warning("will not be retried", key=key, error=str(error))
        except Exception as error:
            self.outcomes.inc("error")
            delay = self.queue.retry(key)
            expected = is_reason(error, "Conflict", "AlreadyExists", "NotFound")
            emit = self._log.debug if expected else self._log.warning
            trace = None if isinstance(error, ApiError | OSError) else error
            emit("failed, will retry", key=key, error=str(error), delay_s=delay, exc_info=trace)
        else:
            self.outcomes.inc("ok")
            self.queue.forget(key)
            if result.requeue_after_s is not None:
                self.queue.add_after(key, result.requeue_after_s)
            if result.why:
                self._log.debug(result.why, key=key)


__all__ = [
    "Change",
    "Controller",
    "ControllerRunner",
    "Result",
    "Source",
    "Terminal",
    "key_of",
    "own_key",
    "owner_keys",
]
