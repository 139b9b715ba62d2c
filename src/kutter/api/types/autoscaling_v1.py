"""Reader views of autoscaling/v1. Laws: :mod:`kutter.api.types.base`."""

from __future__ import annotations

from kutter.api.types.base import View
from kutter.api.types.meta_v1 import ObjectMeta


class ScaleSpec(View):
    replicas: int = 0


class ScaleStatus(View):
    replicas: int = 0
    selector: str = ""


class Scale(View):
    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    spec: ScaleSpec = ScaleSpec()
    status: ScaleStatus = ScaleStatus()
