"""OpenAPI documents: valid, complete enough to generate code from, equal to what is published,
kept by clients for as long as they hold."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import re
from collections.abc import AsyncIterator, Iterator
from importlib.resources import files
from typing import Any

import orjson
import pytest
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV30SpecValidator
from tests.apiserver_harness import Api, header, tree
from tests.custom_kinds import CRDS, FULL, SPEC, define, definition, serving, version

from kutter.api.protobuf.wire import BYTES, read_varint
from kutter.apiserver.prose import Prose

V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
CUSTOM = "/openapi/v3/apis/stable.example.com/v1"


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serving() as served:
        yield served


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def _without_zeros(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k != "default" or v}
        return {key: _without_zeros(below) for key, below in kept.items()}
    return [_without_zeros(below) for below in value] if isinstance(value, list) else value


def find(document: dict[str, Any], reference: str) -> Any:
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


@pytest.mark.timeout(120)
async def test_documents_are_valid_and_refer_to_nothing_that_is_not_there(api: Api) -> None:
    rich = {"type": "object", "properties": {**SPEC["properties"]}}
    rich["properties"]["any"] = {"x-kubernetes-int-or-string": True, "nullable": True}
    rich["properties"]["nested"] = {
        "type": "object",
        "x-kubernetes-embedded-resource": True,
        "x-kubernetes-preserve-unknown-fields": True,
    }
    rich["properties"]["one"] = {
        "type": "object",
        "properties": {"a": {"type": "string", "pattern": "^a", "maxLength": 3}},
        "oneOf": [{"required": ["a"]}, {"not": {"required": ["a"]}}],
    }
    await define(api, definition(versions=[version(spec=rich, **FULL)]))
    for path in (CUSTOM, "/openapi/v3/apis/policy/v1", "/openapi/v3/apis/autoscaling/v1"):
        # A zero is the default of what may not be zero, too; so it is upstream.
        document = _without_zeros(await api.ok("GET", path))
        assert [e.message for e in OpenAPIV30SpecValidator(document).iter_errors()] == []
    index = (await api.ok("GET", "/openapi/v3"))["paths"]
    for name in index:
        document = await api.ok("GET", f"/openapi/v3/{name}")
        for reference in set(references({k: document[k] for k in ("paths", "components")})):
            find(document, reference)
    document = await api.ok("GET", "/openapi/v2")
    for path, _, operation in operations(document):
        listed = document["paths"][path].get("parameters", ())
        named = {p.get("name") or find(document, p["$ref"])["name"] for p in listed}
        assert set(re.findall(r"\{(\w+)\}", path)) <= named, operation["operationId"]
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    # All of version 2 takes the validator a long time; what one group needs is like the rest.
    keep = {p: i for p, i in document["paths"].items() if "/apps/v1/" in p or "stable" in p}
    needed, pending = {}, [*references(keep), *references(document["parameters"])]
    while pending:
        reference = pending.pop()
        name = reference.rpartition("/")[2]
        if reference.startswith("#/definitions/") and name not in needed:
            needed[name] = find(document, reference)
            pending += references(needed[name])
    small = {**document, "paths": keep, "definitions": needed}
    assert [e.message for e in OpenAPIV2SpecValidator(small).iter_errors()] == []


async def test_a_generator_finds_the_official_clients_methods(api: Api) -> None:
    """The official client is generated from upstream's document: same tags, same operations."""
    from kubernetes import client

    document = await api.ok("GET", "/openapi/v2")
    ours: dict[str, set[str]] = {}
    for _, _, operation in operations(document):
        # The generator leaves out what only watches: it makes its methods of lists.
        if operation.get("x-kubernetes-action", "").startswith("watch"):
            continue
        tag = operation["tags"][0].replace("_v", "V", 1)
        tag = tag[0].upper() + tag[1:]
        name = operation["operationId"].replace(tag, "", 1)
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
        ours.setdefault(tag, set()).add(words.lower())
    assert len(ours) > 20
    for tag, methods in ours.items():
        api_class = getattr(client, f"{tag}Api", None)
        if api_class is None:
            # Removed upstream long ago, kept here for the manifests of old tutorials.
            assert tag in {"Extensions", "ExtensionsV1beta1", "AppsV1beta1", "AppsV1beta2"}
            continue
        theirs = {name for name, _ in inspect.getmembers(api_class, inspect.isfunction)}
        assert sorted(methods - theirs) == []
        if tag in {"CoreV1", "AppsV1", "BatchV1", "RbacAuthorizationV1", "PolicyV1"}:
            plain = {n for n in theirs if not n.startswith("_") and "_with" not in n[-24:]}
            proxies = {n for n in methods if n.endswith("_with_path")}
            assert sorted(plain - methods - {"close"}) == []
            assert len(proxies) == (21 if tag == "CoreV1" else 0)


