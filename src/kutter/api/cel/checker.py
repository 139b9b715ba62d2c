"""Types of an expression's nodes, found from the bottom up; what does not fit is an issue.

Resolution of names and overloads, and the texts, are cel-go's.
Upstream: https://github.com/google/cel-spec/blob/master/doc/langdef.md#checking
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from kutter.api.cel.declarations import Overload
from kutter.api.cel.errors import Issue
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
from kutter.api.cel.types import (
    BOOL,
    DYN,
    ERROR,
    INT,
    Bindings,
    Type,
    all_assignable,
    is_assignable,
    is_optional,
    list_of,
    map_of,
    most_general,
    optional_of,
    param,
    substitute,
    type_of_type,
)
from kutter.api.cel.values import type_of


class Scope(msgspec.Struct, frozen=True):
    """What names mean at the top of an expression."""

    variables: Mapping[str, Type]
    functions: Mapping[str, tuple[Overload, ...]]
    types: Mapping[str, Type]
    constants: Mapping[str, tuple[Type, Any]]
    container: str = ""
    # Whether the items of a list that is written out must be of one type.
    homogeneous: bool = True

    def candidates(self, name: str) -> list[str]:
        """The names one may mean, from the innermost container outwards."""
        if name.startswith("."):
            return [name[1:]]
        if not self.container:
            return [name]
        parts = self.container.split(".")
        inner = [".".join([*parts[:n], name]) for n in range(len(parts), 0, -1)]
        return [*inner, name]


def check(expression: Expression, scope: Scope) -> list[Issue]:
    """Note types and overloads on every node; what is wrong, if anything."""
    checker = _Checker(scope)
    checker.check(expression)
    if not checker.issues:
        checker.settle()
    return checker.issues


class _Checker:
    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._bindings: Bindings = {}
        self._locals: list[dict[str, Type]] = []
        self._fresh = 0
        self._seen: list[Expression] = []
        self.issues: list[Issue] = []

    def settle(self) -> None:
        """Replace what stayed open in types; nothing said otherwise, so it is dyn."""
        for node in self._seen:
            node.type = substitute(node.type, self._bindings, free=True)

    def check(self, node: Expression) -> Type:
        match node:
            case Literal():
                found = type_of(node.value)
            case Ident():
                found = self._ident(node)
            case Select():
                found = self._select(node)
            case Call():
                found = self._call(node)
            case CreateList():
                found = self._list(node)
            case CreateMap():
                found = self._map(node)
            case CreateObject():
                found = self._object(node)
            case Comprehension():
                found = self._comprehension(node)
            case _:
                raise AssertionError(f"no such node: {node}")
        node.type = found
        self._seen.append(node)
        return found

    def _issue(self, offset: int, text: str) -> Type:
        self.issues.append(Issue(offset, text))
        return ERROR

    def _open(self) -> Type:
        self._fresh += 1
        return param(f"_var{self._fresh - 1}")

    def _now(self, type: Type) -> Type:
        return substitute(type, self._bindings)

    def _fits(self, wanted: Type, found: Type) -> bool:
        return is_assignable(self._bindings, wanted, found)

    # -- names -----------------------------------------------------------------

    def _undeclared(self, offset: int, name: str) -> Type:
        container = self._scope.container
        text = f"undeclared reference to '{name}' (in container '{container}')"
        return self._issue(offset, text)

    def _local(self, name: str) -> Type | None:
        for scope in reversed(self._locals):
            found = scope.get(name)
            if found is not None:
                return found
        return None

    def _resolve(self, name: str, node: Ident) -> Type | None:
        """What a qualified name means outside of comprehensions."""
        scope = self._scope
        for candidate in scope.candidates(name):
            found = scope.variables.get(candidate)
            if found is not None:
                node.name = candidate
                return found
            named = scope.types.get(candidate)
            if named is not None:
                node.name, node.constant = candidate, named
                return type_of_type(named)
            constant = scope.constants.get(candidate)
            if constant is not None:
                node.name, node.constant = candidate, constant[1]
                return constant[0]
        return None

    def _ident(self, node: Ident) -> Type:
        found = self._local(node.name)
        if found is not None:
            return self._now(found)
        found = self._resolve(node.name, node)
        return found if found is not None else self._undeclared(node.offset, node.name)

    def _select(self, node: Select) -> Type:
        if not node.test and not node.optional:
            name = _qualified(node)
            if name is not None and self._local(name.split(".")[0]) is None:
                ident = Ident(node.offset, name)
                found = self._resolve(name, ident)
                if found is not None:
                    node.resolved = ident
                    ident.type = found
                    return found
        operand = self._now(self.check(node.operand))
        wrapped = is_optional(operand)
        target = operand.params[0] if wrapped else operand
        found = self._field(node, target)
        if node.test:
            return BOOL
        found = self._now(found)
        return optional_of(found) if wrapped or node.optional else found

    def _field(self, node: Select, target: Type) -> Type:
        if target.kind == "map":
            return target.params[1] if target.params else DYN
        if target.kind == "object":
            field = target.field(node.field)
            if field is None:
                return self._issue(node.offset, f"undefined field '{node.field}'")
            return field.type
        if target.kind == "param":
            self._fits(DYN, target)
        elif target.kind not in ("dyn", "error"):
            text = f"type '{target}' does not support field selection"
            return self._issue(node.offset, text)
        return DYN

    # -- calls -----------------------------------------------------------------

    def _call(self, node: Call) -> Type:
        for argument in node.arguments:
            self.check(argument)
        functions = self._scope.functions
        if node.target is None:
            for name in self._scope.candidates(node.function):
                if name in functions:
                    return self._overload(node, name, None)
            return self._undeclared(node.offset, node.function)
        prefix = _qualified(node.target)
        if prefix is not None:
            for name in self._scope.candidates(f"{prefix}.{node.function}"):
                if name in functions:
                    node.target = None
                    node.function = name
                    return self._overload(node, name, None)
        self.check(node.target)
        if node.function not in functions:
            return self._undeclared(node.offset, node.function)
        return self._overload(node, node.function, node.target)

    def _overload(self, node: Call, name: str, target: Expression | None) -> Type:
        node.function = name
        operands = node.arguments if target is None else [target, *node.arguments]
        types = [operand.type for operand in operands]
        if name in ("_&&_", "_||_"):
            return self._logic(node, operands)
        result: Type | None = None
        node.overloads = []
        for overload in self._scope.functions[name]:
            if overload.member is not (target is not None):
                continue
            params, answer = overload.params, overload.result
            if overload.variables:
                opened: Bindings = {variable: self._open() for variable in overload.variables}
                params = tuple(substitute(one, opened) for one in params)
                answer = substitute(answer, opened)
            if not all_assignable(self._bindings, params, types):
                continue
            node.overloads.append(overload)
            answer = self._now(answer)
            if result is None:
                result = answer
            elif result.kind != "dyn" and answer != result:
                result = DYN
        if result is not None:
            return result
        shown = [str(substitute(type, self._bindings, free=True)) for type in types]
        signature = f"({', '.join(shown)})"
        if target is not None:
            signature = f"{shown[0]}.({', '.join(shown[1:])})"
        text = f"found no matching overload for '{name}' applied to '{signature}'"
        return self._issue(node.offset, text)

    def _logic(self, node: Call, operands: list[Expression]) -> Type:
        result = BOOL
        for operand in operands:
            if not self._fits(operand.type, BOOL):
                self._mismatch(operand.offset, BOOL, operand.type)
                result = ERROR
        node.overloads = list(self._scope.functions[node.function])
        return result

    def _mismatch(self, offset: int, wanted: Type, found: Type) -> Type:
        return self._issue(offset, f"expected type '{wanted}' but found '{found}'")

    # -- what is written out ---------------------------------------------------

    def _join(self, node: Expression, before: Type | None, found: Type) -> Type:
        if before is None:
            return found
        if self._fits(before, found):
            return most_general(before, found)
        if not self._scope.homogeneous:
            return DYN
        return self._mismatch(node.offset, before, found)

    def _unwrapped(self, node: Expression, found: Type) -> Type:
        """The type of an item marked as optional."""
        if is_optional(found):
            return found.params[0]
        if found.kind != "dyn":
            self._mismatch(node.offset, optional_of(found), found)
        return found

    def _list(self, node: CreateList) -> Type:
        joined: Type | None = None
        for index, element in enumerate(node.elements):
            found = self.check(element)
            if index in node.optional:
                found = self._unwrapped(element, found)
            joined = self._join(element, joined, found)
        return list_of(joined if joined is not None else self._open())

    def _map(self, node: CreateMap) -> Type:
        keys: Type | None = None
        values: Type | None = None
        for key, value, optional in node.entries:
            keys = self._join(key, keys, self.check(key))
            found = self.check(value)
            if optional:
                found = self._unwrapped(value, found)
            values = self._join(value, values, found)
        if keys is None or values is None:
            return map_of(self._open(), self._open())
        return map_of(keys, values)

    def _object(self, node: CreateObject) -> Type:
        types = self._scope.types
        name = next((n for n in self._scope.candidates(node.name) if n in types), None)
        if name is None:
            return self._undeclared(node.offset, node.name)
        found = types[name]
        node.name = name
        if found.kind != "object":
            found = self._issue(node.offset, f"'{found.name}' is not a message type")
        for key, offset, value, optional in node.entries:
            given = self.check(value)
            if optional:
                given = self._unwrapped(value, given)
            if found.kind != "object":
                continue
            field = found.field(key)
            if field is None:
                self._issue(offset, f"undefined field '{key}'")
            elif not self._fits(field.type, given):
                text = (
                    f"expected type of field '{key}' is '{field.type}' but provided type is "
                    f"'{given}'"
                )
                self._issue(offset, text)
        return found

    # -- folds -----------------------------------------------------------------

    def _comprehension(self, node: Comprehension) -> Type:
        over = self._now(self.check(node.range))
        accumulated = self.check(node.initial)
        self._locals.append({node.accumulator: accumulated})
        two = bool(node.variable2)
        if over.kind == "list":
            item = over.params[0] if over.params else DYN
            first, second = (INT, item) if two else (item, DYN)
        elif over.kind == "map":
            first, second = over.params or (DYN, DYN)
        elif over.kind in ("dyn", "error", "param"):
            self._fits(DYN, over)
            first = second = DYN
        else:
            text = (
                f"expression of type '{over}' cannot be range of a comprehension (must be list, "
                "map, or dynamic)"
            )
            first = second = self._issue(node.range.offset, text)
        inner = {node.variable: first}
        if two:
            inner[node.variable2] = second
        self._locals.append(inner)
        self.check(node.condition)
        self._assert(node.condition, BOOL)
        self.check(node.step)
        self._assert(node.step, accumulated)
        self._locals.pop()
        self.check(node.result)
        self._locals.pop()
        return self._now(node.result.type)

    def _assert(self, node: Expression, wanted: Type) -> None:
        if not self._fits(wanted, node.type):
            self._mismatch(node.offset, self._now(wanted), self._now(node.type))


def _qualified(node: Expression) -> str | None:
    """``a.b.c`` if a chain of selections is one, else None."""
    fields: list[str] = []
    while isinstance(node, Select):
        if node.test or node.optional:
            return None
        fields.append(node.field)
        node = node.operand
    if not isinstance(node, Ident):
        return None
    return ".".join([node.name, *reversed(fields)])
