r"""Regular expressions as Go reads them, compiled for Python.

The two dialects agree but for a few things: Go's ``$`` is the very end, ``\z`` is Python's
``\Z``, POSIX classes exist, look-around and back-references do not.
"""

from __future__ import annotations

import re
from functools import lru_cache

_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7F",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_posix_class = re.compile(r"\[:(\^?)([a-z]+):\]")
_LOOK_AROUND = ("(?=", "(?!", "(?<=", "(?<!", "(?P=", "(?#", "(?>")


class PatternError(ValueError):
    """The pattern is none; the message is near Go's."""


@lru_cache(maxsize=2048)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a Go pattern. Raises PatternError."""
    try:
        return re.compile(_translate(pattern), re.ASCII)
    except (re.error, RecursionError, OverflowError) as error:
        raise PatternError(f"error parsing regexp: {error}: `{pattern}`") from error


def _translate(pattern: str) -> str:
    out: list[str] = []
    position, in_class = 0, False
    while position < len(pattern):
        char = pattern[position]
        if char == "\\":
            out.append(_escape(pattern, position))
            position += 2
            continue
        if in_class:
            posix = _posix_class.match(pattern, position)
            if posix is not None:
                if posix[1] or posix[2] not in _POSIX:
                    raise re.error(f"invalid character class range: `{posix[0]}`")
                out.append(_POSIX[posix[2]])
                position = posix.end()
                continue
            if char == "[":
                char = r"\["
            in_class = char != "]"
        elif char == "[":
            in_class = True
            for head in ("[^]", "[]", "[^"):
                # A bracket that comes first stands for itself.
                if pattern.startswith(head, position):
                    char = head.replace("]", r"\]")
                    position += len(head) - 1
                    break
        elif char == "$":
            char = r"\Z"
        elif char == "(" and pattern.startswith(_LOOK_AROUND, position):
            raise re.error(
                f"invalid or unsupported Perl syntax: `{pattern[position : position + 3]}`"
            )
        out.append(char)
        position += 1
    return "".join(out)


def _escape(pattern: str, position: int) -> str:
    following = pattern[position + 1 : position + 2]
    if not following:
        raise re.error("trailing backslash at end of expression")
    if following == "z":
        return r"\Z"
    if following in "123456789Z" or following in "pPCQ":
        raise re.error(f"invalid escape sequence: `\\{following}`")
    return f"\\{following}"
