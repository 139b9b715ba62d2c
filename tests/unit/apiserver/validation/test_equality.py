"""Absent, empty and zero: what means the same, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from kutter.apiserver.validation.equality import equal


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"a": []}, {}),
        ({"a": None}, {"a": {}}),
        ({"hostNetwork": False}, {}),
        ([{"env": [], "stdin": False}], [{}]),
        (None, {}),
        ({"value": ""}, {}),
    ],
)
def test_same(a: Any, b: Any) -> None:
    assert equal(a, b)
    assert equal(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"a": 1}, {"a": 2}),
        ({"automountServiceAccountToken": False}, {}),
        ({"a": [1]}, {"a": [1, 1]}),
        ({"a": 0}, {}),
        ([], [1]),
        ({"hostNetwork": True}, {}),
    ],
)
def test_different(a: Any, b: Any) -> None:
    assert not equal(a, b)
    assert not equal(b, a)
