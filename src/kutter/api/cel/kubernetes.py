"""The environment of Kubernetes v1.36: its libraries, its limits.

The function lists follow upstream's base environment; what it leaves out of CEL (``math``,
``cel.bind``) is left out here.
Upstream: https://kubernetes.io/docs/reference/using-api/cel/
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from kutter.api.cel.environment import PER_CALL_LIMIT, Environment
from kutter.api.cel.library.optionals import OPTIONALS
from kutter.api.cel.library.regex import REGEX
from kutter.api.cel.library.standard import STANDARD
from kutter.api.cel.types import Type

# One rule, and all rules of one definition, by estimate; all evaluations for one object.
RULE_LIMIT = 10_000_000
DEFINITION_LIMIT = 100_000_000
OBJECT_BUDGET = 10_000_000

LIBRARIES = (STANDARD, OPTIONALS, REGEX)

__all__ = ["DEFINITION_LIMIT", "OBJECT_BUDGET", "PER_CALL_LIMIT", "RULE_LIMIT", "environment"]


@lru_cache(maxsize=1)
def _base() -> Environment:
    return Environment({}, LIBRARIES)


def environment(
    variables: Mapping[str, Type], types: Mapping[str, Type] | None = None
) -> Environment:
    """Kubernetes' environment with these variables; ``types`` are what objects may be made of."""
    return _base().extend(variables, types)
