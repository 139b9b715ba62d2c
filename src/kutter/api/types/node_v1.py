"""Reader views of node.k8s.io/v1. Laws: :mod:`kutter.api.types.base`."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.catalog import builtin
from kutter.api.resources import Resource
from kutter.api.types.base import View
from kutter.api.types.core_v1 import Toleration
from kutter.api.types.meta_v1 import KubeObject, ObjectMeta


class Overhead(View):
    pod_fixed: dict[str, str] = {}


class Scheduling(View):
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()


class RuntimeClass(KubeObject):
    resource: ClassVar[Resource] = builtin("node.k8s.io", "v1", "runtimeclasses")

    api_version: str = ""
    handler: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    overhead: Overhead | None = None
    scheduling: Scheduling | None = None
