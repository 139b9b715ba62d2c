"""What claims of devices get by default: recorded from an upstream v1.36.2 server."""

from __future__ import annotations

from typing import Any

from tests.unit.apiserver.kinds.samples import context

from kutter.api.catalog import BUILTIN
from kutter.apiserver.kinds.registry import Kinds

_CLAIM: dict[str, Any] = {
    "devices": {
        "requests": [
            {
                "name": "a",
                "exactly": {
                    "deviceClassName": "x.y",
                    "allocationMode": "All",
                    "tolerations": [{"key": "k", "effect": "NoSchedule"}],
                },
            },
            {
                "name": "b",
                "firstAvailable": [
                    {"name": "s", "deviceClassName": "x.y"},
                    {"name": "t", "deviceClassName": "x.y", "count": 3},
                ],
            },
        ]
    }
}


def made(plural: str, spec: dict[str, Any]) -> dict[str, Any]:
    resource = next(r for r in BUILTIN if r.plural == plural)
    kind = Kinds().strategy_for(resource)
    tree = {"metadata": {"name": "c"}, "spec": spec, "status": {"reservedFor": []}}
    kind.default(tree)
    kind.prepare_for_create(context(), tree)
    return tree


def test_counts_and_modes_of_every_request() -> None:
    for plural, spec in (
        ("resourceclaims", _CLAIM),
        ("resourceclaimtemplates", {"spec": _CLAIM}),
    ):
        tree = made(plural, spec)
        found = tree["spec"] if plural == "resourceclaims" else tree["spec"]["spec"]
        first, second = found["devices"]["requests"]
        assert first["exactly"]["allocationMode"] == "All"
        assert "count" not in first["exactly"]
        assert first["exactly"]["tolerations"] == [
            {"key": "k", "effect": "NoSchedule", "operator": "Equal"}
        ]
        assert [(r["allocationMode"], r["count"]) for r in second["firstAvailable"]] == [
            ("ExactCount", 1),
            ("ExactCount", 3),
        ]


def test_a_claim_begins_without_a_status_and_is_not_counted() -> None:
    tree = made("resourceclaims", _CLAIM)
    assert tree["status"] == {}
    assert "generation" not in tree["metadata"]
