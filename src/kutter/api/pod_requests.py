"""What a pod asks for in all: the sum over its containers as the scheduler counts it. Pure.

Init containers run one after another, sidecars stay: the need is the larger of what runs in the
end and of the highest moment before. Rules:
kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers
"""

from __future__ import annotations

from collections.abc import Mapping

from kutter.api.quantity import milli, whole
from kutter.api.types.core_v1 import Pod

Amounts = dict[str, int]


def amounts_of(quantities: Mapping[str, str]) -> Amounts:
    """CPU in thousandths, everything else in whole units, both rounded up."""
    return {
        name: milli(value) if name == "cpu" else whole(value) for name, value in quantities.items()
    }


def _add(total: Amounts, more: Mapping[str, int]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _raise_to(total: Amounts, least: Mapping[str, int]) -> None:
    for name, value in least.items():
        if value > total.get(name, 0):
            total[name] = value


def pod_requests(pod: Pod) -> Amounts:
    """The pod's requests with overhead; pod-level requests win where they are set."""
    total: Amounts = {}
    for container in pod.spec.containers:
        _add(total, amounts_of(container.resources.requests))
    sidecars: Amounts = {}
    highest: Amounts = {}
    for container in pod.spec.init_containers:
        own = amounts_of(container.resources.requests)
        if container.restart_policy == "Always":
            _add(sidecars, own)
            _add(total, own)
            _raise_to(highest, sidecars)
        else:
            moment = dict(sidecars)
            _add(moment, own)
            _raise_to(highest, moment)
    _raise_to(total, highest)
    if pod.spec.resources is not None:
        total.update(amounts_of(pod.spec.resources.requests))
    _add(total, amounts_of(pod.spec.overhead))
    return total
