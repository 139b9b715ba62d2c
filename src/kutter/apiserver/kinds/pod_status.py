"""What the server itself says in a pod's status: its quality-of-service class, its addresses."""

from __future__ import annotations

from typing import Any

from kutter.apiserver.validation import quantities

Tree = dict[str, Any]

_COMPUTE = ("cpu", "memory")
_CONTAINER_STATUSES = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")


def qos_class(spec: Tree) -> str:
    """Guaranteed, Burstable or BestEffort (``pkg/apis/core/helper/qos``)."""
    whole = spec.get("resources")
    if whole and (whole.get("requests") or whole.get("limits")):
        parts = [whole]
    else:
        parts = [
            container.get("resources") or {}
            for field in ("containers", "initContainers")
            for container in spec.get(field) or ()
        ]
    requests: dict[str, int] = {}
    limits: dict[str, int] = {}
    guaranteed = True
    for resources in parts:
        for name, value in (resources.get("requests") or {}).items():
            if name in _COMPUTE and (nanos := quantities.amount(value)) > 0:
                requests[name] = requests.get(name, 0) + nanos
        found = 0
        for name, value in (resources.get("limits") or {}).items():
            if name in _COMPUTE and (nanos := quantities.amount(value)) > 0:
                found += 1
                limits[name] = limits.get(name, 0) + nanos
        if found != len(_COMPUTE):
            guaranteed = False
    if not requests and not limits:
        return "BestEffort"
    return "Guaranteed" if guaranteed and requests == limits else "Burstable"


def mirror_addresses(status: Tree) -> None:
    """``podIP`` and ``hostIP`` repeat the first of their lists, whichever was written."""
    for single, many in (("podIP", "podIPs"), ("hostIP", "hostIPs")):
        listed = status.get(many)
        if listed:
            if not status.get(single) and single == "podIP":
                status[single] = listed[0].get("ip")
            elif single == "podIP" and status.get(single) != listed[0].get("ip"):
                status[many] = [{"ip": status[single]}]
        elif status.get(single) and single == "podIP":
            status[many] = [{"ip": status[single]}]


def keep_observed(status: Tree, before: Tree) -> None:
    """Which generation was seen stays told, also by nodes that know nothing of it."""
    observed = before.get("observedGeneration")
    if observed and not status.get("observedGeneration"):
        status["observedGeneration"] = observed
    told: dict[str, list[int]] = {}
    for condition in before.get("conditions") or ():
        generation = condition.get("observedGeneration") or 0
        told.setdefault(condition.get("type") or "", []).append(generation)
    for condition in status.get("conditions") or ():
        listed = told.get(condition.get("type") or "")
        if not listed:
            continue
        generation = listed.pop(0)
        if generation and not condition.get("observedGeneration"):
            condition["observedGeneration"] = generation


def drop_volume_status(status: Tree) -> None:
    """Upstream has the field and switches it off."""
    for field in _CONTAINER_STATUSES:
        for container in status.get(field) or ():
            for mount in container.get("volumeMounts") or ():
                mount.pop("volumeStatus", None)
