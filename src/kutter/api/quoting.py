"""How upstream's messages quote a value (Go's ``%q`` for strings, JSON for the rest)."""

from __future__ import annotations

import json
from typing import Any


class Quoted(str):
    """A value in the form a message shows it already."""

    __slots__ = ()


def quote(value: Any) -> str:
    """``"text"`` for strings, JSON for everything else."""
    if type(value) is Quoted:
        return value
    if value is None:
        return "null"
    if isinstance(value, str):
        return _quoted(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_ESCAPES = {"\\": r"\\", '"': r"\"", "\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n"}
_ESCAPES |= {"\r": r"\r", "\t": r"\t", "\v": r"\v"}


def _quoted(text: str) -> str:
    if text.isprintable():
        text = text.replace("\\", r"\\").replace('"', r"\"")
    else:
        text = "".join(map(_escaped, text))
    return f'"{text}"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
