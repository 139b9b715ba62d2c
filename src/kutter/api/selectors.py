"""Label and field selectors: text and views in, compiled matches out.

A selector is immutable and cheap to match: one dictionary look-up per requirement. Texts of
errors are upstream's.
Upstream: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kutter.api.errors import FieldError, invalid, not_supported
from kutter.api.names import check_label_value, check_qualified_name
from kutter.api.types.meta_v1 import LabelSelector
from kutter.base.memo import remember

_OPERATORS = ("in", "notin", "=", "==", "!=", "gt", "lt")
_SUPPORTED = [*_OPERATORS, "exists", "!"]
_SYMBOLS = {"=": "=", "==": "==", "!=": "!=", ">": "gt", "<": "lt", "in": "in", "notin": "notin"}
_token = re.compile(r"[ \t\r\n]*(==|!=|[=!(),<>]|[^=!(),<> \t\r\n]+|$)")
_integer = re.compile(r"[+-]?[0-9]+").fullmatch


class SelectorError(ValueError):
    """The selector cannot be understood; the message is upstream's."""


class Requirement(NamedTuple):
    """``operator``: in, notin, =, ==, !=, exists, !, gt, lt. ``values`` are sorted."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        actual = labels.get(self.key)
        match self.operator:
            case "=" | "==" | "in":
                return actual is not None and actual in self.values
            case "!=" | "notin":
                return actual is None or actual not in self.values
            case "exists":
                return actual is not None
            case "!":
                return actual is None
            case _:
                return actual is not None and self._compares(actual)

    def _compares(self, actual: str) -> bool:
        if not _integer(actual):
            return False
        left, right = int(actual), int(self.values[0])
        return left > right if self.operator == "gt" else left < right

    def __str__(self) -> str:
        key, operator, values = self
        match operator:
            case "exists":
                return key
            case "!":
                return f"!{key}"
            case "in" | "notin":
                return f"{key} {operator} ({','.join(values)})"
            case "gt" | "lt":
                return f"{key}{'>' if operator == 'gt' else '<'}{values[0]}"
            case _:
                return f"{key}{operator}{values[0]}"


class Selector:
    """All of ``requirements`` hold. Without any it matches everything."""

    __slots__ = ("_equal", "_rest", "requirements")

    def __init__(self, requirements: tuple[Requirement, ...] = ()) -> None:
        self.requirements = tuple(sorted(requirements, key=lambda r: r.key))
        equal = [r for r in self.requirements if r.operator in ("=", "==")]
        self._equal = tuple((r.key, r.values[0]) for r in equal)
        self._rest = tuple(r for r in self.requirements if r.operator not in ("=", "=="))

    def matches(self, labels: Mapping[str, str]) -> bool:
        for key, value in self._equal:
            if labels.get(key) != value:
                return False
        return all(requirement.matches(labels) for requirement in self._rest)

    @property
    def empty(self) -> bool:
        """Whether it matches everything."""
        return not self.requirements

    def exact(self, key: str) -> str | None:
        """The one value ``key`` must have, for index look-ups; None when it is not so narrow."""
        for requirement in self.requirements:
            if requirement.key == key:
                narrow = requirement.operator in ("=", "==", "in") and len(requirement.values) == 1
                return requirement.values[0] if narrow else None
        return None

    def __str__(self) -> str:
        return ",".join(str(r) for r in self.requirements)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.requirements == other.requirements

    def __hash__(self) -> int:
        return hash(self.requirements)


class _Nothing(Selector):
    __slots__ = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return False

    @property
    def empty(self) -> bool:
        return False


EVERYTHING = Selector()
NOTHING: Selector = _Nothing()


def requirement(key: str, operator: str, values: tuple[str, ...] = ()) -> Requirement:
    """A checked requirement. Raises SelectorError."""
    errors: list[FieldError] = []
    if complaints := check_qualified_name(key):
        errors.append(invalid("key", key, "; ".join(complaints)))
    errors += _check_values(operator, values)
    for index, value in enumerate(values):
        if complaints := check_label_value(value):
            errors.append(invalid(f"values[{index}][{key}]", value, "; ".join(complaints)))
    if errors:
        texts = [str(e) for e in errors]
        raise SelectorError(texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")
    return Requirement(key, operator, tuple(sorted(set(values))))


def _check_values(operator: str, values: tuple[str, ...]) -> list[FieldError]:
    listed = list(values)
    match operator:
        case "in" | "notin":
            if not values:
                detail = "for 'in', 'notin' operators, values set can't be empty"
                return [invalid("values", listed, detail)]
        case "=" | "==" | "!=":
            if len(values) != 1:
                detail = "exact-match compatibility requires one single value"
                return [invalid("values", listed, detail)]
        case "exists" | "!":
            if values:
                detail = "values set must be empty for exists and does not exist"
                return [invalid("values", listed, detail)]
        case "gt" | "lt":
            if len(values) != 1:
                detail = "for 'Gt', 'Lt' operators, exactly one value is required"
                return [invalid("values", listed, detail)]
            if not _integer(values[0]):
                detail = "for 'Gt', 'Lt' operators, the value must be an integer"
                return [invalid("values[0]", values[0], detail)]
        case _:
            return [not_supported("operator", operator, _SUPPORTED)]
    return []


@remember(1024, longest=1024)
def parse_labels(text: str) -> Selector:
    """Parse ``a=b,c in (d,e),!f``. Raises SelectorError."""
    return Selector(tuple(_Parser(text).requirements()))


class _Parser:
    """Recursive descent over tokens; the last token is the empty text."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        position = 0
        while not self._tokens or self._tokens[-1]:
            found = _token.match(text, position)
            assert found is not None, "the token pattern matches at every position"
            self._tokens.append(found[1])
            position = found.end()
        self._at = 0

    def requirements(self) -> list[Requirement]:
        found: list[Requirement] = []
        if self._peek() == "":
            return found
        if not _is_word(self._peek()) and self._peek() != "!":
            raise SelectorError(
                f"found '{self._peek()}', expected: !, identifier, or 'end of string'"
            )
        while True:
            try:
                found.append(self._requirement())
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error}") from None
            separator = self._next()
            if separator == "":
                return found
            if separator != ",":
                raise SelectorError(f"found '{separator}', expected: ',' or 'end of string'")
            if not _is_word(self._peek()) and self._peek() != "!":
                raise SelectorError(f"found '{self._peek()}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        negated = self._peek() == "!"
        if negated:
            self._next()
        key = self._next()
        if not _is_word(key):
            raise SelectorError(f"found '{key}', expected: identifier")
        if complaints := check_qualified_name(key):
            raise SelectorError(str(invalid("<nil>", key, "; ".join(complaints))))
        if negated or self._peek() in ("", ","):
            return requirement(key, "!" if negated else "exists")
        word = self._next()
        operator = _SYMBOLS.get(word)
        if operator is None:
            raise SelectorError(f"found '{word}', expected: {', '.join(_OPERATORS)}")
        values = self._values() if operator in ("in", "notin") else (self._exact_value(),)
        return requirement(key, operator, values)

    def _exact_value(self) -> str:
        if self._peek() in ("", ","):
            return ""
        word = self._next()
        if not _is_word(word):
            raise SelectorError(f"found '{word}', expected: identifier")
        return word

    def _values(self) -> tuple[str, ...]:
        if (opening := self._next()) != "(":
            raise SelectorError(f"found '{opening}' expected: '('")
        if not _is_word(self._peek()) and self._peek() not in (",", ")"):
            raise SelectorError(f"found '{self._peek()}', expected: ',', ')' or identifier")
        values = []
        while True:
            values.append(self._next() if _is_word(self._peek()) else "")
            separator = self._next()
            if separator == ")":
                return tuple(sorted(set(values)))
            if separator != ",":
                raise SelectorError(f"found '{separator}', expected: ',' or ')'")

    def _peek(self) -> str:
        return self._tokens[self._at]

    def _next(self) -> str:
        token = self._tokens[self._at]
        if token:
            self._at += 1
        return token


def _is_word(token: str) -> bool:
    return bool(token) and token not in ("(", ")", ",", "!", "=", "==", "!=", "<", ">")


_VIEW_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def from_view(selector: LabelSelector | None) -> Selector:
    """A ``LabelSelector`` field. None matches nothing, an empty one everything.

    Raises SelectorError.
    """
    if selector is None:
        return NOTHING
    found = [Requirement(k, "=", (v,)) for k, v in selector.match_labels.items()]
    for expression in selector.match_expressions:
        found.append(_from_expression(expression.key, expression.operator, expression.values))
    return Selector(tuple(found))


def from_tree(selector: Mapping[str, Any] | None) -> Selector:
    """Like :func:`from_view`, for a JSON tree."""
    if selector is None:
        return NOTHING
    found = [Requirement(k, "=", (v,)) for k, v in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        values = tuple(expression.get("values") or ())
        found.append(
            _from_expression(expression.get("key", ""), expression.get("operator", ""), values)
        )
    return Selector(tuple(found))


def from_map(labels: Mapping[str, str]) -> Selector:
    """Every label as given; an empty map matches everything, as in upstream's ``spec.selector``
    of replication controllers and services (callers decide what empty means to them).
    """
    return Selector(tuple(Requirement(k, "=", (v,)) for k, v in labels.items()))


def _from_expression(key: str, operator: str, values: tuple[str, ...]) -> Requirement:
    known = _VIEW_OPERATORS.get(operator)
    if known is None:
        raise SelectorError(f'"{operator}" is not a valid label selector operator')
    return requirement(key, known, values)


class FieldTerm(NamedTuple):
    """``field = value`` or, when ``equal`` is false, ``field != value``."""

    field: str
    equal: bool
    value: str

    def __str__(self) -> str:
        return f"{self.field}{'=' if self.equal else '!='}{escape_field_value(self.value)}"


class FieldSelector(NamedTuple):
    """All of ``terms`` hold. Which fields there are is the resource's business."""

    terms: tuple[FieldTerm, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.terms

    def matches(self, get: Callable[[str], str]) -> bool:
        """``get`` answers a field's text, ``""`` when it is not set."""
        return all((get(term.field) == term.value) is term.equal for term in self.terms)

    def exact(self, field: str) -> str | None:
        """The one value ``field`` must have, or None."""
        for term in self.terms:
            if term.field == field and term.equal:
                return term.value
        return None

    def __str__(self) -> str:
        return ",".join(str(term) for term in self.terms)


@remember(1024, longest=1024)
def parse_fields(text: str) -> FieldSelector:
    """Parse ``metadata.name=x,spec.nodeName!=y``. Raises SelectorError."""
    terms = []
    for part in sorted(re.findall(r"(?:[^\\,]|\\.|\\$)+", text, re.DOTALL)):
        found = re.search(r"!=|==|=", part)
        if found is None:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{part}'")
        value = _unescape(part[found.end() :])
        terms.append(FieldTerm(part[: found.start()], found[0] != "!=", value))
    return FieldSelector(tuple(terms))


def escape_field_value(value: str) -> str:
    """Make any text safe as a value in a field selector."""
    return re.sub(r"[\\,=]", r"\\\g<0>", value)


def _unescape(value: str) -> str:
    out = []
    characters = iter(value)
    for character in characters:
        if character == "\\":
            escaped = next(characters, "")
            if escaped not in ("\\", ",", "="):
                sequence = f"\\{escaped}"
                raise SelectorError(f"invalid field selector: invalid escape sequence: {sequence}")
            out.append(escaped)
        elif character in ",=":
            # Go prints the rune as a number.
            code = ord(character)
            raise SelectorError(f"invalid field selector: unescaped character in value: {code}")
        else:
            out.append(character)
    return "".join(out)
