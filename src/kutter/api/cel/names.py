"""Names of properties as identifiers: what is no identifier is written with words between ``__``.

Upstream: https://pkg.go.dev/k8s.io/apiserver/pkg/cel#Escape
"""

from __future__ import annotations

import re

RESERVED = frozenset(
    (
        *("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let"),
        *("loop", "package", "namespace", "return", "var", "void", "while"),
    )
)

_KEYWORDS = RESERVED | {"true", "false", "null", "in"}
_allowed = re.compile(r"[a-zA-Z_./-][a-zA-Z0-9_./-]*").fullmatch
_special = re.compile(r"__|[-./]")
_WORDS = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}


def escaped(word: str) -> str:
    """The identifier of a property named like a word of the language."""
    return f"__{word}__"


def escape(name: str) -> str | None:
    """The identifier of a property; None if it cannot be written as one."""
    if name in _KEYWORDS:
        return escaped(name)
    if not _allowed(name):
        return None
    return _special.sub(lambda match: _WORDS[match.group()], name)
