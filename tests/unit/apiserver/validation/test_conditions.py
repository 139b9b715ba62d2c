"""Typed conditions, in upstream's words."""

from __future__ import annotations

from typing import Any

import pytest

from kutter.apiserver.validation.conditions import validate_conditions


def condition(**more: Any) -> dict[str, Any]:
    return {
        "type": "Ready",
        "status": "True",
        "reason": "AllFine",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        **more,
    }


def errors(*conditions: dict[str, Any]) -> list[str]:
    return [str(error) for error in validate_conditions(list(conditions), "c")]


def test_good_ones() -> None:
    assert errors(condition(), condition(type="example.com/Other", reason="a_b,c:d")) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": ""}, "c[0].type: Invalid value"),
        ({"status": "Maybe"}, 'c[0].status: Unsupported value: "Maybe"'),
        ({"observedGeneration": -1}, "must be greater than or equal to zero"),
        ({"lastTransitionTime": None}, "c[0].lastTransitionTime: Required value"),
        ({"reason": ""}, "c[0].reason: Required value"),
        ({"reason": "1x"}, "a condition reason must start with alphabetic character"),
        ({"reason": "a" * 1025}, "c[0].reason: Too long: may not be more than 1024 bytes"),
        ({"message": "a" * 32769}, "c[0].message: Too long: may not be more than 32768 bytes"),
    ],
)
def test_bad_ones(change: dict[str, Any], said: str) -> None:
    found = errors(condition(**change))
    assert any(said in text for text in found), found


def test_each_type_is_there_once() -> None:
    assert errors(condition(), condition()) == ['c[1].type: Duplicate value: "Ready"']
