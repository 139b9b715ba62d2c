"""Environments compile texts to programs; programs are evaluated, again and again.

Usual use::

    env = environment({"self": type_of_schema(schema)})
    program = env.compile("self.replicas <= 10", BOOL)
    program.evaluate({"self": tree}, budget=PER_CALL_LIMIT)

What compiles is loaded with the first text: most servers never see one.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from kutter.api.cel.declarations import Library, merge
from kutter.api.cel.errors import (
    BudgetExceeded,
    CompileError,
    EvaluationError,
    Issue,
    ResultTypeError,
    no_overload,
)
from kutter.api.cel.source import DEPTH_LIMIT, Source
from kutter.api.cel.types import Type

if TYPE_CHECKING:
    from kutter.api.cel.compiler import Compiled
    from kutter.api.cel.estimates import Range
    from kutter.api.cel.syntax import Expression

PER_CALL_LIMIT = 1_000_000


class Program:
    """A compiled expression. ``result`` is the type it answers with, ``names`` what it reads of the
    ``variables`` it was compiled for.
    """

    __slots__ = ("_compiled", "_inputs", "_tree", "names", "result", "text", "variables")

    def __init__(
        self, text: str, tree: Expression, compiled: Compiled, variables: Mapping[str, Type]
    ) -> None:
        self.text = text
        self.result = tree.type
        self.names = frozenset(name for name, _, _ in compiled.inputs)
        self._compiled = compiled
        self._inputs = compiled.inputs
        self._tree = tree
        self.variables = variables

    def evaluate(self, bindings: Mapping[str, Any], budget: int = PER_CALL_LIMIT) -> Any:
        """The value. Raises EvaluationError; BudgetExceeded if it would cost more than it may."""
        return self.run(bindings, budget)[0]

    def run(self, bindings: Mapping[str, Any], budget: int = PER_CALL_LIMIT) -> tuple[Any, int]:
        """(value, cost). An EvaluationError carries its ``cost`` too."""
        compiled = self._compiled
        frame: list[Any] = [None] * compiled.size
        frame[0] = budget - compiled.cost
        try:
            for name, slot, wrap in self._inputs:
                value = bindings[name]
                frame[slot] = value if wrap is None else wrap(value)
            if frame[0] < 0:
                raise BudgetExceeded
            return compiled.run(frame), budget - frame[0]
        except EvaluationError as error:
            error.cost = budget - frame[0]
            raise
        except KeyError as error:
            raise EvaluationError(f"no such attribute(s): {error.args[0]}") from error
        except (TypeError, AttributeError, ValueError, ArithmeticError) as error:
            # A value was not what its schema told: an old object under a newer schema.
            failure = no_overload()
            failure.cost = budget - frame[0]
            raise failure from error
        except RecursionError as error:
            text = f"expression recursion limit exceeded: {DEPTH_LIMIT}"
            raise EvaluationError(text) from error

    @property
    def tree(self) -> Expression:
        """The checked expression; not to be changed."""
        return self._tree

    def estimated_cost(self) -> Range:
        """From the least to the most it may cost, by the sizes its variables' types allow."""
        from kutter.api.cel.estimates import estimate

        return estimate(self._tree, self.variables)


class Environment:
    """What expressions may name. Made once, shared; :func:`environment` makes Kubernetes'."""

    def __init__(
        self,
        variables: Mapping[str, Type],
        libraries: Iterable[Library],
        *,
        container: str = "",
        homogeneous: bool = True,
        optionals: bool = True,
        quoted_names: bool = False,
        types: Mapping[str, Type] | None = None,
    ) -> None:
        from kutter.api.cel.checker import Scope
        from kutter.api.cel.macros import STANDARD as STANDARD_MACROS
        from kutter.api.cel.parser import Grammar

        libraries = tuple(libraries)
        macros = dict(STANDARD_MACROS)
        known: dict[str, Type] = {}
        constants: dict[str, tuple[Type, Any]] = {}
        for library in libraries:
            macros.update(library.macros)
            known.update(library.types)
            constants.update(library.constants)
        self.variables = dict(variables)
        self._grammar = Grammar(macros, optionals=optionals, quoted_names=quoted_names)
        self._scope = Scope(
            variables=self.variables,
            functions=merge(libraries),
            types=known if types is None else _chain(types, known),
            constants=constants,
            container=container,
            homogeneous=homogeneous,
        )

    def extend(
        self, variables: Mapping[str, Type], types: Mapping[str, Type] | None = None
    ) -> Environment:
        """The same with more variables and types; functions are shared."""
        made = Environment.__new__(Environment)
        made.variables = {**self.variables, **variables}
        made._grammar = self._grammar
        known = self._scope.types if types is None else _chain(types, self._scope.types)
        made._scope = replace(self._scope, variables=made.variables, types=known)
        return made

    def parse(self, text: str) -> Expression:
        """The tree of a text, unchecked. Raises CompileError."""
        from kutter.api.cel.parser import parse

        return parse(Source(text), self._grammar)

    def compile(self, text: str, *expected: Type) -> Program:
        """A program; of one of the ``expected`` types, if any are given.

        Raises CompileError for a text that is none, ResultTypeError for one of another type.
        """
        from kutter.api.cel.checker import check
        from kutter.api.cel.compiler import compile_expression
        from kutter.api.cel.literals import find_literal_issues
        from kutter.api.cel.parser import parse

        source = Source(text)
        tree = parse(source, self._grammar)
        try:
            issues = check(tree, self._scope) or find_literal_issues(tree)
            if issues:
                raise source.failure(issues)
            if expected and not any(_fits(wanted, tree.type) for wanted in expected):
                raise ResultTypeError(_expectation(expected))
            compiled = compile_expression(tree, self.variables)
        except RecursionError:
            limit = f"expression recursion limit exceeded: {DEPTH_LIMIT}"
            raise source.failure([Issue(-1, limit)]) from None
        return Program(text, tree, compiled, self.variables)


def _chain(first: Mapping[str, Type], rest: Mapping[str, Type]) -> Mapping[str, Type]:
    """Both; types of a policy may be any of a family, so they are asked and not copied."""
    return ChainMap(first, rest)  # type: ignore[arg-type]  # nothing is ever written to it


def _fits(wanted: Type, found: Type) -> bool:
    return found.kind == "dyn" or wanted.kind == "dyn" or wanted == found


def _expectation(expected: tuple[Type, ...]) -> str:
    if len(expected) == 1:
        return f"must evaluate to {expected[0]}"
    return f"must evaluate to one of {', '.join(map(str, expected))}"


__all__ = ["PER_CALL_LIMIT", "CompileError", "Environment", "Program"]
