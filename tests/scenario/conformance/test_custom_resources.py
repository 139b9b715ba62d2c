"""sig-api-machinery: CustomResourceDefinition resources, watch, defaulting, conversion, field
selectors, discovery of custom kinds."""

import itertools
import json

import pytest
from tests.conformance_kit import condition, wait_until
from tests.conversion_kit import Converter
from tests.conversion_kit import backend as net_backend
from tests.conversion_kit import definition as net_definition
from tests.conversion_kit import path as net_path

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
AGGREGATED = "application/json;v=v2;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList"
_numbers = itertools.count(1)


def definition(*versions, group="", schema=None, labels=None, scope="Cluster", **spec):
    """A definition of a kind of its own; the first version is stored."""
    number = next(_numbers)
    group = group or f"g{number}.example.com"
    schema = schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"noxus{number}.{group}", "labels": labels or {}},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {
                "plural": f"noxus{number}",
                "singular": f"nonenglishnoxu{number}",
                "kind": f"WishIHadChosenNoxu{number}",
                "shortNames": [f"foo{number}", f"bar{number}"],
                "listKind": f"NoxuItemList{number}",
            },
            "versions": [
                {
                    "name": name,
                    "served": True,
                    "storage": position == 0,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                }
                for position, name in enumerate(versions or ("v1",))
            ],
            **spec,
        },
    }


def define(rest, tree):
    """Create a definition, wait until it is established; it and the path of its objects."""
    rest.post(CRDS, tree)
    name, spec = tree["metadata"]["name"], tree["spec"]
    wait_until(
        lambda: condition(rest.get(f"{CRDS}/{name}"), "Established").get("status") == "True", 30
    )
    return f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"


def instance(tree, name, version="", **more):
    spec = tree["spec"]
    return {
        "apiVersion": f"{spec['group']}/{version or spec['versions'][0]['name']}",
        "kind": spec["names"]["kind"],
        "metadata": {"name": name},
        **more,
    }


def remove(rest, tree):
    path = f"{CRDS}/{tree['metadata']['name']}"
    rest.delete(path)
    rest.wait_gone(path, 30)


def test_creating_and_deleting_custom_resource_definition_objects_works(rest):
    tree = definition()
    path = define(rest, tree)
    made = rest.get(f"{CRDS}/{tree['metadata']['name']}")
    assert condition(made, "NamesAccepted")["status"] == "True"
    assert made["status"]["acceptedNames"] == tree["spec"]["names"]
    assert made["status"]["storedVersions"] == ["v1"]
    rest.post(path, instance(tree, "a"))
    remove(rest, tree)
    assert rest.gone(path)


def test_listing_custom_resource_definition_objects_works(rest):
    trees = [definition(labels={"listed": "yes"}) for _ in range(10)]
    other = definition()
    for tree in [*trees, other]:
        rest.post(CRDS, tree)
    found = rest.get(CRDS, labelSelector="listed=yes")["items"]
    assert {i["metadata"]["name"] for i in found} == {t["metadata"]["name"] for t in trees}
    rest.delete(CRDS, labelSelector="listed=yes")
    wait_until(lambda: not rest.get(CRDS, labelSelector="listed=yes")["items"], 40)
    assert not rest.gone(f"{CRDS}/{other['metadata']['name']}")
    remove(rest, other)


def test_getting_updating_patching_custom_resource_definition_status_works(rest):
    tree = definition()
    define(rest, tree)
    path = f"{CRDS}/{tree['metadata']['name']}/status"
    said = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set by put"}
    changed = rest.change(path, lambda t: t["status"]["conditions"].append(dict(said)))
    assert condition(changed, "StatusUpdate")["message"] == "Set by put"
    conditions = [{**said, "type": "StatusPatched"}, *changed["status"]["conditions"]]
    patched = rest.patch(path, {"status": {"conditions": conditions}})
    assert condition(patched, "StatusPatched")["reason"] == "E2E"
    seen = rest.get(path)
    for kind in ("StatusUpdate", "StatusPatched", "Established"):
        assert condition(seen, kind)["status"] == "True"
    remove(rest, tree)


def test_watch_on_custom_resource_definition_objects(rest):
    tree = definition()
    path = define(rest, tree)
    names = ["name1", "name2"]
    for name in names:
        with rest.watch(path, fieldSelector=f"metadata.name={name}") as seen:
            made = rest.post(path, instance(tree, name, content={"key": "value"}))
            assert seen.until("ADDED")["metadata"]["uid"] == made["metadata"]["uid"]
            rest.patch(f"{path}/{name}", {"content": {"key": "other"}})
            assert seen.until("MODIFIED")["content"] == {"key": "other"}
            rest.delete(f"{path}/{name}")
            assert seen.until("DELETED")["metadata"]["name"] == name
    remove(rest, tree)


