"""Malformed and invalid requests: each answers upstream's code and reason and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from tests.apiserver_harness import Api, config_map, pod, start_server, tree

CM = "/api/v1/namespaces/default/configmaps"
ONE = f"{CM}/kept"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
YAML = {"content-type": "application/yaml"}
JSON_PATCH = {"content-type": "application/json-patch+json"}
MERGE = {"content-type": "application/merge-patch+json"}
STRATEGIC = {"content-type": "application/strategic-merge-patch+json"}
MANY = [{"op": "test", "path": "/kind", "value": "ConfigMap"}] * 10_001
TWICE = pod("x", spec={"containers": [{"name": "c", "image": "i"}] * 2})
X = {"metadata": {"name": "x"}}
NO_PATH = "the server could not find the requested resource"


def deployment(**spec: Any) -> dict[str, Any]:
    whole = {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "a"}},
        "template": {
            "metadata": {"labels": {"app": "a"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        },
        **spec,
    }
    return {"metadata": {"name": "d"}, "spec": whole}


def kept(**metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "kept", **metadata}}


# fmt: off
# (what, method, path, body, headers, code, reason, part of the message)
CASES: list[tuple[str, str, str, Any, dict[str, str], int, str, str]] = [
    # syntax
    ("empty body", "POST", CM, b"", {}, 400, "BadRequest", "must be of type ConfigMap"),
    ("half an object", "POST", CM, b'{"metadata":', {}, 400, "BadRequest", "json parse error"),
    ("not JSON", "POST", CM, b"hello", {}, 400, "BadRequest", "json parse error"),
    ("an array", "POST", CM, b"[]", {}, 400, "BadRequest", "cannot unmarshal array"),
    ("a string", "POST", CM, b'"x"', {}, 400, "BadRequest", "cannot unmarshal string"),
    ("not UTF-8", "POST", CM, b'{"kind":"\xff"}', {}, 400, "BadRequest", "json parse error"),
    ("broken YAML", "POST", CM, b"a: [b", YAML, 400, "BadRequest", "yaml parse error"),
    # content types
    ("a form", "POST", CM, b"a=b", {"content-type": "text/plain"}, 415, "UnsupportedMediaType", ""),
    ("unknown patch", "PATCH", ONE, b"{}", {}, 415, "UnsupportedMediaType", "415: Unsupported Media Type"),
    ("two patch types", "PATCH", ONE, b"{}", {"content-type": "application/json-patch+json,application/json"}, 415, "UnsupportedMediaType", "application/strategic-merge-patch+json, application/apply-patch+yaml"),
    ("no such answer", "GET", ONE, None, {"accept": "text/html"}, 406, "NotAcceptable", "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, "),
    ("an unknown table", "GET", CM, None, {"accept": "application/json;as=Table;v=v9;g=meta.k8s.io"}, 406, "NotAcceptable", ""),
    # sizes
    ("over 3 MiB", "POST", CM, b" " * (3 * 1024 * 1024 + 1), {}, 413, "RequestEntityTooLarge", ""),
    ("10 001 operations", "PATCH", ONE, MANY, JSON_PATCH, 413, "RequestEntityTooLarge", ""),
    # kinds and versions
    ("another kind", "POST", CM, {"kind": "Service", "apiVersion": "v1", **X}, {}, 400, "BadRequest", "cannot be handled as a ConfigMap"),
    ("another version", "POST", CM, {"kind": "ConfigMap", "apiVersion": "v2", **X}, {}, 400, "BadRequest", 'no kind "ConfigMap" is registered for version "v2"'),
    ("too many slashes", "POST", CM, {"kind": "ConfigMap", "apiVersion": "a/b/c", **X}, {}, 400, "BadRequest", "unexpected GroupVersion string: a/b/c ({"),
    ("kind is a number", "POST", CM, {"kind": 1}, {}, 400, "BadRequest", "cannot unmarshal number"),
    # timeouts are read before anything else
    ("bad timeout", "GET", f"{CM}?timeout=soon", None, {}, 400, "BadRequest", 'invalid timeout specified in the request URL - time: invalid duration "soon"'),
    ("bad timeout of a path", "GET", "/version?timeout=soon", None, {}, 400, "BadRequest", "invalid timeout specified"),
    ("bad timeout of no path", "GET", "/nope?timeout=1", None, {}, 400, "BadRequest", "missing unit in duration"),
    # paths and methods
    ("no JSON", "POST", CM, b"kind: x", {}, 400, "BadRequest", "invalid character 'k' looking for"),
    ("unknown version", "GET", "/apis/apps/v7/deployments", None, {}, 404, "NotFound", NO_PATH),
    ("unknown group", "GET", "/apis/nope.io/v1/things", None, {}, 404, "404", ""),
    ("unknown resource", "GET", "/api/v1/things", None, {}, 404, "NotFound", NO_PATH),
    ("two slashes first", "GET", "//api/v1/pods", None, {}, 404, "404", ""),
    ("unknown path", "GET", "/nope", None, {}, 404, "404", ""),
    ("unknown subresource", "GET", f"{PODS}/kept/nope", None, {}, 404, "NotFound", NO_PATH),
    ("a node in a namespace", "GET", "/api/v1/namespaces/a/nodes", None, {}, 404, "NotFound", NO_PATH),
    ("a name that is no segment", "GET", f"{CM}/%2e%2e", None, {}, 400, "BadRequest", "Name parameter invalid: \"..\": may not be '..'"),
    ("a name with a percent", "GET", f"{CM}/a%2541", None, {}, 400, "BadRequest", "may not contain '%'"),
    ("POST to an object", "POST", ONE, kept(), {}, 405, "MethodNotAllowed", ""),
    ("HEAD of an object", "HEAD", ONE, None, {}, 405, "MethodNotAllowed", ""),
    ("POST to the version", "POST", "/version", {}, {}, 405, "MethodNotAllowed", ""),
    ("POST to a group-version", "POST", "/apis/apps/v1", {}, {}, 405, "MethodNotAllowed", ""),
    ("PUT to a collection", "PUT", CM, kept(), {}, 405, "MethodNotAllowed", ""),
    ("POST without a namespace", "POST", "/api/v1/configmaps", X, {}, 405, "MethodNotAllowed", ""),
    ("DELETE all namespaces", "DELETE", "/api/v1/namespaces", None, {}, 405, "MethodNotAllowed", ""),
    ("PUT to a log", "PUT", f"{PODS}/kept/log", {}, {}, 405, "MethodNotAllowed", ""),
    # names and namespaces
    ("absent object", "GET", f"{CM}/nope", None, {}, 404, "NotFound", 'configmaps "nope" not found'),
    ("DELETE of nothing", "DELETE", f"{CM}/nope", None, {}, 404, "NotFound", ""),
    ("PATCH of nothing", "PATCH", f"{CM}/nope", {}, MERGE, 404, "NotFound", ""),
    ("PUT of nothing", "PUT", f"{CM}/x", X, {}, 404, "NotFound", ""),
    ("taken name", "POST", CM, kept(), {}, 409, "AlreadyExists", 'configmaps "kept" already exists'),
    ("no name", "POST", CM, {"metadata": {}}, {}, 422, "Invalid", "Required value: name or generateName is required"),
    ("bad name", "POST", CM, {"metadata": {"name": "Bad_Name"}}, {}, 422, "Invalid", "metadata.name: Invalid value"),
    ("bad generateName", "POST", CM, {"metadata": {"generateName": "A_"}}, {}, 422, "Invalid", ""),
    ("another name in the body", "PUT", ONE, X, {}, 400, "BadRequest", "the name of the object (x) does not match the name on the URL (kept)"),
    ("no name in a PUT", "PUT", ONE, {}, {}, 400, "BadRequest", "name must be provided"),
    ("another namespace", "POST", CM, config_map("x", "elsewhere"), {}, 400, "BadRequest", "the namespace of the provided object does not match the namespace sent on the request"),
    # types
    ("data is a list", "POST", CM, {**X, "data": []}, {}, 400, "BadRequest", "cannot unmarshal array"),
    ("data of numbers", "POST", CM, {**X, "data": {"a": 1}}, {}, 400, "BadRequest", "cannot unmarshal number"),
    ("metadata is a list", "POST", CM, {"metadata": []}, {}, 400, "BadRequest", ""),
    ("labels are text", "POST", CM, {"metadata": {"name": "x", "labels": "a"}}, {}, 400, "BadRequest", ""),
    ("replicas are text", "POST", DEPLOYMENTS, deployment(replicas="3"), {}, 400, "BadRequest", "replicas"),
    ("replicas beyond int32", "POST", DEPLOYMENTS, deployment(replicas=1 << 40), {}, 400, "BadRequest", ""),
    # validation
    ("bad label", "POST", CM, {"metadata": {"name": "x", "labels": {"a b": "c"}}}, {}, 422, "Invalid", "metadata.labels"),
    ("no containers", "POST", PODS, {**X, "spec": {}}, {}, 422, "Invalid", "spec.containers"),
    ("twice a container", "POST", PODS, TWICE, {}, 422, "Invalid", "Duplicate value"),
    ("negative replicas", "POST", DEPLOYMENTS, deployment(replicas=-1), {}, 422, "Invalid", "spec.replicas"),
    ("selector misses", "POST", DEPLOYMENTS, deployment(selector={"matchLabels": {"b": "c"}}), {}, 422, "Invalid", "`selector` does not match template `labels`"),
    # immutable and conflicting
    ("another uid", "PUT", ONE, kept(uid="x"), {}, 409, "Conflict", "Precondition failed: UID in precondition: x"),
    ("old version", "PUT", ONE, kept(resourceVersion="1"), {}, 409, "Conflict", "the object has been modified"),
    ("version is text", "PUT", ONE, kept(resourceVersion="x"), {}, 422, "Invalid", "metadata.resourceVersion"),
    ("version on create", "POST", CM, {"metadata": {"name": "x", "resourceVersion": "5"}}, {}, 500, "", "resourceVersion should not be set on objects to be created"),
    ("renaming patch", "PATCH", ONE, {"metadata": {"name": "y"}}, MERGE, 400, "BadRequest", "the name of the object (y) does not match the name on the URL (kept)"),
    ("a patch into another namespace", "PATCH", ONE, {"metadata": {"namespace": "y"}}, MERGE, 400, "BadRequest", "the namespace of the provided object does not match the namespace sent on the request"),
    ("a patch of the metadata", "PATCH", ONE, {"metadata": None}, STRATEGIC, 400, "BadRequest", "name must be provided"),
    ("a patch of the uid", "PATCH", ONE, {"metadata": {"uid": "x"}}, MERGE, 422, "Invalid", 'metadata.uid: Invalid value: "x": field is immutable'),
    ("a patch to no version", "PATCH", ONE, {"metadata": {"resourceVersion": "x"}}, MERGE, 500, "", 'strconv.ParseUint: parsing "x": invalid syntax'),
    ("patch of an old version", "PATCH", ONE, {"metadata": {"resourceVersion": "1"}}, MERGE, 409, "Conflict", ""),
    ("immutable pod spec", "PATCH", f"{PODS}/kept", {"spec": {"hostNetwork": True}}, STRATEGIC, 422, "Invalid", "pod updates may not change fields"),
    ("immutable selector", "PATCH", f"{DEPLOYMENTS}/kept", {"spec": {"selector": {"matchLabels": {"x": "y"}}}}, MERGE, 422, "Invalid", "field is immutable"),
    # patches
    ("patch is no JSON", "PATCH", ONE, b"{", MERGE, 400, "BadRequest", ""),
    ("operations as object", "PATCH", ONE, {}, JSON_PATCH, 400, "BadRequest", ""),
    ("patch is a list", "PATCH", ONE, [], MERGE, 400, "BadRequest", ""),
    ("failing test", "PATCH", ONE, [{"op": "test", "path": "/data/a", "value": "z"}], JSON_PATCH, 422, "Invalid", ""),
    ("removing nothing", "PATCH", ONE, [{"op": "remove", "path": "/data/zz"}], JSON_PATCH, 422, "Invalid", ""),
    ("patch of the kind", "PATCH", ONE, {"kind": "Secret"}, MERGE, 422, "Invalid", "converting (v1.Secret) to (core.ConfigMap): unknown conversion"),
    ("an operation of another type", "PATCH", ONE, [1], JSON_PATCH, 400, "BadRequest", "json: cannot unmarshal number into Go value of type handlers.jsonPatchOp"),
    ("an operation of a number", "PATCH", ONE, [{"op": 1}], JSON_PATCH, 400, "BadRequest", "into Go struct field jsonPatchOp.op of type string"),
    ("a strategic patch of text", "PATCH", ONE, b'"x"', STRATEGIC, 400, "BadRequest", "json: cannot unmarshal string into Go value of type map[string]interface {}"),
    ("strategic, a number for text", "PATCH", ONE, {"data": {"a": 1}}, STRATEGIC, 422, "Invalid", "cannot convert int64 to string"),
    ("strategic, a list for a map", "PATCH", ONE, {"data": [1]}, STRATEGIC, 422, "Invalid", "cannot restore map from slice"),
    ("strategic, text for a number", "PATCH", f"{DEPLOYMENTS}/kept", {"spec": {"replicas": "x"}}, STRATEGIC, 422, "Invalid", "unrecognized type: int32"),
    ("strategic, a number for an object", "PATCH", ONE, {"metadata": 1}, STRATEGIC, 422, "Invalid", "cannot restore struct from: int64"),
    ("patched to a bad type", "PATCH", ONE, {"data": {"a": 1}}, MERGE, 422, "Invalid", "patch: Invalid value"),
    # query
    ("bad dryRun", "POST", f"{CM}?dryRun=Some", X, {}, 422, "Invalid", "dryRun: Unsupported value"),
    ("bad fieldValidation", "POST", f"{CM}?fieldValidation=Hard", X, {}, 422, "Invalid", "fieldValidation"),
    ("unknown field, strict", "POST", f"{CM}?fieldValidation=Strict", {**X, "dat": {}}, {}, 400, "BadRequest", 'strict decoding error: unknown field "dat"'),
    ("doubled field, strict", "POST", f"{CM}?fieldValidation=Strict", b'{"metadata":{"name":"x","name":"y"}}', {}, 400, "BadRequest", 'duplicate field "metadata.name"'),
    ("force without apply", "PATCH", f"{ONE}?force=true", {}, MERGE, 422, "Invalid", "force: Forbidden"),
    ("bad label selector", "GET", f"{CM}?labelSelector=a%3D%3D%3Db", None, {}, 400, "BadRequest", ""),
    ("bad field selector", "GET", f"{CM}?fieldSelector=data.a%3Db", None, {}, 400, "BadRequest", "field"),
    ("bad pod field", "GET", f"{PODS}?fieldSelector=spec.x%3Db", None, {}, 400, "BadRequest", "field label not supported: spec.x"),
    ("bad continue", "GET", f"{CM}?continue=xyz", None, {}, 400, "BadRequest", "invalid continue token: continue key is not valid: invalid character"),
    ("continue of no format", "GET", f"{CM}?continue=eyJ2IjoibWV0YS5rOHMuaW8vdjkiLCJydiI6MSwic3RhcnQiOiJ4In0", None, {}, 400, "BadRequest", "server does not recognize this encoded version meta.k8s.io/v9"),
    ("continue to elsewhere", "GET", f"{CM}?continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiIuLi94In0", None, {}, 400, "BadRequest", "continue key is not valid: ../x"),
    ("bad version of a watch", "GET", f"{CM}?watch=1&resourceVersion=x", None, {}, 500, "", "resourceVersion: Invalid value"),
    ("a limit beyond int64", "GET", f"{CM}?limit=99999999999999999999", None, {}, 400, "BadRequest", "value out of range"),
    ("metadata of a list", "GET", CM, None, {"accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}, 406, "NotAcceptable", "the requested object is a list (*core.ConfigMapList)"),
    ("metadata list of one", "GET", ONE, None, {"accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}, 406, "NotAcceptable", "the requested object is not a list (*core.ConfigMap)"),
    ("bad limit", "GET", f"{CM}?limit=x", None, {}, 400, "BadRequest", ""),
    ("bad version", "GET", f"{CM}?resourceVersion=x", None, {}, 400, "BadRequest", ""),
    ("match without version", "GET", f"{CM}?resourceVersionMatch=Exact", None, {}, 422, "Invalid", "resourceVersionMatch"),
    ("unknown match", "GET", f"{CM}?resourceVersion=1&resourceVersionMatch=Near", None, {}, 422, "Invalid", "Unsupported value"),
    ("initial events of a list", "GET", f"{CM}?sendInitialEvents=true", None, {}, 422, "Invalid", "sendInitialEvents is forbidden for list"),
    # deletes
    ("two policies", "DELETE", ONE, {"orphanDependents": True, "propagationPolicy": "Orphan"}, {}, 422, "Invalid", "cannot be both set"),
    ("unknown policy", "DELETE", ONE, {"propagationPolicy": "Never"}, {}, 422, "Invalid", "propagationPolicy"),
    ("wrong uid", "DELETE", ONE, {"preconditions": {"uid": "x"}}, {}, 409, "Conflict", "the UID in the precondition (x)"),
    ("wrong version", "DELETE", ONE, {"preconditions": {"resourceVersion": "1"}}, {}, 409, "Conflict", "the ResourceVersion in the precondition (1)"),
    ("grace is text", "DELETE", f"{PODS}/kept", {"gracePeriodSeconds": "x"}, {}, 400, "BadRequest", "DeleteOptions"),
    ("grace is text in the query", "DELETE", f"{PODS}/kept?gracePeriodSeconds=x", None, {}, 400, "BadRequest", ""),
    ("options of another kind", "DELETE", f"{PODS}/kept", {"kind": "Pod"}, {}, 400, "BadRequest", 'no kind "Pod" is registered for version "v1" in scheme'),
    ("a version of many to delete", "DELETE", f"{CM}?resourceVersion=x", None, {}, 400, "BadRequest", "invalid resource version: resourceVersion: Invalid value"),
    ("a manager that cannot be shown", "POST", f"{CM}?fieldManager=a%09b", X, {}, 422, "Invalid", "invalid character U+0009 (at position 1)"),
    # subresources
    ("binding to nothing", "POST", f"{PODS}/kept/binding", {"metadata": {"name": "kept"}, "target": {}}, {}, 422, "Invalid", "target.name"),
    ("binding another pod", "POST", f"{PODS}/kept/binding", {**X, "target": {"name": "n"}}, {}, 400, "BadRequest", ""),
    ("binding a list", "POST", f"{PODS}/kept/binding", {"target": ["n"]}, {}, 400, "BadRequest", ""),
    ("evicting a list", "POST", f"{PODS}/kept/eviction", {"deleteOptions": []}, {}, 400, "BadRequest", ""),
    ("negative scale", "PUT", f"{DEPLOYMENTS}/kept/scale", {**kept(), "spec": {"replicas": -1}}, {}, 422, "Invalid", "spec.replicas"),
    ("scale as text", "PUT", f"{DEPLOYMENTS}/kept/scale", {**kept(), "spec": {"replicas": "1"}}, {}, 400, "BadRequest", ""),
    ("log without a choice", "GET", f"{PODS}/two/log", None, {}, 400, "BadRequest", "a container name must be specified for pod two"),
    ("log of no container", "GET", f"{PODS}/kept/log?container=x", None, {}, 400, "BadRequest", "container x is not valid"),
    ("exec of nothing", "POST", f"{PODS}/kept/exec?stdout=true", None, {}, 400, "BadRequest", "at least 1 command"),
    ("a negative tail", "GET", f"{PODS}/kept/log?tailLines=-1", None, {}, 422, "Invalid", "tailLines"),
]
# fmt: on


@pytest.fixture
async def api() -> Api:
    made = Api(await start_server())
    await made.ok("POST", CM, config_map("kept", data={"a": "b"}))
    await made.ok("POST", PODS, pod("kept"))
    two = [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]
    await made.ok("POST", PODS, pod("two", spec={"containers": two}))
    whole = deployment()
    whole["metadata"]["name"] = "kept"
    await made.ok("POST", DEPLOYMENTS, whole)
    return made


@pytest.mark.parametrize("case", CASES, ids=[case[0].replace(" ", "-") for case in CASES])
async def test_refused_and_nothing_changed(api: Api, case: Any) -> None:
    _, method, target, body, headers, code, reason, text = case
    before = api.server.store.revision
    response = await api.call(method, target, body, headers=headers)
    assert response.status == code, response.body[:500]
    if reason == "404":
        path = target.partition("?")[0]
        if path.startswith(("/api/", "/apis/apps/", "/apis/policy/")):
            wanted = "the server could not find the requested resource"
            assert tree(response)["message"] == wanted
        else:
            assert response.body == b"404 page not found\n"
    else:
        status = tree(response)
        assert (status["kind"], status["status"]) == ("Status", "Failure")
        assert (status["code"], status.get("reason", "")) == (code, reason), status
        assert text in status["message"], status["message"]
    assert api.server.store.revision == before


def test_there_are_at_least_fifty() -> None:
    assert len({case[0] for case in CASES}) == len(CASES) >= 50


async def test_every_cause_names_its_field(api: Api) -> None:
    bad = pod("x", spec={"containers": [{"name": "A_", "image": ""}]})
    status = await api.fails(422, "Invalid", "POST", PODS, bad)
    fields = {cause["field"] for cause in status["details"]["causes"]}
    assert {"spec.containers[0].name", "spec.containers[0].image"} <= fields
    assert status["details"]["kind"] == "Pod"


_PATCHES = ("json-patch+json", "merge-patch+json", "strategic-merge-patch+json")


@pytest.mark.parametrize(
    ("form", "body", "message"),
    [
        # As upstream's v1.36.2 answers.
        (0, b'"x"', "json: cannot unmarshal string into Go value of type []handlers.jsonPatchOp"),
        (0, b"{}", "json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"),
        (0, b"", "unexpected end of JSON input"),
        (1, b"5", "json: cannot unmarshal number into Go value of type map[string]interface {}"),
        (1, b"[]", "json: cannot unmarshal array into Go value of type map[string]interface {}"),
        (1, b"nope", "invalid character 'o' in literal null (expecting 'u')"),
        (1, b"null", "Invalid JSON Patch"),
        (2, b"true", "json: cannot unmarshal bool into Go value of type map[string]interface {}"),
        (2, b'{"a":', "unexpected end of JSON input"),
    ],
)
async def test_patches_that_are_none(api: Api, form: int, body: bytes, message: str) -> None:
    headers = {"content-type": f"application/{_PATCHES[form]}"}
    response = await api.call("PATCH", f"{PODS}/kept", body, headers=headers)
    prefix = "" if form == 2 or message.startswith("Invalid") else "error decoding patch: "
    assert (response.status, tree(response)["message"]) == (400, prefix + message)


async def test_a_patch_that_is_null_changes_nothing(api: Api) -> None:
    for form in (0, 2):
        headers = {"content-type": f"application/{_PATCHES[form]}"}
        before = await api.ok("GET", f"{PODS}/kept")
        assert await api.ok("PATCH", f"{PODS}/kept", b"null", headers=headers) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spec": {"hostNetwork": "x"}}, "unrecognized type: bool"),
        ({"metadata": {"generation": "x"}}, "unrecognized type: int64"),
        ({"metadata": {"labels": {"a": 1}}}, "cannot convert int64 to string"),
        ({"metadata": {"labels": []}}, "cannot restore map from slice"),
        ({"metadata": {"finalizers": {"a": 1}}}, "cannot restore slice from map"),
        ({"metadata": "x"}, "cannot restore struct from: string"),
        ({"metadata": {"ownerReferences": [5]}}, "cannot restore struct from: int64"),
    ],
)
async def test_what_a_strategic_patch_does_not_fit_to(api: Api, change: Any, message: str) -> None:
    headers = {"content-type": "application/strategic-merge-patch+json"}
    response = await api.call("PATCH", f"{PODS}/kept", change, headers=headers)
    assert response.status == 422
    (cause,) = tree(response)["details"]["causes"]
    assert (cause["field"], cause["message"].rpartition('": ')[2]) == ("patch", message)
