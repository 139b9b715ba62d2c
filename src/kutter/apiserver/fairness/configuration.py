"""Keeps the configuration objects of priority and fairness, and tells the server of them.

Owns: the default flow schemas and priority levels, and the ``Dangling`` condition of all schemas.
Laws: mandatory objects are always as upstream has them; suggested ones as long as their annotation
says so (or nobody touched them); a deleted default comes back. Acts on changes only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kutter.api.errors import ApiError, is_reason
from kutter.apiserver.authn.identity import GROUP_MASTERS, User
from kutter.apiserver.fairness.defaults import (
    AUTO_UPDATE,
    GROUP,
    MANDATORY_LEVELS,
    MANDATORY_SCHEMAS,
    SUGGESTED_LEVELS,
    SUGGESTED_SCHEMAS,
)
from kutter.apiserver.ports import Change, Tree
from kutter.apiserver.writing import WriteContext
from kutter.base.clock import render_time

if TYPE_CHECKING:
    from kutter.apiserver.server import ApiServer

SCHEMAS = f"flowschemas.{GROUP}"
LEVELS = f"prioritylevelconfigurations.{GROUP}"
_SYSTEM = User("system:apiserver", groups=(GROUP_MASTERS,))
_MANAGER = "api-priority-and-fairness-config-producer-v1"


class Configuration:
    """``start`` once the caches are filled, then ``run`` until cancelled."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._changed = asyncio.Event()

    def start(self) -> None:
        """Use what is stored; called before the first request."""
        for resource in (SCHEMAS, LEVELS):
            self._server.caches.on_change(resource, self._note)
        self._apply()
        self._changed.set()

    def _note(self, changes: list[Change]) -> None:
        self._changed.set()

    def _apply(self) -> None:
        caches = self._server.caches
        self._server.fairness.configure(caches.list(LEVELS), caches.list(SCHEMAS))

    async def run(self) -> None:
        """Follow changes of the objects."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self.keep()

    async def keep(self) -> None:
        """Make the objects what they have to be, and use them."""
        self._apply()
        await self._keep_defaults(LEVELS, MANDATORY_LEVELS, mandatory=True)
        await self._keep_defaults(LEVELS, SUGGESTED_LEVELS, mandatory=False)
        await self._keep_defaults(SCHEMAS, MANDATORY_SCHEMAS, mandatory=True)
        await self._keep_defaults(SCHEMAS, SUGGESTED_SCHEMAS, mandatory=False)
        self._apply()
        await self._keep_conditions()

    async def _keep_defaults(
        self, resource: str, wanted: Iterable[Tree], *, mandatory: bool
    ) -> None:
        async with asyncio.TaskGroup() as tasks:  # they share commits
            for tree in wanted:
                found = self._server.caches.get(resource, "", tree["metadata"]["name"])
                if found is None:
                    tasks.create_task(self._create(resource, tree))
                elif _is_kept(found, mandatory) and _differs(found, tree):
                    tasks.create_task(self._restore(resource, tree))

    async def _create(self, resource: str, tree: Tree) -> None:
        storage = self._storage(resource)
        # Storage fills in what it is given: the default stays as it is.
        fresh = {**tree, "metadata": {**tree["metadata"]}, "spec": {**tree["spec"]}}
        try:
            await storage.create(self._context("CreateOptions"), "", fresh)
        except ApiError as error:
            if not is_reason(error, "AlreadyExists"):
                raise

    async def _restore(self, resource: str, tree: Tree) -> None:
        def change(old: Tree | None) -> Tree:
            assert old is not None, "an update never creates here"
            old["spec"] = {**tree["spec"]}
            annotations = old["metadata"].setdefault("annotations", {})
            annotations[AUTO_UPDATE] = "true"
            return old

        await self._update(resource, tree["metadata"]["name"], change)

    async def _keep_conditions(self) -> None:
        caches = self._server.caches
        for tree in list(caches.list(SCHEMAS)):
            level = tree["spec"]["priorityLevelConfiguration"]["name"]
            wanted = _condition(level, found=caches.exists(LEVELS, "", level))
            if not _says(tree, wanted):
                await self._write_condition(tree, wanted)

    async def _write_condition(self, tree: Tree, wanted: Tree) -> None:
        now = render_time(self._server.clock.now())

        def change(old: Tree | None) -> Tree:
            assert old is not None, "an update never creates here"
            status = old.setdefault("status", {})
            kept = [c for c in status.get("conditions") or () if c.get("type") != "Dangling"]
            status["conditions"] = [*kept, {**wanted, "lastTransitionTime": now}]
            return old

        await self._update(SCHEMAS, tree["metadata"]["name"], change, "status")

    async def _update(self, resource: str, name: str, change: Any, subresource: str = "") -> None:
        context = self._context("UpdateOptions", subresource)
        try:
            await self._storage(resource).update(context, "", name, change)
        except ApiError as error:
            if not is_reason(error, "NotFound"):
                raise

    def _storage(self, resource: str) -> Any:
        return self._server.storage_of(GROUP, resource.partition(".")[0])

    def _context(self, kind: str, subresource: str = "") -> WriteContext:
        options = {"kind": kind, "apiVersion": "meta.k8s.io/v1", "fieldManager": _MANAGER}
        return WriteContext(
            user=_SYSTEM, now=self._server.clock.now(), options=options, subresource=subresource
        )


def _is_kept(tree: Tree, mandatory: bool) -> bool:
    if mandatory:
        return True
    metadata = tree["metadata"]
    said = (metadata.get("annotations") or {}).get(AUTO_UPDATE)
    if said in ("true", "false"):
        return bool(said == "true")
    return bool(metadata.get("generation") == 1)  # nobody changed it since it was created


def _differs(found: Tree, wanted: Tree) -> bool:
    annotated = (found["metadata"].get("annotations") or {}).get(AUTO_UPDATE) == "true"
    return not annotated or bool(found["spec"] != wanted["spec"])


def _condition(level: str, *, found: bool) -> Tree:
    begin = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}"'
    if found:
        return _dangling("False", "Found", f"{begin} and it exists")
    return _dangling("True", "NotFound", f"{begin} but there is no such object")


def _dangling(status: str, reason: str, message: str) -> Tree:
    return {"type": "Dangling", "status": status, "reason": reason, "message": message}


def _says(tree: Tree, wanted: Tree) -> bool:
    for condition in (tree.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Dangling":
            return all(condition.get(name) == value for name, value in wanted.items())
    return False
