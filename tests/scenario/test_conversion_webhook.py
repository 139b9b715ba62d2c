"""Custom kinds whose versions a webhook converts: every verb, in the version that is asked for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from tests.apiserver_harness import Api, tree
from tests.conversion_kit import CRD, GROUP, Converter, backend, definition, path
from tests.custom_kinds import CRDS, define, gone, serving

APPLY = {"content-type": "application/apply-patch+yaml"}
MERGE = {"content-type": "application/merge-patch+json"}
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
JSON_PATCH = {"content-type": "application/json-patch+json"}


@pytest.fixture
def converter() -> Any:
    made = Converter()
    with made.webhook:
        yield made


@pytest.fixture
async def api(converter: Converter) -> AsyncIterator[Api]:
    async with serving() as api:
        config = converter.webhook.client_config("/convert")
        await define(api, definition(config, "v1beta1", "v1", stored="v1beta1"))
        yield api


async def _store_in(api: Api, version: str) -> dict[str, Any]:
    tree = await api.ok("GET", f"{CRDS}/{CRD}")
    for item in tree["spec"]["versions"]:
        item["storage"] = item["name"] == version
    changed = await api.ok("PUT", f"{CRDS}/{CRD}", tree)
    # Served in the new form once the server has taken the change in.
    async with asyncio.timeout(20):
        while api.server.definitions._active[CRD].definition.stored.name != version:
            await asyncio.sleep(0)
    return changed


async def test_an_object_is_written_and_read_in_each_version(
    api: Api, converter: Converter
) -> None:
    made = await api.ok("POST", path("v1"), backend("a", "v1", "one.example.com:80"))
    assert made["apiVersion"] == f"{GROUP}/v1"
    assert made["spec"] == {"host": "one.example.com", "port": "80", "weight": 1}
    review = converter.reviews[0]
    assert (review["kind"], review["apiVersion"]) == (
        "ConversionReview",
        "apiextensions.k8s.io/v1",
    )
    assert review["request"]["desiredAPIVersion"] == f"{GROUP}/v1beta1"
    assert converter.webhook.calls[0].query == "timeout=30s"
    stored = orjson.loads(
        (await api.server.store.get(f"/registry/{GROUP}/backends/default/a")).value
    )
    assert (stored["apiVersion"], stored["spec"]) == (
        f"{GROUP}/v1beta1",
        {"hostPort": "one.example.com:80"},
    )
    old = await api.ok("GET", path("v1beta1", "a"))
    assert old["spec"] == {"hostPort": "one.example.com:80"}
    assert old["metadata"]["annotations"] == {"weight": "1"}
    asked = converter.asked()
    for _ in range(3):
        assert (await api.ok("GET", path("v1", "a")))["spec"]["host"] == "one.example.com"
    assert converter.asked() == asked, "a state is converted once"
    # PUT, merge patch and JSON patch of the version that is not stored.
    made["spec"]["port"] = "81"
    made = await api.ok("PUT", path("v1", "a"), made)
    assert (made["spec"]["port"], made["metadata"]["generation"]) == ("81", 2)
    patch = {"spec": {"host": "two.example.com"}}
    await api.ok("PATCH", path("v1", "a"), patch, headers=MERGE)
    change = [{"op": "replace", "path": "/spec/weight", "value": 5}]
    made = await api.ok("PATCH", path("v1", "a"), change, headers=JSON_PATCH)
    assert made["spec"] == {"host": "two.example.com", "port": "81", "weight": 5}
    old = await api.ok("GET", path("v1beta1", "a"))
    assert old["spec"] == {"hostPort": "two.example.com:81"}
    assert old["metadata"]["annotations"] == {"weight": "5"}
    unchanged = await api.ok("PUT", path("v1", "a"), made)
    assert unchanged["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    await api.ok("DELETE", path("v1", "a"))
    assert (await api.call("GET", path("v1beta1", "a"))).status == 404


async def test_lists_are_converted_together_and_selected_as_seen(
    api: Api, converter: Converter
) -> None:
    for name in "abc":
        await api.ok("POST", path("v1beta1"), backend(name, "v1beta1", f"{name}.example.com:80"))
    calls = len(converter.webhook.calls)
    found = await api.ok("GET", path("v1"))
    assert [i["spec"]["host"] for i in found["items"]] == [f"{n}.example.com" for n in "abc"]
    assert {i["apiVersion"] for i in found["items"]} == {f"{GROUP}/v1"}
    assert len(converter.webhook.calls) == calls + 1
    assert len(converter.reviews[-1]["request"]["objects"]) == 3
    page = await api.ok("GET", path("v1"), query={"limit": 2})
    rest = await api.ok(
        "GET", path("v1"), query={"limit": 2, "continue": page["metadata"]["continue"]}
    )
    assert [i["metadata"]["name"] for i in page["items"] + rest["items"]] == ["a", "b", "c"]
    picked = await api.ok("GET", path("v1"), query={"fieldSelector": "spec.host=b.example.com"})
    assert [i["metadata"]["name"] for i in picked["items"]] == ["b"]
    await api.fails(
        400, "BadRequest", "GET", path("v1"), query={"fieldSelector": "spec.hostPort=x"}
    )
    # A label the conversion adds is there for whoever reads that version only.
    await api.ok("POST", path("v1"), backend("d", "v1", "d.example.com:1"))
    query = {"labelSelector": "seen-as=old"}
    assert [
        i["metadata"]["name"] for i in (await api.ok("GET", path("v1beta1"), query=query))["items"]
    ] == ["d"]
    assert (await api.ok("GET", path("v1"), query=query))["items"] == []
    table = await api.ok(
        "GET",
        path("v1"),
        headers={"accept": TABLE},
        query={"includeObject": "Object", "fieldSelector": "metadata.name=c"},
    )
    assert [row["cells"] for row in table["rows"]] == [["c", "c.example.com"]]
    assert table["rows"][0]["object"]["apiVersion"] == f"{GROUP}/v1"
    removed = await api.ok(
        "DELETE", path("v1"), query={"fieldSelector": "spec.host!=b.example.com"}
    )
    assert [i["spec"]["host"] for i in removed["items"]] == [f"{n}.example.com" for n in "acd"]
    assert [i["metadata"]["name"] for i in (await api.ok("GET", path("v1beta1")))["items"]] == ["b"]


async def test_watches_see_their_version(api: Api, converter: Converter) -> None:
    await api.ok("POST", path("v1beta1"), backend("a", "v1beta1", "a.example.com:80"))
    start = await api.ok("GET", path("v1"))
    seen = await api.watch(
        path("v1"),
        sendInitialEvents="true",
        allowWatchBookmarks="true",
        resourceVersionMatch="NotOlderThan",
    )
    first, end = await seen.next(), await seen.next()
    assert (first["type"], first["object"]["spec"]["host"]) == ("ADDED", "a.example.com")
    assert end["type"] == "BOOKMARK"
    picky = await api.watch(
        path("v1"),
        fieldSelector="spec.host=b.example.com",
        resourceVersion=start["metadata"]["resourceVersion"],
    )
    await api.ok("POST", path("v1beta1"), backend("b", "v1beta1", "b.example.com:80"))
    change = {"spec": {"host": "c.example.com"}}
    await api.ok("PATCH", path("v1", "b"), change, headers=MERGE)
    await api.ok("DELETE", path("v1beta1", "b"))
    events = [await seen.next() for _ in range(3)]
    assert [(e["type"], e["object"]["spec"]["host"]) for e in events] == [
        ("ADDED", "b.example.com"),
        ("MODIFIED", "c.example.com"),
        ("DELETED", "c.example.com"),
    ]
    versions = [int(e["object"]["metadata"]["resourceVersion"]) for e in events]
    assert versions == sorted(set(versions))
    assert await picky.take(2) == [("ADDED", "b"), ("DELETED", "b")]
    late = await api.watch(path("v1"), resourceVersion=start["metadata"]["resourceVersion"])
    assert await late.take(3) == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b")]
    for watching in (seen, picky, late):
        await watching.close()


async def test_a_watch_whose_conversion_fails_ends_with_the_error(
    api: Api, converter: Converter
) -> None:
    watching = await api.watch(path("v1"))
    converter.change = lambda review: {**review, "response": None}
    await api.ok("POST", path("v1beta1"), backend("a", "v1beta1", "a.example.com:80"))
    event = await watching.next()
    assert event["type"] == "ERROR"
    assert event["object"]["message"] == (
        f"conversion webhook for {GROUP}/v1beta1, Kind=Backend failed: no response provided"
    )
    with pytest.raises(StopAsyncIteration):
        await watching.next()
    assert (await api.call("GET", path("v1beta1"))).status == 200


async def test_status_scale_and_apply_through_another_version(
    api: Api, converter: Converter
) -> None:
    config = backend("a", "v1", "a.example.com:80", spec={"replicas": 2})
    made = await api.ok(
        "PATCH", path("v1", "a"), config, headers=APPLY, query={"fieldManager": "me"}
    )
    assert made["spec"]["replicas"] == 2
    owners = made["metadata"]["managedFields"]
    assert [(o["manager"], o["apiVersion"]) for o in owners] == [("me", f"{GROUP}/v1")]
    status = {**made, "status": {"replicas": 2, "selector": "app=a", "ready": True}}
    done = await api.ok("PUT", path("v1", "a") + "/status", status)
    assert done["status"]["ready"] is True
    scale = await api.ok("GET", path("v1", "a") + "/scale")
    assert (scale["spec"], scale["status"]) == (
        {"replicas": 2},
        {"replicas": 2, "selector": "app=a"},
    )
    scale["spec"]["replicas"] = 4
    await api.ok("PUT", path("v1", "a") + "/scale", scale)
    old = await api.ok("GET", path("v1beta1", "a"))
    assert old["spec"] == {"hostPort": "a.example.com:80", "count": 4}
    assert old["status"]["ready"] is True
    # Another manager, another version: the conflict is found across the conversion.
    theirs = backend("a", "v1beta1", "b.example.com:80")
    status = await api.fails(
        409,
        "Conflict",
        "PATCH",
        path("v1beta1", "a"),
        theirs,
        headers=APPLY,
        query={"fieldManager": "them"},
    )
    assert 'conflict with "me"' in status["message"]
    forced = await api.ok(
        "PATCH",
        path("v1beta1", "a"),
        theirs,
        headers=APPLY,
        query={"fieldManager": "them", "force": "true"},
    )
    by = {o["manager"]: o for o in forced["metadata"]["managedFields"] if not o.get("subresource")}
    assert "f:host" not in by["me"]["fieldsV1"].get("f:spec", {})
    assert by["them"]["fieldsV1"]["f:spec"] == {"f:hostPort": {}}
    # The first manager gives up a field it owns in its version: it goes.
    config["spec"] = {"weight": 1}
    again = await api.ok(
        "PATCH", path("v1", "a"), config, headers=APPLY, query={"fieldManager": "me"}
    )
    assert (again["spec"]["host"], again["spec"]["port"]) == ("b.example.com", "80")


async def test_the_storage_version_moves_and_objects_are_migrated(
    api: Api, converter: Converter
) -> None:
    before = await api.ok("POST", path("v1beta1"), backend("a", "v1beta1", "a.example.com:80"))
    moved = await _store_in(api, "v1")
    assert moved["status"]["storedVersions"] == ["v1beta1", "v1"]
    await api.ok("POST", path("v1"), backend("b", "v1", "b.example.com:80"))
    # A list of objects stored in two versions, as each version.
    for version, field in (("v1", "host"), ("v1beta1", "hostPort")):
        found = await api.ok("GET", path(version))
        assert {i["apiVersion"] for i in found["items"]} == {f"{GROUP}/{version}"}
        assert all(field in i["spec"] for i in found["items"])
    # Writing an object as it is stores it anew; once more changes nothing.
    as_is = await api.ok("GET", path("v1", "a"))
    assert as_is["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    rewritten = await api.ok("PUT", path("v1", "a"), as_is)
    assert rewritten["metadata"]["resourceVersion"] != as_is["metadata"]["resourceVersion"]
    again = await api.ok("PUT", path("v1", "a"), rewritten)
    assert again["metadata"]["resourceVersion"] == rewritten["metadata"]["resourceVersion"]
    record = await api.server.store.get(f"/registry/{GROUP}/backends/default/a")
    assert orjson.loads(record.value)["apiVersion"] == f"{GROUP}/v1"
    # Then the old version may go: first from the status, then from the definition.
    made = await api.ok("GET", f"{CRDS}/{CRD}")
    made["status"]["storedVersions"] = ["v1"]
    made = await api.ok("PUT", f"{CRDS}/{CRD}/status", made)
    made["spec"]["versions"] = [v for v in made["spec"]["versions"] if v["name"] == "v1"]
    await api.ok("PUT", f"{CRDS}/{CRD}", made)
    async with asyncio.timeout(20):
        while (await api.call("GET", path("v1beta1"))).status != 404:
            await asyncio.sleep(0)
    calls = len(converter.webhook.calls)
    assert len((await api.ok("GET", path("v1")))["items"]) == 2
    assert len(converter.webhook.calls) == calls
    await api.ok("DELETE", f"{CRDS}/{CRD}")
    await gone(api, CRD)


async def test_answers_are_judged_in_upstreams_words(api: Api, converter: Converter) -> None:
    await api.ok("POST", path("v1beta1"), backend("a", "v1beta1", "a.example.com:80"))
    await api.ok("POST", path("v1beta1"), backend("b", "v1beta1", "b.example.com:80"))
    head = f"conversion webhook for {GROUP}/v1beta1, Kind=Backend "

    async def says(target: str, change: Any) -> str:
        converter.change = change
        status = await api.fails(500, "", "GET", target)
        assert status["message"].startswith(head), status
        return status["message"].removeprefix(head)

    def first(**more: Any) -> Any:
        def change(review: dict[str, Any]) -> dict[str, Any]:
            review["response"]["convertedObjects"][0].update(more)
            return review

        return change

    def metadata(**more: Any) -> Any:
        def change(review: dict[str, Any]) -> dict[str, Any]:
            review["response"]["convertedObjects"][0]["metadata"].update(more)
            return review

        return change

    def response(**more: Any) -> Any:
        return lambda review: {**review, "response": {**review["response"], **more}}

    one, all_ = path("v1", "a"), path("v1")
    assert (await says(one, response(uid="other"))).startswith("failed: expected response.uid=")
    failed = {"status": "Failed", "message": "no idea"}
    assert await says(one, response(result=failed)) == "failed: no idea"
    assert await says(one, response(result={"status": "Odd"})) == (
        "failed: response.result.status was 'Odd', not 'Success'"
    )
    assert await says(one, response(convertedObjects=[])) == "returned 0 objects, expected 1"
    assert await says(one, lambda review: {**review, "kind": "Other"}) == (
        "failed: expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got "
        "apiextensions.k8s.io/v1, Kind=Other"
    )
    assert await says(one, first(apiVersion=f"{GROUP}/v3")) == (
        f"returned invalid object at index 0: invalid groupVersion (expected {GROUP}/v1, received "
        f"{GROUP}/v3)"
    )
    assert await says(one, first(kind="Other")) == (
        "returned invalid object at index 0: invalid kind (expected Backend, received Other)"
    )
    assert await says(one, metadata(name="z")) == (
        "returned invalid object: must have the same name: a != z"
    )
    assert await says(all_, metadata(name="z")) == (
        "returned invalid converted object at index 0: must have the same name: a != z"
    )
    assert await says(one, metadata(labels={"a": 1})) == (
        "returned invalid metadata: metadata.labels[a] must be a string, but is int64 in converted "
        "object"
    )
    assert "returned invalid metadata: metadata.labels: Invalid value" in await says(
        one, metadata(labels={"a": "-"})
    )
    # What a webhook may not touch is put back, what a version does not know is dropped.
    converter.change = metadata(generation=99, finalizers=["x.example.com/y"])
    kept = await api.ok("GET", one)
    assert kept["metadata"]["generation"] == 1
    assert "finalizers" not in kept["metadata"]
    converter.change = first(spec={"host": "h", "unknown": True})
    assert (await api.ok("GET", path("v1", "b")))["spec"] == {"host": "h"}


async def test_what_is_refused_or_unreachable_changes_nothing(
    api: Api, converter: Converter
) -> None:
    made = await api.ok("POST", path("v1"), backend("a", "v1", "a.example.com:80"))
    converter.change = lambda review: b"<html>"
    made["spec"]["port"] = "99"
    await api.fails(500, "", "PUT", path("v1", "a"), made)
    await api.fails(500, "", "POST", path("v1"), backend("b", "v1", "b.example.com:80"))
    converter.change = None
    assert (await api.ok("GET", path("v1beta1", "a")))["spec"]["hostPort"] == "a.example.com:80"
    assert (await api.call("GET", path("v1beta1", "b"))).status == 404


_ODD: list[Any] = [
    None,
    True,
    -5,
    2.5,
    "x",
    [],
    [1, None, {"a": 1}],
    {},
    {"name": 5},
    {"host": [1]},
]


def _spoiled(value: Any, rng: random.Random) -> Any:
    """``value`` with something in it that should not be there."""
    if rng.random() < 0.3:
        return rng.choice(_ODD)
    if isinstance(value, dict):
        made = {k: _spoiled(v, rng) if rng.random() < 0.3 else v for k, v in value.items()}
        if rng.random() < 0.3:
            made[rng.choice(["spec", "status", "metadata", "kind", "x"])] = rng.choice(_ODD)
        return made
    if isinstance(value, list):
        return [_spoiled(part, rng) for part in value] + rng.choice([[], [5]])
    return rng.choice(_ODD)


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_a_webhook_answers_nothing_crashes(
    api: Api, converter: Converter, seed: int
) -> None:
    rng = random.Random(seed)
    await api.ok("POST", path("v1"), backend("a", "v1", "h:1", spec={"replicas": 2}))

    def change(review: dict[str, Any]) -> Any:
        place = rng.choice(["all", "response", "objects", "spec", "status"])
        objects = review["response"]["convertedObjects"]
        if place == "all":
            return _spoiled(review, rng)
        if place == "response":
            review["response"] = _spoiled(review["response"], rng)
        elif place == "objects":
            review["response"]["convertedObjects"] = _spoiled(objects, rng)
        else:
            objects[0][place] = _spoiled(objects[0].get(place) or {}, rng)
        return review

    one, manager = path("v1", "a"), {"fieldManager": "m", "force": "true"}
    calls: list[tuple[str, str, Any, dict[str, Any]]] = [
        ("GET", one, None, {}),
        ("GET", path("v1"), None, {"query": {"fieldSelector": "spec.host=h"}}),
        ("GET", path("v1"), None, {"headers": {"accept": TABLE}}),
        ("GET", f"{one}/scale", None, {}),
        ("PATCH", f"{one}/scale", {"spec": {"replicas": 3}}, {"headers": MERGE}),
        ("PATCH", f"{one}/status", {"status": {"ready": True}}, {"headers": MERGE}),
        ("PATCH", one, {"spec": {"host": "q"}}, {"headers": MERGE}),
        ("PATCH", one, backend("a", "v1", "z:9"), {"headers": APPLY, "query": manager}),
        ("PUT", one, backend("a", "v1", "y:1"), {}),
        ("POST", path("v1"), backend("b", "v1", "h:1"), {}),
        ("DELETE", path("v1", "b"), None, {}),
    ]
    converter.change = change
    answers: set[int] = set()
    for _ in range(150):
        method, target, body, more = rng.choice(calls)
        api.server.definitions._converted._held.clear()
        response = await api.call(method, target, body, **more)
        answers.add(response.status)
        assert b"panic" not in response.body, (method, target, response.body)
        if response.status == 500:
            assert tree(response)["message"], (method, target, response.body)
    assert {200, 500} <= answers


async def test_many_who_ask_at_once_are_answered_by_one_call(
    api: Api, converter: Converter
) -> None:
    for number in range(20):
        name = f"n{number:02}"
        await api.ok("POST", path("v1beta1"), backend(name, "v1beta1", f"{name}.example.com:80"))
    asked = converter.asked()
    answers = await asyncio.gather(*(api.call("GET", path("v1")) for _ in range(8)))
    assert {len(tree(answer)["items"]) for answer in answers} == {20}
    assert converter.asked() == asked + 20


async def test_a_webhook_that_is_gone_leaves_the_stored_version_working(
    api: Api, converter: Converter
) -> None:
    await api.ok("POST", path("v1beta1"), backend("a", "v1beta1", "a.example.com:80"))
    converter.change = lambda review: {}
    await api.fails(500, "", "GET", path("v1"))
    await api.ok("POST", path("v1beta1"), backend("b", "v1beta1", "b.example.com:80"))
    change = {"spec": {"hostPort": "c.example.com:80"}}
    await api.ok("PATCH", path("v1beta1", "a"), change, headers=MERGE)
    assert len((await api.ok("GET", path("v1beta1")))["items"]) == 2
    metrics = (await api.call("GET", "/metrics")).body.decode()
    counted = (
        'apiserver_crd_conversion_webhook_request_total{failure_type="malformed_response_failure"'
    )
    assert f'{counted},result="failure"}} 1' in metrics
    await api.ok("DELETE", f"{CRDS}/{CRD}")
    await gone(api, CRD)


async def test_the_past_is_shown_in_the_version_asked_for(api: Api) -> None:
    made = await api.ok("POST", path("v1beta1"), backend("a", "v1beta1", "a.example.com:80"))
    await api.ok("POST", path("v1beta1"), backend("b", "v1beta1", "b.example.com:80"))
    change = {"spec": {"host": "z.example.com"}}
    await api.ok("PATCH", path("v1", "a"), change, headers=MERGE)
    query = {
        "resourceVersion": made["metadata"]["resourceVersion"],
        "resourceVersionMatch": "Exact",
    }
    then = await api.ok("GET", path("v1"), query=query)
    assert [i["spec"]["host"] for i in then["items"]] == ["a.example.com"]
    query["fieldSelector"] = "spec.host=z.example.com"
    assert (await api.ok("GET", path("v1"), query=query))["items"] == []


async def test_a_service_in_the_cluster_converts(converter: Converter) -> None:
    async with serving() as api:
        named, leads = converter.webhook.service_objects("default", "hook", 9443)
        await api.ok("POST", "/api/v1/namespaces/default/services", named)
        # Validation lets no slice lead to loopback, where this test's webhook is.
        key = "/registry/endpointslices/default/hook"
        await api.server.store.put(key, orjson.dumps(leads))
        service = {"namespace": "default", "name": "hook", "path": "/convert", "port": 9443}
        config = {"service": service, "caBundle": converter.webhook.ca_bundle}
        await define(api, definition(config, "v1beta1", "v1", stored="v1beta1"))
        made = await api.ok("POST", path("v1"), backend("a", "v1", "a.example.com:80"))
        assert made["spec"]["host"] == "a.example.com"
        assert converter.webhook.calls[0].path == "/convert"


async def test_a_webhook_of_the_older_review_version_is_spoken_to(converter: Converter) -> None:
    async with serving() as api:
        crd = definition(converter.webhook.client_config(), "v1beta1", "v1", stored="v1beta1")
        crd["spec"]["conversion"]["webhook"]["conversionReviewVersions"] = ["v1beta1"]
        await define(api, crd)
        # That version's answers name neither kind nor uid.
        converter.change = lambda review: {
            "response": {k: v for k, v in review["response"].items() if k != "uid"}
        }
        made = await api.ok("POST", path("v1"), backend("a", "v1", "a.example.com:80"))
        assert made["spec"]["port"] == "80"
        assert converter.reviews[0]["apiVersion"] == "apiextensions.k8s.io/v1beta1"
