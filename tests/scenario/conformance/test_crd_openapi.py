"""sig-api-machinery: CustomResourcePublishOpenAPI, with upstream's kubectl; and its explain."""

import re

import pytest
from tests.conformance_kit import wait_until
from tests.kubectl_kit import kubectl_for
from tests.scenario.conformance.test_custom_resources import CRDS, define, definition, remove

pytestmark = pytest.mark.e2e

FOO = {
    "description": "Foo CRD for Testing",
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "description": "Specification of Foo",
            "properties": {
                "bars": {
                    "description": "List of Bars and their specs.",
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"description": "Name of Bar.", "type": "string"},
                            "age": {"description": "Age of Bar.", "type": "string"},
                            "feeling": {
                                "description": "Whether Bar is feeling great.",
                                "type": "string",
                                "enum": ["Great", "Down"],
                            },
                            "bazs": {
                                "description": "List of Bazs.",
                                "items": {"type": "string"},
                                "type": "array",
                            },
                        },
                    },
                }
            },
        },
        "status": {"description": "Status of Foo", "type": "object"},
    },
}
WALDO = {
    "description": "Waldo CRD for Testing",
    "type": "object",
    "properties": {"spec": {"type": "object", "properties": {"dummy": {"type": "string"}}}},
}
LOOSE = {"x-kubernetes-preserve-unknown-fields": True}
PRESERVE_NESTED = {
    "description": "preserve-unknown-properties in nested field for Testing",
    "type": "object",
    "properties": {
        "spec": {"description": "Specification of Waldo", "type": "object", **LOOSE},
        "status": {"description": "Status of Waldo", "type": "object", **LOOSE},
    },
}


@pytest.fixture
def kubectl(cluster, namespace, tmp_path):
    return kubectl_for(cluster, tmp_path, "-n", namespace)


def foo(tree, **more):
    spec = tree["spec"]
    return {
        "apiVersion": f"{spec['group']}/{spec['versions'][0]['name']}",
        "kind": spec["names"]["kind"],
        "metadata": {"name": "test"},
        **more,
    }


def definitions(rest, tree, version):
    """The published definition of a version in both forms of OpenAPI, None where there is none."""
    spec = tree["spec"]
    name = ".".join([*reversed(spec["group"].split(".")), version, spec["names"]["kind"]])
    second = rest.get("/openapi/v2")["definitions"].get(name)
    third = rest.answer("GET", f"/openapi/v3/apis/{spec['group']}/{version}")
    schemas = third.tree["components"]["schemas"] if third.status == 200 else {}
    return second, schemas.get(name)


def is_published(rest, tree, version, schema):
    found = definitions(rest, tree, version)
    return all(
        made is not None
        and made.get("description") == schema["description"]
        and made["properties"].keys() >= {*schema["properties"], "metadata", "kind"}
        for made in found
    )


def matches(pattern, text):
    assert re.search(pattern, text, re.DOTALL), text


def test_works_for_crd_with_validation_schema(rest, kubectl):
    tree = definition("v1", schema=FOO, scope="Namespaced")
    define(rest, tree)
    plural = tree["spec"]["names"]["plural"]
    valid = foo(tree, spec={"bars": [{"name": "test-bar"}]})
    for verb in ("create", "apply"):
        kubectl(verb, "-f", "-", body=valid)
        kubectl("delete", plural, "test")
        unknown = foo(tree, spec={"foo": True})
        assert 'unknown field "spec.foo"' in kubectl(verb, "-f", "-", body=unknown, fails=True)
        missing = foo(tree, spec={"bars": [{"age": "10"}]})
        refused = kubectl(verb, "-f", "-", body=missing, fails=True)
        assert "spec.bars[0].name: Required value" in refused
        odd = foo(tree, spec={"bars": [{"name": "a", "feeling": "None"}]})
        assert 'Unsupported value: "None"' in kubectl(verb, "-f", "-", body=odd, fails=True)
    explained = kubectl("explain", plural)
    matches(
        r"DESCRIPTION:.*Foo CRD for Testing.*FIELDS:.*apiVersion.*<string>.*APIVersion defines"
        r".*spec.*<Object>.*Specification of Foo",
        explained,
    )
    matches(
        r"DESCRIPTION:.*Standard object's metadata.*FIELDS:.*creationTimestamp.*<string>"
        r".*CreationTimestamp is a timestamp",
        kubectl("explain", f"{plural}.metadata"),
    )
    matches(
        r"DESCRIPTION:.*Specification of Foo.*FIELDS:.*bars.*<\[\]Object>"
        r".*List of Bars and their specs",
        kubectl("explain", f"{plural}.spec"),
    )
    matches(
        r"FIELD: bars.*<\[\]Object>.*DESCRIPTION:.*List of Bars and their specs.*FIELDS:"
        r".*bazs.*<\[\]string>.*List of Bazs.*name.*<string>.*Name of Bar",
        kubectl("explain", f"{plural}.spec.bars"),
    )
    matches(r"feeling\t<string>.*enum: Great, Down", kubectl("explain", f"{plural}.spec.bars"))
    matches(r"spec\t<Object>\n +bars\t<\[\]Object>", kubectl("explain", plural, "--recursive"))
    refused = kubectl("explain", f"{plural}.spec.bars2", fails=True)
    assert 'field "bars2" does not exist' in refused
    remove(rest, tree)


