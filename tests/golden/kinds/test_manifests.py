"""The manifests every tutorial starts with, in the form an upstream server stores them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.apiserver.fake_reader import FakeReader
from tests.unit.apiserver.kinds.samples import context, resource

from kutter.api.schema import schema_for
from kutter.apiserver.kinds.registry import Kinds

_HERE = Path(__file__).parent
_UID = "11111111-2222-3333-4444-555555555555"


async def _stored(tree: dict[str, Any], plural: str) -> dict[str, Any]:
    of = resource(plural)
    kind = Kinds().strategy_for(of)
    schema = schema_for(of.group, of.version, of.kind)
    assert schema is not None
    schema.clean_strict(tree)
    tree["apiVersion"] = of.api_version
    tree["metadata"]["namespace"] = "default"
    look = context(FakeReader())
    kind.default(tree)
    tree["metadata"] |= {"uid": _UID, "creationTimestamp": "2026-01-02T03:04:05Z"}
    if kind.generation_paths:
        tree["metadata"]["generation"] = 1
    kind.prepare_for_create(look, tree)
    assert kind.validate_create(look, tree) == []
    kind.canonicalize(tree)
    finish = await kind.begin_create(look, tree)
    if finish is not None:
        await finish(True)
    return tree


@pytest.mark.parametrize(
    ("name", "plural"), [("pod", "pods"), ("deployment", "deployments"), ("service", "services")]
)
async def test_stored_form(name: str, plural: str) -> None:
    tree = yaml.safe_load((_HERE / f"nginx-{name}.yaml").read_text())
    found = await _stored(tree, plural)
    if name == "service":
        # Taken at random from their ranges.
        address, port = found["spec"]["clusterIP"], found["spec"]["ports"][0]["nodePort"]
        assert found["spec"]["clusterIPs"] == [address]
        found["spec"] |= {"clusterIP": "10.43.7.7", "clusterIPs": ["10.43.7.7"]}
        assert 30086 <= port <= 32767
        found["spec"]["ports"][0]["nodePort"] = 31234
    assert found == json.loads((_HERE / f"nginx-{name}.stored.json").read_text())
