"""Selectors of devices: expressions over ``device``, as upstream lets them in.

An expression that would cost too much with the largest device there may be is refused, however
small devices are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from kutter.api.cel.declarations import Library
from kutter.api.cel.errors import CompileError
from kutter.api.cel.kubernetes import libraries
from kutter.api.cel.types import DYN, Field, Type, map_of, object_type
from kutter.api.errors import FieldError, forbidden_field, invalid, required, too_long
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation.devices import DOMAIN_LIMIT, ID_LIMIT, check_list
from kutter.base.memo import remember

if TYPE_CHECKING:
    from kutter.api.cel.environment import Environment

Errors = list[FieldError]

_SELECTORS_LIMIT = 32
_TEXT_LIMIT = 10 << 10
_COST_LIMIT = 1_000_000
_VALUE_LIMIT = 64
_ATTRIBUTES_LIMIT = 32
_TOO_COMPLEX = "too complex, exceeds cost limit"


class _AnyName(Mapping[str, Field]):
    """Whatever name is selected of a device's attributes, its value is as large."""

    def __init__(self, type: Type) -> None:
        self._field = Field("", type)

    def __getitem__(self, name: str) -> Field:
        return self._field

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _sized(kind: str, size: int, name: str = "") -> Type:
    made = Type(kind, name)
    made.max_size = size
    return made


def _values(value: Type) -> Type:
    """By domain, and by name within it."""
    inner = map_of(_sized("string", ID_LIMIT), value)
    inner.max_size = _ATTRIBUTES_LIMIT
    outer = map_of(_sized("string", DOMAIN_LIMIT), inner)
    outer.max_size = _ATTRIBUTES_LIMIT
    return outer


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from kutter.api.cel.environment import Environment
    from kutter.api.cel.library.quantities import QUANTITY
    from kutter.api.cel.macros import BINDINGS

    attribute = _sized("dyn", _VALUE_LIMIT, "google.protobuf.Any")
    attributes = _values(attribute)
    attributes.params[-1].fields = _AnyName(attribute)
    fields = {
        "driver": _sized("string", DOMAIN_LIMIT),
        "allowMultipleAllocations": _sized("bool", 1),
        "attributes": attributes,
        "capacity": _values(QUANTITY),
    }
    named = {name: Field(name, type) for name, type in fields.items()}
    device = object_type("kubernetes.DRADevice", named)
    return Environment({"device": device}, (*libraries(), Library("bindings", macros=BINDINGS)))


@remember(512, longest=_TEXT_LIMIT)
def _problem(expression: str) -> str:
    """What is wrong with an expression; the same ones come with every claim of a template."""
    try:
        program = _environment().compile(expression)
    except CompileError as error:
        return f"compilation failed: {error}"
    result = program.result
    if result.kind not in ("bool", "dyn") or result == DYN:
        # An attribute may be true or false; what is of any type by conversion may not.
        shown = str(result) if result.params else result.name
        return f"must evaluate to bool or the unknown type, not {shown}"
    most = program.estimated_cost().most
    return _TOO_COMPLEX if most > _COST_LIMIT else ""


def check_selectors(errors: Errors, selectors: list[Tree], path: str) -> None:
    check_list(errors, selectors, _SELECTORS_LIMIT, _check_selector, path)


def _check_selector(errors: Errors, selector: Tree, path: str) -> None:
    cel = selector.get("cel")
    if cel is None:
        errors.append(required(f"{path}.cel"))
        return
    expression, here = cel.get("expression") or "", f"{path}.cel.expression"
    if len(expression.encode()) > _TEXT_LIMIT:
        errors.append(too_long(here, _TEXT_LIMIT))
        return
    problem = _problem(expression)
    if problem == _TOO_COMPLEX:
        errors.append(forbidden_field(here, problem))
    elif problem:
        errors.append(invalid(here, expression, problem))
