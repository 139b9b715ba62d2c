"""Protobuf asked for and sent: the same objects, errors and events as in JSON."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from tests.apiserver_harness import Api, config_map, header, pod, start_server, tree

from kutter.api.protobuf import (
    MEDIA_TYPE,
    ProtobufError,
    decode_object,
    encode_object,
    unwrap,
    wrap,
)
from kutter.api.protobuf.values import bytes_of, scan, text_of
from kutter.apiserver.printing.registry import printer_for
from kutter.apiserver.protobuf_encoders import MessageCache
from kutter.http.messages import Response

CM = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
OLDER = "/apis/extensions/v1beta1/namespaces/default/deployments"
ACCEPT = {"accept": MEDIA_TYPE}
BOTH = {"accept": f"{MEDIA_TYPE},application/json"}
SENT = {**ACCEPT, "content-type": MEDIA_TYPE}
MERGE = {**ACCEPT, "content-type": "application/merge-patch+json"}
PARTIAL = f"{MEDIA_TYPE};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@pytest.fixture
async def api() -> Api:
    return Api(await start_server(printer_for=printer_for))


def deployment(name: str = "web") -> dict[str, Any]:
    labels = {"app": name}
    container = {
        "name": "c",
        "image": "nginx",
        "ports": [{"containerPort": 80}],
        "resources": {"limits": {"memory": "64Mi", "cpu": "500m"}},
        "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "initialDelaySeconds": 3},
    }
    return {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def decoded(response: Response) -> dict[str, Any]:
    assert header(response, "content-type") == [MEDIA_TYPE], response.body[:300]
    return decode_object(response.body)


async def ok(api: Api, method: str, target: str, body: Any = None, **more: Any) -> dict[str, Any]:
    more.setdefault("headers", SENT if isinstance(body, bytes) else ACCEPT)
    response = await api.call(method, target, body, **more)
    assert response.status < 300, decode_object(response.body)
    return decoded(response)


async def fails(
    api: Api, code: int, method: str, target: str, body: bytes | None = None, **more: Any
) -> dict[str, Any]:
    more.setdefault("headers", SENT)
    response = await api.call(method, target, body, **more)
    status = decoded(response)
    assert (response.status, status["code"]) == (code, code), status
    assert (status["kind"], status["apiVersion"]) == ("Status", "v1")
    return status


def plain(value: Any) -> Any:
    """Without what differs between two creations, and without empty structs."""
    if isinstance(value, dict):
        skipped = ("uid", "creationTimestamp", "resourceVersion", "managedFields")
        kept = {k: plain(v) for k, v in value.items() if k not in skipped}
        return {k: v for k, v in kept.items() if v != {}}
    return [plain(item) for item in value] if isinstance(value, list) else value


async def test_an_object_sent_in_protobuf_is_the_one_sent_in_json(api: Api) -> None:
    await api.ok("POST", DEPLOYMENTS, deployment())
    by_json = await api.ok("GET", f"{DEPLOYMENTS}/web")
    other = Api(await start_server())
    created = await ok(other, "POST", DEPLOYMENTS, encode_object(deployment()))
    by_protobuf = await other.ok("GET", f"{DEPLOYMENTS}/web")
    assert plain(by_protobuf) == plain(by_json)
    assert created["metadata"]["uid"] == by_protobuf["metadata"]["uid"]
    assert by_protobuf["spec"]["replicas"] == 0
    read = await ok(other, "GET", f"{DEPLOYMENTS}/web")
    assert plain(read) == plain(by_protobuf)
    assert read["metadata"]["resourceVersion"] == by_protobuf["metadata"]["resourceVersion"]


async def test_update_patch_scale_and_delete_answer_in_protobuf(api: Api) -> None:
    created = await ok(api, "POST", DEPLOYMENTS, encode_object(deployment()))
    created["spec"]["replicas"] = 2
    updated = await ok(api, "PUT", f"{DEPLOYMENTS}/web", encode_object(created))
    assert (updated["spec"]["replicas"], updated["metadata"]["generation"]) == (2, 2)
    patched = await ok(api, "PATCH", f"{DEPLOYMENTS}/web", {"spec": {"replicas": 3}}, headers=MERGE)
    assert patched["spec"]["replicas"] == 3
    scale = await ok(api, "GET", f"{DEPLOYMENTS}/web/scale")
    assert (scale["kind"], scale["spec"]["replicas"]) == ("Scale", 3)
    scale["spec"]["replicas"] = 0
    scale = await ok(api, "PUT", f"{DEPLOYMENTS}/web/scale", encode_object(scale))
    assert "replicas" not in scale["spec"]
    assert (await api.ok("GET", f"{DEPLOYMENTS}/web"))["spec"]["replicas"] == 0
    options = {
        "kind": "DeleteOptions",
        "apiVersion": "apps/v1",
        "preconditions": {"uid": "another"},
    }
    status = await fails(api, 409, "DELETE", f"{DEPLOYMENTS}/web", encode_object(options))
    assert status["reason"] == "Conflict"
    assert status["details"] == {"name": "web", "group": "apps", "kind": "Deployment"}
    options["preconditions"] = {"uid": created["metadata"]["uid"]}
    done = await ok(api, "DELETE", f"{DEPLOYMENTS}/web", encode_object(options))
    assert (done["kind"], done["status"], done["details"]["uid"]) == (
        "Status",
        "Success",
        created["metadata"]["uid"],
    )


async def test_lists_and_collections(api: Api) -> None:
    for name in ("a", "b", "c"):
        await api.ok("POST", CM, config_map(name, data={"k": name}))
    listed = await ok(api, "GET", CM)
    by_json = await api.ok("GET", CM)
    assert listed == by_json
    page = await ok(api, "GET", f"{CM}?limit=2")
    assert [item["metadata"]["name"] for item in page["items"]] == ["a", "b"]
    assert page["metadata"]["remainingItemCount"] == 1
    page = await ok(api, "GET", f"{CM}?limit=2&continue={page['metadata']['continue']}")
    assert [item["metadata"]["name"] for item in page["items"]] == ["c"]
    gone = await ok(api, "DELETE", CM)
    assert (gone["kind"], len(gone["items"])) == ("ConfigMapList", 3)
    empty = await ok(api, "GET", CM)
    assert empty["kind"] == "ConfigMapList"
    assert "items" not in empty


async def test_metadata_only(api: Api) -> None:
    await api.ok("POST", CM, config_map("a", data={"k": "v"}))
    listed = await ok(api, "GET", CM, headers={"accept": PARTIAL})
    assert (listed["kind"], listed["apiVersion"]) == (
        "PartialObjectMetadataList",
        "meta.k8s.io/v1",
    )
    assert [set(item) for item in listed["items"]] == [{"metadata"}]
    accept = PARTIAL.replace("List", "")
    one = await ok(api, "GET", f"{CM}/a", headers={"accept": accept})
    assert (one["kind"], one["metadata"]["name"]) == ("PartialObjectMetadata", "a")
    assert "data" not in one


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        (f"{MEDIA_TYPE},application/json", MEDIA_TYPE),
        (f"application/json,{MEDIA_TYPE}", "application/json"),
        (f"application/json;q=0.5,{MEDIA_TYPE}", MEDIA_TYPE),
        (f"{MEDIA_TYPE};q=0.5,application/json", "application/json"),
        (f"{MEDIA_TYPE};q=0,application/json", "application/json"),
        (f"{MEDIA_TYPE};q=0.5,application/yaml;q=0.7", "application/yaml"),
        # a Table has no message: the next wish counts
        (
            (
                f"{MEDIA_TYPE};as=Table;v=v1;g=meta.k8s.io,"
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
            ),
            "application/json",
        ),
        (f"{MEDIA_TYPE};as=Table;v=v1;g=meta.k8s.io,{MEDIA_TYPE}", MEDIA_TYPE),
    ],
)
async def test_the_accept_header_decides(api: Api, accept: str, media: str) -> None:
    await api.ok("POST", CM, config_map("a"))
    for target in (CM, f"{CM}/a"):
        response = await api.call("GET", target, headers={"accept": accept})
        assert (response.status, header(response, "content-type")) == (200, [media])
    missing = await api.call("GET", f"{CM}/none", headers={"accept": accept})
    expected = media
    if "as=Table" not in accept:
        assert (missing.status, header(missing, "content-type")) == (404, [expected])


async def test_a_table_only_is_not_acceptable(api: Api) -> None:
    accept = {"accept": f"{MEDIA_TYPE};as=Table;v=v1;g=meta.k8s.io"}
    response = await api.call("GET", CM, headers=accept)
    assert response.status == 406


async def test_kinds_without_messages_stay_json(api: Api) -> None:
    # Older versions, and custom resources, are never protobuf (as upstream).
    old = {**deployment(), "apiVersion": "extensions/v1beta1"}
    response = await api.call("POST", OLDER, old, headers=BOTH)
    assert header(response, "content-type") == ["application/json"]
    status = decoded(await api.call("GET", f"{OLDER}/web", headers=ACCEPT))
    assert status["code"] == 406
    assert status["message"] == (
        "only the following media types are accepted: application/json, application/yaml, "
        "application/vnd.kubernetes.protobuf"
    )
    refused = await api.call(
        "POST",
        OLDER,
        wrap("extensions/v1beta1", "Deployment", b""),
        headers={"content-type": MEDIA_TYPE},
    )
    assert tree(refused)["message"] == (
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml"
    )
    assert refused.status == 415


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b"{}",
            (
                "the object provided is unrecognized (must be of type ConfigMap): provided data "
                "does not appear to be a protobuf message, expected prefix [107 56 115 0] ({})"
            ),
        ),
        (
            wrap("v1", "ConfigMap", b"\x0a\x05"),
            'ConfigMap in version "v1" cannot be handled as a ConfigMap: unexpected EOF',
        ),
        (
            wrap("v1", "Secret", b""),
            (
                'Secret in version "v1" cannot be handled as a ConfigMap: converting (v1.Secret) '
                "to (core.ConfigMap): unknown conversion"
            ),
        ),
    ],
)
async def test_malformed_bodies_are_bad_requests(api: Api, body: bytes, message: str) -> None:
    status = await fails(api, 400, "POST", CM, body)
    assert (status["reason"], status["message"]) == ("BadRequest", message)


async def test_kind_and_version_may_be_left_to_the_path(api: Api) -> None:
    _, _, raw = unwrap(encode_object(config_map("a")))
    created = await ok(api, "POST", CM, wrap("", "", raw))
    assert (created["kind"], created["metadata"]["name"]) == ("ConfigMap", "a")


async def test_validation_errors_keep_their_causes(api: Api) -> None:
    bad = config_map("Not_A_Name")
    status = await fails(api, 422, "POST", CM, encode_object(bad))
    assert status["reason"] == "Invalid"
    assert status["details"]["causes"][0]["field"] == "metadata.name"


class Frames:
    """A watch's events, frame by frame."""

    def __init__(self, response: Response) -> None:
        assert header(response, "content-type") == [f"{MEDIA_TYPE};stream=watch"]
        assert response.stream is not None
        self._stream = response.stream
        self._rest = b""

    async def next(self) -> tuple[str, dict[str, Any]]:
        while len(self._rest) < 4 or len(self._rest) < 4 + int.from_bytes(self._rest[:4], "big"):
            self._rest += await anext(self._stream)
        end = 4 + int.from_bytes(self._rest[:4], "big")
        event, self._rest = self._rest[4:end], self._rest[end:]
        fields = scan(event, 0, len(event))
        extension = bytes_of(fields, 2)
        return text_of(fields, 1), decode_object(bytes_of(scan(extension, 0, len(extension)), 1))

    async def close(self) -> None:
        await self._stream.aclose()  # type: ignore[attr-defined]


