"""A binding stores the very bytes that the way of all updates would have stored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from tests.apiserver_harness import Api, start_server, tree

from kutter.api.errors import ApiError
from kutter.apiserver.admission.registry import default_chain
from kutter.base.clock import SystemClock
from kutter.store.interface import WriteConflictError

PODS = "/api/v1/namespaces/default/pods"
MERGE = {"content-type": "application/merge-patch+json"}
CONTAINER = {"name": "web", "image": "r.example/x:1"}


class Noon(SystemClock):
    def now(self) -> datetime:
        return datetime(2026, 1, 1, 12, tzinfo=UTC)


class Tap:
    """A store that keeps what it is asked to put under pods, and puts nothing."""

    def __init__(self, inner: Any) -> None:
        self._inner, self.values = inner, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def put(self, key: str, value: bytes, **more: Any) -> Any:
        self.values.append((key, value, more.get("expected"), more.get("ttl_s")))
        raise ApiError(500, "", "kept")


@pytest.fixture
async def server():
    made = await start_server(clock=Noon(), admission=default_chain())
    for body in ({"metadata": {"name": "default"}},):
        await Api(made).call("POST", "/api/v1/namespaces", body)
    await Api(made).ok(
        "POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}}
    )
    await made_node(Api(made), "plain", {})
    await made_node(
        Api(made),
        "zoned",
        {"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r"},
    )
    yield made
    await made.stop()


async def made_node(api, name, labels):
    await api.ok("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})


def refused(monkeypatch, storage):
    monkeypatch.setattr(storage._admission, "reads_bound_pods", lambda: True)


SHAPES: dict[str, dict[str, Any]] = {
    "bare": {"spec": {"containers": [CONTAINER]}},
    "labelled": {
        "metadata": {
            "labels": {"app": "web", "topology.kubernetes.io/zone": "own"},
            "annotations": {"note": 'says ,"managedFields":[] and "spec":{} and ü\n'},
        },
        "spec": {"containers": [CONTAINER], "nodeSelector": {"a": "b"}, "priority": 0},
    },
    "another order": {
        "status": {"phase": "Running"},
        "spec": {"hostNetwork": True, "containers": [CONTAINER]},
        "metadata": {"finalizers": ["x.example/y"]},
    },
    "named by nobody": {"spec": {"nodeName": "", "containers": [CONTAINER]}},
}
BINDINGS: dict[str, dict[str, Any]] = {
    "bare": {},
    "labels": {"labels": {"app": "bound", "more": "x"}},
    "annotations": {"annotations": {"by": "tester"}},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("node", ["plain", "zoned", "unknown"])
@pytest.mark.parametrize("condition", ["", "PodScheduled", "Other"])
async def test_both_ways_store_the_same(server, monkeypatch, shape, binding, node, condition):
    api = Api(server)
    body = SHAPES[shape]
    body = {**body, "metadata": {**body.get("metadata", {}), "name": "p"}}
    await api.ok("POST", PODS, body)
    if condition:
        status = {"conditions": [{"type": condition, "status": "False", "reason": "Waits"}]}
        await api.ok("PATCH", f"{PODS}/p/status", {"status": status}, headers=MERGE)
    asked = {"metadata": {"name": "p", **BINDINGS[binding]}, "target": {"name": node}}
    storage = server.storage_of("", "pods")
    updates = []
    update = storage.update
    monkeypatch.setattr(storage, "update", lambda *a, **k: updates.append(1) or update(*a, **k))
    monkeypatch.setattr(storage, "store", tap := Tap(storage.store))
    for plain in (False, True):
        with monkeypatch.context() as patch:
            if plain:
                refused(patch, storage)
            assert (await api.call("POST", f"{PODS}/p/binding", asked)).status == 500
    direct, usual = tap.values
    assert direct == usual
    # But for those of another form, the first did go its own way.
    assert len(updates) == (2 if shape == "another order" else 1)
    # And it is a pod, with its node, of which the store's own order and the owners are kept.
    stored = orjson.loads(direct[1])
    assert stored["spec"]["nodeName"] == node
    assert [c["type"] for c in stored["status"]["conditions"]][-1] == "PodScheduled"
    assert stored["metadata"]["managedFields"]


@pytest.mark.parametrize("plain", [False, True])
async def test_refusals_are_those_of_the_usual_way(server, monkeypatch, plain):
    api = Api(server)
    storage = server.storage_of("", "pods")
    if plain:
        refused(monkeypatch, storage)
    spec = {"containers": [CONTAINER]}
    await api.ok("POST", PODS, {"metadata": {"name": "p"}, "spec": spec})
    gated = {**spec, "schedulingGates": [{"name": "x.example/gate"}]}
    await api.ok("POST", PODS, {"metadata": {"name": "g"}, "spec": gated})
    ending = {"name": "e", "finalizers": ["x.example/y"]}
    await api.ok("POST", PODS, {"metadata": ending, "spec": spec})
    await api.ok("DELETE", f"{PODS}/e", query={"gracePeriodSeconds": 0})

    async def answer(name, **metadata):
        asked = {"metadata": {"name": name, **metadata}, "target": {"name": "plain"}}
        found = await api.call("POST", f"{PODS}/{name}/binding", asked)
        return found.status, tree(found)["message"] if found.status != 201 else ""

    refusal = 'Operation cannot be fulfilled on pods/binding "{0}": pod {0} '
    assert await answer("missing") == (404, 'pods "missing" not found')
    status, message = await answer("p", uid="other")
    assert status == 409
    assert "Precondition failed: UID in precondition: other" in message
    assert await answer("g") == (409, refusal.format("g") + "has non-empty .spec.schedulingGates")
    status, message = await answer("e")
    assert message == refusal.format("e") + "is being deleted, cannot be assigned to a host"
    assert await answer("p") == (201, "")
    assert await answer("p") == (
        409,
        refusal.format("p") + 'is already assigned to node "plain"',
    )
    bound = await api.ok("GET", f"{PODS}/p")
    assert bound["metadata"].get("generation", 1) == 1
    assert [
        (c["type"], c["status"], c["lastTransitionTime"]) for c in bound["status"]["conditions"]
    ] == [("PodScheduled", "True", "2026-01-01T12:00:00Z")]


async def test_a_dry_run_stores_nothing(server):
    api = Api(server)
    await api.ok("POST", PODS, {"metadata": {"name": "p"}, "spec": {"containers": [CONTAINER]}})
    asked = {"metadata": {"name": "p"}, "target": {"name": "plain"}}
    found = await api.call("POST", f"{PODS}/p/binding", asked, query={"dryRun": "All"})
    assert found.status == 201
    assert "nodeName" not in (await api.ok("GET", f"{PODS}/p"))["spec"]


async def test_a_lost_race_is_run_again(server, monkeypatch):
    api = Api(server)
    await api.ok("POST", PODS, {"metadata": {"name": "p"}, "spec": {"containers": [CONTAINER]}})
    storage = server.storage_of("", "pods")
    put = storage.store.put
    lost = []

    async def lose(key, value, **more):
        if key.endswith("/pods/default/p") and not lost:
            lost.append(key)
            change = {"metadata": {"labels": {"won": "yes"}}}
            await api.ok("PATCH", f"{PODS}/p", change, headers=MERGE)
            raise WriteConflictError(key, None)
        return await put(key, value, **more)

    monkeypatch.setattr(storage.store, "put", lose)
    asked = {"metadata": {"name": "p"}, "target": {"name": "plain"}}
    assert (await api.call("POST", f"{PODS}/p/binding", asked)).status == 201
    bound = await api.ok("GET", f"{PODS}/p")
    assert lost
    assert bound["metadata"]["labels"] == {"won": "yes"}
    assert bound["spec"]["nodeName"] == "plain"


async def test_who_wants_to_see_the_pod_is_shown_it(server):
    """A chain is asked anew once configurations have changed (see ``forget``)."""
    chain = server.storage_of("", "pods")._admission
    assert not chain.reads_bound_pods()
    kept = chain.plugins

    class Curious(type(kept[0])):
        reads_bound_pods = True

    chain.plugins = (*kept, Curious())
    chain.forget()
    assert chain.reads_bound_pods()
    chain.plugins = kept
    chain.forget()
    assert not chain.reads_bound_pods()
