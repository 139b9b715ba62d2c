"""The environment as its callers use it: compile, evaluate, costs and the texts of errors."""

from __future__ import annotations

import pytest

from kutter.api.cel.errors import (
    BudgetExceeded,
    CompileError,
    EvaluationError,
    ResultTypeError,
)
from kutter.api.cel.kubernetes import environment
from kutter.api.cel.types import BOOL, DYN, INT, STRING, Field, list_of, object_type

SELF = object_type(
    "object",
    {
        "replicas": Field("replicas", INT),
        "max": Field("max", INT),
        "names": Field("names", list_of(STRING)),
    },
)
ENV = environment({"self": SELF, "any": DYN})
TREE = {"replicas": 3, "max": 5, "names": ["a", "b"]}


def run(text: str, **bindings: object) -> object:
    return ENV.compile(text).evaluate({"self": TREE, "any": None, **bindings})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("self.replicas <= self.max", True),
        ("self.names.all(n, n.startsWith('a') || n == 'b')", True),
        ("self.names.map(n, n + '!')", ["a!", "b!"]),
        ("has(self.max) && size(self.names) == 2", True),
        ("'a' in self.names", True),
        ("-9223372036854775808", -(2**63)),
        ("type(1) == int", True),
        ("dyn(1) == 1.0", True),
        ("any.x.y", 4),
        ("any[?'z'].orValue(7)", 7),
        ("timestamp('2020-01-01T00:00:00Z').getFullYear()", 2020),
        ("1 / 0 > 1 || true", True),
        ("true ? 'a' : 'b'", "a"),
    ],
)
def test_values(text: str, value: object) -> None:
    assert run(text, any={"x": {"y": 4}}) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "self.missing",
            "ERROR: <input>:1:5: undefined field 'missing'\n | self.missing\n | ....^",
        ),
        ("y", "ERROR: <input>:1:1: undeclared reference to 'y' (in container '')\n | y\n | ^"),
        (
            "self.replicas + 'a'",
            (
                "ERROR: <input>:1:15: found no matching overload for '_+_' applied to '(int, string)'\n"
                " | self.replicas + 'a'\n | ..............^"
            ),
        ),
        (
            "[1, 'a']",
            "ERROR: <input>:1:5: expected type 'int' but found 'string'\n | [1, 'a']\n | ....^",
        ),
        (
            "self.names.matches('(')",
            (
                "ERROR: <input>:1:19: found no matching overload for 'matches' applied to "
                "'list(string).(string)'\n | self.names.matches('(')\n | ..................^"
            ),
        ),
        (
            "duration('x') > duration('1h')",
            (
                "ERROR: <input>:1:10: invalid duration argument\n"
                " | duration('x') > duration('1h')\n | .........^"
            ),
        ),
    ],
)
def test_what_does_not_compile(text: str, message: str) -> None:
    with pytest.raises(CompileError) as caught:
        ENV.compile(text)
    assert str(caught.value) == message


def test_issues_carry_their_place() -> None:
    with pytest.raises(CompileError) as caught:
        ENV.compile("a +\n  b")
    assert [(i.line, i.column) for i in caught.value.issues] == [(1, 1), (2, 3)]


