"""Which services a changed pod or service concerns; shared by both endpoint controllers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kutter.api.types.core_v1 import Pod, Service
from kutter.controllers.endpoints.membership import selects
from kutter.machinery.controller import Change, Source, own_key
from kutter.machinery.informer import Informer, key_of

# Fields of a pod that matter to endpoints; a change of anything else is ignored.
Relevant = tuple[Any, ...]


def relevant(pod: Pod) -> Relevant:
    ready = next((c.status for c in pod.status.conditions if c.type == "Ready"), "")
    return (
        pod.metadata.labels,
        pod.metadata.deletion_timestamp,
        pod.status.phase,
        pod.status.pod_ip,
        pod.status.pod_ips,
        pod.spec.node_name,
        ready,
    )


def _alike(old: Pod, new: Pod) -> bool:
    """Whether nothing relevant differs; mostly there is no need to look into the status."""
    if old.metadata.labels != new.metadata.labels:
        return False
    if old.metadata.deletion_timestamp != new.metadata.deletion_timestamp:
        return False
    if old.spec.node_name != new.spec.node_name:
        return False
    return old.status == new.status or relevant(old) == relevant(new)


def service_sources(
    services: Informer[Service], pods: Informer[Pod], written: Source
) -> list[Source]:
    """Services, pods and what the controller writes itself."""

    def of_pod(change: Change[Pod]) -> Sequence[str]:
        old, new = change.old, change.new
        seen = [p for p in (old, new) if p is not None]
        there = services.items(seen[0].metadata.namespace)
        if not there:
            return ()
        if old is not None and new is not None and _alike(old, new):
            return ()
        return [key_of(s) for s in there if any(selects(s, pod) for pod in seen)]

    return [Source(services, own_key), Source(pods, of_pod), written]
