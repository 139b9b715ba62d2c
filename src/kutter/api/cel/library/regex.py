"""Patterns: ``matches``, ``find``, ``findAll``. RE2's syntax, compiled once per pattern.

Upstream: https://pkg.go.dev/k8s.io/apiserver/pkg/cel/library#Regex
"""

from __future__ import annotations

from itertools import islice

from kutter.api.cel.declarations import Library, Overload
from kutter.api.cel.errors import EvaluationError
from kutter.api.cel.library.costs import by_regex, estimate_find
from kutter.api.cel.types import INT, STRING, list_of
from kutter.api.custom.patterns import PatternError, compile_pattern


def matches(text: str, pattern: str) -> bool:
    """Whether the pattern is found anywhere in the text."""
    try:
        return compile_pattern(pattern).matches(text)
    except PatternError as error:
        raise EvaluationError(str(error)) from None


def find(text: str, pattern: str) -> str:
    try:
        found = compile_pattern(pattern).find(text)
    except PatternError as error:
        raise EvaluationError(f"Illegal regex: {error}") from None
    return found or ""


def find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    try:
        found = compile_pattern(pattern).find_all(text)
    except PatternError as error:
        raise EvaluationError(f"Illegal regex: {error}") from None
    if limit == 0:
        return []
    return list(found if limit < 0 else islice(found, limit))


REGEX = Library(
    "regex",
    functions={
        "find": (
            Overload(
                "string_find_string",
                (STRING, STRING),
                STRING,
                find,
                member=True,
                cost=by_regex,
                estimate=estimate_find,
            ),
        ),
        "findAll": (
            Overload(
                "string_find_all_string",
                (STRING, STRING),
                list_of(STRING),
                find_all,
                member=True,
                cost=by_regex,
                estimate=estimate_find,
            ),
            Overload(
                "string_find_all_string_int",
                (STRING, STRING, INT),
                list_of(STRING),
                find_all,
                member=True,
                cost=by_regex,
                estimate=estimate_find,
            ),
        ),
    },
)
