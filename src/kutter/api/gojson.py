"""What Go's ``encoding/json`` says of text that is no JSON.

Messages of upstream's validators quote it; whoever shows them asks here after a decoder refused.
"""

from __future__ import annotations

import re

_SPACE = re.compile(rb"[ \t\r\n]*")
_STRING = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*')
_LITERALS = {b"t": b"true", b"f": b"false", b"n": b"null"}
_VALUE, _KEY, _KEY_OR_END, _COLON, _COMMA = range(5)
_END = "unexpected end of JSON input"


def syntax_error(data: bytes) -> str:
    """The error Go's scanner finds first, nothing if it finds none."""
    try:
        _scan(data)
    except _SyntaxError as error:
        return str(error)
    return ""


class _SyntaxError(Exception):
    pass


def _scan(data: bytes) -> None:
    open_: list[str] = []
    at, wanted = 0, _VALUE
    may_close = False
    while True:
        at = _skip(data, at)
        char = data[at : at + 1]
        if wanted == _VALUE:
            if char == b"]" and may_close:
                open_.pop()
                at, wanted = at + 1, _COMMA
            elif char in (b"{", b"["):
                open_.append("object key:value pair" if char == b"{" else "array element")
                at, wanted = at + 1, _KEY_OR_END if char == b"{" else _VALUE
                may_close = char == b"["
                continue
            else:
                at, wanted = _plain(data, at), _COMMA
            may_close = False
        elif wanted in (_KEY, _KEY_OR_END):
            if char == b"}" and wanted == _KEY_OR_END:
                open_.pop()
                at, wanted = at + 1, _COMMA
            elif char == b'"':
                at, wanted = _string(data, at), _COLON
            else:
                raise _unexpected(data, at, "looking for beginning of object key string")
        elif wanted == _COLON:
            if char != b":":
                raise _unexpected(data, at, "after object key")
            at, wanted = at + 1, _VALUE
        elif not open_:
            if char:
                raise _unexpected(data, at, "after top-level value")
            return
        else:
            pair = open_[-1].startswith("object")
            if char == b",":
                wanted = _KEY if pair else _VALUE
            elif char == (b"}" if pair else b"]"):
                open_.pop()
            else:
                raise _unexpected(data, at, f"after {open_[-1]}")
            at += 1


def _skip(data: bytes, at: int) -> int:
    found = _SPACE.match(data, at)
    return at if found is None else found.end()


def _unexpected(data: bytes, at: int, where: str) -> _SyntaxError:
    if at >= len(data):
        return _SyntaxError(_END)
    return _SyntaxError(f"invalid character {_shown(data[at])} {where}")


def _shown(byte: int) -> str:
    char = chr(byte)
    if char == "'":
        return r"'\''"
    known = {"\\": r"\\", "\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r"}
    known |= {"\t": r"\t", "\v": r"\v"}
    if char in known:
        return f"'{known[char]}'"
    if byte < 0x20 or byte == 0x7F:
        return f"'\\x{byte:02x}'"
    if 0x80 <= byte <= 0xA0 or byte == 0xAD:
        return f"'\\u{byte:04x}'"
    return f"'{char}'"


def _plain(data: bytes, at: int) -> int:
    """Past a string, a number or a literal."""
    char = data[at : at + 1]
    if char == b'"':
        return _string(data, at)
    if char in _LITERALS:
        literal = _LITERALS[char]
        for i in range(1, len(literal)):
            if data[at + i : at + i + 1] != literal[i : i + 1]:
                name, letter = literal.decode(), chr(literal[i])
                raise _unexpected(data, at + i, f"in literal {name} (expecting '{letter}')")
        return at + len(literal)
    if char == b"-" or char.isdigit():
        return _number(data, at)
    raise _unexpected(data, at, "looking for beginning of value")


def _string(data: bytes, at: int) -> int:
    found = _STRING.match(data, at)
    at = at if found is None else found.end()
    char = data[at : at + 1]
    if char == b'"':
        return at + 1
    if char != b"\\":
        raise _unexpected(data, at, "in string literal")
    if data[at + 1 : at + 2] != b"u":
        raise _unexpected(data, at + 1, "in string escape code")
    at += 2
    while data[at : at + 1] and data[at] in b"0123456789abcdefABCDEF":
        at += 1
    raise _unexpected(data, at, r"in \u hexadecimal character escape")


def _number(data: bytes, at: int) -> int:
    at += data[at : at + 1] == b"-"
    if data[at : at + 1] == b"0":
        at += 1
    else:
        at = _digits(data, at, "in numeric literal")
    if data[at : at + 1] == b".":
        at = _digits(data, at + 1, "after decimal point in numeric literal")
    if data[at : at + 1] in (b"e", b"E"):
        at += 1 + (data[at + 1 : at + 2] in (b"+", b"-"))
        at = _digits(data, at, "in exponent of numeric literal")
    return at


def _digits(data: bytes, at: int, where: str) -> int:
    if not data[at : at + 1].isdigit():
        raise _unexpected(data, at, where)
    while data[at : at + 1].isdigit():
        at += 1
    return at


_KINDS = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
}


def type_error(value: object, go_type: str) -> str:
    """Go's error for a value that does not fit the type it is read into."""
    return f"json: cannot unmarshal {_KINDS[type(value)]} into Go value of type {go_type}"
