"""Semantic versions: ``semver('1.2.3').isLessThan(semver('1.10.0'))``.

Upstream: https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-semver-library
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kutter.api.cel.declarations import Library, Overload
from kutter.api.cel.errors import EvaluationError
from kutter.api.cel.library.costs import by_target, estimate_parsing
from kutter.api.cel.types import BOOL, INT, STRING, Type, opaque
from kutter.api.cel.values import Opaque
from kutter.api.semver import read_semver, sort_key

SEMVER = opaque("kubernetes.Semver")


class Version(Opaque):
    """``key`` sorts as versions do; builds do not count."""

    __slots__ = ("key", "numbers")
    cel_type = SEMVER

    def __init__(self, numbers: tuple[int, ...], labels: str) -> None:
        self.numbers = numbers
        self.key = sort_key(numbers, labels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def _parse(text: str, normalize: bool = False) -> Version:
    found = read_semver(_normal(text) if normalize else text)
    if found is None:
        raise EvaluationError(_problem(text))
    return Version(*found)


def _problem(text: str) -> str:
    if not text:
        return "Version string empty"
    parts = text.split(".", 2)
    if len(parts) < 3:
        return "No Major.Minor.Patch elements found"
    for part in parts[:2]:
        if not part.isdigit():
            return f'Invalid character(s) found in number "{part}"'
        if len(part) > 1 and part.startswith("0"):
            return f'Number must not contain leading zeroes "{part}"'
    return f'Invalid character(s) found in version "{text}"'


def _normal(text: str) -> str:
    parts = text.removeprefix("v").split(".", 2)
    for index, part in enumerate(parts):
        if len(part) > 1:
            bare = part.lstrip("0")
            parts[index] = bare if bare[:1].isdigit() else f"0{bare}"
    if len(parts) < 3:
        if any(char in parts[-1] for char in "+-"):
            text = "short version cannot contain PreRelease/Build meta data"
            raise EvaluationError(text)
        parts += ["0"] * (3 - len(parts))
    return ".".join(parts)


def _is_semver(text: str, normalize: bool = False) -> bool:
    try:
        _parse(text, normalize)
    except EvaluationError:
        return False
    return True


def _compare(one: Version, other: Version) -> int:
    return (one.key > other.key) - (one.key < other.key)


def _read(id: str, result: Type, code: Callable[..., Any], *more: Type) -> Overload:
    return Overload(id, (STRING, *more), result, code, cost=by_target, estimate=estimate_parsing)


def _ask(id: str, result: Type, code: Callable[..., Any], *more: Type) -> tuple[Overload, ...]:
    return (Overload(id, (SEMVER, *more), result, code, member=True),)


VERSIONS = Library(
    "kubernetes.Semver",
    functions={
        "semver": (
            _read("string_to_semver", SEMVER, _parse),
            _read("string_bool_to_semver", SEMVER, _parse, BOOL),
        ),
        "isSemver": (
            _read("is_semver_string", BOOL, _is_semver),
            _read("is_semver_string_bool", BOOL, _is_semver, BOOL),
        ),
        "isGreaterThan": _ask(
            "semver_is_greater_than", BOOL, lambda a, b: _compare(a, b) > 0, SEMVER
        ),
        "isLessThan": _ask("semver_is_less_than", BOOL, lambda a, b: _compare(a, b) < 0, SEMVER),
        "compareTo": _ask("semver_compare_to", INT, _compare, SEMVER),
        "major": _ask("semver_major", INT, lambda v: v.numbers[0]),
        "minor": _ask("semver_minor", INT, lambda v: v.numbers[1]),
        "patch": _ask("semver_patch", INT, lambda v: v.numbers[2]),
    },
    types={"kubernetes.Semver": SEMVER},
)