def test_custom_resource_defaulting_for_requests_and_from_storage_works(rest):
    def schema(**defaults):
        fields = {name: {"type": "string"} for name in ("a", "b", "c")}
        for name, value in defaults.items():
            fields[name]["default"] = value
        return {"type": "object", "properties": fields}

    tree = definition(schema=schema())
    path = define(rest, tree)
    name = tree["metadata"]["name"]
    assert "a" not in rest.post(path, instance(tree, "one"))

    def publish(**defaults):
        def edit(crd):
            crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema(**defaults)

        rest.change(f"{CRDS}/{name}", edit)

    publish(a="A")
    wait_until(lambda: rest.get(f"{path}/one").get("a") == "A", 30)
    assert rest.post(path, instance(tree, "two"))["a"] == "A"
    publish(b="B")
    wait_until(lambda: rest.get(f"{path}/two").get("b") == "B", 30)
    two = rest.get(f"{path}/two")
    assert (two["a"], two["b"]) == ("A", "B")
    remove(rest, tree)


def test_should_include_custom_resource_definition_resources_in_discovery_documents(rest):
    groups = {g["name"]: g for g in rest.get("/apis")["groups"]}
    versions = groups["apiextensions.k8s.io"]["versions"]
    assert {"groupVersion": "apiextensions.k8s.io/v1", "version": "v1"} in versions
    assert rest.get("/apis/apiextensions.k8s.io")["versions"] == versions
    resources = rest.get("/apis/apiextensions.k8s.io/v1")["resources"]
    assert "customresourcedefinitions" in {r["name"] for r in resources}


@pytest.mark.parametrize("accept", [AGGREGATED, f"{AGGREGATED},application/json"])
def test_should_support_aggregated_discovery_for_crds(rest, accept):
    tree = definition("v1", "v1beta1")
    define(rest, tree)
    spec = tree["spec"]

    def entry():
        answer = rest.answer("GET", "/apis", headers={"accept": accept})
        assert answer.status == 200
        found = [i for i in answer.tree["items"] if i["metadata"]["name"] == spec["group"]]
        return found[0] if found else None

    versions = {v["version"]: v for v in wait_until(entry)["versions"]}
    assert list(versions) == ["v1", "v1beta1"]
    for version in versions.values():
        (resource,) = version["resources"]
        assert resource["resource"] == spec["names"]["plural"]
        assert resource["singularResource"] == spec["names"]["singular"]
        assert resource["shortNames"] == spec["names"]["shortNames"]
        assert resource["scope"] == "Cluster"
        assert [s["subresource"] for s in resource["subresources"]] == ["status"]
    remove(rest, tree)
    assert entry() is None


@pytest.fixture
def converted(rest, namespace):
    """A kind in versions v1 and v2, stored in v1 and converted by a webhook; its converter."""
    converter = Converter()
    with converter.webhook:
        tree = net_definition(converter.webhook.client_config(), "v1beta1", "v1", stored="v1beta1")
        define(rest, tree)
        yield converter
        converter.change = None
        remove(rest, tree)


def test_should_be_able_to_convert_from_one_version_to_another(rest, namespace, converted):
    rest.post(net_path("v1beta1", namespace=namespace), net_backend("a", "v1beta1", "h:80"))
    seen = rest.get(net_path("v1", "a", namespace))
    assert (seen["spec"]["host"], seen["spec"]["port"]) == ("h", "80")
    assert converted.reviews[-1]["kind"] == "ConversionReview"


def test_should_be_able_to_convert_a_non_homogeneous_list_of_crs(rest, namespace, converted):
    rest.post(net_path("v1beta1", namespace=namespace), net_backend("a", "v1beta1", "h:80"))
    name = "backends.net.example.com"

    def store_in_v1(crd):
        for version in crd["spec"]["versions"]:
            version["storage"] = version["name"] == "v1"

    rest.change(f"{CRDS}/{name}", store_in_v1)
    wait_until(lambda: rest.get(f"{CRDS}/{name}")["status"]["storedVersions"][-1] == "v1", 30)
    rest.post(net_path("v1", namespace=namespace), net_backend("b", "v1", "i:81"))
    for version in ("v1", "v1beta1"):
        items = rest.get(net_path(version, namespace=namespace))["items"]
        assert [i["metadata"]["name"] for i in items] == ["a", "b"]
        assert {i["apiVersion"] for i in items} == {f"net.example.com/{version}"}


