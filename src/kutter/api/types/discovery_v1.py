"""Reader views of discovery.k8s.io/v1. Laws: :mod:`kutter.api.types.base`."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.catalog import builtin
from kutter.api.resources import Resource
from kutter.api.types.base import View
from kutter.api.types.core_v1 import ObjectReference
from kutter.api.types.meta_v1 import KubeObject, ObjectMeta


class EndpointConditions(View):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForNode(View):
    name: str = ""


class ForZone(View):
    name: str = ""


class EndpointHints(View):
    for_nodes: tuple[ForNode, ...] = ()
    for_zones: tuple[ForZone, ...] = ()


class Endpoint(View):
    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    deprecated_topology: dict[str, str] = {}
    hints: EndpointHints | None = None
    hostname: str | None = None
    node_name: str | None = None
    target_ref: ObjectReference | None = None
    zone: str | None = None


class EndpointPort(View):
    app_protocol: str | None = None
    name: str | None = None
    port: int | None = None
    protocol: str | None = None


class EndpointSlice(KubeObject):
    resource: ClassVar[Resource] = builtin("discovery.k8s.io", "v1", "endpointslices")

    address_type: str = ""
    api_version: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    ports: tuple[EndpointPort, ...] = ()
