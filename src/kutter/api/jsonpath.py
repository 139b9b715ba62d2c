r"""JSONPath templates as kubectl reads them: ``{.items[*].metadata.name}``.

Text stays text; between braces stand paths (fields, indexes, slices, unions, ``*``, ``..``,
filters ``[?(@.x=="y")]``), quoted text, numbers, and ``{range path}...{end}``. A dot in a field is
escaped, ``.a\.b``, or the field is quoted, ``['a.b']`` (kubectl wants the escape there too; it is
taken, not needed). Results of one pair of braces are joined by a space.
Upstream: https://kubernetes.io/docs/reference/kubectl/jsonpath/
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec
import orjson

Values = list[Any]
Step = Callable[[Values, bool], Values]

_OPERATORS = {"==", "!=", "<", ">", "<=", ">="}
_filter_parts = re.compile(r"([^!<>=]+)([!<>=~]+)(.+)", re.DOTALL).fullmatch
_slice_parts = re.compile(r"(-?\d*)(:-?\d*)?(:-?\d*)?").fullmatch
_quoted_key = re.compile(r"'([^']*)'|\"([^\"]*)\"").fullmatch
_number = re.compile(r"[+-]?[\d.]+").match
_relaxed = re.compile(r"\{?\.?([^{}]+)\}?").fullmatch
_TERMINATORS = frozenset(" \t\r\n.,[]$@{}")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class JSONPathError(ValueError):
    """The template is wrong, or does not fit the data; the message is kubectl's."""


class _Text(msgspec.Struct, frozen=True):
    text: str


class _Path(msgspec.Struct, frozen=True):
    steps: tuple[Step, ...]


class _Range(msgspec.Struct, frozen=True):
    steps: tuple[Step, ...]
    body: tuple[_Part, ...]


_Part = _Text | _Path | _Range


class JSONPath:
    """A parsed template. ``allow_missing``: an absent field is no result instead of an error."""

    def __init__(self, text: str, *, allow_missing: bool = True) -> None:
        self._parts = _parse(text)
        self._allow_missing = allow_missing

    def find(self, data: Any) -> list[Values]:
        """One list of results per piece of text and pair of braces. Raises JSONPathError."""
        found: list[Values] = []
        self._collect(self._parts, data, found)
        return found

    def values(self, data: Any) -> Values:
        """All results, flat; for templates that are one path. Raises JSONPathError."""
        return [value for group in self.find(data) for value in group]

    def render(self, data: Any) -> str:
        """The text kubectl prints. Raises JSONPathError."""
        return "".join(" ".join(value_text(v) for v in group) for group in self.find(data))

    def _collect(self, parts: tuple[_Part, ...], data: Any, found: list[Values]) -> None:
        for part in parts:
            match part:
                case _Text(text):
                    found.append([text])
                case _Path(steps):
                    found.append(_walk(steps, [data], self._allow_missing))
                case _Range(steps, body):
                    for value in _walk(steps, [data], self._allow_missing):
                        self._collect(body, value, found)


def relaxed(text: str) -> str:
    """What ``custom-columns`` and ``--sort-by`` take: ``metadata.name`` → ``{.metadata.name}``.

    Raises JSONPathError.
    """
    match = _relaxed(text)
    if match is None:
        raise JSONPathError(
            f"unexpected path string, expected a 'name1.name2' or '.name1.name2' or "
            f"'{{name1.name2}}' or '{{.name1.name2}}', got {text!r}"
        )
    return f"{{.{match[1]}}}" if not match[1].startswith("[") else f"{{{match[1]}}}"


