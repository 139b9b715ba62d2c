"""The environment of Kubernetes v1.36: its libraries, its limits.

The function lists follow upstream's base environment; what it leaves out of CEL (``math``,
``cel.bind``) is left out here.
Upstream: https://kubernetes.io/docs/reference/using-api/cel/
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from kutter.api.cel.declarations import Library
from kutter.api.cel.environment import PER_CALL_LIMIT, Environment
from kutter.api.cel.types import Type

# One rule, and all rules of one definition, by estimate; all evaluations for one object.
RULE_LIMIT = 10_000_000
DEFINITION_LIMIT = 100_000_000
OBJECT_BUDGET = 10_000_000

__all__ = [
    "DEFINITION_LIMIT",
    "OBJECT_BUDGET",
    "PER_CALL_LIMIT",
    "RULE_LIMIT",
    "environment",
    "libraries",
    "mutation_environment",
]


@lru_cache(maxsize=1)
def libraries() -> tuple[Library, ...]:
    """All of them; loaded when the first expression is compiled."""
    from kutter.api.cel.library.authorization import AUTHORIZATION
    from kutter.api.cel.library.comprehensions import COMPREHENSIONS
    from kutter.api.cel.library.formats import NAMED_FORMATS
    from kutter.api.cel.library.lists import LIST_EXTENSION, LISTS
    from kutter.api.cel.library.network import NETWORK
    from kutter.api.cel.library.optionals import OPTIONALS
    from kutter.api.cel.library.quantities import QUANTITIES
    from kutter.api.cel.library.regex import REGEX
    from kutter.api.cel.library.sets import SETS
    from kutter.api.cel.library.standard import STANDARD
    from kutter.api.cel.library.strings import STRINGS
    from kutter.api.cel.library.urls import URLS
    from kutter.api.cel.library.versions import VERSIONS

    return (
        *(STANDARD, OPTIONALS, STRINGS, LISTS, LIST_EXTENSION, SETS, REGEX, URLS, QUANTITIES),
        *(NETWORK, NAMED_FORMATS, VERSIONS, AUTHORIZATION, COMPREHENSIONS),
    )


@lru_cache(maxsize=1)
def _base() -> Environment:
    return Environment({}, libraries())


@lru_cache(maxsize=1)
def _mutation() -> Environment:
    from kutter.api.cel.library.json_patch import JSON_PATCH_LIBRARY
    from kutter.api.cel.library.mutation import MUTATION_TYPES

    return Environment({}, (*libraries(), JSON_PATCH_LIBRARY), types=MUTATION_TYPES)


def mutation_environment(variables: Mapping[str, Type]) -> Environment:
    """Kubernetes' environment with ``Object{…}`` and ``JSONPatch{…}``."""
    return _mutation().extend(variables)


def environment(
    variables: Mapping[str, Type], types: Mapping[str, Type] | None = None
) -> Environment:
    """Kubernetes' environment with these variables; ``types`` are what objects may be made of."""
    return _base().extend(variables, types)
