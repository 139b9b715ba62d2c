"""Asking for one node's pods: the same answer as looking at all of them, without doing so."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from tests.apiserver_harness import Api, start_server

from kutter.api.catalog import Catalog
from kutter.apiserver.cache import Entry, ResourceCache
from kutter.store.interface import Event

FIELD = "spec.nodeName"


def select(data: bytes) -> dict[str, str]:
    return {FIELD: data.rpartition(b'"nodeName":"')[2].partition(b'"')[0].decode()}


def pod_event(kind: str, name: str, node: str, revision: int) -> Event:
    head = b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"%b"},' % name.encode()
    value = head + b'"spec":{"nodeName":"%b"}}' % node.encode()
    return Event(kind, f"/registry/pods/default/{name}", value, None, revision, revision, 0)


NAMES = st.sampled_from([f"p{n}" for n in range(6)])
NODES = st.sampled_from(["", "a", "b"])


@given(st.lists(st.tuples(st.booleans(), NAMES, NODES), max_size=40), st.integers(0, 40))
def test_the_index_agrees_with_a_look_at_everything(steps, asked_after: int):
    resource = Catalog().find("", "v1", "pods")
    assert resource is not None
    cache = ResourceCache(resource)
    there: set[str] = set()
    for revision, (put, name, node) in enumerate(steps, 2):
        if put or name in there:
            cache.apply(pod_event("put" if put else "delete", name, node, revision))
            (there.add if put else there.discard)(name)
        if revision >= asked_after:
            for value in ("", "a", "b", "c"):
                every = [e for e in cache.entries() if select(b"{" + e.tail)[FIELD] == value]
                assert cache.having(FIELD, value, select) == every


async def test_lists_and_watches_of_a_node_look_at_its_pods_only(monkeypatch):
    server = await start_server()
    api = Api(server)
    pods = "/api/v1/namespaces/default/pods"
    for number in range(30):
        spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": f"n{number % 10}"}
        await api.ok("POST", pods, {"metadata": {"name": f"p{number}"}, "spec": spec})
    mine = f"{pods}?fieldSelector=spec.nodeName%3Dn3"
    names = ["p13", "p23", "p3"]
    looked: list[str] = []
    matches = type(server.caches.cache("pods").entries()[0]).peek

    def peek(self: Entry, select) -> dict[str, str]:
        looked.append(self.name)
        return matches(self, select)

    first = await api.ok("GET", mine)
    monkeypatch.setattr(Entry, "peek", peek)
    for query in ("", "&limit=500", "&limit=3", "&resourceVersion=0"):
        answer = await api.ok("GET", mine + query)
        assert [i["metadata"]["name"] for i in answer["items"]] == names
        assert "continue" not in answer["metadata"]
    assert first["items"] == answer["items"]
    assert looked == []
    paged = await api.ok("GET", mine + "&limit=2")
    token = paged["metadata"]["continue"]
    rest = await api.ok("GET", f"{mine}&limit=2&continue={token}")
    assert [i["metadata"]["name"] for i in (*paged["items"], *rest["items"])] == names
    everywhere = await api.ok("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn3")
    assert len(everywhere["items"]) == 3
    watch = await api.watch(pods, fieldSelector="spec.nodeName=n3")
    async with asyncio.timeout(20):
        seen = [(await watch.next())["object"]["metadata"]["name"] for _ in range(3)]
    assert seen == names
    await watch.close()
    await server.stop()
