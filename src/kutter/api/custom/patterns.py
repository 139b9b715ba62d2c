r"""Regular expressions as Go reads them: RE2, in time linear in the text, whatever the pattern.

Patterns come from definitions and rules, that is from users: an engine that backtracks could be
made to hold up the server. RE2 is the dialect of Go's ``regexp``, but for ``\C``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kutter.base.memo import remember

# How Go words what RE2 finds wrong.
_WORDS = {
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "missing ]": "missing closing ]",
    "missing )": "missing closing )",
    "bad repetition operator": "invalid nested repetition operator",
    "no argument for repetition operator": "missing argument to repetition operator",
    "invalid repetition size": "invalid repeat count",
}


class PatternError(ValueError):
    """The pattern is none; the message is Go's: ``error parsing regexp: WHAT: `WHERE```."""


class Pattern:
    """A compiled pattern. Texts are searched as UTF-8."""

    __slots__ = ("_compiled",)

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled

    def matches(self, text: str) -> bool:
        """Whether it is found anywhere in ``text``."""
        return self._compiled.search(text.encode("utf-8", "surrogatepass")) is not None

    def find(self, text: str) -> str | None:
        """The first, leftmost piece of ``text`` that matches."""
        return next(self.find_all(text), None)

    def find_all(self, text: str) -> Iterator[str]:
        """All pieces that match, from left to right, none overlapping; as Go, no empty one right
        behind another.
        """
        last = -1
        for match in self._compiled.finditer(text.encode("utf-8", "surrogatepass")):
            start, end = match.span()
            if start == end == last:
                continue
            last = end
            yield match.group().decode("utf-8", "surrogatepass")


@remember(1024, longest=2048)
def compile_pattern(pattern: str) -> Pattern:
    """Compile a pattern. Raises PatternError."""
    import re2

    if "\\C" in pattern.replace("\\\\", ""):
        raise PatternError("error parsing regexp: invalid escape sequence: `\\C`")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 8 << 20
    try:
        return Pattern(re2.compile(pattern.encode("utf-8", "surrogatepass"), options))
    except re2.error as error:
        raise PatternError(f"error parsing regexp: {_as_go(error)}") from None


def _as_go(error: Exception) -> str:
    text = error.args[0]
    said = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    if said.startswith("trailing \\"):
        return "trailing backslash at end of expression: ``"
    what, _, where = said.partition(": ")
    return f"{_WORDS.get(what, what)}: `{where}`"
