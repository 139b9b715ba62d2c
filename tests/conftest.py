"""Fixtures of the shipped test kit, also where the package is not installed (worktrees)."""

from kutter.testing.plugin import kutter_cluster, kutter_cluster_factory

__all__ = ["kutter_cluster", "kutter_cluster_factory"]