def test_field_selectors_must_list_and_watch_custom_resources(rest, namespace, converted):
    old, new = net_path("v1beta1", namespace=namespace), net_path("v1", namespace=namespace)
    for name, place in (("a", "x:80"), ("b", "y:80"), ("c", "x:80")):
        rest.post(old, net_backend(name, "v1beta1", place))
    picks = ((old, "spec.hostPort=x:80"), (new, "spec.host=x"))
    for path, selector in picks:
        items = rest.get(path, fieldSelector=selector)["items"]
        assert [i["metadata"]["name"] for i in items] == ["a", "c"]
    watches = [rest.watch(path, fieldSelector=selector) for path, selector in picks]
    for seen in watches:
        assert [seen.next()[1]["metadata"]["name"] for _ in range(2)] == ["a", "c"]
    rest.delete(f"{old}/a")
    rest.patch(f"{new}/c", {"spec": {"host": "z"}})
    rest.post(new, net_backend("d", "v1", "x:80"))
    for seen in watches:
        changes = [(kind, tree["metadata"]["name"]) for kind, tree in (seen.next() for _ in "123")]
        assert changes == [("DELETED", "a"), ("DELETED", "c"), ("ADDED", "d")]
        seen.response.close()
    status = rest.fails(400, "BadRequest", "GET", new, query={"fieldSelector": "spec.hostPort=x"})
    assert status["message"] == "field label not supported: spec.hostPort"


# -- FieldValidation ---------------------------------------------------------------------------

PORTS = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
    "items": {
        "type": "object",
        "required": ["containerPort", "protocol"],
        "properties": {
            "containerPort": {"type": "integer", "format": "int32"},
            "hostIP": {"type": "string"},
            "name": {"type": "string"},
            "protocol": {"type": "string"},
        },
    },
}
SPEC = {
    "type": "object",
    "properties": {
        "foo": {"type": "string"},
        "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
        "ports": PORTS,
    },
}
BODY = """
apiVersion: {version}
kind: {kind}
metadata:
  name: mytest{meta}
  finalizers:
  - example.com/test-finalizer
spec:{spec}
  cronSpec: "* * * * */5"
  ports:
  - name: x
    containerPort: 80
    protocol: TCP{end}"""


def apply(rest, tree, path, *, spec="\n  foo: foo1", meta="", end="", **query):
    head = instance(tree, "")
    text = BODY.format(version=head["apiVersion"], kind=head["kind"], spec=spec, meta=meta, end=end)
    query = {"fieldManager": "field_validation_mgr", "fieldValidation": "Strict", **query}
    return rest.answer(
        "PATCH",
        f"{path}/mytest",
        text.encode(),
        query=query,
        headers={"content-type": "application/apply-patch+yaml"},
    )


def clear(rest, tree, path):
    if not rest.gone(f"{path}/mytest"):
        rest.patch(f"{path}/mytest", {"metadata": {"finalizers": None}})
    remove(rest, tree)


def test_should_create_apply_a_valid_cr_for_crd_with_validation_schema(rest):
    tree = definition(schema={"type": "object", "properties": {"spec": SPEC}})
    path = define(rest, tree)
    assert apply(rest, tree, path).status == 201
    clear(rest, tree, path)


def test_should_create_apply_a_cr_with_unknown_fields_for_crd_with_no_validation_schema(rest):
    tree = definition()
    path = define(rest, tree)
    done = apply(rest, tree, path, spec="\n  unknown: uk1")
    assert (done.status, done.tree["spec"]["unknown"]) == (201, "uk1")
    clear(rest, tree, path)


def test_should_create_apply_an_invalid_cr_with_extra_properties(rest):
    tree = definition(schema={"type": "object", "properties": {"spec": SPEC}})
    path = define(rest, tree)
    refused = apply(rest, tree, path, end="\nunknownField: unknown")
    assert refused.status == 500
    assert ".unknownField: field not declared in schema" in refused.tree["message"]
    assert rest.gone(f"{path}/mytest")
    clear(rest, tree, path)


