"""The cluster as the scheduler sees it: numpy columns, one row per node.

Kept up to date by informer events and by the scheduler's own assumptions (a pod counts on its
node from the moment it is chosen). Laws: a pod is counted on at most one row; rows of removed
nodes are cleared before they are used again; every column has the same length.

Units: CPU in thousandths, memory and storage in bytes, other resources in their own units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kutter.api.pod_requests import amounts_of, pod_requests
from kutter.api.selectors import Selector, from_view
from kutter.api.types.core_v1 import Node, Pod, PodAffinityTerm, Taint

Mask = NDArray[np.bool_]
Scores = NDArray[np.float64]

CPU, MEMORY, PODS, STORAGE = range(4)
_FIXED = {"cpu": CPU, "memory": MEMORY, "pods": PODS, "ephemeral-storage": STORAGE}
# A container without requests is scored as if it asked for this much.
DEFAULT_CPU_MILLI = 100
DEFAULT_MEMORY_BYTES = 200 * 1024 * 1024

# More changes than this are no more looked at one by one.
_TOUCHED_LIMIT = 4096

PortKey = tuple[str, int]  # protocol, host port


@dataclass(slots=True)
class Term:
    """A pod (anti-)affinity term, compiled. ``namespaces`` empty: all."""

    topology_key: str
    selector: Selector
    namespaces: frozenset[str]
    weight: int = 0

    def matches(self, pod: PodInfo) -> bool:
        in_scope = not self.namespaces or pod.namespace in self.namespaces
        return in_scope and self.selector.matches(pod.labels)


def compile_term(
    term: PodAffinityTerm, pod: Pod, namespaces_of: NamespaceLookup, weight: int = 0
) -> Term:
    """Names, namespace selector and label-key additions resolved for ``pod``."""
    names = set(term.namespaces)
    if term.namespace_selector is not None:
        selector = from_view(term.namespace_selector)
        if selector.empty:
            return Term(term.topology_key, _with_keys(term, pod), frozenset(), weight)
        names |= namespaces_of(selector)
    elif not names:
        names = {pod.metadata.namespace}
    # A selector that finds no namespace matches nothing, which an empty set cannot say.
    return Term(term.topology_key, _with_keys(term, pod), frozenset(names or {""}), weight)


def _with_keys(term: PodAffinityTerm, pod: Pod) -> Selector:
    """``matchLabelKeys`` narrow the selector to the pod's own values of these labels."""
    from kutter.api.selectors import requirement

    base = from_view(term.label_selector)
    labels = pod.metadata.labels
    extra = [requirement(k, "in", (labels[k],)) for k in term.match_label_keys if k in labels]
    extra += [
        requirement(k, "notin", (labels[k],)) for k in term.mismatch_label_keys if k in labels
    ]
    return Selector((*base.requirements, *extra)) if extra else base