def value_text(value: Any) -> str:
    """One result as kubectl prints it: scalars bare, lists and maps as JSON."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case dict() | list():
            text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
            # Go's encoder escapes what could end a script element.
            return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
        case _:
            return repr(value)


def _walk(steps: tuple[Step, ...], values: Values, allow_missing: bool) -> Values:
    for step in steps:
        values = step(values, allow_missing)
    return values


@lru_cache(maxsize=256)
def _parse(text: str) -> tuple[_Part, ...]:
    return _Parser(text).template()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def template(self) -> tuple[_Part, ...]:
        open_ranges: list[tuple[tuple[Step, ...], list[_Part]]] = []
        parts: list[_Part] = []
        while self._at < len(self._text):
            brace = self._text.find("{", self._at)
            if brace != self._at:
                end = brace if brace >= 0 else len(self._text)
                parts.append(_Text(self._text[self._at : end]))
                self._at = end
                continue
            self._at += 1
            word, steps = self._action()
            if word == "range":
                open_ranges.append((steps, parts))
                parts = []
            elif word == "end":
                if not open_ranges:
                    raise JSONPathError("not in range, nothing to end")
                range_steps, outer = open_ranges.pop()
                outer.append(_Range(range_steps, tuple(parts)))
                parts = outer
            else:
                parts.append(_Path(steps))
        while open_ranges:  # kubectl does not insist on {end}
            range_steps, outer = open_ranges.pop()
            outer.append(_Range(range_steps, tuple(parts)))
            parts = outer
        return tuple(parts)

    def _action(self) -> tuple[str, tuple[Step, ...]]:
        """What stands between braces: ``range`` or ``end`` if it says so, and the steps."""
        word = ""
        steps: list[Step] = []
        while True:
            character = self._text[self._at : self._at + 1]
            if character in ("", "\n", "\r"):
                raise JSONPathError("unclosed action")
            self._at += 1
            if character == "}":
                return word, tuple(steps)
            if character in " @$":
                continue
            if character == ".":
                steps.extend(self._field_or_descent())
            elif character == "[":
                steps.append(self._brackets())
            elif character in "\"'":
                steps.append(_constant(self._quoted(character)))
            elif character in "+-" or character.isdigit():
                steps.append(_constant(self._literal_number()))
            elif character == "_" or character.isalpha():
                self._at -= 1
                name = self._name()
                if name in ("true", "false"):
                    steps.append(_constant(name == "true"))
                elif name in ("range", "end"):
                    word = name
                else:
                    raise JSONPathError(f"unrecognized identifier {name}")
            else:
                raise JSONPathError(
                    f"unrecognized character in action: U+{ord(character):04X} '{character}'"
                )

    def _field_or_descent(self) -> list[Step]:
        if self._text[self._at : self._at + 1] != ".":
            name = self._name()
            return [_every] if name == "*" else [_field(name)]
        self._at += 1
        if self._text[self._at : self._at + 1] == ".":
            raise JSONPathError("invalid multiple recursive descent")
        following = self._text[self._at : self._at + 1]
        if following == "*":
            self._at += 1
            return [_descend, _every]
        if following == "_" or following.isalnum():
            # Below a descent a field is looked for everywhere and need not be anywhere.
            return [_descend, _field(self._name(), optional=True)]
        return [_descend]

    def _name(self) -> str:
        name = []
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "\\":
                self._at += 1
                character = self._text[self._at : self._at + 1]
            elif character in _TERMINATORS:
                break
            name.append(character)
            self._at += 1
        return "".join(name)

    def _literal_number(self) -> float:
        match = _number(self._text, self._at - 1)
        assert match is not None or self._text[self._at - 1] in "+-", "a digit or a sign is here"
        text = match[0] if match else self._text[self._at - 1]
        self._at += len(text) - 1
        for read in (int, float):
            try:
                number: float = read(text)
            except ValueError:
                continue
            return number
        raise JSONPathError(f"cannot parse number {text}")

    def _quoted(self, quote: str) -> str:
        out: list[str] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            self._at += 1
            if character == quote:
                return "".join(out)
            if character == "\\":
                character = self._text[self._at : self._at + 1]
                self._at += 1
                character = _ESCAPES.get(character, character)
            elif character == "\n":
                break
            out.append(character)
        raise JSONPathError("unterminated quoted string")

    def _brackets(self) -> Step:
        if self._text.startswith("?(", self._at):
            return self._filter()
        end = self._closing("]")
        if end < 0:
            raise JSONPathError("unterminated array")
        inside = self._text[self._at : end]
        self._at = end + 1
        parts = _split_union(inside)
        if len(parts) == 1:
            return _element(parts[0].strip())
        return _union([_element(part.strip()) for part in parts])

    def _filter(self) -> Step:
        self._at += 2
        end = self._closing(")]")
        if end < 0:
            raise JSONPathError("unterminated filter")
        inside = self._text[self._at : end]
        self._at = end + 2
        parts = _filter_parts(inside)
        if parts is None:
            return _exists(_only_path(inside))
        left, operator, right = parts.groups()
        if operator not in _OPERATORS:
            raise JSONPathError(f"unrecognized filter operator {operator}")
        return _compare(_only_path(left), operator, _only_path(right))

    def _closing(self, ending: str) -> int:
        """Where ``ending`` stands next outside of quotes; -1 if nowhere."""
        quote = ""
        at = self._at
        while at < len(self._text):
            character = self._text[at]
            if character == "\\":
                at += 1
            elif quote:
                quote = "" if character == quote else quote
            elif character in "\"'":
                quote = character
            elif self._text.startswith(ending, at):
                return at
            at += 1
        return -1


def _split_union(inside: str) -> list[str]:
    return re.findall(r"(?:'[^']*'|\"[^\"]*\"|[^,'\"])+", inside) or [inside]


def _only_path(text: str) -> tuple[Step, ...]:
    """The steps of a path inside a filter."""
    parts = _Parser(f"{{{text}}}").template()
    if len(parts) != 1 or not isinstance(parts[0], _Path):
        raise JSONPathError(f"cannot filter by {text}")
    return parts[0].steps


def _element(text: str) -> Step:
    """What stands in brackets: ``*``, a quoted field, an index or a slice."""
    if text == "*":
        text = ":"
    if quoted := _quoted_key(text):
        name = quoted[1] if quoted[1] is not None else quoted[2]
        return _field(name.replace("\\", ""))
    match = _slice_parts(text)
    if match is None or not text:
        raise JSONPathError(f"invalid array index {text}")
    first, second, third = match.groups()
    try:
        start = int(first) if first else None
        stop = int(second[1:]) if second and second[1:] else None
        step = int(third[1:]) if third and third[1:] else 1
    except ValueError:
        raise JSONPathError(f"array index {text} is not a number") from None
    return _slice(start, stop, step, single=second is None)


def _constant(value: Any) -> Step:
    def step(values: Values, allow_missing: bool) -> Values:
        return [value] * max(1, len(values))

    return step


def _field(name: str, *, optional: bool = False) -> Step:
    def step(values: Values, allow_missing: bool) -> Values:
        found = [v[name] for v in values if type(v) is dict and name in v]
        if not found and values and not (allow_missing or optional):
            raise JSONPathError(f"{name} is not found")
        return found

    return step


def _every(values: Values, allow_missing: bool) -> Values:
    return [item for value in values for item in _below(value)]


def _descend(values: Values, allow_missing: bool) -> Values:
    found: Values = []
    pending = list(reversed(values))
    while pending:
        value = pending.pop()
        below = _below(value)
        if below:
            found.append(value)
            pending.extend(reversed(below))
    return found


def _below(value: Any) -> Values:
    if type(value) is dict:
        return list(value.values())
    return value if type(value) is list else []


def _slice(start: int | None, stop: int | None, step_size: int, *, single: bool) -> Step:
    if step_size <= 0:
        raise JSONPathError("step must be > 0")

    def step(values: Values, allow_missing: bool) -> Values:
        found: Values = []
        for value in values:
            if value is None:
                continue
            if type(value) is not list:
                raise JSONPathError(f"{_go_type(value)} is not array or slice")
            size = len(value)
            first = start or 0
            first += size if first < 0 else 0
            if single:
                last = first + 1
            else:
                last = size if stop is None else stop + (size if stop < 0 else 0)
            if first == last:
                continue
            for index in (first, last - 1):
                if not 0 <= index < size:
                    raise JSONPathError(f"array index out of bounds: index {index}, length {size}")
            if first > last:
                raise JSONPathError(f"starting index {first} is greater than ending index {last}")
            found += value[first:last:step_size]
        return found

    return step


def _union(elements: list[Step]) -> Step:
    def step(values: Values, allow_missing: bool) -> Values:
        return [found for element in elements for found in element(values, allow_missing)]

    return step


def _exists(path: tuple[Step, ...]) -> Step:
    def step(values: Values, allow_missing: bool) -> Values:
        return [item for item in _filtered(values) if _walk(path, [item], True)]

    return step


def _compare(left: tuple[Step, ...], operator: str, right: tuple[Step, ...]) -> Step:
    def step(values: Values, allow_missing: bool) -> Values:
        found = []
        for item in _filtered(values):
            sides = _walk(left, [item], allow_missing), _walk(right, [item], allow_missing)
            if not all(sides):
                continue
            if any(len(side) > 1 for side in sides):
                raise JSONPathError("can only compare one element at a time")
            if _holds(sides[0][0], operator, sides[1][0]):
                found.append(item)
        return found

    return step


def _filtered(values: Values) -> Values:
    items: Values = []
    for value in values:
        if type(value) is not list:
            raise JSONPathError(f"{value_text(value)} is not array or slice and cannot be filtered")
        items += value
    return items


def _holds(left: Any, operator: str, right: Any) -> bool:
    kinds = {_kind(left), _kind(right)}
    if len(kinds) != 1:
        raise JSONPathError("incompatible types for comparison")
    if kinds == {""} or (kinds == {"bool"} and operator not in ("==", "!=")):
        raise JSONPathError("invalid type for comparison")
    match operator:
        case "==":
            return bool(left == right)
        case "!=":
            return bool(left != right)
        case "<":
            return bool(left < right)
        case ">":
            return bool(left > right)
        case "<=":
            return bool(left <= right)
        case _:
            return bool(left >= right)


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case _:
            return ""


def _go_type(value: Any) -> str:
    match value:
        case dict():
            return "map[string]interface {}"
        case bool():
            return "bool"
        case str():
            return "string"
        case int():
            return "int64"
        case _:
            return "float64"
