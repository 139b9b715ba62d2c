"""pytest fixtures: ``kutter_cluster`` and ``kutter_cluster_factory``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kutter.testing.cluster import LocalCluster


@pytest.fixture
def kutter_cluster_factory() -> Iterator[Callable[..., LocalCluster]]:
    """Makes clusters with options; each is stopped at the end of the test."""
    from kutter.testing.cluster import LocalCluster

    made: list[LocalCluster] = []

    def make(**options: Any) -> LocalCluster:
        cluster = LocalCluster(**options)
        made.append(cluster)
        return cluster.start()

    yield make
    for cluster in made:
        cluster.stop()


@pytest.fixture
def kutter_cluster(kutter_cluster_factory: Callable[..., LocalCluster]) -> LocalCluster:
    """A running cluster with two simulated nodes."""
    return kutter_cluster_factory(nodes=2)
