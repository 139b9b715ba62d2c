"""Custom resources through the whole server: defined, used, changed, gone."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator

import pytest
from tests.apiserver_harness import Api, header, tree
from tests.custom_kinds import (
    CRDS,
    CRONTABS,
    FULL,
    SPEC,
    condition,
    crontab,
    define,
    definition,
    gone,
    serving,
    version,
)

from kutter.store.memory import MemoryStore

_MERGE = {"content-type": "application/merge-patch+json"}
_JSON = {"content-type": "application/json-patch+json"}
_STRATEGIC = {"content-type": "application/strategic-merge-patch+json"}
_TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serving() as served:
        yield served


async def test_a_definition_is_defaulted_accepted_and_established(api: Api) -> None:
    made = await define(api, definition(names={"shortNames": ["ct"], "categories": ["all"]}))
    assert made["spec"]["names"]["singular"] == "crontab"
    assert made["spec"]["names"]["listKind"] == "CronTabList"
    assert made["spec"]["conversion"] == {"strategy": "None"}
    assert made["status"]["acceptedNames"] == made["spec"]["names"]
    assert made["status"]["storedVersions"] == ["v1"]
    states = {c["type"]: (c["status"], c["reason"]) for c in made["status"]["conditions"]}
    assert states == {
        "NamesAccepted": ("True", "NoConflicts"),
        "Established": ("True", "InitialNamesAccepted"),
    }
    found = await api.ok("GET", "/apis/stable.example.com/v1")
    assert [r["name"] for r in found["resources"]] == [
        "crontabs",
        "crontabs/status",
        "crontabs/scale",
    ]
    assert found["resources"][0]["shortNames"] == ["ct"]
    assert found["resources"][0]["categories"] == ["all"]
    groups = await api.ok("GET", "/apis")
    assert "stable.example.com" in [g["name"] for g in groups["groups"]]


async def test_life_of_a_custom_object(api: Api) -> None:
    await define(api, definition())
    watching = await api.watch(CRONTABS)
    made = await api.ok("POST", CRONTABS, crontab(status={"phase": "no"}))
    assert made["spec"] == {"cronSpec": "* * * * */5", "image": "busybox", "replicas": 1}
    assert "status" not in made
    assert made["metadata"]["generation"] == 1
    made["status"] = {"phase": "Up", "replicas": 1}
    after = await api.ok("PUT", f"{CRONTABS}/a/status", made)
    assert after["status"]["phase"] == "Up"
    assert after["metadata"]["generation"] == 1
    changed = await api.ok("PATCH", f"{CRONTABS}/a", {"spec": {"replicas": 3}}, headers=_MERGE)
    assert changed["metadata"]["generation"] == 2
    assert changed["status"]["phase"] == "Up"
    labelled = await api.ok(
        "PATCH", f"{CRONTABS}/a", {"metadata": {"labels": {"a": "b"}}}, headers=_MERGE
    )
    assert labelled["metadata"]["generation"] == 2
    operations = [{"op": "replace", "path": "/spec/replicas", "value": 4}]
    assert (await api.ok("PATCH", f"{CRONTABS}/a", operations, headers=_JSON))["spec"][
        "replicas"
    ] == 4
    refused = await api.fails(
        415,
        "UnsupportedMediaType",
        "PATCH",
        f"{CRONTABS}/a",
        {"spec": {"replicas": 3}},
        headers=_STRATEGIC,
    )
    assert "application/strategic-merge-patch+json" not in refused["message"]
    listed = await api.ok("GET", CRONTABS)
    assert listed["kind"] == "CronTabList"
    assert [(i["kind"], i["apiVersion"]) for i in listed["items"]] == [
        ("CronTab", "stable.example.com/v1")
    ]
    await api.ok("DELETE", f"{CRONTABS}/a")
    assert await watching.take(6) == [("ADDED", "a"), *[("MODIFIED", "a")] * 4, ("DELETED", "a")]
    await watching.close()


async def test_unknown_fields_are_pruned_and_told_as_asked(api: Api) -> None:
    await define(api, definition())
    body = crontab(spec={"bogus": 1, "extra": {"any": {"thing": 1}}})
    warned = await api.call("POST", CRONTABS, body, query={"dryRun": "All"})
    assert header(warned, "warning") == ['299 - "unknown field \\"spec.bogus\\""']
    assert "bogus" not in tree(warned)["spec"]
    assert tree(warned)["spec"]["extra"] == {"any": {"thing": 1}}
    status = await api.fails(
        400, "BadRequest", "POST", CRONTABS, body, query={"fieldValidation": "Strict"}
    )
    assert status["message"] == (
        'CronTab in version "v1" cannot be handled as a CronTab: strict decoding error: '
        'unknown field "spec.bogus"'
    )
    ignored = await api.call("POST", CRONTABS, body, query={"fieldValidation": "Ignore"})
    assert header(ignored, "warning") == []


async def test_values_are_refused_in_upstreams_words(api: Api) -> None:
    await define(api, definition())
    wrong = crontab(
        spec={
            "cronSpec": "never",
            "replicas": 11,
            "color": "green",
            "image": 5,
            "tags": ["a", "b", "a"],
            "ports": [{"name": "x"}, {"name": "x"}, {"number": 1}],
            "since": "yesterday",
            "port": [],
        }
    )
    status = await api.fails(422, "Invalid", "POST", CRONTABS, wrong)
    found = [f"{c['field']}: {c['message']}" for c in status["details"]["causes"]]
    assert found == [
        (
            'spec.cronSpec: Invalid value: "never": spec.cronSpec in body should match '
            "'^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$'"
        ),
        (
            "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal "
            "to 10"
        ),
        'spec.color: Unsupported value: "green": supported values: "red", "blue"',
        (
            'spec.image: Invalid value: "integer": spec.image in body must be of type string: '
            '"integer"'
        ),
        "spec.ports[2].name: Required value",
        (
            'spec.since: Invalid value: "yesterday": spec.since in body must be of type date-time: '
            '"yesterday"'
        ),
        (
            'spec.port: Invalid value: "array": spec.port in body must be of type integer,string: '
            '"array"'
        ),
        'spec.tags[2]: Duplicate value: "a"',
        'spec.ports[1]: Duplicate value: {"name":"x"}',
    ]
    missing = crontab()
    del missing["spec"]["cronSpec"]
    status = await api.fails(422, "Invalid", "POST", CRONTABS, missing)
    text = 'CronTab.stable.example.com "a" is invalid: spec.cronSpec: Required value'
    assert status["message"] == text


async def test_what_did_not_change_is_not_judged_by_a_stricter_schema(api: Api) -> None:
    made = await define(api, definition())
    await api.ok("POST", CRONTABS, crontab(spec={"replicas": 9}))
    schema = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["replicas"]["maximum"] = 5
    await api.ok("PUT", f"{CRDS}/crontabs.stable.example.com", made)
    while (await api.call("POST", CRONTABS, crontab("b", spec={"replicas": 9}))).status == 201:
        await api.ok("DELETE", f"{CRONTABS}/b")
        await asyncio.sleep(0)
    body = {"spec": {"image": "other"}}
    assert (await api.ok("PATCH", f"{CRONTABS}/a", body, headers=_MERGE))["spec"]["replicas"] == 9
    body = {"spec": {"replicas": 8}}
    await api.fails(422, "Invalid", "PATCH", f"{CRONTABS}/a", body, headers=_MERGE)


async def test_new_defaults_show_in_what_was_stored_before(api: Api) -> None:
    spec = copy.deepcopy(SPEC)
    del spec["properties"]["image"]["default"]
    made = await define(api, definition(versions=[version(spec=spec)]))
    before = await api.ok("POST", CRONTABS, crontab())
    assert "image" not in before["spec"]
    watching = await api.watch(CRONTABS, resourceVersion=before["metadata"]["resourceVersion"])
    inner = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    inner["properties"]["image"]["default"] = "alpine"
    await api.ok("PUT", f"{CRDS}/crontabs.stable.example.com", made)
    with pytest.raises(StopAsyncIteration):  # a changed definition ends the watches of before
        await watching.next()
    after = await api.ok("GET", f"{CRONTABS}/a")
    assert after["spec"]["image"] == "alpine"
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


async def test_scale(api: Api) -> None:
    await define(api, definition())
    await api.ok("POST", CRONTABS, crontab())
    body = {"status": {"replicas": 2, "selector": "app=x"}}
    await api.ok("PATCH", f"{CRONTABS}/a/status", body, headers=_MERGE)
    scale = await api.ok("GET", f"{CRONTABS}/a/scale")
    assert (scale["kind"], scale["spec"], scale["status"]) == (
        "Scale",
        {"replicas": 1},
        {"replicas": 2, "selector": "app=x"},
    )
    scale["spec"]["replicas"] = 5
    await api.ok("PUT", f"{CRONTABS}/a/scale", scale)
    patch = {"spec": {"replicas": 6}}
    assert (await api.ok("PATCH", f"{CRONTABS}/a/scale", patch, headers=_MERGE))["spec"] == patch[
        "spec"
    ]
    found = await api.ok("GET", f"{CRONTABS}/a")
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (6, 3)


async def test_columns_selectors_and_pages(api: Api) -> None:
    await define(api, definition())
    for name, color in (("a", "red"), ("b", "blue"), ("c", "red")):
        await api.ok("POST", CRONTABS, crontab(name, spec={"color": color}))
    table = await api.ok("GET", CRONTABS, headers=_TABLE)
    names = [c["name"] for c in table["columnDefinitions"]]
    assert names == ["Name", "Spec", "Replicas", "Image", "Age"]
    assert [c["priority"] for c in table["columnDefinitions"]] == [0, 0, 0, 1, 0]
    assert table["rows"][0]["cells"] == ["a", "* * * * */5", 1, "busybox", "0s"]
    red = await api.ok("GET", CRONTABS, query={"fieldSelector": "spec.color=red"})
    assert [i["metadata"]["name"] for i in red["items"]] == ["a", "c"]
    status = await api.fails(
        400, "BadRequest", "GET", CRONTABS, query={"fieldSelector": "spec.image=x"}
    )
    assert status["message"] == "field label not supported: spec.image"
    page = await api.ok("GET", CRONTABS, query={"limit": 2})
    rest = await api.ok(
        "GET", CRONTABS, query={"limit": 2, "continue": page["metadata"]["continue"]}
    )
    assert [i["metadata"]["name"] for i in page["items"] + rest["items"]] == ["a", "b", "c"]
    await api.ok("DELETE", CRONTABS)
    assert (await api.ok("GET", CRONTABS))["items"] == []


async def test_versions_share_their_objects(api: Api) -> None:
    old = version("v1beta1", storage=False, deprecated=True, **FULL)
    made = await define(api, definition(versions=[old, version("v1", **FULL)]))
    group = await api.ok("GET", "/apis/stable.example.com")
    assert [v["version"] for v in group["versions"]] == ["v1", "v1beta1"]
    beta = CRONTABS.replace("/v1/", "/v1beta1/")
    response = await api.call("POST", beta, crontab(api="v1beta1"))
    assert response.status == 201
    assert header(response, "warning") == [
        '299 - "stable.example.com/v1beta1 CronTab is deprecated; use stable.example.com/v1 CronTab"'
    ]
    assert tree(response)["apiVersion"] == "stable.example.com/v1beta1"
    assert (await api.ok("GET", f"{CRONTABS}/a"))["apiVersion"] == "stable.example.com/v1"
    watching = await api.watch(beta)
    assert (await watching.next())["object"]["apiVersion"] == "stable.example.com/v1beta1"
    # The storage version moves; what is stored in the old one stays readable.
    for item in made["spec"]["versions"]:
        item["storage"] = not item["storage"]
    moved = await api.ok("PUT", f"{CRDS}/crontabs.stable.example.com", made)
    assert moved["status"]["storedVersions"] == ["v1", "v1beta1"]
    with pytest.raises(StopAsyncIteration):
        await watching.next()
    assert (await api.ok("GET", f"{CRONTABS}/a"))["apiVersion"] == "stable.example.com/v1"
    moved["spec"]["versions"] = [moved["spec"]["versions"][0]]
    status = await api.fails(422, "Invalid", "PUT", f"{CRDS}/crontabs.stable.example.com", moved)
    assert status["details"]["causes"][0]["field"] == "status.storedVersions[0]"


async def test_names_are_given_first_come(api: Api) -> None:
    await define(api, definition(names={"shortNames": ["ct"]}))
    second = definition("tabs", "CronTab", names={"shortNames": ["ct"]})
    await api.ok("POST", CRDS, second)
    found = await condition(api, "tabs.stable.example.com")
    assert (found["status"], found["reason"]) == ("False", "NotAccepted")
    names = await condition(api, "tabs.stable.example.com", "NamesAccepted")
    assert (names["status"], names["message"]) == ("False", '"CronTabList" is already in use')
    path = "/apis/stable.example.com/v1/namespaces/default/tabs"
    assert (await api.call("GET", path)).status == 404
    await api.ok("DELETE", f"{CRDS}/crontabs.stable.example.com")
    await gone(api, "crontabs.stable.example.com")
    watching = await api.watch(CRDS)
    async with asyncio.timeout(30):
        while (await api.call("GET", path)).status == 404:
            await watching.next()
    await watching.close()


async def test_a_definition_goes_with_all_its_objects(api: Api) -> None:
    await define(api, definition())
    await api.ok("POST", CRONTABS, crontab("a"))
    held = crontab("held", metadata={"finalizers": ["example.com/hold"]})
    await api.ok("POST", CRONTABS, held)
    watching = await api.watch(CRONTABS)
    assert await watching.take(2) == [("ADDED", "a"), ("ADDED", "held")]
    answered = await api.ok("DELETE", f"{CRDS}/crontabs.stable.example.com")
    assert answered["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    assert set(await watching.take(2)) == {("DELETED", "a"), ("MODIFIED", "held")}
    refused = await api.fails(405, "MethodNotAllowed", "POST", CRONTABS, crontab("late"))
    assert refused["message"] == (
        "create not allowed while custom resource definition is terminating"
    )
    body = {"metadata": {"finalizers": None}}
    await api.ok("PATCH", f"{CRONTABS}/held", body, headers=_MERGE)
    await gone(api, "crontabs.stable.example.com")
    async with asyncio.timeout(30):
        while (await api.call("GET", CRONTABS)).status != 404:
            await asyncio.sleep(0)
    assert "stable.example.com" not in [g["name"] for g in (await api.ok("GET", "/apis"))["groups"]]
    # The same name again is a new kind without objects.
    await define(api, definition())
    assert (await api.ok("GET", CRONTABS))["items"] == []


async def test_a_new_server_serves_what_was_defined(api: Api) -> None:
    store = MemoryStore()
    async with serving(store) as first:
        await define(first, definition())
        await first.ok("POST", CRONTABS, crontab())
    async with serving(store) as second:
        assert (await second.ok("GET", f"{CRONTABS}/a"))["spec"]["replicas"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"metadata": {"name": "other.stable.example.com"}},
            (
                'metadata.name: Invalid value: "other.stable.example.com": must be '
                'spec.names.plural+"."+spec.group'
            ),
        ),
        ({"spec": {"scope": "Galaxy"}}, "spec.scope: Unsupported value"),
        ({"spec": {"versions": []}}, "must have exactly one version marked as storage version"),
        (
            {"spec": {"versions": [{"name": "v1", "served": True, "storage": True}]}},
            "spec.versions[0].schema.openAPIV3Schema: Required value",
        ),
        (
            {"spec": {"versions": [version(spec={"properties": {}})]}},
            (
                "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be "
                "empty for specified object fields"
            ),
        ),
        (
            {"spec": {"versions": [version(spec={"type": "object", "default": {"x": 1}})]}},
            (
                'spec.validation.openAPIV3Schema.properties[spec].default: Invalid value: {"x":1}: '
                "must not have unknown fields"
            ),
        ),
    ],
)
async def test_bad_definitions_are_refused(
    api: Api, change: dict[str, dict[str, object]], message: str
) -> None:
    body = definition()
    for part, fields in change.items():
        body[part].update(fields)
    status = await api.fails(422, "Invalid", "POST", CRDS, body)
    assert message in status["message"]


async def test_server_side_apply_knows_the_definitions_lists(api: Api) -> None:
    await define(api, definition())
    apply = {"content-type": "application/apply-patch+yaml"}

    def ports(**number: int) -> dict[str, object]:
        listed = [{"name": name, "number": value} for name, value in number.items()]
        return crontab("s", spec={"ports": listed})

    await api.ok("PATCH", f"{CRONTABS}/s", ports(x=1), headers=apply, query={"fieldManager": "a"})
    both = await api.ok(
        "PATCH", f"{CRONTABS}/s", ports(y=2), headers=apply, query={"fieldManager": "b"}
    )
    assert [p["name"] for p in both["spec"]["ports"]] == ["x", "y"]
    status = await api.fails(
        409,
        "Conflict",
        "PATCH",
        f"{CRONTABS}/s",
        ports(x=7),
        headers=apply,
        query={"fieldManager": "c"},
    )
    assert status["details"]["causes"][0]["field"] == '.spec.ports[name="x"].number'
    shown = {"apiVersion": "stable.example.com/v1", "kind": "CronTab", "status": {"phase": "Up"}}
    after = await api.ok(
        "PATCH", f"{CRONTABS}/s/status", shown, headers=apply, query={"fieldManager": "ctl"}
    )
    assert after["status"] == {"phase": "Up"}
    owners = [(m["manager"], m.get("subresource")) for m in after["metadata"]["managedFields"]]
    assert sorted(owners, key=str) == [("a", None), ("b", None), ("ctl", "status")]
