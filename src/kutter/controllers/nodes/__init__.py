"""Nodes: address ranges (``ranges``), health and taints (``lifecycle``), eviction by taint."""
