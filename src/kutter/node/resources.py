"""Requests and limits of a pod as numbers: service class, cgroup values, OOM score. Pure.

Upstream: https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/ and
https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import lru_cache

from kutter.api import quantity
from kutter.api.types.core_v1 import Pod, ResourceRequirements
from kutter.node.facts import AnyContainerSpec, is_sidecar
from kutter.runtime.cri import Resources

CFS_PERIOD_US = 100_000
MINIMUM_QUOTA_US = 1_000
MINIMUM_SHARES = 2
MAXIMUM_SHARES = 262_144

Amounts = dict[str, Fraction]


@lru_cache(maxsize=4096)
def parse_amount(text: str) -> Fraction:
    """A quantity as an exact number. Raises ValueError."""
    return Fraction(quantity.parse(text).nanos, 10**9)


def milli_cpu(amounts: Mapping[str, str]) -> int:
    """The CPU amount in thousandths, rounded up; 0 when there is none."""
    return math.ceil(parse_amount(amounts["cpu"]) * 1000) if "cpu" in amounts else 0


def whole(amounts: Mapping[str, str], name: str) -> int:
    """Another amount, rounded up; 0 when there is none."""
    return math.ceil(parse_amount(amounts[name])) if name in amounts else 0


def qos_class(pod: Pod) -> str:
    """Guaranteed, Burstable or BestEffort."""
    own = pod.spec.resources
    if own is not None and (own.requests or own.limits):
        return _class_of([own])
    return _class_of(c.resources for c in [*pod.spec.init_containers, *pod.spec.containers])


def _class_of(needs: Iterable[ResourceRequirements]) -> str:
    guaranteed, anything = True, False
    for need in needs:
        for name in ("cpu", "memory"):
            limit = parse_amount(need.limits.get(name, "0"))
            request = parse_amount(need.requests.get(name, "0"))
            anything = anything or limit > 0 or request > 0
            if not limit or (request and request != limit):
                guaranteed = False
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _add(total: Amounts, amounts: Mapping[str, str]) -> None:
    for name, text in amounts.items():
        total[name] = total.get(name, Fraction(0)) + parse_amount(text)


def pod_amounts(pod: Pod, which: str) -> Amounts:
    """The pod's ``requests`` or ``limits``: containers and sidecars together, or init if more."""
    spec = pod.spec
    total: Amounts = {}
    for container in spec.containers:
        _add(total, getattr(container.resources, which))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.init_containers:
        amounts = getattr(container.resources, which)
        if is_sidecar(container):
            _add(sidecars, amounts)
            at_start = dict(sidecars)
        else:
            at_start = dict(sidecars)
            _add(at_start, amounts)
        for name, value in at_start.items():
            peak[name] = max(peak.get(name, Fraction(0)), value)
    for name, value in sidecars.items():
        total[name] = total.get(name, Fraction(0)) + value
    for name, value in peak.items():
        total[name] = max(total.get(name, Fraction(0)), value)
    own = spec.resources
    if own is not None:
        for name, text in getattr(own, which).items():
            total[name] = parse_amount(text)
    for name, text in spec.overhead.items():
        if which == "requests" or name in total:
            total[name] = total.get(name, Fraction(0)) + parse_amount(text)
    return total


def cpu_shares(milli: int) -> int:
    """Cgroup v1 shares for a request in thousandths of a CPU."""
    return min(max(milli * 1024 // 1000, MINIMUM_SHARES), MAXIMUM_SHARES)


def cpu_quota_us(milli: int) -> int:
    """CFS quota for a limit in thousandths of a CPU; 0 is none."""
    return max(milli * CFS_PERIOD_US // 1000, MINIMUM_QUOTA_US) if milli else 0


def oom_score_adj(pod: Pod, spec: AnyContainerSpec, memory_capacity_bytes: int) -> int:
    """How early the kernel kills it: the less it asked for, the earlier."""
    if (pod.spec.priority or 0) >= 2_000_000_000:
        return -997
    kind = qos_class(pod)
    if kind == "Guaranteed":
        return -997
    if kind == "BestEffort":
        return 1000
    request = whole(spec.resources.requests, "memory")
    score = 1000 - (1000 * request) // max(memory_capacity_bytes, 1)
    return min(max(score, 3), 999)


def container_resources(
    pod: Pod, spec: AnyContainerSpec, *, memory_capacity_bytes: int, pids_limit: int = 0
) -> Resources:
    """The CRI limits of one container."""
    needs = spec.resources
    requested = needs.requests if "cpu" in needs.requests else needs.limits
    limit = milli_cpu(needs.limits)
    memory = whole(needs.limits, "memory")
    hugepages = {
        name.removeprefix("hugepages-"): whole(needs.limits, name)
        for name in needs.limits
        if name.startswith("hugepages-")
    }
    return Resources(
        cpu_shares=cpu_shares(milli_cpu(requested)),
        cpu_quota_us=cpu_quota_us(limit),
        cpu_period_us=CFS_PERIOD_US,
        memory_limit_bytes=memory,
        memory_swap_limit_bytes=memory,
        oom_score_adj=oom_score_adj(pod, spec, memory_capacity_bytes),
        pids_limit=pids_limit,
        hugepage_limits=hugepages,
    )


def pod_cgroup(pod: Pod, root: str = "/kutter") -> str:
    """The pod's cgroup below the hierarchy's root."""
    kind = qos_class(pod)
    folder = "" if kind == "Guaranteed" else f"/{kind.lower()}"
    return f"{root}{folder}/pod{pod.metadata.uid}"


def pod_resources(pod: Pod) -> Resources:
    """The limits of the pod's own cgroup: a bound only where every container has one."""
    requests = pod_amounts(pod, "requests")
    limits = pod_amounts(pod, "limits")
    members = [*pod.spec.containers, *pod.spec.init_containers]
    own = pod.spec.resources

    def bounded(name: str) -> bool:
        if own is not None and name in own.limits:
            return True
        return all(name in member.resources.limits for member in members)

    shares = cpu_shares(math.ceil(requests.get("cpu", Fraction(0)) * 1000))
    quota = (
        cpu_quota_us(math.ceil(limits["cpu"] * 1000)) if "cpu" in limits and bounded("cpu") else 0
    )
    memory = math.ceil(limits["memory"]) if "memory" in limits and bounded("memory") else 0
    return Resources(
        cpu_shares=shares,
        cpu_quota_us=quota,
        cpu_period_us=CFS_PERIOD_US,
        memory_limit_bytes=memory,
    )
