"""Writes one pod's status to the API: only when different, latest wins.

Patches carry the pod's uid, so that a status never lands on a namesake. Conditions of others are
left alone by the strategic merge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from kutter.api.errors import ApiError, is_reason
from kutter.api.types.core_v1 import Pod
from kutter.base.backoff import Backoff
from kutter.base.log import get_logger
from kutter.node.conditions import RESIZE
from kutter.node.kit import NodeKit

CONFIG_SOURCE = "kubernetes.io/config.source"

_log = get_logger("node.status")

Tree = dict[str, Any]
_MERGED_LISTS = ("podIPs", "hostIPs")


def compute_patch(old: Tree | None, new: Tree, uid: str, shown: Pod | None = None) -> Tree:
    """The strategic merge patch from the status written last to ``new``.

    ``shown`` is the pod as the API has it: before anything was written, what another agent wrote
    of a resize is there.
    """
    status: Tree = {}
    known = old or {}
    for key, value in new.items():
        if known.get(key) != value:
            if key in _MERGED_LISTS:
                value = [{"$patch": "replace"}, *value]
            elif key == "conditions":
                value = [*_gone_conditions(known, value, shown), *map(_whole_condition, value)]
            status[key] = value
    for key in known:
        if key not in new and key not in ("podIP", "podIPs"):
            status[key] = None
    return {"metadata": {"uid": uid}, "status": status} if uid else {"status": status}


def _gone_conditions(known: Tree, new: list[Tree], shown: Pod | None) -> list[Tree]:
    types = {condition["type"] for condition in known.get("conditions", ())}
    if shown is not None:
        types |= {c.type for c in shown.status.conditions if c.type in RESIZE}
    types -= {condition["type"] for condition in new}
    return [{"type": kind, "$patch": "delete"} for kind in sorted(types)]


def _whole_condition(condition: Tree) -> Tree:
    """With what it no longer says taken away: a merge by type would keep that."""
    return {"reason": None, "message": None, **condition}


class StatusWriter:
    """One pod's. ``on_written`` is called after each write; ``gone`` when the pod is no more."""

    def __init__(self, kit: NodeKit, on_written: Callable[[], None]) -> None:
        self._kit = kit
        self._on_written = on_written
        self._pod: Pod | None = None
        self._wanted: Tree | None = None
        self._written: Tree | None = None
        self._busy = False
        self._settled = asyncio.Event()
        self._settled.set()
        self.gone = False

    @property
    def offered(self) -> Tree | None:
        """What was offered last."""
        return self._wanted

    def write_again(self) -> None:
        """The object was made anew: nothing of what was written is there any more."""
        self._written = None
        if self._pod is not None and self._wanted is not None:
            self.offer(self._pod, self._wanted)

    async def wait_settled(self) -> None:
        """Wait until the API has what was offered last (or the pod is no more)."""
        await self._settled.wait()

    def offer(self, pod: Pod, status: Tree) -> None:
        """Have ``status`` written soon, instead of what was offered before."""
        self._pod = pod
        self._wanted = status
        if not self._busy and not self.gone and self._wanted != self._written:
            self._busy = True
            self._settled.clear()
            self._kit.scope.start(self._write(), f"status/{pod.metadata.name}")

    async def _is_namesake(self, error: Exception) -> bool:
        """Whether a conflict means another pod of that name, not just a busy one."""
        if not is_reason(error, "Conflict") or self._pod is None:
            return False
        meta = self._pod.metadata
        try:
            found = await self._kit.client.get(Pod, meta.name, meta.namespace)
        except (ApiError, OSError, TimeoutError) as trouble:
            return is_reason(trouble, "NotFound")
        return found.metadata.uid != meta.uid

    async def _write(self) -> None:
        backoff = Backoff(initial_s=0.2, maximum_s=10.0)
        try:
            while self._wanted != self._written and not self.gone:
                assert self._pod is not None
                assert self._wanted is not None
                meta, wanted = self._pod.metadata, self._wanted
                static = CONFIG_SOURCE in meta.annotations
                # A static pod's status goes to its mirror, which has a uid of its own.
                shown = self._pod if self._written is None else None
                patch = compute_patch(self._written, wanted, "" if static else meta.uid, shown)
                try:
                    await self._kit.client.patch(
                        Pod,
                        meta.name,
                        patch,
                        meta.namespace,
                        kind="strategic",
                        subresource="status",
                    )
                except (ApiError, OSError, TimeoutError) as error:
                    if is_reason(error, "NotFound") or await self._is_namesake(error):
                        self.gone = not static
                        return
                    delay = backoff.next()
                    _log.warning("status not written", pod=meta.name, error=str(error))
                    await self._kit.clock.sleep(delay)
                    continue
                self._written = wanted
        finally:
            self._busy = False
            self._settled.set()
            self._on_written()
