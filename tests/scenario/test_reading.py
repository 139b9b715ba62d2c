"""Lists, pages, selectors, watches, tables: what reading promises."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import orjson
import pytest
from tests.apiserver_harness import Api, config_map, header, pod, start_server, tree

from kutter.apiserver import watching
from kutter.apiserver.printing.registry import printer_for
from kutter.store.memory import MemoryStore

CM = "/api/v1/namespaces/default/configmaps"
ALL = "/api/v1/configmaps"
PODS = "/api/v1/namespaces/default/pods"
MERGE = {"content-type": "application/merge-patch+json"}
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


def names(listed: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


@pytest.fixture
async def api() -> Api:
    made = Api(await start_server(printer_for=printer_for))
    for name in ("b", "a", "d", "c"):
        labels = {"app": name, "half": "1" if name < "c" else "2"}
        await made.ok("POST", CM, config_map(name, metadata={"labels": labels}))
    await made.ok("POST", "/api/v1/namespaces/other/configmaps", config_map("z", "other"))
    return made


async def test_lists_are_in_key_order_and_by_namespace(api: Api) -> None:
    listed = await api.ok("GET", CM)
    assert names(listed) == ["a", "b", "c", "d"]
    assert listed["kind"] == "ConfigMapList"
    assert listed["metadata"]["resourceVersion"] == str(api.server.store.revision)
    assert "kind" not in listed["items"][0]
    assert names(await api.ok("GET", ALL)) == ["a", "b", "c", "d", "z"]
    assert names(await api.ok("GET", "/api/v1/namespaces/none/configmaps")) == []


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("labelSelector=app%3Da", "a"),
        ("labelSelector=app%21%3Da", "bcdz"),
        ("labelSelector=app+in+(a,c)", "ac"),
        ("labelSelector=app+notin+(a,c),half", "bd"),
        ("labelSelector=half%3D2,app%3Dc", "c"),
        ("labelSelector=!app", "z"),
        ("fieldSelector=metadata.name%3Dc", "c"),
        ("fieldSelector=metadata.namespace%3Dother", "z"),
        ("fieldSelector=metadata.name%21%3Dc&labelSelector=half%3D2", "d"),
    ],
)
async def test_selectors(api: Api, selector: str, expected: str) -> None:
    assert "".join(names(await api.ok("GET", f"{ALL}?{selector}"))) == expected


async def test_pods_by_node(api: Api) -> None:
    await api.ok("POST", PODS, pod("p"))
    await api.ok("POST", PODS, pod("q"))
    await api.ok("POST", f"{PODS}/q/binding", {"metadata": {"name": "q"}, "target": {"name": "n"}})
    assert names(await api.ok("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn")) == ["q"]
    assert names(await api.ok("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3D")) == ["p"]


async def test_pages_show_one_moment(api: Api) -> None:
    first = await api.ok("GET", f"{CM}?limit=2")
    assert names(first) == ["a", "b"]
    assert first["metadata"]["remainingItemCount"] == 2
    token = first["metadata"]["continue"]
    await api.ok("DELETE", f"{CM}/c")
    await api.ok("POST", CM, config_map("bb"))
    second = await api.ok("GET", CM, query={"limit": 1, "continue": token})
    assert names(second) == ["c"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert second["metadata"]["remainingItemCount"] == 1
    token = second["metadata"]["continue"]
    third = await api.ok("GET", CM, query={"limit": 9, "continue": token})
    assert names(third) == ["d"]
    assert "continue" not in third["metadata"]


async def test_pages_of_a_selection(api: Api) -> None:
    found: list[str] = []
    query: dict[str, Any] = {"limit": 1, "labelSelector": "half"}
    while True:
        page = await api.ok("GET", CM, query=query)
        found += names(page)
        assert "remainingItemCount" not in page["metadata"]
        if "continue" not in page["metadata"]:
            break
        query["continue"] = page["metadata"]["continue"]
        await api.ok("PATCH", f"{CM}/a", {"data": {"n": str(len(found))}}, headers=MERGE)
    assert found == ["a", "b", "c", "d"]


async def test_a_compacted_page_says_how_to_go_on(api: Api) -> None:
    first = await api.ok("GET", f"{CM}?limit=2")
    await api.ok("DELETE", f"{CM}/c")
    await api.server.store.compact(api.server.store.revision)
    query = {"limit": 5, "continue": first["metadata"]["continue"]}
    status = await api.fails(410, "Expired", "GET", CM, query=query)
    assert "The provided continue parameter is too old" in status["message"]
    query["continue"] = status["metadata"]["continue"]
    assert names(await api.ok("GET", CM, query=query)) == ["d"]


async def test_a_list_at_an_exact_version(api: Api) -> None:
    then = (await api.ok("GET", CM))["metadata"]["resourceVersion"]
    await api.ok("DELETE", f"{CM}/a")
    query = {"resourceVersion": then, "resourceVersionMatch": "Exact"}
    listed = await api.ok("GET", CM, query=query)
    assert names(listed) == ["a", "b", "c", "d"]
    assert listed["metadata"]["resourceVersion"] == then
    query["resourceVersionMatch"] = "NotOlderThan"
    assert names(await api.ok("GET", CM, query=query)) == ["b", "c", "d"]


async def test_a_version_of_the_future_times_out(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kutter.apiserver.verbs.read.FRESH_TIMEOUT_S", 0.01)
    status = await api.fails(504, "Timeout", "GET", f"{CM}?resourceVersion=999999")
    assert "Too large resource version: 999999" in status["message"]


async def test_watch_begins_with_what_is_there(api: Api) -> None:
    watch = await api.watch(CM)
    assert await watch.take(4) == [("ADDED", n) for n in "abcd"]
    await api.ok("PATCH", f"{CM}/a", {"data": {"x": "y"}}, headers=MERGE)
    await api.ok("DELETE", f"{CM}/a")
    await api.ok("POST", CM, config_map("e"))
    assert await watch.take(3) == [("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "e")]
    await watch.close()
    assert len(api.server._storages["/registry/configmaps"][1]) == 0


async def test_watch_from_a_version_replays_and_goes_on(api: Api) -> None:
    start = (await api.ok("GET", CM))["metadata"]["resourceVersion"]
    await api.ok("POST", CM, config_map("e"))
    await api.ok("DELETE", f"{CM}/e")
    watch = await api.watch(CM, resourceVersion=start)
    await api.ok("POST", CM, config_map("f"))
    await api.ok("POST", "/api/v1/namespaces/other/configmaps", config_map("g", "other"))
    await api.ok("POST", CM, config_map("h"))
    assert await watch.take(4) == [
        ("ADDED", "e"),
        ("DELETED", "e"),
        ("ADDED", "f"),
        ("ADDED", "h"),
    ]
    await watch.close()


async def test_deleted_carries_the_deletions_version(api: Api) -> None:
    start = (await api.ok("GET", CM))["metadata"]["resourceVersion"]
    watch = await api.watch(CM, resourceVersion=start)
    await api.ok("DELETE", f"{CM}/a")
    event = await watch.next()
    assert event["object"]["metadata"]["resourceVersion"] == str(api.server.store.revision)
    await watch.close()


async def test_objects_enter_and_leave_a_selection(api: Api) -> None:
    start = (await api.ok("GET", CM))["metadata"]["resourceVersion"]
    watch = await api.watch(CM, resourceVersion=start, labelSelector="half=1")
    for value in ("1", "2", "1"):
        change = {"metadata": {"labels": {"half": value}}}
        await api.ok("PATCH", f"{CM}/c", change, headers=MERGE)
    await api.ok("PATCH", f"{CM}/c", {"data": {"x": "y"}}, headers=MERGE)
    await api.ok("DELETE", f"{CM}/c")
    events = [await watch.next() for _ in range(5)]
    assert [e["type"] for e in events] == ["ADDED", "DELETED", "ADDED", "MODIFIED", "DELETED"]
    left = events[1]["object"]["metadata"]
    assert left["labels"]["half"] == "1"
    assert int(left["resourceVersion"]) > int(events[0]["object"]["metadata"]["resourceVersion"])
    await watch.close()


async def test_watches_by_node_and_by_name_see_only_theirs(api: Api) -> None:
    by_node = await api.watch("/api/v1/pods", fieldSelector="spec.nodeName=n", resourceVersion="0")
    by_name = await api.watch(PODS, fieldSelector="metadata.name=q")
    for name in ("p", "q"):
        await api.ok("POST", PODS, pod(name))
    await api.ok("POST", f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {"name": "n"}})
    await api.ok("POST", f"{PODS}/q/binding", {"metadata": {"name": "q"}, "target": {"name": "m"}})
    assert await by_node.take(1) == [("ADDED", "p")]
    assert await by_name.take(2) == [("ADDED", "q"), ("MODIFIED", "q")]
    await by_node.close()
    await by_name.close()


async def test_a_version_too_old_is_gone() -> None:
    store = MemoryStore()
    early = Api(await start_server(store))
    await early.ok("POST", CM, config_map("a"))
    later = Api(await start_server(store))
    watch = await later.watch(CM, resourceVersion="1")
    event = await watch.next()
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
    assert event["object"]["message"].startswith("too old resource version: 1 (")
    with pytest.raises(StopAsyncIteration):
        await watch.next()


async def test_streaming_lists_end_with_a_marked_bookmark(api: Api) -> None:
    watch = await api.watch(
        CM,
        sendInitialEvents="true",
        resourceVersionMatch="NotOlderThan",
        allowWatchBookmarks="true",
    )
    assert await watch.take(4) == [("ADDED", n) for n in "abcd"]
    mark = await watch.next()
    assert mark["type"] == "BOOKMARK"
    metadata = mark["object"]["metadata"]
    assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert metadata["resourceVersion"] == str(api.server.store.revision)
    await api.ok("POST", CM, config_map("e"))
    assert await watch.take(1) == [("ADDED", "e")]
    await watch.close()


async def test_a_watch_ends_at_its_timeout_with_a_bookmark(api: Api) -> None:
    watch = await api.watch(CM, timeoutSeconds=1, allowWatchBookmarks="true", resourceVersion="0")
    await watch.take(4)
    mark = await watch.next()
    assert (mark["type"], mark["object"]["kind"]) == ("BOOKMARK", "ConfigMap")
    with pytest.raises(StopAsyncIteration):
        await watch.next()


async def test_a_reader_that_stalls_is_cut_off(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "BUFFER_LIMIT_BYTES", 1000)
    slow = await api.watch(CM, resourceVersion=str(api.server.store.revision))
    for number in range(10):
        await api.ok("PATCH", f"{CM}/a", {"data": {"n": f"{number}" * 200}}, headers=MERGE)
    with pytest.raises(StopAsyncIteration):
        await slow.next()


async def test_every_watcher_of_a_storm_sees_every_change_in_order(api: Api) -> None:
    start = str(api.server.store.revision)
    watches = [await api.watch(CM, resourceVersion=start) for _ in range(5)]

    async def churn(name: str) -> None:
        await api.ok("POST", CM, config_map(name))
        for number in range(10):
            await api.ok("PATCH", f"{CM}/{name}", {"data": {"n": f"{number}"}}, headers=MERGE)
        await api.ok("DELETE", f"{CM}/{name}")

    async with asyncio.TaskGroup() as tasks:
        for number in range(8):
            tasks.create_task(churn(f"s{number}"))
    for watch in watches:
        seen = [await watch.next() for _ in range(8 * 12)]
        versions = [int(e["object"]["metadata"]["resourceVersion"]) for e in seen]
        assert versions == sorted(set(versions))
        await watch.close()


async def test_tables_for_get_list_and_watch(api: Api) -> None:
    table = await api.ok("GET", CM, headers=TABLE)
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    columns = [c["name"] for c in table["columnDefinitions"]]
    assert columns == ["Name", "Data", "Age"]
    assert [row["cells"][0] for row in table["rows"]] == ["a", "b", "c", "d"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    whole = await api.ok("GET", f"{CM}/a?includeObject=Object", headers=TABLE)
    assert whole["rows"][0]["object"]["kind"] == "ConfigMap"
    none = await api.ok("GET", f"{CM}/a?includeObject=None", headers=TABLE)
    assert none["rows"][0]["object"] is None


async def test_metadata_only(api: Api) -> None:
    accept = {"accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    listed = await api.ok("GET", CM, headers=accept)
    assert listed["kind"] == "PartialObjectMetadataList"
    assert set(listed["items"][0]) == {"kind", "apiVersion", "metadata"}


async def test_large_answers_are_compressed_when_accepted(api: Api) -> None:
    await api.ok("POST", CM, config_map("big", data={"x": "y" * 200_000}))
    response = await api.call("GET", f"{CM}/big", headers={"accept-encoding": "gzip, br"})
    assert header(response, "content-encoding") == ["gzip"]
    assert tree_of(gzip.decompress(response.body))["metadata"]["name"] == "big"
    assert not header(await api.call("GET", f"{CM}/big"), "content-encoding")
    small = await api.call("GET", f"{CM}/a", headers={"accept-encoding": "gzip"})
    assert not header(small, "content-encoding")


def tree_of(body: bytes) -> dict[str, Any]:
    return orjson.loads(body)


async def test_discovery_in_both_forms(api: Api) -> None:
    accept = {
        "accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
        "application/json"
    }
    response = await api.call("GET", "/apis", headers=accept)
    groups = {g["metadata"]["name"]: g for g in tree(response)["items"]}
    apps = groups["apps"]["versions"]
    assert [v["version"] for v in apps] == ["v1", "v1beta2", "v1beta1"]
    etag = header(response, "etag")[0]
    again = await api.call("GET", "/apis", headers={**accept, "if-none-match": etag})
    assert (again.status, again.body) == (304, b"")
    older = await api.ok("GET", "/api/v1")
    found = {r["name"]: r for r in older["resources"]}
    assert found["pods"]["shortNames"] == ["po"]
    assert found["pods/eviction"]["group"] == "policy"
    assert "/apis/apps/v1" in (await api.ok("GET", "/"))["paths"]


async def test_health_version_metrics_and_openapi(api: Api) -> None:
    for path in ("/livez", "/readyz", "/healthz", "/livez/ping", "/readyz/informer-sync"):
        response = await api.call("GET", path)
        assert (response.status, response.body) == (200, b"ok"), path
    verbose = await api.call("GET", "/readyz?verbose&exclude=etcd")
    assert b"[+]etcd excluded: ok\n" in verbose.body
    assert verbose.body.endswith(b"readyz check passed\n")
    assert (await api.ok("GET", "/version"))["gitVersion"].startswith("v1.36")
    metrics = (await api.call("GET", "/metrics")).body
    made = b'{code="201",component="apiserver",dry_run="",group="",resource="configmaps",'
    assert b"apiserver_request_total" + made in metrics
    document = await api.ok("GET", "/openapi/v3/apis/apps/v1")
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert "fieldValidation" in {p["name"] for p in patch["parameters"]}
    await api.server.stop()
    assert (await api.call("GET", "/readyz")).status == 500
