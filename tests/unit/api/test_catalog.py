import dataclasses
from pathlib import Path

import orjson
import pytest

import kutter.api.schema
from kutter.api.catalog import BUILTIN, OPTIONAL, Catalog, builtin, split_api_version
from kutter.api.resources import Resource

WIDGETS = Resource("example.com", "v1", "widgets", "Widget", namespaced=True, verbs=("get",))


def test_every_resource_is_found_by_plural_and_by_kind():
    catalog = Catalog()
    for resource in BUILTIN:
        key = (resource.group, resource.version)
        assert catalog.find(*key, resource.plural) is resource
        assert catalog.find_kind(*key, resource.kind) is resource
    assert len(list(catalog)) == len(BUILTIN)


def test_groups_and_versions_come_in_discovery_order():
    catalog = Catalog()
    assert catalog.groups()[:3] == ["", "apiregistration.k8s.io", "apps"]
    assert catalog.versions("autoscaling") == ["v2", "v1"]
    assert catalog.find_group_resource("autoscaling", "horizontalpodautoscalers").version == "v2"
    assert ("apps", "v1") in catalog.group_versions()
    plurals = [r.plural for r in catalog.resources("apps", "v1")]
    assert plurals == sorted(plurals)


@pytest.mark.parametrize(
    ("group", "plural", "prefix"),
    [
        ("", "pods", "/registry/pods"),
        ("", "nodes", "/registry/minions"),
        ("", "services", "/registry/services/specs"),
        ("", "endpoints", "/registry/services/endpoints"),
        ("", "replicationcontrollers", "/registry/controllers"),
        ("", "events", "/registry/events"),
        ("events.k8s.io", "events", "/registry/events"),
        ("apps", "deployments", "/registry/deployments"),
        ("networking.k8s.io", "ingresses", "/registry/ingress"),
        (
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            "/registry/apiextensions.k8s.io/customresourcedefinitions",
        ),
    ],
)
def test_keys_are_laid_out_as_upstream_does(group, plural, prefix):
    assert builtin(group, "v1", plural).storage_prefix == prefix


def test_virtual_resources_are_never_stored():
    virtual = {r.plural for r in BUILTIN if r.virtual}
    assert virtual == {
        "bindings",
        "componentstatuses",
        "localsubjectaccessreviews",
        "selfsubjectaccessreviews",
        "selfsubjectreviews",
        "selfsubjectrulesreviews",
        "subjectaccessreviews",
        "tokenreviews",
    }
    assert all(bool(r.storage_prefix) is not r.virtual for r in BUILTIN)


def test_stored_prefixes_do_not_overlap():
    prefixes = {r.storage_prefix + "/" for r in BUILTIN if not r.virtual}
    for one in prefixes:
        assert not [other for other in prefixes if other != one and other.startswith(one)]


def test_subresources_of_pods():
    pods = builtin("", "v1", "pods")
    assert sorted(pods.subresources) == [
        "attach",
        "binding",
        "ephemeralcontainers",
        "eviction",
        "exec",
        "log",
        "portforward",
        "proxy",
        "resize",
        "status",
    ]
    assert pods.subresources["eviction"].group == "policy"
    assert pods.subresources["exec"].kind == "PodExecOptions"
    assert pods.subresources["exec"].verbs == ("create", "get")
    assert builtin("apps", "v1", "deployments").subresources["scale"].kind == "Scale"


def test_resources_come_and_go_at_run_time():
    catalog = Catalog()
    before = catalog.generation
    catalog.add(WIDGETS)
    assert catalog.find("example.com", "v1", "widgets") is WIDGETS
    assert catalog.groups()[-1] == "example.com"
    catalog.add(dataclasses.replace(WIDGETS, short_names=("w",)))
    assert catalog.find_group_kind("example.com", "Widget").short_names == ("w",)
    assert catalog.remove("example.com", "v1", "widgets") is not None
    assert catalog.remove("example.com", "v1", "widgets") is None
    assert "example.com" not in catalog.groups()
    assert catalog.find_kind("example.com", "v1", "Widget") is None
    assert catalog.generation == before + 3


def test_split_api_version():
    assert split_api_version("v1") == ("", "v1")
    assert split_api_version("apps/v1") == ("apps", "v1")


def test_every_kind_of_the_tables_is_served():
    """What the published schema has and the catalog lacks is a subresource's kind only."""
    tables = Path(kutter.api.schema.__file__).parent / "tables"
    published = set()
    for path in tables.glob("*.json"):
        table = orjson.loads(path.read_bytes())
        group, _, version = table["table"].rpartition("/")
        published |= {(group.removesuffix("core"), version, kind) for kind in table["kinds"]}
    known = (*BUILTIN, *OPTIONAL)
    served = {(r.group, r.version, r.kind) for r in known}
    served |= {(r.group, r.version, r.list_kind) for r in known if r.list_kind}
    assert served <= published
    assert published - served == {
        ("autoscaling", "v1", "Scale"),
        ("authentication.k8s.io", "v1", "TokenRequest"),
        ("policy", "v1", "Eviction"),
    }
