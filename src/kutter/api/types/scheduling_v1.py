"""Reader views of scheduling.k8s.io/v1. Laws: :mod:`kutter.api.types.base`."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.catalog import builtin
from kutter.api.resources import Resource
from kutter.api.types.meta_v1 import KubeObject, ObjectMeta


class PriorityClass(KubeObject):
    resource: ClassVar[Resource] = builtin("scheduling.k8s.io", "v1", "priorityclasses")

    api_version: str = ""
    description: str = ""
    global_default: bool = False
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    preemption_policy: str | None = None
    value: int = 0
