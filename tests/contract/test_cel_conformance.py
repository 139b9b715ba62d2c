"""The language against the specification's own tests (google/cel-spec)."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from tests.cel_spec import Case, TypeNamed, load_cases, type_of_message, value_of

from kutter.api.cel.declarations import Library, Overload
from kutter.api.cel.environment import Environment
from kutter.api.cel.errors import CelError, CompileError
from kutter.api.cel.kubernetes import libraries
from kutter.api.cel.macros import BINDINGS
from kutter.api.cel.types import Type
from kutter.api.cel.values import equal

# Everything that is not run, and why. Each pattern must match something.
EXCLUDED = {
    r"proto2|proto2_ext|proto3|enums|wrappers|dynamic": "protobuf messages and enums",
    r"math_ext|encoders_ext|block_ext": "extensions Kubernetes has not",
}
# Where cel-go, whose behaviour is Kubernetes', is not what the specification's tests want.
UNLIKE_CEL_GO = {
    "string_ext/value_errors/indexof_out_of_range": "a start beyond the end finds nothing",
    "string_ext/value_errors/lastindexof_out_of_range": "a start beyond the end finds nothing",
}
_PROTOBUF = re.compile(
    r"TestAllTypes|NestedEnum|GlobalEnum|object_value|enum_value|google\.protobuf\.(?!Timestamp'|"
    r"Duration'|Timestamp$|Duration$)|'wrapper'|google\.(rpc|type)|expr\.proto"
)


def _excluded(case: Case) -> str:
    if case.id in UNLIKE_CEL_GO:
        return UNLIKE_CEL_GO[case.id]
    file = case.id.split("/")[0]
    for pattern, reason in EXCLUDED.items():
        if re.fullmatch(pattern, file):
            return reason
    if case.one("disable_check") == "true" and "eval_error" not in case.message:
        return "runs unchecked, which Kubernetes never does"
    text = case.text + case.all_text.replace("google.protobuf.Timestamp", "").replace(
        "google.protobuf.Duration", ""
    )
    return "protobuf messages and enums" if _PROTOBUF.search(text) else ""


ALL = load_cases()
RUN = [case for case in ALL if not _excluded(case)]


def _environment(case: Case) -> Environment:
    variables: dict[str, Type] = {}
    functions: dict[str, tuple[Overload, ...]] = {}
    for declaration in case.message.get("type_env", []):
        name = str(declaration["name"][0], "utf-8")
        if "ident" in declaration:
            variables[name] = type_of_message(declaration["ident"][0]["type"][0])
            continue
        for one in declaration["function"][0]["overloads"]:
            params = tuple(type_of_message(p) for p in one.get("params", []))
            overload = Overload(
                str(one["overload_id"][0], "utf-8"),
                params,
                type_of_message(one["result_type"][0]),
                lambda *_: None,
                member=one.get("is_instance_function", ["false"])[0] == "true",
            )
            functions[name] = (*functions.get(name, ()), overload)
    return Environment(
        variables,
        (*libraries(), Library("bindings", macros=BINDINGS), Library("case", functions=functions)),
        container=str(case.one("container", b""), "utf-8"),
        homogeneous=False,
        quoted_names=True,
    )


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, TypeNamed):
        return isinstance(found, Type) and found.name == wanted.name
    if isinstance(found, float) and isinstance(wanted, float) and math.isnan(wanted):
        return math.isnan(found)
    return (type(found) is type(wanted) and found == wanted) or equal(found, wanted)


@pytest.mark.parametrize("case", RUN, ids=[case.id for case in RUN])
def test_case(case: Case) -> None:
    environment = _environment(case)
    bindings = {}
    for entry in case.message.get("bindings", []):
        bindings[str(entry["key"][0], "utf-8")] = value_of(entry["value"][0]["value"][0])
    fails = "eval_error" in case.message
    try:
        program = environment.compile(case.text)
    except CompileError:
        # Kubernetes checks everything, so what would fail when run may fail before.
        assert fails, case.text
        return
    deduced = case.one("typed_result", {}).get("deduced_type")
    if deduced:
        assert str(program.result) == str(type_of_message(deduced[0])), case.text
    if case.one("check_only") == "true":
        return
    if fails:
        with pytest.raises(CelError):
            program.evaluate(bindings)
        return
    result = case.one("value") or case.one("typed_result", {}).get("result", [None])[0]
    wanted = value_of(result) if result else True
    found = program.evaluate(bindings)
    assert _same(found, wanted), f"{case.text}: {found!r} is not {wanted!r}"


def test_most_of_the_data_is_run() -> None:
    """The exclusions do not eat the suite, and none of them is stale."""
    assert len(RUN) > 1200
    for pattern in EXCLUDED:
        assert any(re.fullmatch(pattern, case.id.split("/")[0]) for case in ALL), pattern
    assert {case.id for case in ALL} >= UNLIKE_CEL_GO.keys()
