"""The node agent: runs pods on one machine."""

from kutter.node.agent import NodeAgent, node_name_of_machine
from kutter.node.options import EvictionThresholds, NodeOptions

__all__ = ["EvictionThresholds", "NodeAgent", "NodeOptions", "node_name_of_machine"]
