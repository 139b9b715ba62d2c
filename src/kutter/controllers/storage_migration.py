"""Migrations of what is stored: each object of a resource is written again, as it is.

Owns: ``status`` of StorageVersionMigrations, and of a CustomResourceDefinition the condition
``StorageMigrating`` and, once all is migrated, ``storedVersions``. Reads: both, and the metadata of
every object of the resource. Writes: an apply of nothing to each of them, which leaves the object
as it is and has it stored under today's version and key.
Invariants: of one resource one migration runs at a time, the oldest first; what was written since
the migration's ``resourceVersion`` was written in today's form, so it is left alone, and a
migration that is taken up again goes on where it was. Nothing is kept in memory.
Upstream: kubernetes.io/docs/tasks/manage-kubernetes-objects/storage-version-migration/
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import timedelta
from typing import Any

import orjson

from kutter.api.catalog import Catalog, builtin
from kutter.api.errors import ApiError, is_reason
from kutter.api.resources import Resource
from kutter.api.types.storagemigration_v1beta1 import StorageVersionMigration
from kutter.base.clock import Clock, parse_time, render_time
from kutter.client.client import Client
from kutter.machinery.controller import Change, Result, Source
from kutter.machinery.informer import InformerFactory

_MANAGER = "storage-version-migrator-controller"
_CRD_MANAGER = "migration-runner-controller"
_DEFINITIONS = builtin("apiextensions.k8s.io", "v1", "customresourcedefinitions")
_METADATA = {
    "accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
}
_PAGE = 500
# A custom resource may be defined right after its migration.
_UNKNOWN_FOR = timedelta(minutes=1)
_LOOK_AGAIN_S = 5.0
_PASSING = ("InternalError", "ServerTimeout", "ServiceUnavailable", "Timeout", "TooManyRequests")


def is_true(migration: StorageVersionMigration, kind: str) -> bool:
    """Whether a condition of the migration is true."""
    return any(c.type == kind and c.status == "True" for c in migration.status.conditions)


def has_ended(migration: StorageVersionMigration) -> bool:
    return is_true(migration, "Succeeded") or is_true(migration, "Failed")


def next_to_run(migrations: Iterable[StorageVersionMigration]) -> str:
    """Of one resource's migrations the name of the one to start; empty while one runs. Pure."""
    open_ones = [m for m in migrations if not has_ended(m)]
    if any(is_true(m, "Running") for m in open_ones):
        return ""
    waiting = [(m.metadata.creation_timestamp or "", m.metadata.name) for m in open_ones]
    return min(waiting)[1] if waiting else ""


