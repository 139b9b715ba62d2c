"""What a pod costs, and which scopes it is in. Pure.

A pod that has ended, or should be gone by now, costs no compute resources but is still counted
by ``count/pods``. While a resize is under way the larger of old and new counts. Rules:
https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta

from kutter.api.quota.amounts import ONE, Amounts, add, highest, read_amounts
from kutter.api.types.core_v1 import (
    Container,
    ContainerStatus,
    Pod,
    PodAffinityTerm,
    ScopedResourceSelectorRequirement,
)
from kutter.base.clock import parse_time

COUNT = "count/pods"
_NAMES = frozenset(
    {
        COUNT,
        "pods",
        *(
            prefix + name
            for prefix in ("", "requests.", "limits.")
            for name in ("cpu", "memory", "ephemeral-storage")
        ),
    }
)
_HUGE_PAGES = "hugepages-"
# A quota on one of these obliges every container to say what it wants. Upstream regrets it for
# these and does not do it for others.
_DEMANDED = frozenset(
    prefix + name for prefix in ("", "requests.", "limits.") for name in ("cpu", "memory")
)

_Pick = Callable[[Container, ContainerStatus | None, bool], Mapping[str, str]]


def names_of(names: Iterable[str]) -> list[str]:
    """Which quota names pods count against."""
    return [n for n in names if n in _NAMES or _is_huge(n) or _is_extended_quota(n)]


def _is_huge(name: str) -> bool:
    return name.removeprefix("requests.").startswith(_HUGE_PAGES)


def _is_native(name: str) -> bool:
    return "/" not in name or "kubernetes.io/" in name


def _is_extended_quota(name: str) -> bool:
    return name.startswith("requests.") and not _is_native(name)


def is_charged(pod: Pod, now: datetime) -> bool:
    """Whether it costs compute resources."""
    if pod.status.phase in ("Succeeded", "Failed"):
        return False
    end = charged_until(pod)
    return end is None or now <= end


def charged_until(pod: Pod) -> datetime | None:
    """When a pod being deleted stops to cost, should its node never confirm the end."""
    meta = pod.metadata
    if not meta.deletion_timestamp or meta.deletion_grace_period_seconds is None:
        return None
    grace = timedelta(seconds=meta.deletion_grace_period_seconds)
    return parse_time(meta.deletion_timestamp) + grace


def pod_usage(pod: Pod, now: datetime) -> Amounts:
    """Everything it costs, by quota name."""
    if not is_charged(pod, now):
        return {COUNT: ONE}
    usage = _quota_names(_requests(pod), _limits(pod))
    usage[COUNT] = ONE
    return usage


def _quota_names(requests: Amounts, limits: Amounts) -> Amounts:
    found: Amounts = {"pods": ONE}
    for name, amount in requests.items():
        if name in ("cpu", "memory", "ephemeral-storage") or name.startswith(_HUGE_PAGES):
            found[name] = found[f"requests.{name}"] = amount
        elif not _is_native(name) and not name.startswith("requests."):
            found[f"requests.{name}"] = amount
    for name, amount in limits.items():
        if name in ("cpu", "memory", "ephemeral-storage"):
            found[f"limits.{name}"] = amount
    return found


def missing_names(pod: Pod, names: Collection[str]) -> str:
    """``cpu for: a,b; memory for: a``: what a quota obliges containers to say; "" if all do."""
    demanded = _DEMANDED.intersection(names)
    if not demanded:
        return ""
    if pod.spec.resources is not None:
        own = pod.spec.resources
        demanded -= _quota_names(read_amounts(own.requests), read_amounts(own.limits)).keys()
    lacking: dict[str, set[str]] = {}
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        said = _quota_names(
            read_amounts(container.resources.requests), read_amounts(container.resources.limits)
        )
        for name in demanded - said.keys():
            lacking.setdefault(name, set()).add(container.name)
    return "; ".join(f"{name} for: {','.join(sorted(lacking[name]))}" for name in sorted(lacking))


# -- sums ------------------------------------------------------------------------


def _requests(pod: Pod) -> Amounts:
    if _is_new(pod):
        total = _sum(pod, _asked_requests, given_up=False)
    else:
        given_up = _resize_given_up(pod)
        sums = [_sum(pod, _allocated, given_up=given_up), _sum(pod, _actuated, given_up=given_up)]
        if not given_up:
            sums.append(_sum(pod, _asked_requests, given_up=False))
        total = highest(*sums)
    if pod.spec.resources is not None:
        total.update(_pod_level(read_amounts(pod.spec.resources.requests)))
    return add(total, read_amounts(pod.spec.overhead))


def _limits(pod: Pod) -> Amounts:
    if _is_new(pod):
        total = _sum(pod, _asked_limits, given_up=False)
    else:
        given_up = _resize_given_up(pod)
        sums = [_sum(pod, _actuated_limits, given_up=given_up)]
        if not given_up:
            sums.append(_sum(pod, _asked_limits, given_up=False))
        total = highest(*sums)
    if pod.spec.resources is not None:
        total.update(_pod_level(read_amounts(pod.spec.resources.limits)))
    # Overhead counts where there is a limit at all.
    overhead = read_amounts(pod.spec.overhead)
    return add(total, {name: overhead[name] for name in overhead if total.get(name)})


def _is_new(pod: Pod) -> bool:
    """Whether no node has given its containers anything yet."""
    return not (pod.status.container_statuses or pod.status.init_container_statuses)


def _pod_level(amounts: Amounts) -> Amounts:
    return {n: a for n, a in amounts.items() if n in ("cpu", "memory") or n.startswith(_HUGE_PAGES)}


def _sum(pod: Pod, pick: _Pick, *, given_up: bool) -> Amounts:
    """Containers run together, init containers one after another beside earlier sidecars."""
    statuses = {
        s.name: s for s in (*pod.status.init_container_statuses, *pod.status.container_statuses)
    }

    def own(container: Container) -> Amounts:
        return read_amounts(pick(container, statuses.get(container.name), given_up))

    total: Amounts = {}
    for container in pod.spec.containers:
        total = add(total, own(container))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in pod.spec.init_containers:
        amounts = own(container)
        if container.restart_policy == "Always":
            total, sidecars = add(total, amounts), add(sidecars, amounts)
            peak = highest(peak, sidecars)
        else:
            peak = highest(peak, add(amounts, sidecars))
    return highest(total, peak)


def _asked_requests(
    container: Container, status: ContainerStatus | None, given_up: bool
) -> Mapping[str, str]:
    return container.resources.requests


def _asked_limits(
    container: Container, status: ContainerStatus | None, given_up: bool
) -> Mapping[str, str]:
    return container.resources.limits


def _allocated(
    container: Container, status: ContainerStatus | None, given_up: bool
) -> Mapping[str, str]:
    if status is not None and status.allocated_resources:
        return status.allocated_resources
    return {} if given_up else container.resources.requests


def _actuated(
    container: Container, status: ContainerStatus | None, given_up: bool
) -> Mapping[str, str]:
    if status is not None and status.resources is not None and status.resources.requests:
        return status.resources.requests
    return _allocated(container, status, given_up)


def _actuated_limits(
    container: Container, status: ContainerStatus | None, given_up: bool
) -> Mapping[str, str]:
    if status is not None and status.resources is not None and status.resources.limits:
        return status.resources.limits
    return {} if given_up else container.resources.limits


def _resize_given_up(pod: Pod) -> bool:
    """Whether the node said that the resize asked for can never be."""
    return any(
        c.type == "PodResizePending" and c.reason == "Infeasible" for c in pod.status.conditions
    )


# -- scopes ----------------------------------------------------------------------


def pod_in_scope(pod: Pod, wanted: ScopedResourceSelectorRequirement) -> bool:
    match wanted.scope_name:
        case "Terminating":
            return _ends_by_itself(pod)
        case "NotTerminating":
            return not _ends_by_itself(pod)
        case "BestEffort":
            return _is_best_effort(pod)
        case "NotBestEffort":
            return not _is_best_effort(pod)
        case "PriorityClass":
            name = pod.spec.priority_class_name
            return selects(wanted, {name} if name else set())
        case "CrossNamespacePodAffinity":
            return any(
                term.namespaces or term.namespace_selector is not None for term in _terms(pod)
            )
        case _:
            return False


def selects(wanted: ScopedResourceSelectorRequirement, names: Collection[str]) -> bool:
    """Whether an operator holds for the class names an object has (mostly one or none)."""
    match wanted.operator:
        case "Exists":
            return bool(names)
        case "DoesNotExist":
            return not names
        case "In":
            return any(name in wanted.values for name in names)
        case "NotIn":
            return not names or any(name not in wanted.values for name in names)
        case _:
            return False


def _ends_by_itself(pod: Pod) -> bool:
    seconds = pod.spec.active_deadline_seconds
    return seconds is not None and seconds >= 0


def _is_best_effort(pod: Pod) -> bool:
    if pod.status.qos_class:
        return pod.status.qos_class == "BestEffort"
    if pod.spec.resources is not None and (
        pod.spec.resources.requests or pod.spec.resources.limits
    ):
        return False
    return not any(
        amount
        for container in (*pod.spec.containers, *pod.spec.init_containers)
        for listed in (container.resources.requests, container.resources.limits)
        for name, amount in read_amounts(listed).items()
        if name in ("cpu", "memory")
    )


def _terms(pod: Pod) -> Iterable[PodAffinityTerm]:
    affinity = pod.spec.affinity
    if affinity is None:
        return
    for rules in (affinity.pod_affinity, affinity.pod_anti_affinity):
        if rules is not None:
            yield from rules.required_during_scheduling_ignored_during_execution
            for weighted in rules.preferred_during_scheduling_ignored_during_execution:
                yield weighted.pod_affinity_term
