"""Whatever the schema lets pass, a kind answers for: with field errors, never with a crash."""

from __future__ import annotations

import copy
import random
from typing import Any

import orjson
import pytest
from tests.unit.apiserver.kinds.samples import NOW, context

from kutter.api.catalog import BUILTIN
from kutter.api.resources import Resource
from kutter.api.schema import Node, schema_for
from kutter.apiserver.kinds.registry import Kinds
from kutter.apiserver.printing.registry import printer_for

_TEXTS = (
    "", "a", "web", "A b", "x" * 300, "a/b", "example.com/x", "10.0.0.1", "10.0.0.0/8", "None",
    "Always", "Never", "RollingUpdate", "ClusterIP", "NodePort", "LoadBalancer", "ExternalName",
    "TCP", "Exists", "In", "50%", "*", "../x", "/abs", "Local", "Container", "Pod", "ClientIP",
    "Indexed", "Resource", "Utilization", "IPv4", "é", "DoNotSchedule", "* * * * *", "Limited",
)  # fmt: skip
_NUMBERS = (0, 1, -1, 30, 80, 65536, 2**31 - 1)
_QUANTITIES = ("0", "1", "-1", "100m", "1Gi", "1.5", "2e3")


def _made(node: Node, rng: random.Random, depth: int = 0) -> Any:
    match node.type:
        case "object":
            tree = {}
            for name, field in node.fields.items():
                wanted = 0.9 if depth < 2 else 0.35 if depth < 6 else 0.1
                if rng.random() < wanted and depth < 12:
                    tree[name] = _made(field, rng, depth + 1)
            return tree
        case "map":
            keys = rng.sample(["cpu", "memory", "a", "a b", "storage", "hugepages-2Mi"], 2)
            assert node.items is not None
            return {key: _made(node.items, rng, depth + 1) for key in keys}
        case "list":
            assert node.items is not None
            return [_made(node.items, rng, depth + 1) for _ in range(rng.randrange(3))]
        case "string":
            return rng.choice(_TEXTS)
        case "boolean":
            return rng.random() < 0.5
        case "int32" | "int64":
            return rng.choice(_NUMBERS)
        case "double":
            return 1.5
        case "byte":
            return "eA=="
        case "time":
            return "2026-01-01T00:00:00Z"
        case "microtime":
            return "2026-01-01T00:00:00.000000Z"
        case "quantity":
            return rng.choice(_QUANTITIES)
        case "intstr":
            return rng.choice((0, 80, "http", "25%", "-"))
        case _:
            return {"a": 1}


@pytest.mark.parametrize("of", BUILTIN, ids=lambda r: f"{r.plural}.{r.group}.{r.version}")
def test_any_typed_object_is_answered(of: Resource) -> None:
    schema = schema_for(of.group, of.version, of.kind)
    if schema is None:
        pytest.fail(f"no schema for {of.kind}")
    kind, printer = Kinds().strategy_for(of), printer_for(of)
    rng = random.Random(f"{of.group}/{of.plural}")
    previous: dict[str, Any] | None = None
    for _ in range(30):
        tree = _made(schema.node, rng)
        tree |= {"apiVersion": of.api_version, "kind": of.kind}
        metadata = {"name": "web", "uid": "u", "labels": {"a": "b"}}
        tree["metadata"] = metadata | ({"namespace": "default"} if of.namespaced else {})
        schema.clean(tree)
        kind.default(tree)
        once = copy.deepcopy(tree)
        kind.default(tree)
        assert tree == once, "defaults settle at once"
        old = copy.deepcopy(tree)
        kind.prepare_for_create(context(), tree)
        kind.validate_create(context(), tree)
        kind.warnings(context(), tree, None)
        kind.selectable_fields(tree)
        kind.select_fields(orjson.dumps(tree))
        kind.grace_period_s(tree, None)
        if printer is not None:
            assert len(printer.cells(tree, NOW)) == len(printer.columns)
            orjson.dumps(printer.cells(tree, NOW))
        if previous is not None:
            kind.validate_status_update(context(), copy.deepcopy(old), previous)
            for part in ("resize", "ephemeralcontainers"):
                kind.validate_part_update(context(), part, copy.deepcopy(old), previous)
            kind.prepare_for_update(context(), old, previous)
            kind.validate_update(context(), old, previous)
            kind.warnings(context(), old, previous)
        previous = tree
