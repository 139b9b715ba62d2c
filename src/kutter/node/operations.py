"""Operations under way for one pod, by key: begun once, told when they end.

An operation that may be given up (a pull, a postStart handler, a wait for an exit) is
*interruptible*; others run to their end, because a runtime call cut in half leaves debris.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from kutter.base.clock import Clock
from kutter.base.log import get_logger
from kutter.base.tasks import Scope

_log = get_logger("node.operations")

RETRY_S = 1.0


class Operations:
    """``on_end`` is called after each operation, whatever its outcome."""

    def __init__(self, scope: Scope, on_end: Callable[[], None], clock: Clock) -> None:
        self._scope = scope
        self._clock = clock
        self._on_end = on_end
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._interruptible: set[str] = set()

    def busy(self) -> frozenset[str]:
        return frozenset(self._tasks)

    def begin(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        """Start ``work``; it must handle its own errors."""
        assert key not in self._tasks, key
        self._tasks[key] = self._scope.start(self._run(key, work), key)

    async def _run(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except AssertionError:
            raise
        except Exception as error:
            # A worker must survive; the next plan tries again, but not at once.
            _log.error("operation failed", operation=key, error=repr(error), exc_info=error)
            await self._clock.sleep(RETRY_S)
        finally:
            self._tasks.pop(key, None)
            self._interruptible.discard(key)
            self._on_end()

    def allow_interrupt(self, key: str, *, allowed: bool) -> None:
        """Say whether an operation may be given up right now."""
        if allowed:
            self._interruptible.add(key)
        else:
            self._interruptible.discard(key)

    def interrupt(self, prefixes: tuple[str, ...]) -> None:
        """Give up the interruptible operations whose key starts so."""
        for key in list(self._interruptible):
            if key.startswith(prefixes):
                self._tasks[key].cancel()
