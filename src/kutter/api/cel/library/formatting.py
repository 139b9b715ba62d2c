"""``"%s has %d".format([…])``: clauses and texts of the strings extension.

Upstream: https://pkg.go.dev/github.com/google/cel-go/ext#readme-format
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from kutter.api.cel.errors import EvaluationError
from kutter.api.cel.library.conversions import float_text
from kutter.api.cel.types import Type
from kutter.api.cel.values import Duration, Timestamp, UInt, find_key, is_list, is_map, type_of

_clause = re.compile(r"%(?:(%)|(?:\.(\d*))?([a-zA-Z])|(.|$))", re.DOTALL)
_PRECISION = 6
_PRECISION_LIMIT = 1000


def format_text(text: str, arguments: Any) -> str:
    out: list[str] = []
    position, place = 0, 0
    for match in _clause.finditer(text):
        out.append(text[position : match.start()])
        position = match.end()
        if match[1]:
            out.append("%")
            continue
        render = _CLAUSES.get(match[3] or "")
        if render is None:
            shown = match[3] or match[4] or ""
            raise EvaluationError(
                f'could not parse formatting clause: unrecognized formatting clause "{shown}"'
                if shown
                else "unexpected end of string"
            )
        if place >= len(arguments):
            raise EvaluationError(f"index {place} out of range")
        precision = _precision(match[2])
        out.append(render(arguments[place], precision))
        place += 1
    out.append(text[position:])
    return "".join(out)


def _precision(digits: str | None) -> int:
    if digits is None:
        return _PRECISION
    found = int(digits[:9] or "0")
    if found > _PRECISION_LIMIT:
        raise EvaluationError(f"precision is too large: {found}")
    return found


def _refuse(what: str, value: Any) -> EvaluationError:
    return EvaluationError(f"error during formatting: {what}, was given {type_of(value).name}")


def _string(value: Any, precision: int) -> str:
    return _shown(value)


def _shown(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if value is None:
        return "null"
    if kind in (int, UInt):
        return str(int(value))
    if kind is float:
        return _infinite(value) or float_text(value)
    if kind is bytes:
        return str(value, "utf-8", "replace")
    if kind in (Timestamp, Duration):
        return str(value)
    if kind is Type:
        return str(value.name)
    if is_list(value):
        return f"[{', '.join(map(_shown, value))}]"
    if is_map(value):
        pairs = sorted((_shown(key), _shown(find_key(value, key, None))) for key in value)
        return f"{{{', '.join(f'{key}: {item}' for key, item in pairs)}}}"
    raise _refuse(
        "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, "
        "types, durations, and timestamps",
        value,
    )


def _infinite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return ""


def _decimal(value: Any, precision: int) -> str:
    kind = type(value)
    if kind in (int, UInt):
        return str(int(value))
    if kind is float:
        shown = _infinite(value)
        if shown:
            return shown
    raise _refuse("decimal clause can only be used on integers", value)


def _fixed(value: Any, precision: int) -> str:
    number = _number("fixed-point", value)
    return _infinite(number) or f"{number:.{precision}f}"


def _scientific(value: Any, precision: int) -> str:
    number = _number("scientific", value)
    return _infinite(number) or f"{number:.{precision}e}"


def _number(clause: str, value: Any) -> float:
    if type(value) in (float, int, UInt):
        return float(value)
    text = f"{clause} clause can only be used on doubles"
    raise _refuse(text, value)


def _binary(value: Any, precision: int) -> str:
    kind = type(value)
    if kind in (int, UInt):
        return format(int(value), "b")
    if kind is bool:
        return "1" if value else "0"
    raise _refuse("only integers and bools can be formatted as binary", value)


def _octal(value: Any, precision: int) -> str:
    if type(value) in (int, UInt):
        return format(int(value), "o")
    raise _refuse("octal clause can only be used on integers", value)


def _hex(value: Any, precision: int) -> str:
    kind = type(value)
    if kind in (int, UInt):
        return format(int(value), "x")
    if kind is str:
        return str(value).encode().hex()
    if kind is bytes:
        return bytes(value).hex()
    raise _refuse("only integers, byte buffers, and strings can be formatted as hex", value)


_CLAUSES: dict[str, Callable[[Any, int], str]] = {
    "s": _string,
    "d": _decimal,
    "f": _fixed,
    "e": _scientific,
    "b": _binary,
    "o": _octal,
    "x": _hex,
    "X": lambda value, precision: _hex(value, precision).upper(),
}
