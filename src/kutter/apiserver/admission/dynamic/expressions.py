"""Expressions of webhooks and policies: compiled once, with what is wrong in upstream's words."""

from __future__ import annotations

from collections.abc import Mapping

from kutter.api.cel.environment import Environment, Program
from kutter.api.cel.errors import CompileError
from kutter.api.cel.types import Field, Type, object_type
from kutter.api.errors import FieldError, invalid
from kutter.apiserver.admission.dynamic.declarations import environment_for

COMPILATION_FAILED = "compilation failed: "
_SHOWN = {"null": "null_type", "timestamp": "timestamp", "duration": "duration"}


class Expression:
    """One text: a ``program``, or an ``error`` that tells why there is none."""

    __slots__ = ("error", "program", "text")

    def __init__(self, text: str, program: Program | None, error: str = "") -> None:
        self.text = text
        self.program = program
        self.error = error


class Composition:
    """The expressions of one policy or webhook, which may name its variables in their order.

    ``types`` replaces the types of ``object`` and the like, for type checking.
    """

    def __init__(
        self,
        *,
        params: bool = False,
        patches: bool = False,
        variables: bool = False,
        types: Mapping[str, Type] | None = None,
    ) -> None:
        self._params = params
        self._patches = patches
        self._types = types
        self._fields: dict[str, Field] | None = {} if variables else None
        self.variables: dict[str, Expression] = {}
        self._environments: dict[bool, Environment] = {}

    def add_variable(self, name: str, text: str) -> Expression:
        """A variable; those after it may name it."""
        made = self.compile(text)
        self.variables[name] = made
        if self._fields is not None and made.program is not None:
            self._fields[name] = Field(name, _bare(made.program.result))
            # Scopes hold the type, so that it has to be made anew.
            self._environments.clear()
        return made

    def compile(self, text: str, *expected: Type, authorizer: bool = True) -> Expression:
        """``text``, which has to answer one of ``expected`` if there are any."""
        try:
            program = self._environment(authorizer).compile(text)
        except CompileError as error:
            return Expression(text, None, f"{COMPILATION_FAILED}{error}")
        if expected and program.result not in expected:
            found = show(program.result)
            if len(expected) == 1:
                wanted = f"must evaluate to {show(expected[0])}"
            else:
                wanted = f"must evaluate to one of [{' '.join(map(show, expected))}]"
            return Expression(text, None, f"{wanted} but got {found}")
        return Expression(text, program)

    def _environment(self, authorizer: bool) -> Environment:
        made = self._environments.get(authorizer)
        if made is None:
            made = environment_for(
                params=self._params, authorizer=authorizer, patches=self._patches
            )
            more: dict[str, Type] = dict(self._types or {})
            if self._fields is not None:
                more["variables"] = object_type("kubernetes.variables", dict(self._fields))
            if more:
                made = made.extend(more)
            self._environments[authorizer] = made
        return made


def _bare(type: Type) -> Type:
    """A variable's value is what its expression answered: nothing is left to be wrapped."""
    if type.wrap is None:
        return type
    made = Type(type.kind, type.name, type.params, fields=type.fields)
    made.max_size, made.min_json = type.max_size, type.min_json
    return made


def show(type: Type) -> str:
    """A type as upstream's messages have it."""
    return _SHOWN.get(type.kind, str(type))


def field_errors(made: Expression, path: str) -> list[FieldError]:
    """An expression's error, where its text stands."""
    return [invalid(path, made.text, made.error)] if made.error else []
