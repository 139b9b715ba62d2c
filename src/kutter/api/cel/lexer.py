"""From text to tokens. Literals are read here: a token carries the value it stands for.

Upstream: https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from kutter.api.cel.errors import Issue
from kutter.api.cel.values import INT_MAX, INT_MIN, UINT_MAX, UInt

_token = re.compile(
    r"""
    (?P<space>(?:[\ \t\n\r\f]+|//[^\n]*)+)
  | (?P<float>(?:\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?))
  | (?P<uint>(?:0x[0-9a-fA-F]+|\d+)[uU])
  | (?P<int>0x[0-9a-fA-F]+|\d+)
  | (?P<string>[rRbB]{0,2}(?:\"\"\"|'''|"|'))
  | (?P<name>[_a-zA-Z][_a-zA-Z0-9]*)
  | (?P<quoted>`[a-zA-Z0-9_.\-/\ ]+`)
  | (?P<op>==|!=|<=|>=|&&|\|\||[-+*/%<>!?:.,()\[\]{}=|&])
    """,
    re.VERBOSE | re.ASCII,
)
_SIMPLE = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
    "`": "`",
    "?": "?",
}
_HEX_DIGITS = {"x": 2, "X": 2, "u": 4, "U": 8}
# No number that fits is longer; reading one takes time that grows with its square.
_DIGITS = 100
# More would help nobody.
_ISSUES = 10
_octal = re.compile("[0-3][0-7]{2}").match
_hex = re.compile("[0-9a-fA-F]+").fullmatch
_PREFIXES = frozenset(("", "r", "R", "b", "B", "br", "bR", "Br", "BR", "rb", "rB", "Rb", "RB"))


class Token(NamedTuple):
    """``kind``: ``int``, ``uint``, ``float``, ``string``, ``bytes``, ``name``, ``quoted``, ``end``,
    or the operator itself.
    """

    kind: str
    text: str
    offset: int
    value: Any = None


class LexerError(Exception):
    def __init__(self, issue: Issue) -> None:
        super().__init__(issue.message)
        self.issue = issue


def tokenize(text: str) -> tuple[list[Token], list[Issue]]:
    """(tokens, the last one being ``end``; what was none and left out). Raises LexerError."""
    tokens: list[Token] = []
    issues: list[Issue] = []
    position, size = 0, len(text)
    while position < size:
        match = _token.match(text, position)
        if match is None or match.group() in ("|", "&", "="):
            # As upstream's lexer, which has read on for the second half of the operator.
            end = position + (2 if match is not None else 1)
            if len(issues) < _ISSUES:
                issues.append(_unknown(text[position:end], position).issue)
            position = end
            continue
        kind, found = match.lastgroup or "", match.group()
        start, position = position, match.end()
        if kind == "space":
            continue
        if kind == "string":
            token, position = _string(text, start, found)
            tokens.append(token)
        elif kind == "op":
            tokens.append(Token(found, found, start))
        elif kind in ("name", "quoted"):
            tokens.append(Token(kind, found, start))
        else:
            tokens.append(Token(kind, found, start, _number(kind, found, start)))
    tokens.append(Token("end", "<EOF>", size))
    return tokens, issues


def _unknown(found: str, position: int) -> LexerError:
    return _error(position, f"Syntax error: token recognition error at: '{found}'")


def _error(position: int, message: str) -> LexerError:
    return LexerError(Issue(position, message))


def _number(kind: str, text: str, offset: int) -> Any:
    if kind == "float":
        value = float(text)
        if value == math.inf:
            raise _error(offset, "invalid double literal")
        return value
    if len(text) > _DIGITS:
        raise _error(offset, f"invalid {kind} literal")
    digits = text[:-1] if kind == "uint" else text
    value = int(digits, 16) if digits.startswith("0x") else int(digits)
    if kind == "uint":
        if value > UINT_MAX:
            raise _error(offset, "invalid uint literal")
        return UInt(value)
    # One more than fits is read too: the parser knows whether a minus stands before it.
    if value > -INT_MIN:
        raise _error(offset, "invalid int literal")
    return value


def check_int(value: int) -> bool:
    """Whether a literal without a minus fits."""
    return value <= INT_MAX


def _string(text: str, start: int, head: str) -> tuple[Token, int]:
    quote = head.lstrip("rRbB")
    prefix = head[: -len(quote)]
    if prefix not in _PREFIXES:
        raise _unknown(text[start], start)
    raw, binary = "r" in prefix.lower(), "b" in prefix.lower()
    position, body = start + len(head), start + len(head)
    while True:
        if position >= len(text):
            raise _error(start, f"Syntax error: token recognition error at: '{text[start:]}'")
        if text.startswith(quote, position):
            break
        char = text[position]
        if char in "\r\n" and len(quote) == 1:
            shown = text[start : position + 1].replace("\n", "\\n").replace("\r", "\\r")
            raise _error(start, f"Syntax error: token recognition error at: '{shown}'")
        position += 2 if char == "\\" and not raw else 1
    inside = text[body:position]
    end = position + len(quote)
    if len(quote) == 3:
        inside = inside.replace("\r\n", "\n").replace("\r", "\n")
    value = (
        _plain(inside, binary) if raw or "\\" not in inside else _unescape(inside, start, binary)
    )
    return Token("bytes" if binary else "string", text[start:end], start, value), end


def _plain(inside: str, binary: bool) -> Any:
    return inside.encode() if binary else inside


def _unescape(inside: str, start: int, binary: bool) -> Any:
    out: list[Any] = []
    position = 0
    while position < len(inside):
        char = inside[position]
        if char != "\\":
            out.append(char.encode() if binary else char)
            position += 1
            continue
        code, position, is_byte = _escape(inside, position + 1, start, binary)
        out.append(bytes((code,)) if is_byte else chr(code).encode() if binary else chr(code))
    return b"".join(out) if binary else "".join(out)


def _escape(inside: str, position: int, start: int, binary: bool) -> tuple[int, int, bool]:
    """(code, position after it, whether the code is one byte)."""
    char = inside[position : position + 1]
    if char in _SIMPLE and char:
        return ord(_SIMPLE[char]), position + 1, False
    if char in _HEX_DIGITS and char:
        end = position + 1 + _HEX_DIGITS[char]
        digits = inside[position + 1 : end]
        if len(digits) != end - position - 1 or not _hex(digits):
            raise _error(start, "invalid escape sequence")
        code = int(digits, 16)
        if char in "xX":
            return code, end, binary
        if binary or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise _error(start, "invalid unicode code point")
        return code, end, False
    octal = _octal(inside, position)
    if octal is None:
        raise _error(start, "invalid escape sequence")
    return int(octal.group(), 8), octal.end(), binary