class StorageVersionMigrator:
    name = "storage-version-migrator-controller"

    def __init__(
        self, client: Client, informers: InformerFactory, catalog: Catalog, clock: Clock
    ) -> None:
        self._client = client
        self._catalog = catalog
        self._clock = clock
        self._migrations = informers.informer(StorageVersionMigration)

    def sources(self) -> Sequence[Source]:
        return [Source(self._migrations, self._of_the_resource)]

    def _of_the_resource(self, change: Change[StorageVersionMigration]) -> Iterable[str]:
        """All migrations of that resource: the end of one is the start of another."""
        return [m.metadata.name for m in self._siblings(change.any)]

    def _siblings(self, migration: StorageVersionMigration) -> list[StorageVersionMigration]:
        named = migration.spec.resource
        return [m for m in self._migrations.items() if m.spec.resource == named]

    async def reconcile(self, key: str) -> Result:
        migration = self._migrations.get(key)
        if migration is None:
            return Result()
        if has_ended(migration):
            if is_true(migration, "Running"):
                await self._end(migration)
            return Result("it has ended")
        if not is_true(migration, "Running"):
            if next_to_run(self._siblings(migration)) != key:
                return Result("another migration of the resource comes first")
            await self._begin(migration)
            return Result("it runs now")
        named = migration.spec.resource
        resource = self._catalog.find_group_resource(named.group, named.resource)
        if resource is None:
            return await self._wait_for_resource(migration)
        if not {"list", "patch"} <= set(resource.verbs):
            await self._fail(migration, f"{resource.group_resource} cannot be listed and patched")
            return Result("its resource is not stored")
        if not migration.status.resource_version:
            version = await self._current_version(resource)
            await self._write(migration, resource_version=version)
            return Result(f"what is there at {version} is to be migrated")
        return await self._migrate(migration, resource)

    # -- objects ----------------------------------------------------------------

    async def _migrate(self, migration: StorageVersionMigration, resource: Resource) -> Result:
        until = int(migration.status.resource_version)
        written = 0
        try:
            async for metadata in self._objects(resource):
                if int(metadata["resourceVersion"]) <= until:
                    written += await self._rewrite(resource, metadata)
        except ApiError as error:
            # An expired page among them: the list is begun anew, and is shorter by then.
            if is_reason(error, *_PASSING, "Expired"):
                raise
            await self._fail(migration, str(error))
            return Result("it failed")
        await self._write(migration, self._condition("Succeeded", _reason("Succeeded")))
        return Result(f"it wrote {written} objects")

    async def _rewrite(self, resource: Resource, metadata: dict[str, Any]) -> bool:
        """Whether it was still to be done: a conflict says that somebody wrote or deleted it."""
        body = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
        }
        try:
            await self._client.patch(
                resource,
                metadata["name"],
                body,
                metadata.get("namespace", ""),
                kind="apply",
                query=[("fieldManager", _MANAGER)],
            )
        except ApiError as error:
            if not is_reason(error, "Conflict"):
                raise
            return False
        return True

    async def _objects(self, resource: Resource) -> AsyncIterator[dict[str, Any]]:
        """The metadata of each, in pages."""
        token = ""
        while True:
            page = await self._page(resource, _PAGE, token)
            for item in page.get("items") or ():
                yield item["metadata"]
            token = page["metadata"].get("continue") or ""
            if not token:
                return

    async def _current_version(self, resource: Resource) -> str:
        page = await self._page(resource, 1, "")
        version: str = page["metadata"]["resourceVersion"]
        return version

    async def _page(self, resource: Resource, limit: int, token: str) -> dict[str, Any]:
        query = [("limit", str(limit)), *([("continue", token)] if token else [])]
        answer = await self._client.request("GET", resource.path(), query=query, headers=_METADATA)
        page: dict[str, Any] = orjson.loads(answer.body)
        return page

    # -- status -----------------------------------------------------------------

    async def _begin(self, migration: StorageVersionMigration) -> None:
        definition = await self._definition(migration)
        if definition is not None:
            message = f"Migration {migration.metadata.name} is running"
            await self._tell(definition, "True", "MigrationRunning", message)
        condition = self._condition("Running", "MigrationRunning", "The migration is running")
        await self._write(migration, condition)

    async def _end(self, migration: StorageVersionMigration) -> None:
        definition = await self._definition(migration)
        if definition is not None:
            await self._settle(definition, succeeded=is_true(migration, "Succeeded"))
        condition = self._condition("Running", "MigrationCompleted", "Migration completed")
        await self._write(migration, {**condition, "status": "False"})

    async def _wait_for_resource(self, migration: StorageVersionMigration) -> Result:
        since = migration.metadata.creation_timestamp
        if since and parse_time(since) + _UNKNOWN_FOR > self._clock.now():
            return Result("its resource is not served", requeue_after_s=_LOOK_AGAIN_S)
        await self._fail(migration, "unable to obtain GVR from discovery")
        return Result("its resource is not served")

    async def _fail(self, migration: StorageVersionMigration, why: str) -> None:
        message = f"migration encountered unhandled error: {why}"
        await self._write(migration, self._condition("Failed", _reason("Failed"), message))

    def _condition(self, kind: str, reason: str, message: str = "") -> dict[str, Any]:
        return {
            "type": kind,
            "status": "True",
            "lastTransitionTime": render_time(self._clock.now()),
            "reason": reason,
            "message": message,
        }

    async def _write(
        self,
        migration: StorageVersionMigration,
        condition: dict[str, Any] | None = None,
        *,
        resource_version: str = "",
    ) -> None:
        """The status with a condition more (or in place of its older self). Raises Conflict."""
        status = migration.status
        conditions = {c.type: c.tree() for c in status.conditions}
        if condition is not None:
            conditions[condition["type"]] = condition
        body = {
            "apiVersion": migration.resource.api_version,
            "kind": migration.resource.kind,
            "metadata": {
                "name": migration.metadata.name,
                "uid": migration.metadata.uid,
                "resourceVersion": migration.metadata.resource_version,
            },
            "spec": migration.spec.tree(),
            "status": {
                "conditions": [*conditions.values()],
                "resourceVersion": resource_version or status.resource_version,
            },
        }
        await self._client.update(StorageVersionMigration, body, subresource="status")

    # -- the definition of a custom resource ------------------------------------

    async def _definition(self, migration: StorageVersionMigration) -> dict[str, Any] | None:
        named = migration.spec.resource
        if not named.group:
            return None
        try:
            return await self._client.get_tree(_DEFINITIONS, f"{named.resource}.{named.group}")
        except ApiError as error:
            if not is_reason(error, "NotFound"):
                raise
            return None

    async def _settle(self, definition: dict[str, Any], *, succeeded: bool) -> None:
        """What is stored is of one version now, if the definition is still the one migrated to."""
        if not succeeded:
            await self._tell(definition, "False", "MigrationFailed", "The migration has failed")
            return
        begun = [
            c.get("observedGeneration")
            for c in definition["status"].get("conditions") or ()
            if c["type"] == "StorageMigrating"
        ]
        message, stored = "The migration has succeeded", []
        if begun == [definition["metadata"].get("generation")]:
            message += " and the stored versions have been updated"
            stored = [v["name"] for v in definition["spec"]["versions"] if v["storage"]]
        else:
            message += " but the stored versions have not been updated due to a generation mismatch"
        await self._tell(definition, "False", "MigrationSucceeded", message, stored)

    async def _tell(
        self,
        definition: dict[str, Any],
        status: str,
        reason: str,
        message: str,
        stored: Sequence[str] = (),
    ) -> None:
        """The revision guards: another definition would make what is told untrue."""
        metadata = definition["metadata"]
        condition = {
            **self._condition("StorageMigrating", reason, message),
            "status": status,
            "observedGeneration": metadata.get("generation", 0),
        }
        told: dict[str, Any] = {"conditions": [condition]}
        if stored:
            told["storedVersions"] = [*stored]
        body = {
            "apiVersion": _DEFINITIONS.api_version,
            "kind": _DEFINITIONS.kind,
            "metadata": {
                "name": metadata["name"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "status": told,
        }
        await self._client.patch(
            _DEFINITIONS,
            metadata["name"],
            body,
            kind="apply",
            subresource="status",
            query=[("fieldManager", _CRD_MANAGER), ("force", "true")],
        )


def _reason(outcome: str) -> str:
    return f"StorageVersionMigration{outcome}"
