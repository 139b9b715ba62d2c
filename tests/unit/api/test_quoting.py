"""Values in messages."""

from __future__ import annotations

import pytest

from kutter.api.quoting import Quoted, quote


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", '"a"'),
        ('é"\\', '"é\\"\\\\"'),
        ("\x01\x7f\t\v", r'"\x01\x7f\t\v"'),
        ("\u00a0\U000e0001", r'"\u00a0\U000e0001"'),
        (None, "null"),
        ([1, "a"], '[1,"a"]'),
        (Quoted("{X}"), "{X}"),
    ],
)
def test_as_go(value: object, shown: str) -> None:
    assert quote(value) == shown