async def watch(api: Api, target: str, accept: dict[str, str], **query: Any) -> Frames:
    query = {"watch": "true", "timeoutSeconds": 30, **query}
    return Frames(await api.call("GET", target, query=query, headers=accept))


async def test_a_watch_tells_the_same_in_frames(api: Api) -> None:
    labelled = config_map("a", metadata={"labels": {"in": "yes"}})
    await api.ok("POST", CM, labelled)
    selected = await watch(api, CM, BOTH, labelSelector="in=yes")
    whole = await watch(api, CM, ACCEPT)
    type, found = await whole.next()
    assert (type, found["kind"], found["metadata"]["name"]) == ("ADDED", "ConfigMap", "a")
    assert (await selected.next())[0] == "ADDED"
    change = {"metadata": {"labels": None}, "data": {"k": "v"}}
    changed = await ok(api, "PATCH", f"{CM}/a", change, headers=MERGE)
    assert await whole.next() == ("MODIFIED", changed)
    # It left the selection: told as it last was in it, at the new revision.
    type, found = await selected.next()
    assert (type, found["metadata"]["labels"]) == ("DELETED", {"in": "yes"})
    assert "data" not in found
    assert found["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]
    await api.ok("DELETE", f"{CM}/a")
    type, found = await whole.next()
    assert (type, found["data"]) == ("DELETED", {"k": "v"})
    await selected.close()
    await whole.close()


async def test_a_change_without_bytes_ends_only_the_watches_that_need_them(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kutter.apiserver import protobuf_encoders

    typed = await watch(api, CM, ACCEPT)
    other = await api.watch(CM)

    def broken(held: Any, tree: dict[str, Any]) -> bytes:
        raise ProtobufError("a bug of ours")

    monkeypatch.setattr(protobuf_encoders, "encode_message", broken)
    await api.ok("POST", CM, config_map("a"))
    assert await other.take(1) == [("ADDED", "a")]
    with pytest.raises(StopAsyncIteration):
        await typed.next()
    await other.close()


async def test_initial_events_end_with_a_bookmark(api: Api) -> None:
    await api.ok("POST", CM, config_map("a"))
    for accept, kind in ((BOTH, "ConfigMap"), ({"accept": PARTIAL}, "PartialObjectMetadata")):
        frames = await watch(
            api,
            CM,
            accept,
            sendInitialEvents="true",
            allowWatchBookmarks="true",
            resourceVersionMatch="NotOlderThan",
        )
        type, found = await frames.next()
        assert (type, found["kind"]) == ("ADDED", kind)
        type, found = await frames.next()
        assert (type, found["kind"]) == ("BOOKMARK", kind)
        assert found["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await frames.close()


async def test_a_watch_from_too_long_ago_ends_with_a_status(api: Api) -> None:
    cache = api.server.served_for(
        next(r for r in api.server.catalog if r.plural == "configmaps")
    ).storage.cache
    await api.ok("POST", CM, config_map("a"))
    cache.history_floor = cache.revision
    frames = await watch(api, CM, ACCEPT, resourceVersion="1")
    type, status = await frames.next()
    assert (type, status["kind"], status["code"]) == ("ERROR", "Status", 410)
    await frames.close()


async def test_discovery_has_messages_too(api: Api) -> None:
    listed = await ok(api, "GET", "/apis/apps/v1")
    by_json = await api.ok("GET", "/apis/apps/v1")
    assert listed["kind"] == "APIResourceList"
    assert [r["name"] for r in listed["resources"]] == [r["name"] for r in by_json["resources"]]
    assert listed["resources"][0]["verbs"] == by_json["resources"][0]["verbs"]
    assert (await ok(api, "GET", "/apis"))["groups"][0]["name"] == "apiregistration.k8s.io"
    assert (await ok(api, "GET", "/api"))["versions"] == ["v1"]


async def test_every_state_is_encoded_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from kutter.apiserver import protobuf_encoders

    made = []
    encode = protobuf_encoders.encode_message

    def counted(held: Any, tree: dict[str, Any]) -> bytes:
        made.append(tree["metadata"]["name"])
        return encode(held, tree)

    monkeypatch.setattr(protobuf_encoders, "encode_message", counted)
    await api.ok("POST", "/api/v1/namespaces/default/pods", pod("a"))
    await api.ok("POST", "/api/v1/namespaces/default/pods", pod("b"))
    for _ in range(3):
        await ok(api, "GET", "/api/v1/pods")
        await ok(api, "GET", "/api/v1/namespaces/default/pods/a")
    assert made == ["a", "b"]


def test_the_cache_of_messages_is_bounded() -> None:
    cache = MessageCache(limit_bytes=100)
    for number in range(20):
        cache.put("form", b"%010d" % number, b"x" * 10)
        cache.get("form", b"%010d" % 0)
    assert len(cache) == 5
    assert cache.get("form", b"%010d" % 0) == b"x" * 10  # in use all the time
    assert cache.get("form", b"%010d" % 1) is None
    assert cache.get("another", b"%010d" % 0) is None
    cache.put("form", b"y", b"x" * 200)
    assert len(cache) == 0


async def test_large_answers_are_compressed(api: Api) -> None:
    import gzip

    await api.ok("POST", CM, config_map("big", data={"x": "y" * 200_000}))
    headers = {**ACCEPT, "accept-encoding": "gzip"}
    response = await api.call("GET", f"{CM}/big", headers=headers)
    assert header(response, "content-encoding") == ["gzip"]
    assert decode_object(gzip.decompress(response.body))["data"]["x"] == "y" * 200_000
    assert orjson.loads((await api.call("GET", f"{CM}/big")).body)["kind"] == "ConfigMap"


@pytest.mark.parametrize(
    ("accept", "listed"),
    [
        # As upstream's v1.36.2 answers.
        (
            "application/yaml",
            "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch",
        ),
        (
            "application/json;as=Nope;v=v1;g=meta.k8s.io",
            "application/json, application/yaml, application/vnd.kubernetes.protobuf",
        ),
    ],
)
async def test_forms_a_watch_has_not(api: Api, accept: str, listed: str) -> None:
    response = await api.call("GET", f"{CM}?watch=1", headers={"accept": accept})
    assert response.status == 406
    text = response.body.decode().replace("\n  ", " ")
    assert f"only the following media types are accepted: {listed}" in text
