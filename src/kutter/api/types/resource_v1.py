"""Reader views of resource.k8s.io/v1. Laws: :mod:`kutter.api.types.base`."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.catalog import builtin
from kutter.api.resources import Resource
from kutter.api.types.base import View
from kutter.api.types.meta_v1 import KubeObject, ObjectMeta


class ExactDeviceRequest(View):
    admin_access: bool | None = None
    allocation_mode: str = ""
    count: int = 0
    device_class_name: str = ""


class DeviceSubRequest(View):
    allocation_mode: str = ""
    count: int = 0
    device_class_name: str = ""
    name: str = ""


class DeviceRequest(View):
    exactly: ExactDeviceRequest | None = None
    first_available: tuple[DeviceSubRequest, ...] = ()
    name: str = ""


class DeviceClaim(View):
    requests: tuple[DeviceRequest, ...] = ()


class ResourceClaimSpec(View):
    devices: DeviceClaim = DeviceClaim()


class ResourceClaim(KubeObject):
    resource: ClassVar[Resource] = builtin("resource.k8s.io", "v1", "resourceclaims")

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    spec: ResourceClaimSpec = ResourceClaimSpec()
