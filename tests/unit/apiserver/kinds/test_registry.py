"""What holds for every kind: samples are valid, defaults settle, no change is no offence."""

from __future__ import annotations

import copy

import pytest
from tests.unit.apiserver.kinds.samples import BODIES, context, sample, stored, strategy

from kutter.api.catalog import BUILTIN, OPTIONAL
from kutter.api.schema import schema_for
from kutter.apiserver.kinds import registry
from kutter.apiserver.kinds.registry import Kinds, strategy_for


def test_every_entry_names_a_served_resource() -> None:
    served = {(r.group, r.plural) for r in (*BUILTIN, *OPTIONAL)}
    assert set(registry._KINDS) <= served


def test_every_kind_with_rules_has_a_sample() -> None:
    assert {plural for _, plural in registry._KINDS} | {"services"} == set(BODIES)


@pytest.mark.parametrize("plural", BODIES)
def test_defaulting_twice_changes_nothing(plural: str) -> None:
    tree = sample(plural)
    kind = strategy(plural)
    kind.default(tree)
    once = copy.deepcopy(tree)
    kind.default(tree)
    assert tree == once


@pytest.mark.parametrize("plural", BODIES)
def test_an_unchanged_object_may_be_written_again(plural: str) -> None:
    old = stored(plural)
    new = copy.deepcopy(old)
    kind = strategy(plural)
    kind.default(new)
    kind.prepare_for_update(context(), new, old)
    assert kind.validate_update(context(), new, old) == []
    assert new == old
    kind.prepare_for_status_update(context(), new, old)
    assert kind.validate_status_update(context(), new, old) == []


@pytest.mark.parametrize("plural", BODIES)
def test_defaults_are_fields_the_schema_knows(plural: str) -> None:
    tree = stored(plural)
    kind = strategy(plural)
    schema = schema_for(kind.resource.group, kind.resource.version, kind.resource.kind)
    assert schema is not None
    assert schema.clean(copy.deepcopy(tree), report=True) == []


@pytest.mark.parametrize("plural", BODIES)
def test_bad_names_and_namespaces_are_refused(plural: str) -> None:
    tree = stored(plural)
    kind = strategy(plural)
    tree["metadata"]["name"] = "a/b"
    paths = {e.path for e in kind.validate_create(context(), tree)}
    assert "metadata.name" in paths
    tree = stored(plural)
    if kind.resource.namespaced:
        del tree["metadata"]["namespace"]
    else:
        tree["metadata"]["namespace"] = "default"
    paths = {e.path for e in kind.validate_create(context(), tree)}
    assert "metadata.namespace" in paths


@pytest.mark.parametrize("resource", [*BUILTIN, *OPTIONAL], ids=lambda r: f"{r.plural}.{r.group}")
def test_field_labels_are_answered(resource) -> None:
    kind = strategy_for(resource)
    assert set(kind.field_labels) <= set(kind.selectable_fields({})) | {"name"}


def test_plain_kinds_require_what_the_schema_requires() -> None:
    resource = next(r for r in (*BUILTIN, *OPTIONAL) if r.plural == "resourceslices")
    kind = Kinds().strategy_for(resource)
    tree = {"metadata": {"name": "x"}, "spec": {"pool": {"generation": 1}}}
    errors = [str(e) for e in kind.validate_create(context(), tree)]
    assert "spec.driver: Required value" in errors
    assert "spec.pool.name: Required value" in errors
