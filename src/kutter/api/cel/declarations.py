"""Functions as an environment knows them: overloads with their types, code and cost.

Costs are upstream's: a call costs 1 unless its overload says otherwise. Between libraries, which
declare, and the checker, the estimator and the compiler, which look up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from kutter.api.cel.types import Type

if TYPE_CHECKING:
    from kutter.api.cel.estimates import CallEstimate, Sized
    from kutter.api.cel.macros import Expand, Key

Cost = Callable[..., int]
"""(argument…, result) → what a call cost; the target is the first argument."""
Estimate = Callable[["Sized | None", "list[Sized]"], "CallEstimate | None"]
"""(target, arguments) → what a call may cost; None: the usual 1."""


class Overload(msgspec.Struct, frozen=True):
    """One signature of a function. For a ``member`` the target is the first parameter.

    ``code`` may trust the types of what it gets when the checker knew them.
    """

    id: str
    params: tuple[Type, ...]
    result: Type
    code: Callable[..., Any]
    member: bool = False
    cost: Cost | None = None
    estimate: Estimate | None = None
    # Names of type parameters, found once.
    variables: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        found: set[str] = set()
        for type in (*self.params, self.result):
            _collect(type, found)
        msgspec.structs.force_setattr(self, "variables", frozenset(found))


def _collect(type: Type, found: set[str]) -> None:
    if type.kind == "param":
        found.add(type.name)
    for inner in type.params:
        _collect(inner, found)


class Library(msgspec.Struct, frozen=True):
    """What can be added to an environment as a whole."""

    name: str
    functions: Mapping[str, tuple[Overload, ...]] = msgspec.field(default_factory=dict)
    macros: Mapping[Key, Expand] = msgspec.field(default_factory=dict)
    types: Mapping[str, Type] = msgspec.field(default_factory=dict)
    constants: Mapping[str, tuple[Type, Any]] = msgspec.field(default_factory=dict)


def merge(libraries: Iterable[Library]) -> dict[str, tuple[Overload, ...]]:
    """The functions of several libraries; overloads of one name add up."""
    found: dict[str, tuple[Overload, ...]] = {}
    for library in libraries:
        for name, overloads in library.functions.items():
            found[name] = found.get(name, ()) + overloads
    return found
