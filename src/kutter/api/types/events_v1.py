"""Reader views of events.k8s.io/v1. Laws: :mod:`kutter.api.types.base`."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.catalog import builtin
from kutter.api.resources import Resource
from kutter.api.types.base import View
from kutter.api.types.core_v1 import EventSource, ObjectReference
from kutter.api.types.meta_v1 import KubeObject, ObjectMeta


class EventSeries(View):
    count: int = 0
    last_observed_time: str = ""


class Event(KubeObject):
    resource: ClassVar[Resource] = builtin("events.k8s.io", "v1", "events")

    action: str = ""
    api_version: str = ""
    deprecated_count: int = 0
    deprecated_first_timestamp: str = ""
    deprecated_last_timestamp: str = ""
    deprecated_source: EventSource = EventSource()
    event_time: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    note: str = ""
    reason: str = ""
    regarding: ObjectReference = ObjectReference()
    related: ObjectReference | None = None
    reporting_controller: str = ""
    reporting_instance: str = ""
    series: EventSeries | None = None
    type: str = ""
