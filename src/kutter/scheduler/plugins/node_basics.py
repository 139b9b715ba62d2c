"""Node name, cordoned nodes, host ports."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kutter.api.taints import tolerates
from kutter.api.types.core_v1 import Taint
from kutter.scheduler.framework import Verdict
from kutter.scheduler.snapshot import NamespaceLookup, PodInfo, Snapshot

_CORDONED = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")


class NodeName:
    name = "NodeName"

    def __call__(
        self, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup
    ) -> Sequence[Verdict]:
        wanted = pod.pod.spec.node_name
        if not wanted:
            return ()
        mask = snapshot.blank_mask()
        row = snapshot.by_name.get(wanted)
        if row is not None:
            mask[row] = True
        return [Verdict(mask, "node(s) didn't match the requested node name")]


class NodeUnschedulable:
    name = "NodeUnschedulable"

    def __call__(
        self, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup
    ) -> Sequence[Verdict]:
        cordoned = snapshot.unschedulable[: snapshot.length]
        if not cordoned.any():
            return ()
        if any(tolerates(t, _CORDONED) for t in pod.pod.spec.tolerations):
            return ()
        return [Verdict(~cordoned, "node(s) were unschedulable")]


class NodePorts:
    name = "NodePorts"

    def __call__(
        self, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup
    ) -> Sequence[Verdict]:
        if not pod.ports:
            return ()
        mask = np.ones(snapshot.length, dtype=bool)
        for row in snapshot.by_name.values():
            if any(snapshot.port_taken(row, key, address) for key, address in pod.ports):
                mask[row] = False
        return [Verdict(mask, "node(s) didn't have free ports for the requested pod ports")]
