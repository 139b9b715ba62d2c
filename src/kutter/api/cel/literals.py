"""Literals that can only fail: patterns, times and durations that are none, told beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kutter.api.cel.errors import EvaluationError, Issue
from kutter.api.cel.library.conversions import to_duration, to_timestamp
from kutter.api.cel.library.regex import matches
from kutter.api.cel.syntax import (
    Call,
    Comprehension,
    CreateList,
    CreateMap,
    CreateObject,
    Expression,
    Literal,
    Select,
)

_CHECKS: dict[str, Callable[[str], object]] = {
    "duration": to_duration,
    "timestamp": to_timestamp,
    "matches": lambda pattern: matches("", pattern),
}


def walk(node: Expression) -> Iterator[Expression]:
    """All nodes of a tree, parents first."""
    yield node
    children: list[Expression] = []
    match node:
        case Select():
            children = [node.operand]
        case Call():
            children = [*([node.target] if node.target is not None else []), *node.arguments]
        case CreateList():
            children = node.elements
        case CreateMap():
            children = [part for key, value, _ in node.entries for part in (key, value)]
        case CreateObject():
            children = [value for _, _, value, _ in node.entries]
        case Comprehension():
            children = [node.range, node.initial, node.condition, node.step, node.result]
        case _:
            pass
    for child in children:
        yield from walk(child)


def find_literal_issues(tree: Expression) -> list[Issue]:
    """Constant arguments that no run can accept."""
    issues = []
    for node in walk(tree):
        if not isinstance(node, Call) or not node.arguments:
            continue
        check, argument = _CHECKS.get(node.function), node.arguments[-1]
        if check is None or not isinstance(argument, Literal) or type(argument.value) is not str:
            continue
        try:
            check(argument.value)
        except EvaluationError:
            issues.append(Issue(argument.offset, f"invalid {node.function} argument"))
    return issues
