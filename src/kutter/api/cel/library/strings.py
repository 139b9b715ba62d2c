"""Texts beyond the standard: ``split``, ``join``, ``replace``, ``format``, ``strings.quote``.

Version 2 of the extension, which is what Kubernetes turns on.
Upstream: https://pkg.go.dev/github.com/google/cel-go/ext#Strings
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kutter.api.cel.declarations import Cost, Estimate, Library, Overload
from kutter.api.cel.errors import EvaluationError
from kutter.api.cel.estimates import CallEstimate, Range, Sized
from kutter.api.cel.library.costs import (
    TEXT,
    by_result_twice,
    by_target,
    by_target_twice,
    by_traversal,
    estimate_parsing,
    estimate_target,
    estimate_traversal,
)
from kutter.api.cel.library.formatting import format_text
from kutter.api.cel.types import DYN, INT, STRING, Type, list_of

_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}
# What Go calls space, one by one: Python's own list has four more.
_SPACE = " \t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_QUOTED = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


def _out_of_range(place: int) -> EvaluationError:
    return EvaluationError(f"index out of range: {place}")


def _char_at(text: str, place: int) -> str:
    if not 0 <= place <= len(text):
        raise _out_of_range(place)
    return text[place : place + 1]


def _index_of(text: str, part: str, start: int = 0) -> int:
    if start < 0:
        raise _out_of_range(start)
    if part == "":
        return min(start, len(text))
    # A start beyond the end finds nothing; it is no error.
    return text.find(part, start)


def _last_index_of(text: str, part: str, start: int | None = None) -> int:
    if start is not None and start < 0:
        raise _out_of_range(start)
    if part == "":
        return len(text) if start is None else min(start, len(text))
    if len(text) < len(part) or (start is not None and start >= len(text)):
        return -1
    last = len(text) - len(part) if start is None else min(start, len(text) - len(part))
    return text.rfind(part, 0, last + len(part))


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    return text.replace(old, new, count if count >= 0 else -1)


def _split(text: str, separator: str, count: int = -1) -> list[str]:
    if count == 0:
        return []
    if count == 1:
        return [text]
    if separator:
        return text.split(separator, count - 1 if count > 0 else -1)
    if count < 0 or count >= len(text):
        return list(text)
    return [*text[: count - 1], text[count - 1 :]]


def _substring(text: str, start: int, end: int | None = None) -> str:
    if end is None:
        if not 0 <= start <= len(text):
            raise _out_of_range(start)
        return text[start:]
    if start > end:
        raise EvaluationError(f"invalid substring range. start: {start}, end: {end}")
    if not 0 <= start <= len(text):
        raise _out_of_range(start)
    if not 0 <= end <= len(text):
        raise _out_of_range(end)
    return text[start:end]


def _join(items: Any, separator: str = "") -> str:
    parts = list(items)
    for part in parts:
        if type(part) is not str:
            raise EvaluationError(f"join: invalid input: {part}")
    return separator.join(parts)


def quote(text: str) -> str:
    """The text between quotes, as a literal that reads as it."""
    return f'"{"".join(_QUOTED.get(char, char) for char in text)}"'


# -- what they may cost --------------------------------------------------------


def _estimate_replace(target: Sized | None, arguments: list[Sized]) -> CallEstimate | None:
    if target is None or len(arguments) < 2:
        return None
    size, old, new = target.size(), arguments[0].size(), arguments[1].size()
    most, kept_most = _longest(size.most, old.least, new.most)
    least, kept_least = _shortest(size.least, old.most, new.least)
    made = Range(least * new.least + kept_least, most * new.most + kept_most)
    return CallEstimate(size.times(2 * TEXT), made)


def _longest(size: int, old: int, new: int) -> tuple[int, int]:
    """(most replacements, most that stays) of a text of ``size``."""
    if old == 0:
        return size + 1, size
    if new <= old:
        return 0, size
    return -(-size // old), 0


def _shortest(size: int, old: int, new: int) -> tuple[int, int]:
    if old == 0:
        return size + 1, size
    if old <= new:
        return 0, size
    return -(-size // old), 0


def _estimate_split(target: Sized | None, arguments: list[Sized]) -> CallEstimate | None:
    if target is None:
        return None
    size = target.size()
    count = arguments[1].literal if len(arguments) > 1 else None
    most = count if type(count) is int and count >= 0 else size.most
    return CallEstimate(size.times(2 * TEXT), Range(0, most))


def _estimate_join(target: Sized | None, arguments: list[Sized]) -> CallEstimate | None:
    if target is None:
        return None
    count, items = target.size(), target.items()
    size = count.by(items.size()) if items is not None else Range(0, 0)
    if arguments:
        gaps = Range(max(count.least - 1, 0), max(count.most - 1, 0))
        size = size.plus(arguments[0].size().by(gaps))
    return CallEstimate(size.times(TEXT), size)


def _estimate_quote(target: Sized | None, arguments: list[Sized]) -> CallEstimate:
    size = arguments[0].size()
    return CallEstimate(size.times(TEXT), Range(size.least + 2, size.most * 2 + 2))


def _member(
    id: str,
    params: tuple[Type, ...],
    result: Type,
    code: Callable[..., Any],
    costs: tuple[Cost, Estimate] | None = None,
) -> Overload:
    cost, estimate = costs or (None, None)
    return Overload(id, params, result, code, member=True, cost=cost, estimate=estimate)


_ONE, _TWO = (STRING,), (STRING, STRING)
_TEXTS = list_of(STRING)
_read, _twice, _search = (
    (by_target, estimate_target),
    (by_target_twice, _estimate_split),
    (by_traversal, estimate_traversal),
)
STRINGS = Library(
    "strings",
    functions={
        "charAt": (_member("string_char_at_int", (STRING, INT), STRING, _char_at),),
        "indexOf": (
            _member("string_index_of_string", _TWO, INT, _index_of, _search),
            _member("string_index_of_string_int", (*_TWO, INT), INT, _index_of, _search),
        ),
        "lastIndexOf": (
            _member("string_last_index_of_string", _TWO, INT, _last_index_of, _search),
            _member("string_last_index_of_string_int", (*_TWO, INT), INT, _last_index_of, _search),
        ),
        "lowerAscii": (
            _member("string_lower_ascii", _ONE, STRING, lambda t: t.translate(_LOWER), _read),
        ),
        "upperAscii": (
            _member("string_upper_ascii", _ONE, STRING, lambda t: t.translate(_UPPER), _read),
        ),
        "replace": (
            _member(
                "string_replace_string_string",
                (*_TWO, STRING),
                STRING,
                _replace,
                (by_target_twice, _estimate_replace),
            ),
            _member(
                "string_replace_string_string_int",
                (*_TWO, STRING, INT),
                STRING,
                _replace,
                (by_target_twice, _estimate_replace),
            ),
        ),
        "split": (
            _member("string_split_string", _TWO, _TEXTS, _split, _twice),
            _member("string_split_string_int", (*_TWO, INT), _TEXTS, _split, _twice),
        ),
        "substring": (
            _member("string_substring_int", (STRING, INT), STRING, _substring, _read),
            _member("string_substring_int_int", (STRING, INT, INT), STRING, _substring, _read),
        ),
        "trim": (_member("string_trim", _ONE, STRING, lambda t: t.strip(_SPACE), _read),),
        "join": (
            _member("list_join", (_TEXTS,), STRING, _join, (by_result_twice, _estimate_join)),
            _member(
                "list_join_string",
                (_TEXTS, STRING),
                STRING,
                _join,
                (by_result_twice, _estimate_join),
            ),
        ),
        "format": (
            _member(
                "string_format",
                (STRING, list_of(DYN)),
                STRING,
                format_text,
                (by_target, estimate_parsing),
            ),
        ),
        "strings.quote": (
            Overload(
                "strings_quote", _ONE, STRING, quote, cost=by_target, estimate=_estimate_quote
            ),
        ),
    },
)
