"""How long compiling and evaluating expressions takes, in microseconds.

PYTHONPATH=src python bench/cel.py
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

from kutter.api.cel.kubernetes import environment
from kutter.api.cel.objects import type_of_schema
from kutter.api.custom.expressions import compile_rules, find_rule_errors

ROUNDS = 7
NAME = {"type": "string", "maxLength": 63}
PORT: dict[str, Any] = {
    "type": "object",
    "properties": {"name": NAME, "number": {"type": "integer"}},
}
SPEC: dict[str, Any] = {
    "type": "object",
    "properties": {
        "replicas": {"type": "integer"},
        "max": {"type": "integer"},
        "name": NAME,
        "since": {"type": "string", "format": "date-time"},
        "ports": {"type": "array", "items": PORT, "maxItems": 100},
        "labels": {"type": "object", "additionalProperties": NAME, "maxProperties": 20},
    },
    "x-kubernetes-validations": [
        {"rule": "self.replicas <= self.max"},
        {"rule": "self.name == oldSelf.name"},
        {"rule": "self.ports.all(p, p.number > 0 && p.number < 65536)"},
    ],
}
TREE: dict[str, Any] = {
    "replicas": 3,
    "max": 5,
    "name": "example",
    "since": "2026-01-01T00:00:00Z",
    "ports": [{"name": f"p{i}", "number": 8000 + i} for i in range(10)],
    "labels": {f"l{i}": "value" for i in range(5)},
}
TEXTS = (
    "self.replicas <= self.max",
    "self.replicas <= self.max && self.replicas > 0",
    "self.name == oldSelf.name",
    "self.name.matches('^[a-z]+$')",
    "self.since < timestamp('2030-01-01T00:00:00Z')",
    "self.ports.all(p, p.number > 0 && p.number < 65536)",
    "self.ports.map(p, p.name).exists_one(n, n == 'p3')",
    "self.labels.all(k, k.startsWith('l'))",
    "quantity('1Gi').isGreaterThan(quantity('500Mi'))",
)


def best(call: Callable[[], Any], calls: int) -> float:
    call()
    found = []
    for _ in range(ROUNDS):
        gc.collect()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        found.append((time.perf_counter() - start) / calls)
    return min(found) * 1e6


def main() -> None:
    kind = type_of_schema(SPEC)
    assert kind is not None
    env = environment({"self": kind, "oldSelf": kind})
    bindings = {"self": TREE, "oldSelf": TREE}
    print(f"{'compile':>9} {'evaluate':>9} {'cost':>6}  expression (us)")
    for text in TEXTS:
        program = env.compile(text)
        compiling = best(lambda text=text: env.compile(text), 50)
        running = best(lambda program=program: program.evaluate(bindings), 2000)
        cost = program.run(bindings)[1]
        print(f"{compiling:9.0f} {running:9.2f} {cost:6}  {text}")
    schema = {"type": "object", "properties": {"spec": SPEC}}
    rules = compile_rules(schema, root=True)
    assert rules is not None
    document = {"metadata": {"name": "a"}, "spec": TREE}
    changed = {"metadata": {"name": "a"}, "spec": dict(TREE)}
    update = best(lambda: find_rule_errors(rules, document, changed), 500)
    print(f"an update judged by {len(SPEC['x-kubernetes-validations'])} rules: {update:.1f} us")


if __name__ == "__main__":
    main()
