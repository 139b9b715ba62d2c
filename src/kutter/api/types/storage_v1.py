"""Reader views of storage.k8s.io/v1. Laws: :mod:`kutter.api.types.base`."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.catalog import builtin
from kutter.api.resources import Resource
from kutter.api.types.base import View
from kutter.api.types.core_v1 import PersistentVolumeSpec, TopologySelectorTerm
from kutter.api.types.meta_v1 import KubeObject, LabelSelector, ObjectMeta


class StorageClass(KubeObject):
    resource: ClassVar[Resource] = builtin("storage.k8s.io", "v1", "storageclasses")

    allow_volume_expansion: bool | None = None
    allowed_topologies: tuple[TopologySelectorTerm, ...] = ()
    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    mount_options: tuple[str, ...] = ()
    parameters: dict[str, str] = {}
    provisioner: str = ""
    reclaim_policy: str | None = None
    volume_binding_mode: str | None = None


class TokenRequest(View):
    audience: str = ""
    expiration_seconds: int | None = None


class CSIDriverSpec(View):
    attach_required: bool | None = None
    fs_group_policy: str | None = None
    node_allocatable_update_period_seconds: int | None = None
    pod_info_on_mount: bool | None = None
    prevent_pod_scheduling_if_missing: bool | None = None
    requires_republish: bool | None = None
    se_linux_mount: bool | None = None
    service_account_token_in_secrets: bool | None = None
    storage_capacity: bool | None = None
    token_requests: tuple[TokenRequest, ...] = ()
    volume_lifecycle_modes: tuple[str, ...] = ()


class CSIDriver(KubeObject):
    resource: ClassVar[Resource] = builtin("storage.k8s.io", "v1", "csidrivers")

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    spec: CSIDriverSpec = CSIDriverSpec()


class VolumeNodeResources(View):
    count: int | None = None


class CSINodeDriver(View):
    allocatable: VolumeNodeResources | None = None
    name: str = ""
    node_id: str = ""
    topology_keys: tuple[str, ...] = ()


class CSINodeSpec(View):
    drivers: tuple[CSINodeDriver, ...] = ()


class CSINode(KubeObject):
    resource: ClassVar[Resource] = builtin("storage.k8s.io", "v1", "csinodes")

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    spec: CSINodeSpec = CSINodeSpec()


class VolumeAttachmentSource(View):
    inline_volume_spec: PersistentVolumeSpec | None = None
    persistent_volume_name: str | None = None


class VolumeAttachmentSpec(View):
    attacher: str = ""
    node_name: str = ""
    source: VolumeAttachmentSource = VolumeAttachmentSource()


class VolumeError(View):
    error_code: int | None = None
    message: str = ""
    time: str = ""


class VolumeAttachmentStatus(View):
    attach_error: VolumeError | None = None
    attached: bool = False
    attachment_metadata: dict[str, str] = {}
    detach_error: VolumeError | None = None


class VolumeAttachment(KubeObject):
    resource: ClassVar[Resource] = builtin("storage.k8s.io", "v1", "volumeattachments")

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    spec: VolumeAttachmentSpec = VolumeAttachmentSpec()
    status: VolumeAttachmentStatus = VolumeAttachmentStatus()


class CSIStorageCapacity(KubeObject):
    resource: ClassVar[Resource] = builtin("storage.k8s.io", "v1", "csistoragecapacities")

    api_version: str = ""
    capacity: str | None = None
    kind: str = ""
    maximum_volume_size: str | None = None
    metadata: ObjectMeta = ObjectMeta()
    node_topology: LabelSelector | None = None
    storage_class_name: str = ""


class VolumeAttributesClass(KubeObject):
    resource: ClassVar[Resource] = builtin("storage.k8s.io", "v1", "volumeattributesclasses")

    api_version: str = ""
    driver_name: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    parameters: dict[str, str] = {}
