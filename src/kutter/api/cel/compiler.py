"""From a checked tree to closures. Nothing is looked up by name while an expression runs.

A closure takes the frame, a list: what is left of the budget, then the variables. Costs that are
the same in every run are added up while compiling and taken from the budget once per stretch of
code that runs as a whole; only what depends on the size of values is counted call by call. So a
simple rule pays one subtraction. An error in such a stretch leaves it charged as if it had ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

from kutter.api.cel import operators as ops
from kutter.api.cel.declarations import Overload
from kutter.api.cel.errors import BudgetExceeded, EvaluationError, no_overload
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
from kutter.api.cel.values import NONE, Keyed, MapValue, OptionalValue, equal, is_map, type_of
from kutter.api.quoting import quote

Frame = list[Any]
Run = Callable[[Frame], Any]

LIST_COST, MAP_COST, OBJECT_COST = 10, 30, 40
_SCALARS = frozenset(("bool", "int", "uint", "double", "timestamp", "duration"))
_FOLDED = frozenset(
    ("bool", "bytes", "double", "duration", "int", "string", "timestamp", "uint", "dyn", "type")
)
_DYNAMIC = frozenset(("dyn", "param", "error"))


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
            assert type.fields is not None, "object types have fields"
            known = type.fields[field]
            name, wrap = known.name, known.type.wrap
            if node.test:
                return Code(_has_known(run, field, name), operand.cost)
            if wrap is None:
                return Code(_read_plain(run, field, name), operand.cost + 1)
            return Code(_read_wrapped(run, field, name, wrap), operand.cost + 1)
        if node.test:
            has = ops.has_field
            return Code(lambda frame: has(run(frame), field), operand.cost)
        return Code(_read_any(run, field), operand.cost + 1)

    def _select_optional(self, run: Run, field: str, type: Type) -> Run:
        select = ops.select_optional
        if type.kind == "object" and type.fields is not None:
            known = type.fields[field]
            has, read = (
                _has_known(run, field, known.name),
                (
                    _read_plain(run, field, known.name)
                    if known.type.wrap is None
                    else _read_wrapped(run, field, known.name, known.type.wrap)
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
        overload = _only(node.overloads)
        known = overload is not None and not any(o.type.kind in _DYNAMIC for o in operands)
        if node.function in ("_==_", "_!=_"):
            return _equality(node.function == "_==_", operands, codes)
        if overload is not None and (known or _universal(node.overloads)):
            return _invoke(overload, runs)
        if _universal(node.overloads) and all(o.cost is None for o in node.overloads):
            return _invoke(node.overloads[0], runs)
        return Code(_dispatch(node.overloads, runs))

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


# -- reading fields ------------------------------------------------------------


def _read_plain(run: Run, field: str, name: str) -> Run:
    """A field of an object that needs no wrapping; a null counts as absent."""

    def read(frame: Frame) -> Any:
        value = run(frame)
        if type(value) is dict:
            found = value.get(name)
            if found is None:
                raise ops.no_such_key(field)
            return found
        return _read_slowly(value, field)

    return read


def _read_wrapped(run: Run, field: str, name: str, wrap: Callable[[Any], Any]) -> Run:
    def read(frame: Frame) -> Any:
        value = run(frame)
        tree = value if type(value) is dict else getattr(value, "tree", None)
        if tree is None:
            return _read_slowly(value, field)
        found = tree.get(name)
        if found is None:
            raise ops.no_such_key(field)
        return wrap(found)

    return read


def _read_slowly(value: Any, field: str) -> Any:
    found = ops.select(value, field)
    # A map that makes its values says itself what is absent; a null it answers is meant.
    if found is None and not isinstance(value, MapValue):
        raise ops.no_such_key(field)
    return found


def _has_known(run: Run, field: str, name: str) -> Run:
    def has(frame: Frame) -> bool:
        value = run(frame)
        if type(value) is dict:
            return value.get(name) is not None
        tree = getattr(value, "tree", None)
        if tree is not None:
            return tree.get(name) is not None
        return ops.has_field(value, field)

    return has


def _read_any(run: Run, field: str) -> Run:
    select = ops.select

    def read(frame: Frame) -> Any:
        value = run(frame)
        if type(value) is dict:
            try:
                return value[field]
            except KeyError:
                raise ops.no_such_key(field) from None
        return select(value, field)

    return read


# -- calling -------------------------------------------------------------------


def _only(overloads: list[Overload]) -> Overload | None:
    return overloads[0] if len(overloads) == 1 else None


def _universal(overloads: list[Overload]) -> bool:
    """Whether all overloads run the same code, which looks at types itself."""
    code = overloads[0].code
    if getattr(code, "__module__", "") not in _CAREFUL:
        return False
    return all(overload.code is code for overload in overloads)


_CAREFUL = frozenset(
    (
        "kutter.api.cel.operators",
        "kutter.api.cel.values",
        "kutter.api.cel.library.conversions",
    )
)


def _invoke(overload: Overload, runs: list[Run]) -> Code:
    code, cost = overload.code, overload.cost
    if cost is None:
        if len(runs) == 1:
            (only,) = runs
            return Code(lambda frame: code(only(frame)), 1)
        if len(runs) == 2:
            one, other = runs
            return Code(lambda frame: code(one(frame), other(frame)), 1)
        return Code(lambda frame: code(*[run(frame) for run in runs]), 1)

    def call(frame: Frame) -> Any:
        arguments = [run(frame) for run in runs]
        result = code(*arguments)
        frame[0] -= cost(result, *arguments)
        if frame[0] < 0:
            raise BudgetExceeded
        return result

    return Code(_invoke_pair(code, cost, *runs) if len(runs) == 2 else call)


def _invoke_pair(code: Callable[..., Any], cost: Callable[..., int], one: Run, other: Run) -> Run:
    """A call with two operands, as most that cost by size are."""

    def call(frame: Frame) -> Any:
        left, right = one(frame), other(frame)
        result = code(left, right)
        frame[0] -= cost(result, left, right)
        if frame[0] < 0:
            raise BudgetExceeded
        return result

    return call


def _equality(wanted: bool, operands: list[Expression], codes: list[Code]) -> Code:
    one, other = codes[0].run, codes[1].run
    kinds = {operand.type.kind for operand in operands}
    if kinds <= _SCALARS:
        if wanted:
            return Code(lambda frame: equal(one(frame), other(frame)), 1)
        return Code(lambda frame: not equal(one(frame), other(frame)), 1)
    from kutter.api.cel.library.costs import actual_size

    def compare(frame: Frame) -> bool:
        left, right = one(frame), other(frame)
        if type(left) is str and type(right) is str:
            frame[0] -= ceil(min(len(left), len(right)) * 0.1)
            if frame[0] < 0:
                raise BudgetExceeded
            return (left == right) is wanted
        smaller = min(actual_size(left), actual_size(right))
        frame[0] -= ceil(smaller * 0.1)
        if frame[0] < 0:
            raise BudgetExceeded
        return equal(left, right) is wanted

    return Code(compare)


def _dispatch(overloads: list[Overload], runs: list[Run]) -> Run:
    """Choose the overload by the values."""
    candidates = [(o.params, o.code, o.cost) for o in overloads]

    def call(frame: Frame) -> Any:
        arguments = [run(frame) for run in runs]
        for params, code, cost in candidates:
            if all(map(accepts, params, arguments)):
                result = code(*arguments)
                charge(frame, 1 if cost is None else cost(result, *arguments))
                return result
        raise no_overload()

    return call


def accepts(wanted: Type, value: Any) -> bool:
    """Whether a value is of a type, as far as one looks: not into lists and maps."""
    kind = wanted.kind
    if kind in _DYNAMIC:
        return True
    if kind == "object":
        return is_map(value) or type_of(value).name == wanted.name
    found = type_of(value)
    if found.kind != kind:
        return False
    if kind == "list" and wanted.params and wanted.params[0].kind not in _DYNAMIC and len(value):
        return accepts(wanted.params[0], value[0])
    if kind == "map" and wanted.params and wanted.params[0].kind not in _DYNAMIC and len(value):
        return accepts(wanted.params[0], next(iter(value)))
    return kind != "opaque" or found.name == wanted.name