def test_the_result_must_be_of_the_expected_type() -> None:
    with pytest.raises(ResultTypeError, match="must evaluate to bool"):
        ENV.compile("self.max", BOOL)
    assert ENV.compile("any", BOOL).evaluate({"any": True}) is True


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("any.missing", "no such key: missing"),
        ("self.names[2]", "index out of bounds: 2"),
        ("self.max / 0", "division by zero"),
        ("9223372036854775807 + self.max", "integer overflow"),
        ("any + 1", "no such overload"),
    ],
)
def test_what_fails_when_it_runs(text: str, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        run(text, any={})


def test_the_budget_is_a_hard_end() -> None:
    program = ENV.compile("any.all(x, any.all(y, x + y < 100)) || true")
    with pytest.raises(BudgetExceeded) as caught:
        program.evaluate({"any": list(range(40))}, budget=1000)
    assert caught.value.cost > 1000
    value, cost = program.run({"any": list(range(40))}, budget=100_000)
    assert value is True
    assert 1000 < cost < 100_000


def test_deep_expressions_are_refused_not_crashed_on() -> None:
    for text in ("(" * 5000 + "1" + ")" * 5000, "1" + " + 1" * 5000, "[" * 300):
        with pytest.raises(CompileError):
            ENV.compile(text)
    many = " || ".join(["false"] * 3000)
    assert run(many) is False


def test_chains_of_optionals_do_not_double() -> None:
    chain = "any.?x" + ".optMap(x, x + 1)" * 40
    assert run(f"{chain}.value()", any={"x": 1}) == 41
    assert run(f"{chain}.hasValue()", any={}) is False
    assert run("any.?x.optFlatMap(x, x.?y).optMap(y, y * 2).value()", any={"x": {"y": 4}}) == 8


def test_programs_know_what_they_read() -> None:
    assert ENV.compile("self.max > 1 && [1].all(any, any > 0)").names == {"self"}


_START = (
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, "
    "STRING, BYTES, IDENTIFIER}"
)


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("1 +", [f"1:4: Syntax error: mismatched input '<EOF>' expecting {_START}"]),
        ("(1 + 2", ["1:7: Syntax error: missing ')' at '<EOF>'"]),
        ("a b", ["1:3: Syntax error: extraneous input 'b' expecting <EOF>"]),
        ("1 + 2\n3 +", ["2:1: Syntax error: mismatched input '3' expecting <EOF>"]),
        ("*a", [f"1:1: Syntax error: extraneous input '*' expecting {_START}"]),
        (
            "1 + +",
            [
                f"1:5: Syntax error: mismatched input '+' expecting {_START}",
                f"1:6: Syntax error: mismatched input '<EOF>' expecting {_START}",
            ],
        ),
        (
            "1 + $",
            [
                "1:5: Syntax error: token recognition error at: '$'",
                f"1:6: Syntax error: mismatched input '<EOF>' expecting {_START}",
            ],
        ),
        (
            "any = 42",
            [
                "1:5: Syntax error: token recognition error at: '= '",
                "1:7: Syntax error: extraneous input '42' expecting <EOF>",
            ],
        ),
        (
            "a | b",
            [
                "1:3: Syntax error: token recognition error at: '| '",
                "1:5: Syntax error: extraneous input 'b' expecting <EOF>",
            ],
        ),
        ("{'a': 1}.'a'", ["1:10: Syntax error: no viable alternative at input '.'a''"]),
        ("self.true", ["1:6: Syntax error: mismatched input 'true' expecting IDENTIFIER"]),
        (
            "[1].map(var, var)",
            [
                "1:9: reserved identifier: var",
                "1:9: argument is not an identifier",
                "1:14: reserved identifier: var",
            ],
        ),
        ("[1].all(2, true)", ["1:9: argument must be a simple name"]),
        ("has(any)", ["1:5: invalid argument to has() macro"]),
        ("9223372036854775808", ["1:1: invalid int literal"]),
        (
            "any.all(__result__, true)",
            [
                "1:9: iteration variable overwrites accumulator variable",
            ],
        ),
        ("(" * 400, ["-1:0: expression recursion limit exceeded: 250"]),
        (
            "1" * 100_001,
            [
                "-1:0: expression code point size exceeds limit: size: 100001, limit 100000",
            ],
        ),
    ],
)
def test_what_is_no_expression(text: str, messages: list[str]) -> None:
    with pytest.raises(CompileError) as caught:
        ENV.compile(text)
    found = [line for line in str(caught.value).split("\n") if line.startswith("ERROR")]
    assert found == [f"ERROR: <input>:{message}" for message in messages]
