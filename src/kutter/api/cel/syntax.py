"""The tree of an expression. Nodes know where they stand; the checker notes types on them."""

from __future__ import annotations

from typing import Any

from kutter.api.cel.types import Type


class Expression:
    """A node. ``type`` is what it evaluates to, known after checking."""

    __slots__ = ("offset", "type")

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.type: Type = None  # type: ignore[assignment]


class Literal(Expression):
    __slots__ = ("value",)

    def __init__(self, offset: int, value: Any) -> None:
        super().__init__(offset)
        self.value = value


class Ident(Expression):
    """A variable or a type's name. ``constant`` is the type it names, if it names one."""

    __slots__ = ("constant", "name")

    def __init__(self, offset: int, name: str) -> None:
        super().__init__(offset)
        self.name = name
        self.constant: Any = None


class Select(Expression):
    """``operand.field``; ``test`` for ``has()``, ``optional`` for ``operand.?field``.

    ``resolved`` is the qualified name the whole chain turned out to be, if any.
    """

    __slots__ = ("field", "operand", "optional", "resolved", "test")

    def __init__(
        self,
        offset: int,
        operand: Expression,
        field: str,
        *,
        test: bool = False,
        optional: bool = False,
    ) -> None:
        super().__init__(offset)
        self.operand = operand
        self.field = field
        self.test = test
        self.optional = optional
        self.resolved: Ident | None = None


class Call(Expression):
    """``function(arguments)`` or ``target.function(arguments)``; operators are calls too.

    ``overloads`` are the candidates the checker left; more than one are told apart at run time.
    """

    __slots__ = ("arguments", "function", "overloads", "target")

    def __init__(
        self, offset: int, function: str, arguments: list[Expression], target: Expression | None
    ) -> None:
        super().__init__(offset)
        self.function = function
        self.arguments = arguments
        self.target = target
        self.overloads: list[Any] = []


class CreateList(Expression):
    __slots__ = ("elements", "optional")

    def __init__(self, offset: int, elements: list[Expression], optional: frozenset[int]) -> None:
        super().__init__(offset)
        self.elements = elements
        self.optional = optional


class CreateMap(Expression):
    """Entries are (key, value, optional)."""

    __slots__ = ("entries",)

    def __init__(self, offset: int, entries: list[tuple[Expression, Expression, bool]]) -> None:
        super().__init__(offset)
        self.entries = entries


class CreateObject(Expression):
    """``Name{field: value}``; entries are (field, its offset, value, optional)."""

    __slots__ = ("entries", "name")

    def __init__(
        self, offset: int, name: str, entries: list[tuple[str, int, Expression, bool]]
    ) -> None:
        super().__init__(offset)
        self.name = name
        self.entries = entries


class Comprehension(Expression):
    """A macro over a range, spelled out: an accumulator is folded over the range.

    ``macro`` says which it was, so that it is compiled to that loop and not to a fold.
    """

    __slots__ = (
        "accumulator",
        "condition",
        "initial",
        "macro",
        "range",
        "result",
        "step",
        "variable",
        "variable2",
    )

    def __init__(
        self,
        offset: int,
        *,
        macro: str,
        range: Expression,
        variable: str,
        variable2: str = "",
        accumulator: str,
        initial: Expression,
        condition: Expression,
        step: Expression,
        result: Expression,
    ) -> None:
        super().__init__(offset)
        self.macro = macro
        self.range = range
        self.variable = variable
        self.variable2 = variable2
        self.accumulator = accumulator
        self.initial = initial
        self.condition = condition
        self.step = step
        self.result = result
