"""A chart-shaped bundle, applied twice in both ways: the second time changes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chart_bundle import bundle, objects
from tests.kubectl_kit import Kubectl, kubectl_for

from kutter.testing.cluster import LocalCluster

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

Versions = dict[tuple[str, str], str]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(nodes=1) as running:
        yield running


@pytest.fixture
def kubectl(cluster: LocalCluster, tmp_path: Path) -> Kubectl:
    return kubectl_for(cluster, tmp_path)


def _versions(kubectl: Kubectl, trees: list[dict[str, Any]]) -> Versions:
    """The resourceVersion of each object; and that all that was applied is there."""
    found = json.loads(kubectl("get", "-f", "-", "-o", "json", body=trees))["items"]
    assert len(found) == len(trees)
    return {
        (item["kind"], item["metadata"]["name"]): item["metadata"]["resourceVersion"]
        for item in found
    }


def _settled(kubectl: Kubectl, trees: list[dict[str, Any]]) -> Versions:
    """The versions once controllers have nothing more to say about any of them."""
    end = time.monotonic() + 60
    before = _versions(kubectl, trees)
    while True:
        now = _versions(kubectl, trees)
        if now == before:
            return now
        assert time.monotonic() < end, "controllers do not come to rest"
        before = now


@pytest.mark.parametrize("way", ["server", "client"])
def test_a_bundle_applied_twice_changes_nothing(kubectl: Kubectl, way: str) -> None:
    flags = ["--server-side"] if way == "server" else []
    prefix = f"{way}s"
    for trees in (bundle(prefix), objects(prefix)):
        first = kubectl("apply", *flags, "-f", "-", body=trees).splitlines()
        assert len(first) == len(trees)
        done = "serverside-applied" if way == "server" else "created"
        assert [line for line in first if not line.endswith(done)] == []
        if trees[0]["kind"] == "Namespace":
            name = f"gateways.{prefix}.example.com"
            kubectl("wait", "--for=condition=Established", "--timeout=60s", f"crd/{name}")
            deployment = f"deployment/{prefix}-controller"
            kubectl("rollout", "status", "-n", f"{prefix}-system", "--timeout=60s", deployment)
        before = _settled(kubectl, trees)
        second = kubectl("apply", *flags, "-f", "-", body=trees).splitlines()
        if way == "client":
            # A selector that is replaced as a whole is in kubectl's patch whatever it is, against
            # upstream's server as here; the server sees that it changes nothing.
            changed = [line for line in second if not line.endswith("unchanged")]
            budget = f"poddisruptionbudget.policy/{prefix}-controller configured"
            assert changed == ([budget] if trees[0]["kind"] == "Namespace" else [])
        assert _settled(kubectl, trees) == before
        assert kubectl("diff", *flags, "-f", "-", body=trees) == ""
    # What was defaulted and what a typed client reads back is what was asked for.
    system = f"{prefix}-system"
    gateway = json.loads(kubectl("get", f"{prefix}gw", "web", "-n", system, "-o", "json"))
    assert gateway["spec"]["listeners"][0] == {"name": "http", "port": 80, "protocol": "TCP"}
    secret = kubectl("get", "secret", f"{prefix}-token", "-n", system, "-o", "jsonpath={.data}")
    assert secret == '{"token":"bm90LWEtc2VjcmV0"}'
    kubectl(
        "delete",
        "-f",
        "-",
        "--timeout=60s",
        "--ignore-not-found",
        body=[*objects(prefix), *bundle(prefix)],
    )


def test_a_bundle_goes_from_client_side_to_server_side_apply(kubectl: Kubectl) -> None:
    trees = bundle("both")
    kubectl("apply", "-f", "-", body=trees)
    name = "crd/gateways.both.example.com"
    kubectl("wait", "--for=condition=Established", "--timeout=60s", name)
    before = _settled(kubectl, trees)
    # Atomic values with a default in them conflict once, as upstream.
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", body=trees)
    after = _settled(kubectl, trees)
    # Fields moved to another entry of their owners, and once more nothing moves.
    assert after.keys() == before.keys()
    kubectl("apply", "--server-side", "-f", "-", body=trees)
    assert _settled(kubectl, trees) == after
    items = json.loads(kubectl("get", "-f", "-", "-o", "json", body=trees))["items"]
    # The text of what was applied last is new, and a Deployment's annotations count (as upstream).
    grown = {item["kind"]: item["metadata"].get("generation", 1) for item in items}
    assert {kind: number for kind, number in grown.items() if number != 1} == {"Deployment": 2}
    kubectl("delete", "-f", "-", "--timeout=60s", "--ignore-not-found", body=trees)