@pytest.mark.parametrize(
    ("schema", "spec", "said"),
    [
        (None, {"a": {"b": [{"c": "d"}]}}, r"DESCRIPTION:.*<empty>"),
        ({"type": "object", **LOOSE}, {"a": {"b": [{"c": "d"}]}}, r"KIND: +{kind}"),
        (
            PRESERVE_NESTED,
            {"spec": {"a": None, "b": [{"c": "d"}]}},
            r"DESCRIPTION:.*preserve-unknown-properties in nested field for Testing",
        ),
    ],
    ids=["without validation schema", "unknown at the root", "unknown in an embedded object"],
)
def test_works_for_crd_preserving_unknown_fields(rest, kubectl, schema, spec, said):
    tree = definition("v1", schema=schema, scope="Namespaced")
    define(rest, tree)
    names = tree["spec"]["names"]
    for verb in ("create", "apply"):
        kubectl(verb, "-f", "-", body=foo(tree, **spec))
        kubectl("delete", names["plural"], "test")
    matches(said.format(kind=names["kind"]), kubectl("explain", names["plural"]))
    remove(rest, tree)


@pytest.mark.parametrize(
    ("first", "second", "group"),
    [("v1", "v1beta1", ""), ("v4", "v5", "common.example.com"), ("v6", "v6", "common.example.com")],
    ids=["different groups", "different versions", "different kinds"],
)
def test_works_for_multiple_crds(rest, first, second, group):
    one = definition(first, schema=FOO, group=group)
    other = definition(second, schema=WALDO, group=group)
    for tree in (one, other):
        define(rest, tree)
    wait_until(lambda: is_published(rest, one, first, FOO), 30)
    wait_until(lambda: is_published(rest, other, second, WALDO), 30)
    remove(rest, one)
    assert definitions(rest, one, first) == (None, None)
    assert is_published(rest, other, second, WALDO)
    remove(rest, other)


def test_works_for_multiple_versions_of_one_crd(rest):
    tree = definition("v2", "v3", schema=FOO)
    define(rest, tree)
    for version in ("v2", "v3"):
        wait_until(lambda version=version: is_published(rest, tree, version, FOO), 30)
    remove(rest, tree)


def test_updates_the_published_spec_when_one_version_gets_renamed(rest):
    tree = definition("v2", "v3", schema=FOO)
    define(rest, tree)
    path = f"{CRDS}/{tree['metadata']['name']}"
    change = [{"op": "replace", "path": "/spec/versions/1/name", "value": "v4"}]
    rest.patch(path, change, "json")
    wait_until(lambda: is_published(rest, tree, "v4", FOO), 30)
    wait_until(lambda: definitions(rest, tree, "v3") == (None, None), 30)
    assert is_published(rest, tree, "v2", FOO)
    remove(rest, tree)


def test_removes_definition_from_spec_when_one_version_is_not_served(rest):
    tree = definition("v5", "v6alpha1", schema=FOO)
    define(rest, tree)
    wait_until(lambda: is_published(rest, tree, "v6alpha1", FOO), 30)
    path = f"{CRDS}/{tree['metadata']['name']}"
    rest.patch(
        path,
        [
            {"op": "test", "path": "/spec/versions/1/name", "value": "v6alpha1"},
            {"op": "replace", "path": "/spec/versions/1/served", "value": False},
        ],
        "json",
    )
    wait_until(lambda: definitions(rest, tree, "v6alpha1") == (None, None), 30)
    assert is_published(rest, tree, "v5", FOO)
    remove(rest, tree)


def test_built_in_kinds_are_explained(kubectl):
    said = kubectl("explain", "deployment.spec.strategy")
    matches(
        r"GROUP: +apps.*KIND: +Deployment.*VERSION: +v1.*FIELD: strategy <DeploymentStrategy>", said
    )
    matches(r"rollingUpdate\t<RollingUpdateDeployment>.*type\t<string>", said)
    assert 'Type of deployment. Can be "Recreate" or "RollingUpdate"' in said
    said = kubectl("explain", "pod.spec.containers.resources")
    matches(r"limits\t<map\[string\]Quantity>", said)
    assert "Limits describes the maximum amount of compute resources allowed" in said
    said = kubectl("explain", "pods", "--recursive")
    matches(r"metadata\t<ObjectMeta>.*annotations\t<map\[string\]string>.*spec\t<PodSpec>", said)
    matches(r"containers\t<\[\]Container> -required-.*livenessProbe\t<Probe>\n", said)
    said = kubectl("explain", "crd.spec.versions.schema.openAPIV3Schema")
    assert "FIELD: openAPIV3Schema <JSONSchemaProps>" in said
