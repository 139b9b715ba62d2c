"""Semantic versions in their order."""

from __future__ import annotations

import pytest

from kutter.api.semver import ZERO, key_of


def test_the_order() -> None:
    texts = ["0.0.0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0"]
    keys = [key_of(text) for text in [*texts, "1.2.0", "1.10.0"]]
    assert None not in keys
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)
    assert key_of("1.0.0+one") == key_of("1.0.0+two")
    assert key_of("0.0.0") == ZERO


@pytest.mark.parametrize("text", ["", "1", "1.2", "v1.2.3", "1.02.3", "1.2.3-01", "1.2.3 "])
def test_what_is_none(text: str) -> None:
    assert key_of(text) is None