def _comparable(value: Any) -> Any:
    if isinstance(value, list):
        return [_comparable(part) for part in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for key, part in value.items():
        if key == "$ref" and isinstance(part, str):
            made[key] = part.rpartition("/")[2]
        elif key == "type" and isinstance(part, list):
            (made[key],) = [kind for kind in part if kind != "null"]
        # Lists of values are of another origin than the package (tests/golden/openapi).
        elif key != "default" and not (key == "enum" and isinstance(part, list)):
            made[key] = _comparable(part)
    return made


async def test_definitions_are_the_published_ones(api: Api) -> None:
    """Names, fields, types, facts and descriptions of v1.36, but for what the package says
    otherwise: the values of kind and apiVersion, and how numbers in texts are written.
    """
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / "v1.36.0-local"
    published = orjson.loads((folder / "_definitions.json").read_bytes())["$defs"]
    definitions = (await api.ok("GET", "/openapi/v2"))["definitions"]
    assert len(definitions) > 500
    assert sorted(definitions.keys() - published.keys()) == []
    differing = []
    for name, made in definitions.items():
        ours, theirs = _comparable(made), _comparable(published[name])
        for mine in (ours, theirs):
            for field in ("apiVersion", "kind"):
                mine.get("properties", {}).get(field, {}).pop("enum", None)
            mine["required"] = sorted(mine.get("required", ()))
            for loose in ("oneOf", "format", "x-kubernetes-group-version-kind"):
                mine.pop(loose, None)
        if name.endswith((".Quantity", ".IntOrString")):
            assert ours.pop("type") == "string"
        if ours != theirs:
            differing.append(name)
    assert differing == []


async def test_documents_are_kept_until_they_change(api: Api) -> None:
    await define(api, definition())
    index = (await api.ok("GET", "/openapi/v3"))["paths"]
    url = index["apis/stable.example.com/v1"]["serverRelativeURL"]
    response = await api.call("GET", url)
    (tag,) = header(response, "etag")
    assert url.endswith(f"?hash={tag.strip(chr(34))}")
    assert header(response, "cache-control") == ["public, immutable"]
    assert header(response, "expires")
    assert header(response, "vary") == ["Accept"]
    for path in (url, CUSTOM, "/openapi/v2"):
        (held,) = header(await api.call("GET", path), "etag")
        again = await api.call("GET", path, headers={"if-none-match": held})
        assert (again.status, again.body) == (304, b"")
    packed = await api.call("GET", "/openapi/v2", headers={"accept-encoding": "gzip"})
    assert header(packed, "content-encoding") == ["gzip"]
    whole = await api.call("GET", "/openapi/v2")
    assert gzip.decompress(packed.body) == whole.body
    assert header(packed, "etag") == header(whole, "etag")
    # Another hash leads to today's address; without one nothing is kept for good.
    moved = await api.call("GET", f"{CUSTOM}?hash=OLD")
    assert (moved.status, header(moved, "location")) == (301, [url])
    assert header(await api.call("GET", CUSTOM), "cache-control") == ["no-cache, private"]
    core = index["api/v1"]
    made = await api.ok("GET", f"{CRDS}/crontabs.stable.example.com")
    schema = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    schema["properties"]["addedAfterwards"] = {"type": "string"}
    await api.ok("PUT", f"{CRDS}/crontabs.stable.example.com", made)
    async with asyncio.timeout(20):
        while "addedAfterwards" not in str(await api.ok("GET", CUSTOM)):
            await asyncio.sleep(0)
    changed = (await api.ok("GET", "/openapi/v3"))["paths"]
    assert changed["apis/stable.example.com/v1"]["serverRelativeURL"] != url
    assert changed["api/v1"] == core


def _fields(data: bytes) -> list[tuple[int, bytes]]:
    """The fields of a message that is made of lengths and varints alone."""
    found, position = [], 0
    while position < len(data):
        tag, position = read_varint(data, position)
        size, position = read_varint(data, position)
        if tag & 7 == BYTES:
            found.append((tag >> 3, data[position : position + size]))
            position += size
        else:
            found.append((tag >> 3, str(size).encode()))
    return found


async def test_the_protobuf_form_says_what_json_says(api: Api) -> None:
    await define(api, definition())
    document = await api.ok("GET", "/openapi/v2")
    response = await api.call("GET", "/openapi/v2", headers={"accept": V2_PROTOBUF})
    found = dict(_fields(response.body))
    assert found[1] == b"2.0"
    paths = {}
    for number, named in _fields(found[8]):
        assert number == 2
        entry = dict(_fields(named))
        paths[entry[1].decode()] = _fields(entry[2])
    assert paths.keys() == document["paths"].keys()
    methods = {"get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8}
    for path, method, operation in operations(document):
        (encoded,) = [data for number, data in paths[path] if number == methods[method]]
        fields = _fields(encoded)
        assert dict(fields)[5].decode() == operation["operationId"]
        parameters = [data for number, data in fields if number == 8]
        assert len(parameters) == len(operation.get("parameters", ()))
        codes = [dict(_fields(code))[1].decode() for _, code in _fields(dict(fields)[9])]
        assert codes == list(operation["responses"])
    names = [dict(_fields(one))[1].decode() for _, one in _fields(found[9])]
    assert names == list(document["definitions"])


async def test_what_is_asked_for_in_a_form_there_is_not_or_at_a_place_there_is_not(
    api: Api,
) -> None:
    for path, form in (("/openapi/v2", "v2"), ("/openapi/v3/apis/apps/v1", "v3")):
        media = f"application/com.github.proto-openapi.spec.{form}"
        for accept, wanted in (
            ("", "application/json"),
            ("*/*", "application/json"),
            ("text/html, application/json;q=0.5", "application/json"),
            (f"{media}@v1.0+protobuf", f"{media}.v1.0+protobuf"),
            (f"{media}.v1.0+protobuf, */*", f"{media}.v1.0+protobuf"),
        ):
            response = await api.call("GET", path, headers={"accept": accept})
            assert (response.status, header(response, "content-type")) == (200, [wanted])
        for accept in ("application/yaml", "text/html"):
            response = await api.call("GET", path, headers={"accept": accept})
            assert (response.status, response.body) == (406, b"")
    for path in ("/openapi/v3/", "/openapi/v3/nothing", "/openapi/v3/apis/stable.example.com"):
        response = await api.call("GET", path)
        assert (response.status, response.body) == (404, b"")
    index = await api.call("GET", "/openapi/v3", headers={"accept": "text/html"})
    assert header(index, "content-type") == ["text/plain; charset=utf-8"]


async def test_without_the_optional_package_documents_explain_what_they_can(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kutter.apiserver.prose._definitions_path", lambda: None)
    assert not Prose().known
    document = await api.ok("GET", "/openapi/v3/api/v1")
    pod = document["components"]["schemas"]["io.k8s.api.core.v1.Pod"]
    assert pod["properties"]["spec"] == {
        "allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}],
        "description": "What is asked for.",
        "default": {},
    }
    assert "description" not in pod
    # What conformance looks for is there all the same.
    meta = document["components"]["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]
    assert all(field["description"] for field in meta["properties"].values())
    for described, phrase in (
        (pod["properties"]["apiVersion"], "APIVersion defines"),
        (pod["properties"]["metadata"], "Standard object's metadata"),
        (meta["properties"]["creationTimestamp"], "CreationTimestamp is a timestamp"),
    ):
        assert described["description"].startswith(phrase)
    plain = _without_zeros(document)
    assert [e.message for e in OpenAPIV30SpecValidator(plain).iter_errors()] == []


async def test_a_custom_kind_is_published_with_its_words(api: Api) -> None:
    crd = definition()
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["description"] = "A job of the crontab."
    await define(api, crd)
    schemas = (await api.ok("GET", CUSTOM))["components"]["schemas"]
    kind = schemas["com.example.stable.v1.CronTab"]
    assert kind["description"] == "A job of the crontab."
    assert kind["properties"]["apiVersion"]["description"].startswith("APIVersion defines")
    assert kind["properties"]["metadata"]["description"].startswith("Standard object's metadata")
    assert kind["x-kubernetes-group-version-kind"] == [
        {"group": "stable.example.com", "version": "v1", "kind": "CronTab"}
    ]
    listed = schemas["com.example.stable.v1.CronTabList"]
    assert listed["required"] == ["items"]
    assert listed["properties"]["items"]["items"] == {
        "$ref": "#/components/schemas/com.example.stable.v1.CronTab"
    }
    document = tree(await api.call("GET", CUSTOM))
    item = document["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}"]
    assert item["get"]["operationId"] == "readStableExampleComV1NamespacedCronTab"
    assert "application/strategic-merge-patch+json" not in item["patch"]["requestBody"]["content"]
