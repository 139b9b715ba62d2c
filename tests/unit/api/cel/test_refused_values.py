"""What evaluation says of values an operation is not for, as v1.36's server tells in refusals."""

from __future__ import annotations

import pytest

from kutter.api.cel.errors import EvaluationError
from kutter.api.cel.kubernetes import environment
from kutter.api.cel.types import DYN

ENV = environment({"object": DYN, "oldObject": DYN})
VALUES = {"object": {"data": {"a": "1"}}, "oldObject": None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("object.data.a.b == 1", "no such key: b"),
        ("object.data.a['b'] == 1", "no such key: b"),
        ("object.data.a[0] == 'x'", "no such key: 0"),
        ("object.data[0] == 'x'", "no such key: 0"),
        ("oldObject.data.a == '1'", "no such key: data"),
        ("dyn(true).x == 1", "no such key: x"),
        ("dyn([1]).x == 1", "unsupported index type 'string' in list"),
        ("dyn('abc')[0] == 'a'", "no such key: 0"),
        ("object.data + object.data == 1", "no such overload: _+_"),
        ("dyn(null) + dyn(1) == dyn(1)", "no such overload: _+_"),
        ("object.data > object.data", "no such overload: _>_"),
        ("object.data < 1", "no such overload: _<_"),
        ("object.data.a > 3", "no such overload"),
        ("object.data.a * 2 == 2", "no such overload"),
        ("!dyn(1)", "no such overload"),
        ("int(object.data) == 1", "no such overload: int(map)"),
        ("string(object.data) == 'x'", "no such overload: string(map)"),
        ("object.data.a.all(k, true)", "got 'types.String', expected iterable type"),
        (
            "cidr(object.data.a).prefixLength() == 4",
            (
                "network address parse error during conversion from string: network address parse "
                "error during conversion from string: netip.ParsePrefix(\"1\"): no '/'"
            ),
        ),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        ENV.compile(text).evaluate(VALUES)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["has(object.data.a.y)", "has(oldObject.data)", "has(object.x)"])
def test_what_holds_nothing_has_nothing(text: str) -> None:
    assert ENV.compile(text).evaluate(VALUES) is False
