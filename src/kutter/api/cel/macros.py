"""Macros: calls that are spelled out before anything is checked.

Texts and shapes are those of cel-go, on which costs depend. Users cannot write names that begin
with ``@``.
Upstream: https://github.com/google/cel-spec/blob/master/doc/langdef.md#macros
"""

from __future__ import annotations

from collections.abc import Callable

from kutter.api.cel.errors import Issue
from kutter.api.cel.syntax import (
    Call,
    Comprehension,
    CreateList,
    CreateMap,
    Expression,
    Ident,
    Literal,
    Select,
)

ACCUMULATOR = "@result"
# What upstream called it in earlier versions; still not free for variables.
_TAKEN = (ACCUMULATOR, "__result__")
UNUSED = "#unused"

Expand = Callable[[int, Expression | None, list[Expression]], Expression | None]
"""(offset, target, arguments) → what it stands for; None: not this macro after all."""
Key = tuple[str, int, bool]
"""(name, number of arguments, whether called on a target)."""


class MacroError(Exception):
    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.issue = Issue(offset, message)


def _simple_name(node: Expression, message: str) -> str:
    if not isinstance(node, Ident) or node.name.startswith("."):
        raise MacroError(node.offset, message)
    if node.name in _TAKEN:
        text = "iteration variable overwrites accumulator variable"
        raise MacroError(node.offset, text)
    return node.name


def _has(offset: int, target: Expression | None, arguments: list[Expression]) -> Expression:
    select = arguments[0]
    if not isinstance(select, Select) or select.test:
        raise MacroError(select.offset, "invalid argument to has() macro")
    return Select(offset, select.operand, select.field, test=True)


def _variables(
    arguments: list[Expression], *, two: bool, quantifier: bool = False
) -> tuple[str, str]:
    if not two:
        return _simple_name(arguments[0], _NO_NAME if quantifier else _NO_IDENT), ""
    first = _simple_name(arguments[0], _NO_NAME)
    second = _simple_name(arguments[1], _NO_NAME)
    if first == second:
        raise MacroError(arguments[1].offset, f"duplicate variable name: {first}")
    return first, second


_NO_IDENT = "argument is not an identifier"
_NO_NAME = "argument must be a simple name"


class _Fold:
    """What the folds have in common: making nodes at one place of the text."""

    def __init__(self, offset: int) -> None:
        self.offset = offset

    def accumulator(self) -> Ident:
        return Ident(self.offset, ACCUMULATOR)

    def call(self, function: str, *arguments: Expression) -> Call:
        return Call(self.offset, function, list(arguments), None)

    def literal(self, value: object) -> Literal:
        return Literal(self.offset, value)


def _quantifier(macro: str, *, two: bool) -> Expand:
    def expand(offset: int, target: Expression | None, arguments: list[Expression]) -> Expression:
        assert target is not None, "a receiver macro has a target"
        variable, variable2 = _variables(arguments, two=two, quantifier=True)
        make, body = _Fold(offset), arguments[-1]
        accumulator = make.accumulator()
        result: Expression = make.accumulator()
        initial: Expression
        if macro == "all":
            initial = make.literal(value=True)
            condition: Expression = make.call("@not_strictly_false", accumulator)
            step = make.call("_&&_", make.accumulator(), body)
        elif macro == "exists":
            initial = make.literal(value=False)
            condition = make.call("@not_strictly_false", make.call("!_", accumulator))
            step = make.call("_||_", make.accumulator(), body)
        else:
            initial, condition = make.literal(0), make.literal(value=True)
            more = make.call("_+_", make.accumulator(), make.literal(1))
            step = make.call("_?_:_", body, more, make.accumulator())
            result = make.call("_==_", result, make.literal(1))
        return Comprehension(
            offset,
            macro=macro,
            range=target,
            variable=variable,
            variable2=variable2,
            accumulator=ACCUMULATOR,
            initial=initial,
            condition=condition,
            step=step,
            result=result,
        )

    return expand


