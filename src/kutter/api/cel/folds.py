"""Macros over lists and maps, compiled to loops. What a round costs is what upstream's fold costs.

Whatever is folded is not copied per round: a list grows in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from kutter.api.cel import operators as ops
from kutter.api.cel.code import Code, Frame, Run, charged
from kutter.api.cel.compiler import Compiler
from kutter.api.cel.errors import BudgetExceeded, EvaluationError, no_overload
from kutter.api.cel.syntax import Call, Comprehension, CreateList, Expression
from kutter.api.cel.values import Keyed, find_key, is_list, is_map, type_of

# Per round, beside the body: reading the accumulator, testing it, growing the list.
_ALL, _EXISTS, _COUNT, _KEEP, _GROW, _INSERT = 3, 4, 1, 1, 12, 3


def compile_fold(compiler: Compiler, node: Comprehension) -> Code:
    if node.macro == "bind":
        return _bind(compiler, node)
    over = compiler.compile(node.range)
    first = compiler.enter(node.variable)
    second = compiler.enter(node.variable2) if node.variable2 else 0
    make = _LOOPS[node.macro]
    code = make(compiler, node, _steps(over.run, first, second))
    compiler.leave(node.variable, node.variable2)
    code.cost += over.cost
    return code


_GO_TYPES = {
    "string": "types.String",
    "int": "types.Int",
    "uint": "types.Uint",
    "double": "types.Double",
    "bool": "types.Bool",
    "bytes": "types.Bytes",
    "null_type": "types.Null",
    "google.protobuf.Timestamp": "types.Timestamp",
    "google.protobuf.Duration": "types.Duration",
}


def _not_iterable(value: Any) -> EvaluationError:
    name = type_of(value).name
    return EvaluationError(f"got '{_GO_TYPES.get(name, name)}', expected iterable type")


Steps = Callable[[Frame], Iterable[None]]


def _steps(run: Run, first: int, second: int) -> Steps:
    """Puts each item into its slot, one round after the other."""

    def single(frame: Frame) -> Iterable[None]:
        over = run(frame)
        if not (is_list(over) or is_map(over)):
            raise _not_iterable(over)
        for item in over:
            frame[first] = item
            yield

    def pairs(frame: Frame) -> Iterable[None]:
        over = run(frame)
        if is_list(over):
            for index, item in enumerate(over):
                frame[first], frame[second] = index, item
                yield
        elif is_map(over):
            for key in over:
                frame[first], frame[second] = key, find_key(over, key, None)
                yield
        else:
            raise _not_iterable(over)

    return pairs if second else single


def _bind(compiler: Compiler, node: Comprehension) -> Code:
    value = compiler.compile(node.initial)
    slot = compiler.enter(node.accumulator)
    body = compiler.compile(node.result)
    compiler.leave(node.accumulator)
    read, run = value.run, body.run

    def bound(frame: Frame) -> Any:
        frame[slot] = read(frame)
        return run(frame)

    return Code(bound, value.cost + body.cost)


def _branches(node: Comprehension) -> tuple[Expression | None, Expression]:
    """(test, step) of a step that may be a choice."""
    step = node.step
    assert isinstance(step, Call), "macros spell steps as calls"
    if step.function == "_?_:_":
        return step.arguments[0], step.arguments[1]
    return None, step


def _quantifier(compiler: Compiler, node: Comprehension, steps: Steps, *, stop: bool) -> Code:
    step = node.step
    assert isinstance(step, Call), "macros spell steps as calls"
    code = compiler.compile(step.arguments[1])
    code.cost += _EXISTS if stop else _ALL
    body = charged(code)

    def run(frame: Frame) -> Any:
        failure: Exception | None = None
        for _ in steps(frame):
            try:
                found = body(frame)
            except BudgetExceeded:
                raise
            except (EvaluationError, TypeError) as error:
                failure = failure or error
                continue
            if found is stop:
                return stop
            if type(found) is not bool:
                failure = failure or no_overload()
        if failure is not None:
            raise failure
        return not stop

    return Code(run, 1)


def _all(compiler: Compiler, node: Comprehension, steps: Steps) -> Code:
    return _quantifier(compiler, node, steps, stop=False)


def _exists(compiler: Compiler, node: Comprehension, steps: Steps) -> Code:
    return _quantifier(compiler, node, steps, stop=True)


def _tested(compiler: Compiler, test: Expression) -> Run:
    code = compiler.compile(test)
    code.cost += _KEEP
    run = charged(code)

    def check(frame: Frame) -> bool:
        found = run(frame)
        if type(found) is not bool:
            raise no_overload()
        return found

    return check


def _exists_one(compiler: Compiler, node: Comprehension, steps: Steps) -> Code:
    test, _ = _branches(node)
    assert test is not None, "exists_one counts what passes"
    check = _tested(compiler, test)

    def run(frame: Frame) -> bool:
        count = 0
        for _ in steps(frame):
            if check(frame):
                count += 1
                frame[0] -= _COUNT
        return count == 1

    return Code(run, 2)


def _list(compiler: Compiler, node: Comprehension, steps: Steps) -> Code:
    test, step = _branches(node)
    assert isinstance(step, Call), "macros spell steps as calls"
    made = step.arguments[1]
    assert isinstance(made, CreateList), "one item is added per round"
    code = compiler.compile(made.elements[0])
    code.cost += _GROW if test is None else _GROW - _KEEP
    body = charged(code)
    check = _tested(compiler, test) if test is not None else None

    def run(frame: Frame) -> list[Any]:
        if check is None:
            return [body(frame) for _ in steps(frame)]
        return [body(frame) for _ in steps(frame) if check(frame)]

    return Code(run, 1)


def _map(compiler: Compiler, node: Comprehension, steps: Steps) -> Code:
    test, step = _branches(node)
    assert isinstance(step, Call), "macros spell steps as calls"
    codes = [compiler.compile(argument) for argument in step.arguments[1:-1]]
    body = compiler.compile(step.arguments[-1])
    body.cost += _INSERT
    value = charged(body)
    read_key = codes[0].run if codes else None
    check = _tested(compiler, test) if test is not None else None

    def run(frame: Frame) -> Any:
        made = Keyed()
        for _ in steps(frame):
            if check is not None and not check(frame):
                continue
            if read_key is not None:
                _insert(made, read_key(frame), value(frame))
                continue
            entries = value(frame)
            if not is_map(entries):
                raise no_overload()
            for key in entries:
                _insert(made, key, find_key(entries, key, None))
        return made

    return Code(run, 1)


def _insert(made: Keyed, key: Any, value: Any) -> None:
    if not made.add(key, value):
        text = f"insert failed: key {ops.shown_key(key)} already exists"
        raise EvaluationError(text)


_LOOPS: dict[str, Callable[[Compiler, Comprehension, Steps], Code]] = {
    "all": _all,
    "exists": _exists,
    "exists_one": _exists_one,
    "map": _list,
    "filter": _list,
    "transformList": _list,
    "transformMap": _map,
    "transformMapEntry": _map,
}
