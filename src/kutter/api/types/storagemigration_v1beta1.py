"""Reader views of storagemigration.k8s.io/v1beta1. Laws: :mod:`kutter.api.types.base`."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.catalog import builtin
from kutter.api.resources import Resource
from kutter.api.types.base import View
from kutter.api.types.meta_v1 import Condition, GroupResource, KubeObject, ObjectMeta


class StorageVersionMigrationSpec(View):
    resource: GroupResource = GroupResource()


class StorageVersionMigrationStatus(View):
    conditions: tuple[Condition, ...] = ()
    resource_version: str = ""


class StorageVersionMigration(KubeObject):
    resource: ClassVar[Resource] = builtin(
        "storagemigration.k8s.io", "v1beta1", "storageversionmigrations"
    )

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    spec: StorageVersionMigrationSpec = StorageVersionMigrationSpec()
    status: StorageVersionMigrationStatus = StorageVersionMigrationStatus()
