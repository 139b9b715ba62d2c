"""What can go wrong with an expression: before it runs (compile) and while it runs (evaluate)."""

from __future__ import annotations

import msgspec


class CelError(Exception):
    """The base of all errors of this package."""


class Issue(msgspec.Struct, frozen=True):
    """One problem of a text; line and column count from 1, an offset from 0."""

    offset: int
    message: str
    line: int = 0
    column: int = 0


class CompileError(CelError):
    """The text is no expression of its environment.

    ``str`` is the list of issues as upstream prints them, each with the line it stands in.
    """

    def __init__(self, text: str, issues: list[Issue]) -> None:
        super().__init__(text)
        self.issues = issues


class ResultTypeError(CelError):
    """The expression is sound and answers with another type than the caller wants."""


class EvaluationError(CelError):
    """The expression failed on the values it was given (``no such key: x``).

    ``cost`` is what was spent until then.
    """

    cost: int = 0


class BudgetExceeded(EvaluationError):
    """The expression was stopped: it cost more than it may. Never absorbed by ``||``."""

    def __init__(self) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")


def no_overload(what: str = "") -> EvaluationError:
    """No function of that name takes values of these types. ``what`` is told where the first of
    them has no operation of that kind at all (as cel-go).
    """
    return EvaluationError(f"no such overload: {what}" if what else "no such overload")
