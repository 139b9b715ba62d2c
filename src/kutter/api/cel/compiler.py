"""From a checked tree to closures. Nothing is looked up by name while an expression runs.

A closure takes the frame, a list: what is left of the budget, then the variables. Costs that are
the same in every run are added up while compiling and taken from the budget once per stretch of
code that runs as a whole; only what depends on the size of values is counted call by call. So a
simple rule pays one subtraction. An error in such a stretch leaves it charged as if it had ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kutter.api.cel import operators as ops
from kutter.api.cel.calls import DYNAMIC, dispatch, equality, invoke, only, universal
from kutter.api.cel.code import Code, Frame, Run, charged, constant
from kutter.api.cel.errors import BudgetExceeded, EvaluationError, no_overload
from kutter.api.cel.reading import has_known, read_any, read_plain, read_wrapped
from kutter.api.cel.syntax import (
    Call,
    Comprehension,
    CreateList,
    CreateMap,
    CreateObject,
    Expression,
    Ident,
    Literal,
    Select,
)
from kutter.api.cel.types import Type
from kutter.api.cel.values import NONE, Keyed, OptionalValue
from kutter.api.quoting import quote

LIST_COST, MAP_COST, OBJECT_COST = 10, 30, 40
_FOLDED = frozenset(
    ("bool", "bytes", "double", "duration", "int", "string", "timestamp", "uint", "dyn", "type")
)


class Compiled:
    """The closure of a whole expression, and what its frame looks like."""

    __slots__ = ("cost", "inputs", "run", "size")

    def __init__(
        self,
        run: Run,
        cost: int,
        inputs: list[tuple[str, int, Callable[[Any], Any] | None]],
        size: int,
    ) -> None:
        self.run = run
        self.cost = cost
        self.inputs = inputs
        self.size = size


def compile_expression(expression: Expression, variables: Mapping[str, Type]) -> Compiled:
    """Compile a tree the checker found nothing wrong with."""
    compiler = Compiler(variables)
    code = compiler.compile(expression)
    return Compiled(code.run, code.cost, compiler.inputs, compiler.size)


class Compiler:
    def __init__(self, variables: Mapping[str, Type]) -> None:
        self._variables = variables
        self._slots: dict[str, int] = {}
        self._locals: dict[str, list[int]] = {}
        # Slot 0 is the budget. Variables come first as they are met, locals in between.
        self.size = 1
        self.inputs: list[tuple[str, int, Callable[[Any], Any] | None]] = []

    # -- slots -----------------------------------------------------------------

    def _new_slot(self) -> int:
        self.size += 1
        return self.size - 1

    def slot(self, name: str) -> int:
        local = self._locals.get(name)
        if local:
            return local[-1]
        known = self._slots.get(name)
        if known is None:
            known = self._slots[name] = self._new_slot()
            self.inputs.append((name, known, self._variables[name].wrap))
        return known

    def enter(self, name: str) -> int:
        slot = self._new_slot()
        self._locals.setdefault(name, []).append(slot)
        return slot

    def leave(self, *names: str) -> None:
        for name in names:
            if name:
                self._locals[name].pop()

    # -- nodes -----------------------------------------------------------------

    def compile(self, node: Expression) -> Code:
        match node:
            case Literal():
                return constant(node.value)
            case Ident():
                return self._ident(node)
            case Select():
                return self._select(node)
            case Call():
                return self._call(node)
            case CreateList():
                return self._list(node)
            case CreateMap():
                return self._map(node)
            case CreateObject():
                return self._object(node)
            case Comprehension():
                from kutter.api.cel.folds import compile_fold

                return compile_fold(self, node)
        raise AssertionError(f"no such node: {node}")

    def _ident(self, node: Ident) -> Code:
        if node.constant is not None and node.name not in self._locals:
            made = constant(node.constant)
            made.cost = 1
            return made
        slot = self.slot(node.name)
        return Code(lambda frame: frame[slot], 1)

    # -- selection -------------------------------------------------------------

    def _select(self, node: Select) -> Code:
        if node.resolved is not None:
            return self._ident(node.resolved)
        operand = self.compile(node.operand)
        run, field, type = operand.run, node.field, node.operand.type
        if node.optional:
            return Code(self._select_optional(run, field, type), operand.cost + 1)
        if type.kind == "object":
            known = type.field(field)
            assert known is not None, "checked before"
            name, wrap = known.name, known.type.wrap
            if node.test:
                return Code(has_known(run, field, name), operand.cost)
            if wrap is None:
                return Code(read_plain(run, field, name), operand.cost + 1)
            return Code(read_wrapped(run, field, name, wrap), operand.cost + 1)
        if node.test:
            has = ops.has_field
            return Code(lambda frame: has(run(frame), field), operand.cost)
        return Code(read_any(run, field), operand.cost + 1)

    def _select_optional(self, run: Run, field: str, type: Type) -> Run:
        select = ops.select_optional
        if type.kind == "object" and (known := type.field(field)) is not None:
            has, read = (
                has_known(run, field, known.name),
                (
                    read_plain(run, field, known.name)
                    if known.type.wrap is None
                    else read_wrapped(run, field, known.name, known.type.wrap)
                ),
            )
            return lambda frame: OptionalValue(read(frame)) if has(frame) else NONE
        return lambda frame: select(run(frame), field)

    # -- what is written out ---------------------------------------------------

    def _list(self, node: CreateList) -> Code:
        codes = [self.compile(element) for element in node.elements]
        cost = sum(code.cost for code in codes)
        if all(code.constant and not code.cost for code in codes) and not node.optional:
            return constant([code.value for code in codes])
        runs = [code.run for code in codes]
        if not node.optional:
            return Code(lambda frame: [run(frame) for run in runs], cost + LIST_COST)
        marked = [(run, index in node.optional) for index, run in enumerate(runs)]

        def make(frame: Frame) -> list[Any]:
            made = []
            for run, optional in marked:
                value = run(frame)
                if optional:
                    if not isinstance(value, OptionalValue):
                        raise no_overload()
                    if not value.present:
                        continue
                    value = value.value
                made.append(value)
            return made

        return Code(make, cost + LIST_COST)

    def _map(self, node: CreateMap) -> Code:
        entries = [(self.compile(k), self.compile(v), optional) for k, v, optional in node.entries]
        cost = sum(key.cost + value.cost for key, value, _ in entries)
        runs = [(key.run, value.run, optional) for key, value, optional in entries]

        def make(frame: Frame) -> Any:
            return _make_map(frame, runs)

        fixed = all(k.constant and v.constant and not o for k, v, o in entries)
        if fixed and not cost:
            try:
                return constant(make([0]))
            except EvaluationError:
                return Code(make, MAP_COST)
        return Code(make, cost + MAP_COST)

    def _object(self, node: CreateObject) -> Code:
        fields = node.type.fields
        assert fields is not None, "object types have fields"
        parts, cost = [], OBJECT_COST
        for key, _, value, optional in node.entries:
            code = self.compile(value)
            cost += code.cost
            run = _misplaced(node.name, key, value) or code.run
            parts.append((fields[key].name, run, optional))

        def make(frame: Frame) -> dict[str, Any]:
            made = {}
            for name, run, optional in parts:
                value = run(frame)
                if optional:
                    if not value.present:
                        continue
                    value = value.value
                made[name] = value
            return made

        return Code(make, cost)

    # -- calls -----------------------------------------------------------------

    def _call(self, node: Call) -> Code:
        function = node.function
        if function in ("_&&_", "_||_"):
            return self._logic(node, stop=function == "_||_")
        if function == "_?_:_":
            return self._conditional(node)
        if node.overloads and node.overloads[0].id in _LAZY:
            return self._lazy(node, node.overloads[0].id)
        operands = node.arguments if node.target is None else [node.target, *node.arguments]
        codes = [self.compile(operand) for operand in operands]
        cost = sum(code.cost for code in codes)
        made = self._direct(node, operands, codes)
        if function in _FOLDED and all(code.constant for code in codes) and not cost:
            # As upstream: conversions of constants are done once, for nothing.
            try:
                return constant(made.run([1 << 62]))
            except EvaluationError:
                pass
        made.cost += cost
        return made

    def _direct(self, node: Call, operands: list[Expression], codes: list[Code]) -> Code:
        runs = [code.run for code in codes]
        overload = only(node.overloads)
        known = overload is not None and not any(o.type.kind in DYNAMIC for o in operands)
        if node.function in ("_==_", "_!=_"):
            return equality(node.function == "_==_", operands, codes)
        if overload is not None and (known or universal(node.overloads)):
            return invoke(overload, runs)
        if universal(node.overloads) and all(o.cost is None for o in node.overloads):
            return invoke(node.overloads[0], runs)
        return Code(dispatch(node.function, node.overloads, runs))

    def _logic(self, node: Call, *, stop: bool) -> Code:
        """``&&`` and ``||``: what decides wins, even over an error on the other side."""
        first, second = (self.compile(argument) for argument in node.arguments)
        left, right = first.run, charged(second)

        def run(frame: Frame) -> Any:
            try:
                one = left(frame)
            except BudgetExceeded:
                raise
            except (EvaluationError, TypeError) as error:
                if right(frame) is stop:
                    return stop
                raise error  # noqa: TRY201  (the other side may have raised meanwhile)
            if one is stop:
                return stop
            other = right(frame)
            if other is stop:
                return stop
            if type(one) is not bool or type(other) is not bool:
                raise no_overload()
            return not stop

        return Code(run, first.cost)

    def _conditional(self, node: Call) -> Code:
        condition, *rest = (self.compile(argument) for argument in node.arguments)
        test, (yes, no) = condition.run, (charged(code) for code in rest)

        def run(frame: Frame) -> Any:
            found = test(frame)
            if found is True:
                return yes(frame)
            if found is False:
                return no(frame)
            raise no_overload()

        return Code(run, condition.cost)

    def _lazy(self, node: Call, id: str) -> Code:
        """``optional.or`` and ``orValue``: the other side is not looked at when not needed."""
        assert node.target is not None, "both are called on an optional"
        target, other = self.compile(node.target), self.compile(node.arguments[0])
        run, rest, whole = target.run, charged(other), id == "optional_or_optional"

        def choose(frame: Frame) -> Any:
            value = run(frame)
            if not isinstance(value, OptionalValue):
                raise no_overload()
            if value.present:
                return value if whole else value.value
            return rest(frame)

        return Code(choose, target.cost + 1)


_LAZY = frozenset(("optional_or_optional", "optional_orValue_value"))


def _misplaced(name: str, field: str, value: Expression) -> Run | None:
    """An object of a name that belongs to another field fails when it is made."""
    found = value.type
    wanted = f"{name}.{field}"
    if found.kind != "object" or not name.startswith("Object") or found.name == wanted:
        return None

    def refuse(_: Frame) -> Any:
        raise EvaluationError(
            f"unexpected type name {quote(found.name)}, expected {quote(wanted)}, which matches "
            "field name path from root Object type"
        )

    return refuse


def _make_map(frame: Frame, runs: list[tuple[Run, Run, bool]]) -> Any:
    plain: dict[str, Any] = {}
    keyed: Keyed | None = None
    for read_key, read_value, optional in runs:
        key, value = read_key(frame), read_value(frame)
        if optional:
            if not isinstance(value, OptionalValue):
                raise no_overload()
            if not value.present:
                continue
            value = value.value
        if keyed is None and type(key) is str:
            if key in plain:
                raise EvaluationError(f"Failed with repeated key: {key}")
            plain[key] = value
            continue
        if keyed is None:
            keyed = Keyed()
            for known, held in plain.items():
                keyed.add(known, held)
        if not keyed.add(key, value):
            raise EvaluationError(f"Failed with repeated key: {ops.shown_key(key)}")
    return plain if keyed is None else keyed
