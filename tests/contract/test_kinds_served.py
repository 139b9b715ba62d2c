"""Every kind through the whole server: create, read, write back, print, select, delete."""

from __future__ import annotations

import copy

import pytest
from tests.apiserver_harness import ADMIN, Api, start_server
from tests.unit.apiserver.kinds.samples import BODIES, NAMES, resource, sample, strategy

from kutter.api.catalog import BUILTIN, OPTIONAL, Catalog
from kutter.api.resources import Resource
from kutter.apiserver.printing.registry import printer_for

_TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


@pytest.fixture
async def api() -> Api:
    catalog = Catalog((*BUILTIN, *OPTIONAL))
    return Api(await start_server(printer_for=printer_for, catalog=catalog))


@pytest.mark.parametrize("plural", BODIES)
async def test_life_of_each_kind(api: Api, plural: str) -> None:
    of, tree = resource(plural), sample(plural)
    tree["metadata"].pop("uid")
    collection = of.path(namespace="default")
    one = of.path(namespace="default", name=NAMES.get(plural, "web"))
    created = await api.ok("POST", collection, tree, user=ADMIN)
    assert await api.ok("GET", one) == created
    again = await api.ok("PUT", one, copy.deepcopy(created))
    assert again == created, "writing back what was read is no change"

    table = await api.ok("GET", collection, headers=_TABLE)
    names = [column["name"] for column in table["columnDefinitions"]]
    assert names[0] == "Name"
    assert [len(row["cells"]) for row in table["rows"]] == [len(names)]

    for label in sorted(strategy(plural).field_labels):
        listed = await api.ok("GET", collection, query={"fieldSelector": f"{label}=no-such"})
        assert listed["items"] == []
        listed = await api.ok("GET", collection, query={"fieldSelector": f"{label}!=no-such"})
        assert len(listed["items"]) == 1
    await api.fails(
        400, "BadRequest", "GET", collection, query={"fieldSelector": "spec.nonsense=x"}
    )
    await api.ok("DELETE", one)


async def test_field_errors_reach_the_client(api: Api) -> None:
    tree = sample("pods")
    tree["metadata"].pop("uid")
    tree["spec"]["containers"] = [{"name": "a", "image": "a", "imagePullPolicy": "Often"}]
    status = await api.fails(422, "Invalid", "POST", "/api/v1/namespaces/default/pods", tree)
    assert status["message"] == (
        'Pod "web" is invalid: spec.containers[0].imagePullPolicy: Unsupported value: "Often": '
        'supported values: "Always", "IfNotPresent", "Never"'
    )
    assert status["details"] == {
        "name": "web",
        "kind": "Pod",
        "causes": [
            {
                "reason": "FieldValueNotSupported",
                "message": 'Unsupported value: "Often": supported values: "Always", '
                '"IfNotPresent", "Never"',
                "field": "spec.containers[0].imagePullPolicy",
            }
        ],
    }


async def test_addresses_of_services_return_when_they_go(api: Api) -> None:
    path = "/api/v1/namespaces/default/services"
    tree = sample("services")
    tree["metadata"].pop("uid")
    tree["spec"]["clusterIP"] = "10.43.0.77"
    await api.ok("POST", path, copy.deepcopy(tree))
    other = {**copy.deepcopy(tree), "metadata": {"name": "other"}}
    status = await api.fails(422, "Invalid", "POST", path, other)
    assert status["message"].endswith(
        "failed to allocate IP 10.43.0.77: provided IP is already allocated"
    )
    await api.ok("DELETE", f"{path}/web")
    await api.ok("POST", path, other)


async def test_an_immutable_selector_is_refused_and_changes_nothing(api: Api) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    tree = sample("deployments")
    tree["metadata"].pop("uid")
    created = await api.ok("POST", path, tree)
    changed = copy.deepcopy(created)
    for labels in (
        changed["spec"]["selector"]["matchLabels"],
        changed["spec"]["template"]["metadata"]["labels"],
    ):
        labels["tier"] = "x"
    status = await api.fails(422, "Invalid", "PUT", f"{path}/web", changed)
    assert "spec.selector: Invalid value: " in status["message"]
    assert "field is immutable" in status["message"]
    assert await api.ok("GET", f"{path}/web") == created


_READS = [
    (resource, verb)
    for resource in (*BUILTIN, *OPTIONAL)
    for verb in ("get", "list")
    if verb in resource.verbs
]


@pytest.mark.parametrize(
    ("of", "verb"), _READS, ids=[f"{r.group_resource}-{r.version}-{v}" for r, v in _READS]
)
async def test_what_discovery_offers_is_answered(api: Api, of: Resource, verb: str) -> None:
    """No resource is in discovery and then not allowed."""
    namespace = "default" if of.namespaced else ""
    if verb == "list":
        found = await api.ok("GET", of.path(namespace))
        assert found["kind"] == of.list_kind
    else:
        await api.fails(404, "NotFound", "GET", of.path(namespace, "no-such"))
