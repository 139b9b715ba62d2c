"""Coordinated leader election: of two versions of a program the older leads, until it goes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.conformance_kit import Rest, wait_until

from kutter.base.clock import render_micro_time
from kutter.cluster.api_options import ApiServerOptions
from kutter.testing.cluster import LocalCluster

CANDIDATES = "/apis/coordination.k8s.io/v1beta1/namespaces/default/leasecandidates"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
OLDEST = "OldestEmulationVersion"


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    api = ApiServerOptions(runtime_config="coordination.k8s.io/v1beta1=true")
    with LocalCluster(scheduler=False, api=api) as running:
        yield running


@pytest.fixture
def rest(cluster: LocalCluster) -> Rest:
    return Rest(cluster.kubernetes_client())


def ago(**since: float) -> str:
    return render_micro_time(datetime.now(UTC) - timedelta(**since))


def candidate(name: str, lease: str, emulation: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1beta1",
        "kind": "LeaseCandidate",
        "metadata": {"name": name},
        "spec": {
            "leaseName": lease,
            "binaryVersion": "1.36.0",
            "emulationVersion": emulation,
            "strategy": OLDEST,
            "renewTime": ago(seconds=0),
            **spec,
        },
    }


def spec_of(rest: Rest, lease: str) -> dict[str, Any]:
    found = rest.answer("GET", f"{LEASES}/{lease}")
    return found.tree["spec"] if found.status == 200 else {}


def test_the_older_emulation_leads_and_a_better_one_is_preferred(rest: Rest) -> None:
    rest.post(CANDIDATES, candidate("new", "program", "1.36.0"))
    wait_until(lambda: spec_of(rest, "program").get("holderIdentity") == "new")
    assert spec_of(rest, "program")["strategy"] == OLDEST
    # It leads and renews: nobody takes that away from it.
    leading = {"renewTime": ago(seconds=-600), "acquireTime": ago(seconds=0)}
    rest.patch(f"{LEASES}/program", {"spec": leading})
    # Both are asked first: one has not been heard of for a minute.
    rest.patch(f"{CANDIDATES}/new", {"spec": {"renewTime": ago(minutes=1)}})
    rest.post(CANDIDATES, candidate("old", "program", "1.35.0", renewTime=ago(minutes=1)))
    for name in ("new", "old"):
        wait_until(lambda n=name: rest.get(f"{CANDIDATES}/{n}")["spec"].get("pingTime"))
    assert "preferredHolder" not in spec_of(rest, "program")
    for name in ("new", "old"):
        rest.patch(f"{CANDIDATES}/{name}", {"spec": {"renewTime": ago(seconds=0)}})
    wait_until(lambda: spec_of(rest, "program").get("preferredHolder") == "old")
    assert spec_of(rest, "program")["holderIdentity"] == "new"

    # It gives way: its time is over, and who is preferred takes its place.
    for name in ("new", "old"):
        rest.patch(f"{CANDIDATES}/{name}", {"spec": {"renewTime": ago(seconds=-60)}})
    rest.patch(f"{LEASES}/program", {"spec": {"holderIdentity": ""}})
    wait_until(lambda: spec_of(rest, "program").get("holderIdentity") == "old")
    taken = spec_of(rest, "program")
    assert "preferredHolder" not in taken
    assert "acquireTime" not in taken
    assert taken["leaseDurationSeconds"] == 5


def test_who_does_not_answer_is_not_elected(rest: Rest) -> None:
    silent = candidate("silent", "quiet", "1.34.0", renewTime=ago(minutes=2))
    silent["spec"]["pingTime"] = ago(minutes=1)
    rest.post(CANDIDATES, silent)
    rest.post(CANDIDATES, candidate("loud", "quiet", "1.36.0"))
    wait_until(lambda: spec_of(rest, "quiet").get("holderIdentity") == "loud")


def test_another_strategy_is_left_to_its_controller(rest: Rest) -> None:
    rest.post(CANDIDATES, candidate("own", "theirs", "1.36.0", strategy="a.example.com/best"))
    wait_until(lambda: spec_of(rest, "theirs").get("strategy") == "a.example.com/best")
    assert not spec_of(rest, "theirs").get("holderIdentity")


def test_a_candidate_that_is_gone_for_long_is_deleted(rest: Rest) -> None:
    rest.post(CANDIDATES, candidate("gone", "nobody", "1.36.0", renewTime=ago(minutes=31)))
    rest.wait_gone(f"{CANDIDATES}/gone")
    assert rest.answer("GET", f"{LEASES}/nobody").status == 404


@pytest.mark.parametrize(
    ("spec", "causes"),
    [
        ({"leaseName": ""}, [("spec.leaseName", "FieldValueRequired")]),
        ({"binaryVersion": "1.36"}, [("spec.binaryVersion", "FieldValueInvalid")] * 2),
        ({"binaryVersion": ""}, [("spec.binaryVersion", "FieldValueRequired")]),
        ({"emulationVersion": "1.37.0"}, [("spec.binaryVersion", "FieldValueInvalid")]),
        ({"emulationVersion": ""}, [("spec.emulationVersion", "FieldValueRequired")]),
        ({"strategy": ""}, [("spec.strategy", "FieldValueRequired")]),
        ({"strategy": "Best"}, [("spec.strategy.strategy", "FieldValueNotSupported")]),
        ({"strategy": "a b/c"}, [("spec.strategy.strategy", "FieldValueInvalid")]),
    ],
)
def test_what_is_refused(rest: Rest, spec: dict[str, str], causes: list[tuple[str, str]]) -> None:
    answer = rest.answer("POST", CANDIDATES, candidate("bad", "bad", "1.36.0", **spec))
    assert answer.status == 422, answer.tree
    assert [(c["field"], c["reason"]) for c in answer.tree["details"]["causes"]] == causes


def test_the_lease_it_stands_for_stays(rest: Rest) -> None:
    rest.post(CANDIDATES, candidate("stays", "here", "1.36.0"))
    query = {"fieldSelector": "spec.leaseName=here"}
    assert rest.answer("GET", CANDIDATES, query=query).tree["message"] == (
        '"spec.leaseName" is not a known field selector: only "metadata.name", "metadata.namespace"'
    )
    made = rest.get(f"{CANDIDATES}/stays")
    made["spec"]["leaseName"] = "there"
    refused = rest.answer("PUT", f"{CANDIDATES}/stays", made)
    assert [c["field"] for c in refused.tree["details"]["causes"]] == ["spec.leaseName"]


def test_leases_have_no_strategy_where_candidates_are_not_served() -> None:
    with LocalCluster(scheduler=False, controllers=False) as running:
        rest = Rest(running.kubernetes_client())
        body = {"metadata": {"name": "plain"}, "spec": {"strategy": OLDEST}}
        assert "strategy" not in rest.post(LEASES, body).get("spec", {})
        assert rest.answer("GET", CANDIDATES).status == 404