def _transform(macro: str, *, two: bool, filtered: bool) -> Expand:
    """``map``, ``filter`` and the ``transform…`` of two variables."""

    def expand(offset: int, target: Expression | None, arguments: list[Expression]) -> Expression:
        assert target is not None, "a receiver macro has a target"
        variable, variable2 = _variables(arguments, two=two)
        make, body = _Fold(offset), arguments[-1]
        test = arguments[-2] if filtered else None
        initial: Expression = CreateList(offset, [], frozenset())
        if macro == "filter":
            test, body = body, arguments[0]
        if macro in ("map", "filter", "transformList"):
            item = CreateList(offset, [body], frozenset())
            step = make.call("_+_", make.accumulator(), item)
        else:
            initial = CreateMap(offset, [])
            parts = [make.accumulator(), Ident(offset, variable), body]
            if macro == "transformMapEntry":
                del parts[1]
            step = make.call("cel.@mapInsert", *parts)
        if test is not None:
            step = make.call("_?_:_", test, step, make.accumulator())
        return Comprehension(
            offset,
            macro=macro,
            range=target,
            variable=variable,
            variable2=variable2,
            accumulator=ACCUMULATOR,
            initial=initial,
            condition=make.literal(value=True),
            step=step,
            result=make.accumulator(),
        )

    return expand


def bind(offset: int, name: str, value: Expression, body: Expression) -> Comprehension:
    """A name for a value, in one expression."""
    return Comprehension(
        offset,
        macro="bind",
        range=CreateList(offset, [], frozenset()),
        variable=UNUSED,
        accumulator=name,
        initial=value,
        condition=Literal(offset, value=False),
        step=Ident(offset, name),
        result=body,
    )


def standard_map(offset: int, target: Expression, arguments: list[Expression]) -> Expression:
    """``target.map(…)`` spelled out."""
    made = STANDARD["map", len(arguments), True](offset, target, arguments)
    assert made is not None, "map is always a macro"
    return made


def _cel_bind(
    offset: int, target: Expression | None, arguments: list[Expression]
) -> Expression | None:
    if not isinstance(target, Ident) or target.name != "cel":
        return None
    name = arguments[0]
    if not isinstance(name, Ident):
        raise MacroError(name.offset, "cel.bind() variable names must be simple identifiers")
    return bind(offset, name.name, arguments[1], arguments[2])


def _optional_map(function: str, *, flat: bool) -> Expand:
    def expand(offset: int, target: Expression | None, arguments: list[Expression]) -> Expression:
        assert target is not None, "a receiver macro has a target"
        name = arguments[0]
        if not isinstance(name, Ident):
            text = f"{function}() variable name must be a simple identifier"
            raise MacroError(name.offset, text)
        read: Expression = target if _is_path(target) else Ident(offset, _OPTIONAL)
        value = Call(offset, "value", [], read)
        body: Expression = bind(offset, name.name, value, arguments[1])
        if not flat:
            body = Call(offset, "optional.of", [body], None)
        none = Call(offset, "optional.none", [], None)
        present = Call(offset, "hasValue", [], read)
        made = Call(offset, "_?_:_", [present, body, none], None)
        # Upstream writes the target twice, so a chain of these would double with every link.
        return made if read is target else bind(offset, _OPTIONAL, target, made)

    return expand


_OPTIONAL = "@optional"


def _is_path(node: Expression) -> bool:
    while isinstance(node, Select):
        node = node.operand
    return isinstance(node, Ident)


STANDARD: dict[Key, Expand] = {
    ("has", 1, False): _has,
    ("all", 2, True): _quantifier("all", two=False),
    ("exists", 2, True): _quantifier("exists", two=False),
    ("exists_one", 2, True): _quantifier("exists_one", two=False),
    ("existsOne", 2, True): _quantifier("exists_one", two=False),
    ("map", 2, True): _transform("map", two=False, filtered=False),
    ("map", 3, True): _transform("map", two=False, filtered=True),
    ("filter", 2, True): _transform("filter", two=False, filtered=False),
}
TWO_VARIABLES: dict[Key, Expand] = {
    ("all", 3, True): _quantifier("all", two=True),
    ("exists", 3, True): _quantifier("exists", two=True),
    ("exists_one", 3, True): _quantifier("exists_one", two=True),
    ("existsOne", 3, True): _quantifier("exists_one", two=True),
    ("transformList", 3, True): _transform("transformList", two=True, filtered=False),
    ("transformList", 4, True): _transform("transformList", two=True, filtered=True),
    ("transformMap", 3, True): _transform("transformMap", two=True, filtered=False),
    ("transformMap", 4, True): _transform("transformMap", two=True, filtered=True),
    ("transformMapEntry", 3, True): _transform("transformMapEntry", two=True, filtered=False),
    ("transformMapEntry", 4, True): _transform("transformMapEntry", two=True, filtered=True),
}
OPTIONALS: dict[Key, Expand] = {
    ("optMap", 2, True): _optional_map("optMap", flat=False),
    ("optFlatMap", 2, True): _optional_map("optFlatMap", flat=True),
}
BINDINGS: dict[Key, Expand] = {("bind", 3, True): _cel_bind}
