"""The plugins in the order they are asked. A node's reason is its first filter that fails."""

from __future__ import annotations

from collections.abc import Sequence

from kutter.scheduler.framework import Filter, Score
from kutter.scheduler.plugins.image_locality import ImageLocality
from kutter.scheduler.plugins.node_affinity import NodeAffinity, NodeAffinityScore
from kutter.scheduler.plugins.node_basics import NodeName, NodePorts, NodeUnschedulable
from kutter.scheduler.plugins.node_resources import (
    BalancedAllocation,
    LeastAllocated,
    NodeResourcesFit,
)
from kutter.scheduler.plugins.pod_affinity import InterPodAffinity, InterPodAffinityScore
from kutter.scheduler.plugins.taint_toleration import TaintScore, TaintToleration
from kutter.scheduler.plugins.topology_spread import TopologySpread, TopologySpreadScore

FILTERS: Sequence[Filter] = (
    NodeUnschedulable(),
    NodeName(),
    TaintToleration(),
    NodeAffinity(),
    NodePorts(),
    NodeResourcesFit(),
    TopologySpread(),
    InterPodAffinity(),
)

SCORES: Sequence[Score] = (
    TaintScore(),
    NodeAffinityScore(),
    LeastAllocated(),
    BalancedAllocation(),
    ImageLocality(),
    TopologySpreadScore(),
    InterPodAffinityScore(),
)
