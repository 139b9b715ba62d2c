"""The API server's own lease, and events that become series."""

from __future__ import annotations

import base64
import hashlib
import socket

import pytest
from tests.conformance_kit import Rest, wait_until

from kutter.apiserver.identity_lease import IdentityLease
from kutter.base.clock import SYSTEM_CLOCK, render_micro_time
from kutter.testing.clock import ShiftedClock
from kutter.testing.cluster import ADMIN, LocalCluster

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
SELECTOR = "apiserver.kubernetes.io/identity=kube-apiserver"


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(scheduler=False, controllers=False) as running:
        yield running


@pytest.fixture(scope="module")
def rest(cluster):
    return Rest(cluster.kubernetes_client())


def leases(rest):
    return {
        tree["metadata"]["name"]: tree for tree in rest.get(LEASES, labelSelector=SELECTOR)["items"]
    }


def test_the_server_holds_a_lease_named_by_its_machine(rest):
    found = wait_until(lambda: leases(rest), 30)
    digest = hashlib.sha256(socket.gethostname().encode()).digest()[:16]
    name = "apiserver-" + base64.b32encode(digest).decode().rstrip("=").lower()
    assert list(found) == [name]
    tree = found[name]
    assert tree["metadata"]["labels"]["kubernetes.io/hostname"] == socket.gethostname()
    assert tree["spec"]["holderIdentity"].startswith(f"{name}_")
    assert tree["spec"]["leaseDurationSeconds"] == 3600
    assert tree["spec"]["renewTime"]


def test_leases_of_servers_that_are_gone_are_removed(cluster, rest):
    wait_until(lambda: leases(rest), 30)
    now = SYSTEM_CLOCK.now()
    for name, duration in (("apiserver-gone", 0), ("apiserver-there", 3600)):
        labels = {"apiserver.kubernetes.io/identity": "kube-apiserver"}
        spec = {
            "holderIdentity": name,
            "leaseDurationSeconds": duration or 1,
            "renewTime": render_micro_time(now),
        }
        rest.post(LEASES, {"metadata": {"name": name, "labels": labels}, "spec": spec})
    later = ShiftedClock()
    later.advance(60)

    async def collect():
        await IdentityLease(cluster.plane.client(ADMIN), clock=later).collect()

    cluster.run(collect())
    assert "apiserver-gone" not in leases(rest)
    assert "apiserver-there" in leases(rest)


def event(name, **more):
    return {
        "kind": "Event",
        "apiVersion": "events.k8s.io/v1",
        "metadata": {"name": name, "namespace": "default"},
        "eventTime": render_micro_time(SYSTEM_CLOCK.now()),
        "type": "Normal",
        "reason": "Tested",
        "action": "Testing",
        "reportingController": "example.com/tester",
        "reportingInstance": "tester-1",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "note": "it happened",
        **more,
    }


EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"


def test_an_event_becomes_a_series(rest):
    rest.post(EVENTS, event("one"))
    series = {"count": 2, "lastObservedTime": render_micro_time(SYSTEM_CLOCK.now())}
    patched = rest.patch(f"{EVENTS}/one", {"series": series})
    assert patched["series"] == series
    core = rest.get("/api/v1/namespaces/default/events/one")
    assert core["series"]["count"] == 2
    assert core["message"] == "it happened"
    assert core["reportingComponent"] == "example.com/tester"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"series": {"count": 1, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}},
            "series.count",
        ),
        ({"series": {"count": 2, "lastObservedTime": None}}, "series.lastObservedTime"),
        ({"eventTime": None}, "eventTime: Required value"),
        ({"type": "Odd"}, "has invalid value: Odd"),
        ({"deprecatedCount": 3}, "count: Invalid value"),
        ({"action": ""}, "action: Required value"),
        ({"reportingController": ""}, "reportingController: Required value"),
        ({"note": "x" * 1025}, "can have at most 1024 characters"),
    ],
)
def test_new_events_are_held_to_more(rest, more, said):
    status = rest.fails(422, "Invalid", "POST", EVENTS, event("odd", **more))
    assert said in status["message"]


def test_what_an_event_says_does_not_change(rest):
    rest.post(EVENTS, event("fixed"))
    merge = {"content-type": "application/merge-patch+json"}
    for change in ({"reason": "Otherwise"}, {"action": "Else"}, {"series": {"count": 1}}):
        rest.fails(422, "Invalid", "PATCH", f"{EVENTS}/fixed", change, headers=merge)
    # Through the core group everything may change, as ever.
    core = "/api/v1/namespaces/default/events/fixed"
    assert rest.patch(core, {"message": "else", "count": 7})["count"] == 7


def test_events_are_kept_for_an_hour(tmp_path):
    """Also over a restart: the second server begins more than an hour later."""
    place = {"scheduler": False, "controllers": False, "store_file": tmp_path / "store.sqlite"}
    maps = "/api/v1/namespaces/default/configmaps"
    with LocalCluster(**place) as running:
        rest = Rest(running.kubernetes_client())
        rest.post(EVENTS, event("old"))
        rest.post(maps, {"metadata": {"name": "stays"}})
    later = ShiftedClock()
    later.advance(1800)
    with LocalCluster(clock=later, **place) as running:
        rest = Rest(running.kubernetes_client())
        assert not rest.gone(f"{EVENTS}/old")
        rest.post(EVENTS, event("young"))
    later.advance(1900)
    with LocalCluster(clock=later, **place) as running:
        rest = Rest(running.kubernetes_client())
        wait_until(lambda: rest.gone(f"{EVENTS}/old"))
        assert not rest.gone(f"{EVENTS}/young")
        assert not rest.gone(f"{maps}/stays")
