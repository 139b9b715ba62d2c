"""What is wrong with text that is no JSON, in the words clients of Go servers know.

Between decoders, which only tell that they cannot read, and messages. Pure; called only for what
a decoder has refused.
"""

from __future__ import annotations

import re

_SPACE = b" \t\r\n"
_END = "unexpected end of JSON input"
_LITERALS = {0x74: b"true", 0x66: b"false", 0x6E: b"null"}
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_HEX = b"0123456789abcdefABCDEF"
_QUOTE, _COMMA, _COLON, _BACKSLASH = b'",:\\'
_OPEN_LIST, _CLOSE_LIST, _OPEN_OBJECT, _CLOSE_OBJECT = b"[]{}"


class _WrongError(Exception):
    """Carries the message."""


def explain(text: bytes) -> str:
    """Why ``text`` is no JSON; empty when it is."""
    try:
        _Scanner(text).scan()
    except _WrongError as error:
        return str(error)
    return ""


_KINDS = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
}


def misfit(value: object, go_type: str) -> str:
    """Why a decoded value does not fit the type it is read into."""
    return f"json: cannot unmarshal {_KINDS[type(value)]} into Go value of type {go_type}"


def _refuse(text: bytes, at: int, where: str) -> _WrongError:
    if at >= len(text):
        return _WrongError(_END)
    char = chr(text[at])
    shown = {"'": "\\'", '"': '"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char)
    if shown is None:
        shown = char if char.isprintable() else f"\\x{text[at]:02x}"
    return _WrongError(f"invalid character '{shown}' {where}")


class _Scanner:
    def __init__(self, text: bytes) -> None:
        self._text = text
        self._at = 0

    def _peek(self) -> int:
        """The next character that is no space, -1 at the end."""
        text, at = self._text, self._at
        while at < len(text) and text[at] in _SPACE:
            at += 1
        self._at = at
        return text[at] if at < len(text) else -1

    def _wrong(self, where: str) -> _WrongError:
        return _refuse(self._text, self._at, where)

    def scan(self) -> None:
        """Follow the text without recursion: it may be nested as deep as it likes."""
        closers: list[int] = []
        while True:
            opened = self._begin(closers)
            if opened:
                continue
            if not self._after_value(closers):
                break
        if self._peek() != -1:
            raise self._wrong("after top-level value")

    def _begin(self, closers: list[int]) -> bool:
        """Read a value, or the start of one that has others inside: True then."""
        char = self._peek()
        if char == _OPEN_OBJECT:
            self._at += 1
            if self._peek() == _CLOSE_OBJECT:
                self._at += 1
                return False
            closers.append(_CLOSE_OBJECT)
            self._key()
            return True
        if char == _OPEN_LIST:
            self._at += 1
            if self._peek() == _CLOSE_LIST:
                self._at += 1
                return False
            closers.append(_CLOSE_LIST)
            return True
        if char == _QUOTE:
            self._string()
        elif char in _LITERALS:
            self._literal(_LITERALS[char])
        elif char == 0x2D or 0x30 <= char <= 0x39:
            self._number()
        else:
            raise self._wrong("looking for beginning of value")
        return False

    def _after_value(self, closers: list[int]) -> bool:
        """Go on to the next value; False at the end of the outermost."""
        while closers:
            char, closer = self._peek(), closers[-1]
            if char == _COMMA:
                self._at += 1
                if closer == _CLOSE_OBJECT:
                    self._key()
                return True
            if char != closer:
                what = "object key:value pair" if closer == _CLOSE_OBJECT else "array element"
                raise self._wrong(f"after {what}")
            self._at += 1
            closers.pop()
        return False

    def _key(self) -> None:
        if self._peek() != _QUOTE:
            raise self._wrong("looking for beginning of object key string")
        self._string()
        if self._peek() != _COLON:
            raise self._wrong("after object key")
        self._at += 1

    def _string(self) -> None:
        text, self._at = self._text, self._at + 1
        while self._at < len(text):
            char = text[self._at]
            if char == _QUOTE:
                self._at += 1
                return
            if char < 0x20:
                raise self._wrong("in string literal")
            self._at += 1
            if char == _BACKSLASH:
                self._escape()
        raise _WrongError(_END)

    def _escape(self) -> None:
        text = self._text
        if self._at >= len(text) or text[self._at] not in b'"\\/bfnrtu':
            raise self._wrong("in string escape code")
        self._at += 1
        if text[self._at - 1] == 0x75:
            for _ in range(4):
                if self._at >= len(text) or text[self._at] not in _HEX:
                    raise self._wrong("in \\u hexadecimal character escape")
                self._at += 1

    def _literal(self, word: bytes) -> None:
        for expected in word:
            if self._at >= len(self._text) or self._text[self._at] != expected:
                name = word.decode()
                raise self._wrong(f"in literal {name} (expecting '{chr(expected)}')")
            self._at += 1

    def _number(self) -> None:
        found = _NUMBER.match(self._text, self._at)
        if found is None:
            self._at += 1  # a minus alone
            raise self._wrong("in numeric literal")
        self._at = found.end()
        following = self._text[self._at : self._at + 1]
        if following == b"." and b"." not in found.group():
            self._at += 1
            raise self._wrong("after decimal point in numeric literal")
        if following in (b"e", b"E"):
            self._at += 1
            if self._text[self._at : self._at + 1] in (b"+", b"-"):
                self._at += 1
            raise self._wrong("in exponent of numeric literal")
