"""Reader views of coordination.k8s.io/v1beta1. Laws: :mod:`kutter.api.types.base`."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.catalog import builtin
from kutter.api.resources import Resource
from kutter.api.types.base import View
from kutter.api.types.meta_v1 import KubeObject, ObjectMeta


class LeaseCandidateSpec(View):
    binary_version: str = ""
    emulation_version: str = ""
    lease_name: str = ""
    ping_time: str | None = None
    renew_time: str | None = None
    strategy: str = ""


class LeaseCandidate(KubeObject):
    resource: ClassVar[Resource] = builtin("coordination.k8s.io", "v1beta1", "leasecandidates")

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    spec: LeaseCandidateSpec = LeaseCandidateSpec()
