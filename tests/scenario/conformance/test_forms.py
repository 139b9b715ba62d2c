"""Table and PartialObjectMetadata in every content type, of every kind; YAML in and out."""

import json

import pytest
import yaml
from tests.conformance_kit import config_map, wait_until

from kutter.api.protobuf.envelope import decode_object

JSON, YAML = "application/json", "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
TABLE = "as=Table;v=v1;g=meta.k8s.io"
LIST = "as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
ONE = "as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
DECODE = {JSON: json.loads, YAML: yaml.safe_load, PROTOBUF: decode_object}


def listable(rest):
    """Every collection discovery offers, by its path."""
    versions = ["/api/v1"]
    versions += [
        f"/apis/{g['preferredVersion']['groupVersion']}" for g in rest.get("/apis")["groups"]
    ]
    for base in versions:
        for found in rest.get(base)["resources"]:
            if "list" in found["verbs"] and "/" not in found["name"]:
                yield f"{base}/{found['name']}"


@pytest.mark.parametrize(
    ("media", "form", "kind"),
    [
        (JSON, TABLE, "Table"),
        (YAML, TABLE, "Table"),
        (JSON, LIST, "PartialObjectMetadataList"),
        (YAML, LIST, "PartialObjectMetadataList"),
        (PROTOBUF, LIST, "PartialObjectMetadataList"),
    ],
)
def test_every_collection_has_every_form(rest, media, form, kind):
    paths = list(listable(rest))
    assert len(paths) > 50
    filled = 0
    for path in paths:
        answer = rest.call("GET", path, headers={"accept": f"{media};{form}"})
        assert answer.status == 200, (path, answer.data)
        assert answer.headers["content-type"].startswith(media), path
        tree = DECODE[media](answer.data)
        assert (tree["kind"], tree["apiVersion"]) == (kind, "meta.k8s.io/v1"), path
        width = len(tree.get("columnDefinitions") or ())
        objects = tree.get("items") or []
        for row in tree.get("rows") or ():
            assert len(row["cells"]) == width, path
            objects.append(row["object"])
        assert all(o["metadata"]["name"] and not o.keys() & {"spec", "data"} for o in objects)
        filled += bool(objects)
    assert filled > 12


def test_a_table_of_protobuf_is_not_acceptable(rest):
    answer = rest.call("GET", "/api/v1/pods", headers={"accept": f"{PROTOBUF};{TABLE}"})
    # What a wish for another form would get says nothing of the refusal, as upstream.
    status = json.loads(answer.data)
    assert (answer.status, status["reason"]) == (406, "NotAcceptable")


def test_custom_objects_have_metadata_of_protobuf(rest, namespace):
    """Upstream's garbage collector asks so for every kind."""
    names = {"plural": "forms", "kind": "Form"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [{"name": "v1", "served": True, "storage": True, "schema": schema}]
    spec = {"group": "f.example.com", "scope": "Namespaced", "names": names, "versions": versions}
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    rest.post(crds, {"metadata": {"name": "forms.f.example.com"}, "spec": spec})
    wait_until(lambda: not rest.gone("/apis/f.example.com/v1"))
    path = f"/apis/f.example.com/v1/namespaces/{namespace}/forms"
    labels = {"a": "b"}
    rest.post(
        path,
        {
            "apiVersion": "f.example.com/v1",
            "kind": "Form",
            "metadata": {"name": "x", "labels": labels},
            "spec": {"a": 1},
        },
    )
    both = f"{PROTOBUF};{LIST},{JSON};{LIST},{JSON}"
    answer = rest.call("GET", path, headers={"accept": both})
    assert answer.headers["content-type"].startswith(PROTOBUF)
    (found,) = decode_object(answer.data)["items"]
    assert found["metadata"]["labels"] == labels
    assert "spec" not in found
    answer = rest.call("GET", f"{path}/x", headers={"accept": f"{PROTOBUF};{ONE},{JSON}"})
    assert decode_object(answer.data)["kind"] == "PartialObjectMetadata"
    watched = rest.call(
        "GET",
        path,
        query={"watch": "true", "timeoutSeconds": "1"},
        headers={"accept": f"{PROTOBUF};{ONE}"},
    )
    assert b"PartialObjectMetadata" in watched.data
    # The object itself has no message.
    assert rest.call("GET", f"{path}/x", headers={"accept": PROTOBUF}).status == 406
    table = rest.ok("GET", path, headers={"accept": f"{JSON};{TABLE}"})
    assert table["rows"][0]["cells"][0] == "x"
    rest.delete(f"{crds}/forms.f.example.com")


@pytest.mark.parametrize("form", [TABLE, ONE])
def test_watch_lists_end_with_the_mark_in_every_form(rest, namespace, form):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    rest.post(path, config_map("a"))
    query = {
        "watch": "true",
        "timeoutSeconds": "1",
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
        "fieldSelector": "metadata.name=a",
    }
    answer = rest.call("GET", path, query=query, headers={"accept": f"{JSON};{form}"})
    events = [json.loads(line) for line in answer.data.splitlines()]
    assert [e["type"] for e in events[:2]] == ["ADDED", "BOOKMARK"]
    marked = events[1]["object"]
    if form == TABLE:
        assert marked["kind"] == "Table"
        marked = marked["rows"][0]["object"]
    assert marked["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_yaml_goes_in_and_comes_out(rest, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    both = {"content-type": YAML, "accept": YAML}
    text = (
        b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\ndata:\n  a: 'true'\n  b: |\n    x\n"
    )
    made = rest.call("POST", path, text, headers=both)
    assert (made.status, made.headers["content-type"]) == (201, YAML)
    tree = yaml.safe_load(made.data)
    assert tree["data"] == {"a": "true", "b": "x\n"}
    tree["data"]["c"] = "123"
    changed = rest.call("PUT", f"{path}/y", yaml.safe_dump(tree).encode(), headers=both)
    assert changed.status == 200, changed.data
    listed = rest.call(
        "GET", path, query={"fieldSelector": "metadata.name=y"}, headers={"accept": YAML}
    )
    (found,) = yaml.safe_load(listed.data)["items"]
    assert found["data"] == rest.get(f"{path}/y")["data"] == {"a": "true", "b": "x\n", "c": "123"}
    # No stream of YAML documents: not upstream's either.
    refused = rest.call("GET", f"{path}?watch=true", headers={"accept": YAML})
    assert (refused.status, yaml.safe_load(refused.data)["reason"]) == (406, "NotAcceptable")