class NamespaceLookup:
    """Which namespaces a selector finds; fed by the scheduler's namespace informer."""

    def __init__(self, labels: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self.labels: dict[str, Mapping[str, str]] = dict(labels or {})

    def __call__(self, selector: Selector) -> set[str]:
        return {name for name, labels in self.labels.items() if selector.matches(labels)}


@dataclass(slots=True)
class PodInfo:
    """What a pod on a node means to others."""

    uid: str
    key: str
    namespace: str
    labels: dict[str, str]
    requests: dict[str, int]
    scored_cpu: int
    scored_memory: int
    ports: tuple[tuple[PortKey, str], ...]
    required_anti: tuple[PodAffinityTerm, ...]
    pod: Pod
    row: int = -1
    deleting: bool = False


def describe_pod(pod: Pod) -> PodInfo:
    """Compute once what the filters and scores read."""
    requests = pod_requests(pod)
    scored_cpu = scored_memory = 0
    for container in pod.spec.containers:
        own = amounts_of(container.resources.requests)
        scored_cpu += own.get("cpu", DEFAULT_CPU_MILLI)
        scored_memory += own.get("memory", DEFAULT_MEMORY_BYTES)
    ports = tuple(
        ((port.protocol or "TCP", port.host_port), port.host_ip or "0.0.0.0")  # noqa: S104
        for container in (*pod.spec.containers, *pod.spec.init_containers)
        for port in container.ports
        if port.host_port
    )
    affinity = pod.spec.affinity
    anti = affinity.pod_anti_affinity if affinity else None
    return PodInfo(
        uid=pod.metadata.uid,
        key=f"{pod.metadata.namespace}/{pod.metadata.name}",
        namespace=pod.metadata.namespace,
        labels=pod.metadata.labels,
        requests=requests,
        scored_cpu=max(scored_cpu, requests.get("cpu", 0)),
        scored_memory=max(scored_memory, requests.get("memory", 0)),
        ports=ports,
        required_anti=tuple(anti.required_during_scheduling_ignored_during_execution)
        if anti
        else (),
        pod=pod,
        deleting=bool(pod.metadata.deletion_timestamp),
    )


@dataclass(slots=True)
class _Row:
    """What does not fit a column."""

    name: str
    node: Node
    pods: dict[str, PodInfo] = field(default_factory=dict)
    ports: dict[PortKey, dict[str, int]] = field(default_factory=dict)  # → host ip → count


class Snapshot:
    """All nodes and the pods on them."""

    def __init__(self) -> None:
        self._rows: list[_Row | None] = []
        self._free: list[int] = []
        self.by_name: dict[str, int] = {}
        self.pods: dict[str, PodInfo] = {}
        self.resource_columns: dict[str, int] = dict(_FIXED)
        self.alive: Mask = np.zeros(0, dtype=bool)
        self.unschedulable: Mask = np.zeros(0, dtype=bool)
        self.allocatable = np.zeros((0, len(_FIXED)), dtype=np.int64)
        self.requested = np.zeros((0, len(_FIXED)), dtype=np.int64)
        self.scored = np.zeros((0, 2), dtype=np.int64)
        self._labels: dict[tuple[str, str], set[int]] = {}
        self._label_keys: dict[str, dict[str, set[int]]] = {}
        self._taints: dict[tuple[str, str, str], tuple[Taint, set[int]]] = {}
        self._images: dict[str, tuple[int, set[int]]] = {}
        self.anti_affine: dict[str, PodInfo] = {}
        self._waiting: dict[str, dict[str, PodInfo]] = {}  # node not known yet → its pods
        # Of what is not about pods: a node came, went or changed, or a column did.
        self.nodes_version = 0
        # Rows whose pods changed, in order, since ``nodes_version`` moved.
        self.touched: list[int] = []

    def _nodes_changed(self) -> None:
        self.nodes_version += 1
        self.touched.clear()

    @property
    def size(self) -> int:
        """The number of nodes."""
        return len(self.by_name)

    @property
    def length(self) -> int:
        """The number of rows, empty ones included."""
        return len(self._rows)

    def name_of(self, row: int) -> str:
        found = self._rows[row]
        assert found is not None
        return found.name

    def node_name_of(self, pod: PodInfo) -> str:
        """The node a pod is counted on; empty when it is counted on none."""
        found = self._rows[pod.row] if pod.row >= 0 else None
        return found.name if found is not None else ""

    def node_of(self, row: int) -> Node:
        found = self._rows[row]
        assert found is not None
        return found.node

    def pods_of(self, row: int) -> Iterable[PodInfo]:
        found = self._rows[row]
        return found.pods.values() if found is not None else ()

    # Nodes

    def set_node(self, node: Node) -> None:
        """Add a node or take in its new state."""
        self._nodes_changed()
        name = node.metadata.name
        row = self.by_name.get(name)
        if row is None:
            row = self._free.pop() if self._free else self._grow()
            self.by_name[name] = row
            self._rows[row] = _Row(name, node)
            self.alive[row] = True
        else:
            self._unindex(row)
            entry = self._rows[row]
            assert entry is not None
            entry.node = node
        self._index(row, node)
        for info in self._waiting.pop(name, {}).values():
            self._count(info, row)

    def remove_node(self, name: str) -> None:
        row = self.by_name.pop(name, None)
        if row is None:
            return
        self._nodes_changed()
        entry = self._rows[row]
        assert entry is not None
        self._unindex(row)
        for info in list(entry.pods.values()):
            self._uncount(info)
            self._waiting.setdefault(name, {})[info.uid] = info
        self._rows[row] = None
        self.alive[row] = False
        self.allocatable[row] = 0
        self._free.append(row)

    def _grow(self) -> int:
        row = len(self._rows)
        self._rows.append(None)
        if row >= len(self.alive):
            more = max(64, row)
            self.alive = np.concatenate([self.alive, np.zeros(more, dtype=bool)])
            self.unschedulable = np.concatenate([self.unschedulable, np.zeros(more, dtype=bool)])
            width = self.allocatable.shape[1]
            blank = np.zeros((more, width), dtype=np.int64)
            self.allocatable = np.concatenate([self.allocatable, blank])
            self.requested = np.concatenate([self.requested, blank])
            self.scored = np.concatenate([self.scored, np.zeros((more, 2), dtype=np.int64)])
        return row

    def column(self, resource: str) -> int:
        """The column of a resource, added when it is new."""
        known = self.resource_columns.get(resource)
        if known is not None:
            return known
        self._nodes_changed()
        index = self.resource_columns[resource] = len(self.resource_columns)
        blank = np.zeros((len(self.alive), 1), dtype=np.int64)
        self.allocatable = np.concatenate([self.allocatable, blank], axis=1)
        self.requested = np.concatenate([self.requested, blank], axis=1)
        return index

    def _index(self, row: int, node: Node) -> None:
        self.unschedulable[row] = node.spec.unschedulable
        self.allocatable[row] = 0
        for resource, amount in amounts_of(node.status.allocatable).items():
            column = self.column(resource)
            self.allocatable[row, column] = amount
        for key, value in node.metadata.labels.items():
            self._labels.setdefault((key, value), set()).add(row)
            self._label_keys.setdefault(key, {}).setdefault(value, set()).add(row)
        for taint in node.spec.taints:
            identity = (taint.key, taint.value, taint.effect)
            self._taints.setdefault(identity, (taint, set()))[1].add(row)
        for image in node.status.images:
            for name in image.names:
                self._images.setdefault(name, (image.size_bytes, set()))[1].add(row)

    def _unindex(self, row: int) -> None:
        entry = self._rows[row]
        assert entry is not None
        node = entry.node
        for key, value in node.metadata.labels.items():
            self._labels[key, value].discard(row)
            values = self._label_keys[key]
            values[value].discard(row)
            if not values[value]:
                del values[value], self._labels[key, value]
        for taint in node.spec.taints:
            identity = (taint.key, taint.value, taint.effect)
            known = self._taints.get(identity)
            if known is not None:
                known[1].discard(row)
                if not known[1]:
                    del self._taints[identity]
        for image in node.status.images:
            for name in image.names:
                held = self._images.get(name)
                if held is not None:
                    held[1].discard(row)
                    if not held[1]:
                        del self._images[name]

    # Pods

    def add_pod(self, info: PodInfo, node_name: str) -> None:
        """Count a pod on a node; moves it if it was counted elsewhere."""
        self.remove_pod(info.uid)
        self.pods[info.uid] = info
        row = self.by_name.get(node_name)
        if row is None:
            self._waiting.setdefault(node_name, {})[info.uid] = info
        else:
            self._count(info, row)
        if info.required_anti:
            self.anti_affine[info.uid] = info

    def remove_pod(self, uid: str) -> None:
        info = self.pods.pop(uid, None)
        if info is None:
            return
        self.anti_affine.pop(uid, None)
        if info.row >= 0:
            self._uncount(info)
            return
        for name, members in list(self._waiting.items()):
            if members.pop(uid, None) is not None and not members:
                del self._waiting[name]

    def _count(self, info: PodInfo, row: int) -> None:
        entry = self._rows[row]
        assert entry is not None
        info.row = row
        entry.pods[info.uid] = info
        self._charge(info, row, 1)
        for key, address in info.ports:
            holders = entry.ports.setdefault(key, {})
            holders[address] = holders.get(address, 0) + 1

    def _uncount(self, info: PodInfo) -> None:
        row, info.row = info.row, -1
        entry = self._rows[row]
        assert entry is not None
        entry.pods.pop(info.uid, None)
        self._charge(info, row, -1)
        for key, address in info.ports:
            holders = entry.ports[key]
            holders[address] -= 1
            if not holders[address]:
                del holders[address]
            if not holders:
                del entry.ports[key]

    def _charge(self, info: PodInfo, row: int, sign: int) -> None:
        columns = [(self.column(r), amount) for r, amount in info.requests.items()]
        if len(self.touched) >= _TOUCHED_LIMIT:
            self._nodes_changed()
        self.touched.append(row)
        charged = self.requested[row]
        for column, amount in columns:
            charged[column] += sign * amount
        charged[PODS] += sign
        self.scored[row, 0] += sign * info.scored_cpu
        self.scored[row, 1] += sign * info.scored_memory

    # Asking

    def blank_mask(self) -> Mask:
        return np.zeros(self.length, dtype=bool)

    def with_label(self, key: str, values: Iterable[str]) -> Mask:
        """Rows whose label ``key`` has one of ``values``."""
        mask = self.blank_mask()
        for value in values:
            rows = self._labels.get((key, value))
            if rows:
                mask[list(rows)] = True
        return mask

    def with_label_key(self, key: str) -> Mask:
        mask = self.blank_mask()
        for rows in self._label_keys.get(key, {}).values():
            mask[list(rows)] = True
        return mask

    def label_values(self, key: str) -> Mapping[str, set[int]]:
        """Value → rows of one label key."""
        return self._label_keys.get(key, {})

    def taints(self) -> Iterable[tuple[Taint, set[int]]]:
        """Every distinct taint with the rows that have it."""
        return self._taints.values()

    def image(self, name: str) -> tuple[int, set[int]] | None:
        """(size in bytes, rows that have it)."""
        return self._images.get(name)

    def port_taken(self, row: int, key: PortKey, address: str) -> bool:
        """Whether a host port on ``row`` clashes with one in use."""
        entry = self._rows[row]
        holders = entry.ports.get(key) if entry is not None else None
        if not holders:
            return False
        wildcard = "0.0.0.0"  # noqa: S104  (a comparison, not a bind)
        return address in holders or wildcard in holders or address == wildcard
