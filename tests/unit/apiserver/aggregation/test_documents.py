"""Documents of other servers in our forms: only their own part, nothing of ours changed."""

from __future__ import annotations

import copy

from kutter.apiserver.aggregation.documents import Documents, merge, own_part, version_entry

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
            "Part": {"items": [ref("Leaf")]},
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
