"""What type checking finds, for built-in and custom kinds."""

from __future__ import annotations

from typing import Any

from kutter.api.catalog import Catalog
from kutter.api.resources import Resource
from kutter.apiserver.admission.dynamic.type_checking import TypeChecker

WIDGETS = Resource("example.com", "v1", "widgets", "Widget", True, ("create",))
SCHEMA = {
    "type": "object",
    "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
}


async def check(expression: str, *, kinds: Any = ("apps", "deployments"), **spec: Any) -> list[Any]:
    catalog = Catalog()
    catalog.add(WIDGETS)

    def custom(resource: Resource) -> dict[str, Any] | None:
        return SCHEMA if resource is WIDGETS else None

    group, *plurals = kinds
    rule = {
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "operations": ["*"],
        "resources": plurals,
    }
    whole = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": expression}],
        **spec,
    }
    return await TypeChecker(catalog, custom).check({"metadata": {"name": "p"}, "spec": whole})


async def test_good_ones() -> None:
    assert await check("object.spec.replicas > 1 && oldObject == null") == []
    assert (
        await check(
            "object.metadata.labels['a'] == 'b' && authorizer.path('/x').check('get').allowed()"
        )
        == []
    )


async def test_faults_name_kind_and_place() -> None:
    (found,) = await check(
        "object.spec.replicas == 'x'", kinds=("apps", "deployments", "replicasets")
    )
    assert found["fieldRef"] == "spec.validations[0].expression"
    both = found["warning"].split("\n\n")
    assert both[0].startswith("apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching")
    assert both[1].startswith("apps/v1, Kind=ReplicaSet: ERROR")


async def test_variables_carry_types() -> None:
    variables = [{"name": "n", "expression": "object.spec.replicas"}]
    assert await check("variables.n > 1", variables=variables) == []
    assert await check("variables.n > '1'", variables=variables)


async def test_custom_kinds_and_parameters() -> None:
    assert await check("object.spec.size > 1", kinds=("example.com", "widgets")) == []
    (found,) = await check("object.spec.color == 'x'", kinds=("example.com", "widgets"))
    assert "undefined field 'color'" in found["warning"]
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    assert await check("params.data['a'] == 'b'", paramKind=kind) == []
    assert await check("params.data == 1", paramKind=kind)


async def test_what_is_not_named_outright_is_not_judged() -> None:
    assert await check("object.nope == 1", kinds=("*", "deployments")) == []
    assert await check("object.nope == 1", kinds=("apps", "*")) == []
    assert await check("object.nope == 1", kinds=("apps", "unknown")) == []
