"""Documents of other servers in our forms: only their own part, nothing of ours changed."""

from __future__ import annotations

import copy

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kutter.apiserver.aggregation.documents import (
    DocumentError,
    Documents,
    fetch,
    is_schema,
    merge,
    own_part,
    version_entry,
)
from kutter.apiserver.openapi_protobuf import encode_document

ROOT = "/apis/g.example.com/v1"


def ref(name):
    return {"$ref": f"#/definitions/{name}"}


def test_only_what_its_own_paths_need_is_taken():
    document = {
        "paths": {
            f"{ROOT}/things": {"get": {"schema": ref("Thing")}},
            f"{ROOT}x/things": {"get": {"schema": ref("Other")}},
            "/apis/g.example.com/": {},
        },
        "definitions": {
            "Thing": {"properties": {"part": ref("Part"), "self": ref("Thing")}},
            "Part": {"items": ref("Leaf")},
            "Leaf": {"type": "string"},
            "Other": {"type": "string"},
        },
    }
    paths, definitions = own_part(document, ROOT)
    assert list(paths) == [f"{ROOT}/things"]
    assert set(definitions) == {"Thing", "Part", "Leaf"}


def test_another_definition_of_our_name_gets_a_name_of_its_own():
    own = {"Meta": {"type": "object"}, "Same": {"type": "string"}}
    document = {"paths": {"/ours": {"a": ref("Meta")}}, "definitions": copy.deepcopy(own)}
    theirs = Documents(
        paths={f"{ROOT}/things": {"get": ref("Thing")}, "/ours": {"stolen": True}},
        definitions={
            "Thing": {"properties": {"metadata": ref("Meta"), "same": ref("Same")}},
            "Meta": {"type": "object", "properties": {}},
            "Same": {"type": "string"},
        },
    )
    before = copy.deepcopy(theirs)
    merge(document, theirs)
    assert theirs == before
    assert {name: document["definitions"][name] for name in own} == own
    assert document["paths"]["/ours"] == {"a": ref("Meta")}
    thing = document["definitions"]["Thing"]
    assert thing["properties"] == {"metadata": ref("Meta_v2"), "same": ref("Same")}
    assert document["definitions"]["Meta_v2"] == {"type": "object", "properties": {}}


def test_an_older_list_becomes_an_entry():
    listed = {
        "resources": [
            {"name": "things/scale", "kind": "Scale", "group": "autoscaling", "version": "v1"},
            {"name": "things", "kind": "Thing", "namespaced": True, "verbs": ["get"]},
            {"name": "nodes", "kind": "Node", "singularName": "node", "shortNames": ["no"]},
            {"name": "lost/part", "kind": "Part"},
        ]
    }
    entry = version_entry(listed, "g.example.com", "v1")
    things, nodes = entry["resources"]
    assert (things["resource"], things["scope"], nodes["scope"]) == (
        "things",
        "Namespaced",
        "Cluster",
    )
    assert things["responseKind"] == {"group": "g.example.com", "version": "v1", "kind": "Thing"}
    assert things["subresources"][0]["responseKind"] == {
        "group": "autoscaling",
        "version": "v1",
        "kind": "Scale",
    }
    assert nodes["shortNames"] == ["no"]


def test_parameters_a_document_shares_come_along() -> None:
    """Upstream's servers refer to them; ours has no place of that name."""
    shared = {"pretty-x": {"name": "pretty", "in": "query", "type": "string"}}
    item = {
        "parameters": [{"$ref": "#/parameters/pretty-x"}, {"$ref": "#/parameters/missing"}],
        "get": {"parameters": [{"$ref": "#/parameters/pretty-x"}]},
    }
    paths, _ = own_part({"paths": {f"{ROOT}/things": item}, "parameters": shared}, ROOT)
    assert paths == {
        f"{ROOT}/things": {
            "parameters": [shared["pretty-x"], {"$ref": "#/parameters/missing"}],
            "get": {"parameters": [shared["pretty-x"]]},
        }
    }


class Reply:
    def __init__(self, tree, status=200):
        self.status = status
        self.body = tree if isinstance(tree, bytes) else orjson.dumps(tree)


def server_of(documents):
    async def get(path, accept="application/json"):
        return documents.get(path, Reply({}, 404))

    return get


@pytest.mark.parametrize(
    "path", ["/apis", ROOT, "/openapi/v3", "/openapi/v2"], ids=["groups", "list", "v3", "v2"]
)
@settings(max_examples=40, deadline=None)
@given(tree=st.deferred(lambda: anything))
async def test_whatever_another_server_says_is_read_or_refused(path, tree):
    """And what is read can be published in all forms."""
    if isinstance(tree, dict):
        tree.setdefault("kind", "APIGroupDiscoveryList" if path == "/apis" else "APIResourceList")
    try:
        found = await fetch(server_of({path: Reply(tree)}), "g.example.com", "v1")
    except DocumentError:
        return
    document = {
        "swagger": "2.0",
        "info": {"title": "", "version": ""},
        "paths": {},
        "definitions": {},
    }
    merge(document, found)
    encode_document(document)
    orjson.dumps(document)


names = st.sampled_from(
    [
        "$ref",
        "additionalProperties",
        "allOf",
        "definitions",
        "groups",
        "items",
        "metadata",
        "name",
        "paths",
        "properties",
        "required",
        "resources",
        "serverRelativeURL",
        "type",
        "versions",
        "Thing",
        f"{ROOT}/things",
        ROOT[1:],
    ]
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(0, 3)
    | st.sampled_from(["v1", "g.example.com", "#/definitions/Thing", "things/scale", "string", ""])
)
anything = st.recursive(
    leaves,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(names, part, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(thing=anything)
def test_definitions_of_another_form_say_little(thing):
    paths = {f"{ROOT}/things": {"get": ref("Thing")}}
    found = own_part({"paths": paths, "definitions": {"Thing": thing}}, ROOT)
    document = {
        "swagger": "2.0",
        "info": {"title": "", "version": ""},
        "paths": {},
        "definitions": {},
    }
    merge(document, Documents(paths=found[0], definitions=found[1]))
    encode_document(document)


def test_definitions_as_generators_write_them_are_kept():
    thing = {
        "description": "A thing.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "metadata": {"allOf": [{"$ref": "#/definitions/Meta"}], "default": {}},
            "any": {"allOf": [{"type": "string"}]},
            "open": {"type": "object", "additionalProperties": True},
            "map": {"type": "object", "additionalProperties": {"type": "integer"}},
            "list": {"type": "array", "items": {"type": "string"}},
        },
        "x-kubernetes-group-version-kind": [{"group": "g", "version": "v1", "kind": "Thing"}],
    }
    assert is_schema(thing)
    encode_document(
        {"swagger": "2.0", "info": {"title": "", "version": ""}, "definitions": {"Thing": thing}}
    )


async def test_documents_without_a_bottom_are_refused():
    deep = b'{"paths":' + b'{"x":' * 500 + b"1" + b"}" * 500 + b"}"
    with pytest.raises(DocumentError, match="nested deeper"):
        await fetch(server_of({"/openapi/v2": Reply(deep)}), "g.example.com", "v1")
