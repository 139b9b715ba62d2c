"""Keeps the status of ValidatingAdmissionPolicies: what type checking found, for which generation.

Owns ``status.observedGeneration`` and ``status.typeChecking``. Reads policies from the read cache
and is told of changes by it; writes their status.
Upstream: ``pkg/controller/validatingadmissionpolicystatus``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kutter.api.errors import ApiError, is_reason
from kutter.apiserver.authn.identity import GROUP_MASTERS, User
from kutter.apiserver.ports import Change, Tree
from kutter.apiserver.writing import WriteContext
from kutter.base.log import get_logger
from kutter.machinery.queue import WorkQueue

if TYPE_CHECKING:
    from kutter.apiserver.server import ApiServer

_GROUP, _PLURAL = "admissionregistration.k8s.io", "validatingadmissionpolicies"
_PLACE = f"{_PLURAL}.{_GROUP}"
_SYSTEM = User("system:apiserver", groups=(GROUP_MASTERS,))
_log = get_logger("admission-policies")


class PolicyStatus:
    """``follow`` once the caches are filled, then ``run`` until cancelled."""

    def __init__(self) -> None:
        self._queue = WorkQueue()
        self._server: ApiServer | None = None

    def follow(self, server: ApiServer) -> None:
        self._server = server
        for tree in server.caches.list(_PLACE):
            self._queue.add(tree["metadata"]["name"])
        server.caches.on_change(_PLACE, self._changed)

    def _changed(self, changes: list[Change]) -> None:
        for change in changes:
            if change.type != "DELETED":
                self._queue.add(change.current.name)

    async def run(self) -> None:
        """One policy after the other."""
        while True:
            name = await self._queue.get()
            try:
                await self._reconcile(name)
                self._queue.forget(name)
            except (ApiError, OSError) as error:
                delay = self._queue.retry(name)
                _log.warning("policy status failed", name=name, error=str(error), delay_s=delay)
            finally:
                self._queue.done(name)

    async def _reconcile(self, name: str) -> None:
        server = self._server
        assert server is not None, "follow comes first"
        policy = server.caches.get(_PLACE, "", name)
        if policy is None or _is_checked(policy):
            return
        # Read in with the first policy: what expressions take is much of a start.
        from kutter.apiserver.admission.dynamic.type_checking import TypeChecker

        checker = TypeChecker(server.catalog, server.definitions.schema_of)
        warnings = await checker.check(policy)
        uid, generation = policy["metadata"]["uid"], policy["metadata"].get("generation", 0)

        def change(old: Tree | None) -> Tree:
            assert old is not None, "an update never creates here"
            if old["metadata"]["uid"] == uid:
                checking = {"expressionWarnings": warnings} if warnings else {}
                status = {**(old.get("status") or {}), "observedGeneration": generation}
                old["status"] = {**status, "typeChecking": checking}
            return old

        context = WriteContext(
            user=_SYSTEM,
            now=server.clock.now(),
            options={"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1"},
            subresource="status",
        )
        try:
            await server.storage_of(_GROUP, _PLURAL).update(context, "", name, change)
        except ApiError as error:
            if not is_reason(error, "NotFound"):
                raise


def _is_checked(policy: Tree) -> bool:
    seen = (policy.get("status") or {}).get("observedGeneration", 0)
    return bool(policy["metadata"].get("generation", 0) <= seen)
