"""Whether this node takes a pod that was bound to it. Pure.

The last word after the scheduler: pods may be bound by hand, or the node changed meanwhile.
Reasons and messages are upstream's (``OutOfcpu``, ``NodePorts``, ``NodeAffinity``, ...).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import NamedTuple

from kutter.api.types.core_v1 import NodeSelectorRequirement, NodeSelectorTerm, Pod
from kutter.node.container_config import SAFE_SYSCTLS, dotted_sysctl
from kutter.node.resources import pod_amounts

NODE_AFFINITY = "NodeAffinity"


class Rejection(NamedTuple):
    """Why the pod fails at once."""

    reason: str
    message: str


def admit(
    pod: Pod,
    others: Iterable[Pod],
    *,
    allocatable: Mapping[str, Fraction],
    labels: Mapping[str, str],
    node_name: str,
) -> Rejection | None:
    """None when the pod may run here beside ``others`` (those that have not ended)."""
    present = list(others)
    if pod.spec.os is not None and pod.spec.os.name not in ("", "linux"):
        return Rejection(
            "PodOSNotSupported",
            "Failed to admit pod as the OS field doesn't match node OS",
        )
    security = pod.spec.security_context
    if security is not None:
        for sysctl in security.sysctls:
            if dotted_sysctl(sysctl.name) not in SAFE_SYSCTLS:
                return Rejection(
                    "SysctlForbidden", f'forbidden sysctl: "{sysctl.name}" not allowlisted'
                )
    if not matches_node(pod, labels, node_name):
        return Rejection(
            NODE_AFFINITY,
            "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node "
            "affinity/selector",
        )
    wanted = _ports(pod)
    used = {port for other in present for port in _ports(other)}
    if any(_clash(port, other) for port in wanted for other in used):
        return Rejection(
            "NodePorts",
            "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for "
            "the requested pod ports",
        )
    return _fits(pod, present, allocatable)


def _fits(pod: Pod, present: list[Pod], allocatable: Mapping[str, Fraction]) -> Rejection | None:
    room = allocatable.get("pods")
    if room is not None and len(present) + 1 > room:
        return _out_of("pods", Fraction(1), Fraction(len(present)), room)
    requested = pod_amounts(pod, "requests")
    if not any(requested.values()):
        return None
    used: dict[str, Fraction] = {}
    for other in present:
        for name, amount in pod_amounts(other, "requests").items():
            used[name] = used.get(name, Fraction(0)) + amount
    for name, amount in requested.items():
        if not amount:
            continue
        capacity = allocatable.get(name, Fraction(0))
        if used.get(name, Fraction(0)) + amount > capacity:
            return _out_of(name, amount, used.get(name, Fraction(0)), capacity)
    return None


def _out_of(name: str, wanted: Fraction, used: Fraction, capacity: Fraction) -> Rejection:
    scale = 1000 if name == "cpu" else 1
    numbers = [int(value * scale) for value in (wanted, used, capacity)]
    return Rejection(
        f"OutOf{name}",
        f"Node didn't have enough resource: {name}, requested: {numbers[0]}, used: {numbers[1]}, "
        f"capacity: {numbers[2]}",
    )


def _ports(pod: Pod) -> set[tuple[str, str, int]]:
    return {
        (port.host_ip or "0.0.0.0", port.protocol or "TCP", port.host_port)  # noqa: S104
        for container in (*pod.spec.containers, *pod.spec.init_containers)
        for port in container.ports
        if port.host_port
    }


def _clash(one: tuple[str, str, int], other: tuple[str, str, int]) -> bool:
    anywhere = {"0.0.0.0", "::"}  # noqa: S104
    return one[1:] == other[1:] and (
        one[0] == other[0] or one[0] in anywhere or other[0] in anywhere
    )


def matches_node(pod: Pod, labels: Mapping[str, str], node_name: str) -> bool:
    """Node selector and required node affinity."""
    if any(labels.get(key) != value for key, value in pod.spec.node_selector.items()):
        return False
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity is not None else None
    required = (
        affinity.required_during_scheduling_ignored_during_execution
        if affinity is not None
        else None
    )
    if required is None:
        return True
    return any(_term(term, labels, node_name) for term in required.node_selector_terms)


def _term(term: NodeSelectorTerm, labels: Mapping[str, str], node_name: str) -> bool:
    if not term.match_expressions and not term.match_fields:
        return False
    return all(_holds(r, labels) for r in term.match_expressions) and all(
        _holds(r, {"metadata.name": node_name}) for r in term.match_fields
    )


def _holds(requirement: NodeSelectorRequirement, values: Mapping[str, str]) -> bool:
    value = values.get(requirement.key)
    operator = requirement.operator
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    if operator == "In":
        return value in requirement.values
    if operator == "NotIn":
        return value not in requirement.values
    try:
        number, bound = int(value or ""), int(requirement.values[0])
    except (ValueError, IndexError):
        return False
    return number > bound if operator == "Gt" else number < bound