def test_should_detect_unknown_metadata_fields_in_both_root_and_embedded_object(rest, namespace):
    template = {
        "type": "object",
        "x-kubernetes-embedded-resource": True,
        "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": {"type": "object"},
        },
    }
    spec = {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {**SPEC["properties"], "template": template},
    }
    tree = definition(schema={"type": "object", "properties": {"spec": spec}})
    path = define(rest, tree)
    embedded = f"""
  foo: foo1
  template:
    apiVersion: foo/v1
    kind: Sub
    metadata:
      unknownSubMeta: unknown
      name: subobject
      namespace: {namespace}"""
    refused = apply(rest, tree, path, spec=embedded, meta="\n  unknownMeta: unknown")
    assert ".spec.template.metadata.unknownSubMeta: field not declared" in refused.tree["message"]
    assert ".metadata.unknownMeta: field not declared in schema" in refused.tree["message"]
    # The same through a create, as JSON.
    body = instance(tree, "mytest")
    body["metadata"]["unknownMeta"] = "unknown"
    body["spec"] = {
        "template": {
            "apiVersion": "foo/v1",
            "kind": "Sub",
            "metadata": {"name": "subobject", "unknownSubMeta": "unknown"},
        }
    }
    strict = {"fieldValidation": "Strict"}
    status = rest.fails(400, "BadRequest", "POST", path, body, query=strict)
    found = status["message"].split("strict decoding error: ")[1].split(", ")
    assert set(found) == {
        'unknown field "metadata.unknownMeta"',
        'unknown field "spec.template.metadata.unknownSubMeta"',
    }
    warned = rest.answer("POST", path, body, query={"fieldValidation": "Warn"})
    assert warned.status == 201
    assert 'unknown field \\"metadata.unknownMeta\\"' in warned.headers["warning"]
    assert warned.tree["spec"]["template"]["metadata"] == {"name": "subobject"}
    clear(rest, tree, path)


def test_what_a_cr_has_too_much_is_told_in_upstreams_order(rest):
    template = {
        "type": "object",
        "x-kubernetes-embedded-resource": True,
        "x-kubernetes-preserve-unknown-fields": True,
    }
    spec = {"type": "object", "properties": {"a": {"type": "string"}, "template": template}}
    tree = definition(schema={"type": "object", "properties": {"spec": spec}})
    path = define(rest, tree)
    head = json.dumps(instance(tree, "x"))[:-1]
    head = head.replace('"metadata": {', '"zz": 1, "metadata": {"um2": 1, "um1": 1, ')
    embedded = '{"apiVersion": "v1", "kind": "Pod", "metadata": {"weird": 1}}'
    text = f'{head}, "spec": {{"b": 1, "template": {embedded}, "a": "1", "a": "2"}}, "aa": 1}}'
    status = rest.fails(
        400, "BadRequest", "POST", path, text.encode(), query={"fieldValidation": "Strict"}
    )
    unknown = ("metadata.um1", "metadata.um2", "aa", "spec.b", "zz", "spec.template.metadata.weird")
    assert status["message"].partition("strict decoding error: ")[2].split(", ") == [
        'duplicate field "spec.a"',
        *(f'unknown field "{path}"' for path in unknown),
    ]
    clear(rest, tree, path)


def test_should_detect_duplicates_in_a_cr_when_preserving_unknown_fields(rest):
    spec = {**SPEC, "x-kubernetes-preserve-unknown-fields": True}
    tree = definition(schema={"type": "object", "properties": {"spec": spec}})
    path = define(rest, tree)
    doubled = "\n  unknown: uk1\n  foo: foo1\n  foo: foo2"
    refused = apply(rest, tree, path, spec=doubled)
    assert refused.status == 400
    assert 'line 11: key "foo" already set in map' in refused.tree["message"]
    warned = apply(rest, tree, path, spec=doubled, fieldValidation="Warn")
    assert warned.status == 201
    assert 'key \\"foo\\" already set in map' in warned.headers["warning"]
    # Bodies of creates: JSON by path, YAML by line.
    head = json.dumps(instance(tree, "other"))[:-1]
    text = (head + ', "spec": {"foo": "a", "foo": "b", "unknown": 1}}').encode()
    strict = {"fieldValidation": "Strict"}
    status = rest.fails(400, "BadRequest", "POST", path, text, query=strict)
    assert status["message"].endswith('strict decoding error: duplicate field "spec.foo"')
    lines = b"metadata:\n  name: other\nspec:\n  foo: a\n  foo: b\n"
    yaml = {"content-type": "application/yaml"}
    status = rest.fails(400, "BadRequest", "POST", path, lines, query=strict, headers=yaml)
    assert status["message"].endswith(
        'strict decoding error: yaml: unmarshal errors:\n  line 5: key "foo" already set in map'
    )
    warned = rest.answer("POST", path, lines, query={"fieldValidation": "Warn"}, headers=yaml)
    assert (warned.status, warned.tree["spec"]["foo"]) == (201, "b")
    assert 'line 5: key \\"foo\\" already set in map' in warned.headers["warning"]
    quiet = {"fieldValidation": "Ignore", "dryRun": "All"}
    rest.delete(f"{path}/other")
    ignored = rest.answer("POST", path, lines, query=quiet, headers=yaml)
    assert ignored.status == 201
    assert "warning" not in ignored.headers
    clear(rest, tree, path)
