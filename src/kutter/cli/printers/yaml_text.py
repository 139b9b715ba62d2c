"""YAML as kubectl writes it: keys in order, lists not indented, Go's choice of quotes.

PyYAML quotes otherwise (single quotes where Go's library takes double ones) and writes text of
several lines in quotes, so that its output would differ from kubectl's byte by byte. The analysis
of what may stand unquoted is PyYAML's own, which is libyaml's, which is Go's.
"""

from __future__ import annotations

import math
import re
from typing import Any

from yaml.emitter import Emitter

_BEST_WIDTH = 80
_simple = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*").fullmatch
# What Go's YAML library reads as something else than a string when it stands bare.
_words = frozenset(
    word
    for base in ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
    for word in (base, base.capitalize(), base.upper())
) | {"", "~", "<<", ".nan", ".NaN", ".NAN"}
_infinite = re.compile(r"[-+]?\.(inf|Inf|INF)").fullmatch
_number = re.compile(
    r"[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)"
    r"|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"
).fullmatch
_stamp = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}([Tt ]\s*\d{1,2}:\d{1,2}:\d{1,2}(\.\d+)?\s*(Z|[-+]\d{1,2}(:\d{2})?)?)?"
).fullmatch
_ESCAPES = {
    "\0": "0", "\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r",
    "\x1b": "e", '"': '"', "\\": "\\", "\x85": "N", "\xa0": "_",
    "\u2028": "L", "\u2029": "P",
}  # fmt: skip


def render_yaml(tree: Any) -> str:
    """A document, ending in a newline."""
    lines: list[str] = []
    _value(lines, "", tree, "", in_list=False)
    return "\n".join(lines) + "\n"


def _value(lines: list[str], head: str, value: Any, indent: str, *, in_list: bool) -> None:
    """``head`` is what stands before the value on its line (``key:`` or ``-``)."""
    if type(value) is dict and value:
        inner = indent if not head else indent + "  "
        first = head if in_list else ""
        if head and not in_list:
            lines.append(head)
        for key in sorted(value):
            start = f"{first} " if first else inner
            first = ""
            key_text = scalar(str(key), is_key=True)
            _value(lines, f"{start}{key_text}:", value[key], inner, in_list=False)
    elif type(value) is list and value:
        if head and not in_list:
            lines.append(head)
        first = head if in_list else ""
        inner = indent + "  " if in_list else indent
        for item in value:
            start = f"{first} -" if first else f"{inner}-"
            first = ""
            _value(lines, start, item, inner, in_list=True)
    else:
        text = _leaf(value, indent)
        if len(head) + len(text) > _BEST_WIDTH and " " in text and text[0] != "|":
            text = _fold(text, len(head) + 1, indent + "  ")
        lines.append(f"{head} {text}" if head else text)


def _fold(text: str, column: int, indent: str) -> str:
    """Break a long one-line scalar at spaces, where Go's emitter breaks it."""
    quote = text[0] if text[0] in "'\"" else ""
    last = len(text) - (2 if quote else 1)
    out: list[str] = []
    after_space = False
    for position, character in enumerate(text):
        if character != " ":
            out.append(character)
            column += 1
            after_space = False
            continue
        following = text[position + 1 : position + 2]
        inside = not quote or 1 < position < last
        if (
            column > _BEST_WIDTH
            and not after_space
            and inside
            and (following != " " or quote == '"')
        ):
            out.append("\n" + indent + ("\\" if following == " " else ""))
            column = len(indent)
        else:
            out.append(character)
            column += 1
        after_space = True
    return "".join(out)


def _leaf(value: Any, indent: str) -> str:
    if isinstance(value, str):
        if "\n" in value and _analyze(value).allow_block:
            return _literal(value, indent + "  ")
        return scalar(value)
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float():
            return _float(value)
        case dict():
            return "{}"
        case list():
            return "[]"
        case _:
            return str(value)


def _float(value: float) -> str:
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    if math.isnan(value):
        return ".nan"
    return repr(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)


def _literal(text: str, indent: str) -> str:
    hint = "2" if text[0] in " \n" else ""
    if not text.endswith("\n"):
        chomp = "-"
    elif len(text) == 1 or text[-2] == "\n":
        chomp = "+"
    else:
        chomp = ""
    body = text.removesuffix("\n").split("\n")
    return "\n".join([f"|{hint}{chomp}", *(indent + line if line else "" for line in body)])


def _analyze(text: str) -> Any:
    analysis = Emitter.analyze_scalar(_ANALYST, text)
    return analysis


class _Analyst(Emitter):
    """Only there for its analysis; never emits."""

    def __init__(self) -> None:
        self.allow_unicode = True


_ANALYST = _Analyst()


def _reads_as_other(text: str) -> bool:
    return bool(text in _words or _number(text) or _infinite(text) or _stamp(text))


def scalar(text: str, *, is_key: bool = False) -> str:
    """A string on one line: bare, in single or in double quotes."""
    if _simple(text) and text not in _words:
        return text
    if _reads_as_other(text):
        return _double(text)
    analysis = _analyze(text)
    if "\n" in text:
        return _double(text)
    if analysis.allow_block_plain and not (is_key and analysis.multiline):
        return text
    if analysis.allow_single_quoted and not analysis.multiline:
        return "'" + text.replace("'", "''") + "'"
    return _double(text)


def _double(text: str) -> str:
    out = []
    for character in text:
        escape = _ESCAPES.get(character)
        if escape is not None and character != "\xa0":
            out.append("\\" + escape)
        elif character.isprintable() or character == "\xa0":
            out.append(character)
        elif ord(character) <= 0xFF:
            out.append(f"\\x{ord(character):02X}")
        elif ord(character) <= 0xFFFF:
            out.append(f"\\u{ord(character):04X}")
        else:
            out.append(f"\\U{ord(character):08X}")
    return '"' + "".join(out) + '"'
