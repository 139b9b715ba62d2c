"""What compiling makes of a node: a closure, and what it costs whoever runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kutter.api.cel.errors import BudgetExceeded

Frame = list[Any]
Run = Callable[[Frame], Any]


class Code:
    """A closure, and the fixed cost whoever runs it still has to charge.

    ``constant`` tells that the closure always answers ``value``.
    """

    __slots__ = ("constant", "cost", "run", "value")

    def __init__(self, run: Run, cost: int = 0) -> None:
        self.run = run
        self.cost = cost
        self.constant = False
        self.value: Any = None


def constant(value: Any) -> Code:
    made = Code(lambda _: value)
    made.constant, made.value = True, value
    return made


def charged(code: Code) -> Run:
    """A closure that pays for itself: for branches and the bodies of loops."""
    run, cost = code.run, code.cost
    if not cost:
        return run

    def paid(frame: Frame) -> Any:
        frame[0] -= cost
        if frame[0] < 0:
            raise BudgetExceeded
        return run(frame)

    return paid


def charge(frame: Frame, cost: int) -> None:
    frame[0] -= cost
    if frame[0] < 0:
        raise BudgetExceeded
