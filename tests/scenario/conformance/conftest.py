"""One cluster for each module, one namespace for each test."""

import itertools

import pytest
from tests.conformance_kit import Rest, wait_until

from kutter.testing.cluster import LocalCluster
from kutter.testing.simulated_nodes import Stage, running

# Pods labelled ``broken`` are bound and never start, as with an image that does not exist.
LIFE_CYCLE = (
    Stage("removed", deleting=True, remove=True),
    Stage("started", phase="Pending", selector="!broken", status=running),
)

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(nodes=2, life_cycle=LIFE_CYCLE) as running:
        yield running


@pytest.fixture(scope="module")
def client(cluster):
    made = cluster.kubernetes_client()
    yield made
    made.close()


@pytest.fixture(scope="module")
def rest(client):
    return Rest(client)


@pytest.fixture
def namespace(rest):
    name = f"conformance-{next(_numbers)}"
    rest.post("/api/v1/namespaces", {"metadata": {"name": name}})
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    wait_until(lambda: not rest.gone(account))
    yield name
    rest.delete(f"/api/v1/namespaces/{name}")
