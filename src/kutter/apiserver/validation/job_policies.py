"""When a job's pods count as failed and when it has succeeded: checks of its policies.

Pure; between a job's spec and field errors in upstream's words and order.
"""

from __future__ import annotations

import re

from kutter.api.errors import (
    FieldError,
    duplicate,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
)
from kutter.api.names import check_dns_subdomain, check_qualified_name, regex_error
from kutter.api.quoting import quote
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation.metadata import non_negative

Errors = list[FieldError]

_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
_RULES_MAX = 20
_EXIT_CODES_MAX = 255
_INDEXES_LENGTH_MAX = 64 * 1024
_MANAGER_LENGTH_MAX = 63
_FAILED_INDEXES_MAX = 100_000
# Many completions with a limit for each index: less may run and fail at once.
_MANY_COMPLETIONS, _OF_MANY_MAX = 100_000, 10_000
_ACTIONS = ["Count", "FailIndex", "FailJob", "Ignore"]
_OPERATORS = ["In", "NotIn"]
_STATUSES = ["False", "True", "Unknown"]


def _choice(errors: Errors, path: str, value: str, allowed: list[str]) -> None:
    if not value:
        listed = " ".join(quote(word) for word in allowed)
        errors.append(required(path, f"valid values: [{listed}]"))
    elif value not in allowed:
        errors.append(not_supported(path, value, allowed))


def _invalid_rule(path: str, detail: str) -> FieldError:
    """The value would say nothing and is left out."""
    return FieldError(path, "FieldValueInvalid", f"Invalid value: {detail}")


def validate_manager(errors: Errors, manager: str, path: str) -> None:
    """Who looks after the job: a path with a domain before it."""
    validate_domain_path(errors, manager, path)
    if len(manager.encode()) > _MANAGER_LENGTH_MAX:
        errors.append(too_long(path, _MANAGER_LENGTH_MAX))


def validate_domain_path(errors: Errors, manager: str, path: str) -> None:
    """A path with a domain before it."""
    host, slash, rest = manager.partition("/")
    if not manager:
        errors.append(required(path))
    elif not slash or not host or not rest:
        detail = 'must be a domain-prefixed path (such as "acme.io/foo")'
        errors.append(invalid(path, manager, detail))
    else:
        errors += [invalid(path, host, text) for text in check_dns_subdomain(host)]
        if not re.fullmatch(_PATH, rest):
            errors.append(invalid(path, rest, regex_error("Invalid path", _PATH)))


def validate_failed_indexes(errors: Errors, spec: Tree, path: str) -> None:
    """How many indexes of an indexed job may fail."""
    completions, most = spec.get("completions"), spec.get("maxFailedIndexes")
    here = f"{path}.maxFailedIndexes"
    if most is not None:
        if completions is not None and most > completions:
            errors.append(invalid(here, most, "must be less than or equal to completions"))
        if most > _FAILED_INDEXES_MAX:
            text = f"must be less than or equal to {_FAILED_INDEXES_MAX}"
            errors.append(invalid(here, most, text))
    if (completions or 0) <= _MANY_COMPLETIONS or spec.get("backoffLimitPerIndex") is None:
        return
    limit = (
        f"must be less than or equal to {_OF_MANY_MAX} when completions are above "
        f"{_MANY_COMPLETIONS} and used with backoff limit per index"
    )
    if most is None:
        text = f"must be specified when completions is above {_MANY_COMPLETIONS}"
        errors.append(required(here, text))
    if (parallelism := spec.get("parallelism") or 0) > _OF_MANY_MAX:
        errors.append(invalid(f"{path}.parallelism", parallelism, limit))
    if (most or 0) > _OF_MANY_MAX:
        errors.append(invalid(here, most, limit))


def validate_failure_policy(errors: Errors, spec: Tree, path: str) -> None:
    """Rules that say what a failed pod means for its job."""
    rules = (spec.get("podFailurePolicy") or {}).get("rules") or []
    if len(rules) > _RULES_MAX:
        errors.append(too_many(f"{path}.rules", len(rules), _RULES_MAX))
    pod = (spec.get("template") or {}).get("spec") or {}
    names = {
        c.get("name") for field in ("containers", "initContainers") for c in pod.get(field) or ()
    }
    for i, rule in enumerate(rules):
        here, action = f"{path}.rules[{i}]", rule.get("action") or ""
        if action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
            text = "requires the backoffLimitPerIndex to be set"
            errors.append(invalid(f"{here}.action", action, text))
        _choice(errors, f"{here}.action", action, _ACTIONS)
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or []
        if codes is not None:
            _exit_codes(errors, codes, f"{here}.onExitCodes", names)
        _pod_conditions(errors, conditions, f"{here}.onPodConditions")
        if codes is not None and conditions:
            text = "specifying both OnExitCodes and OnPodConditions is not supported"
            errors.append(_invalid_rule(here, text))
        if codes is None and not conditions:
            text = "specifying one of OnExitCodes and OnPodConditions is required"
            errors.append(_invalid_rule(here, text))


def _exit_codes(errors: Errors, codes: Tree, path: str, names: set[str | None]) -> None:
    operator, values = codes.get("operator") or "", codes.get("values") or []
    _choice(errors, f"{path}.operator", operator, _OPERATORS)
    name = codes.get("containerName")
    if name is not None and name not in names:
        text = "must be one of the container or initContainer names in the pod template"
        errors.append(invalid(f"{path}.containerName", name, text))
    if not values:
        shown = codes.get("values")
        errors.append(invalid(f"{path}.values", shown, "at least one value is required"))
    elif len(values) > _EXIT_CODES_MAX:
        errors.append(too_many(f"{path}.values", len(values), _EXIT_CODES_MAX))
    seen: set[int] = set()
    for i, value in enumerate(values):
        here = f"{path}.values[{i}]"
        if value == 0 and operator == "In":
            errors.append(invalid(here, value, "must not be 0 for the In operator"))
        if value in seen:
            errors.append(duplicate(here, value))
        seen.add(value)
    if values != sorted(values):
        errors.append(invalid(f"{path}.values", values, "must be ordered"))


def _pod_conditions(errors: Errors, patterns: list[Tree], path: str) -> None:
    if len(patterns) > _RULES_MAX:
        errors.append(too_many(path, len(patterns), _RULES_MAX))
    for i, pattern in enumerate(patterns):
        kind = pattern.get("type") or ""
        errors += [invalid(f"{path}[{i}].type", kind, t) for t in check_qualified_name(kind)]
        _choice(errors, f"{path}[{i}].status", pattern.get("status") or "", _STATUSES)


def validate_success_policy(errors: Errors, spec: Tree, path: str) -> None:
    """Rules that say when an indexed job has done enough."""
    rules = (spec.get("successPolicy") or {}).get("rules") or []
    completions = spec.get("completions") or 0
    if not rules:
        text = "at least one rules must be specified when the successPolicy is specified"
        errors.append(required(f"{path}.rules", text))
    if len(rules) > _RULES_MAX:
        errors.append(too_many(f"{path}.rules", len(rules), _RULES_MAX))
    for i, rule in enumerate(rules):
        _success_rule(errors, rule, f"{path}.rules[{i}]", completions)


def _success_rule(errors: Errors, rule: Tree, path: str, completions: int) -> None:
    indexes, count = rule.get("succeededIndexes"), rule.get("succeededCount")
    total = 0
    if indexes is None and count is None:
        text = "at least one of succeededCount or succeededIndexes must be specified"
        errors.append(required(path, text))
    if indexes is not None:
        here = f"{path}.succeededIndexes"
        if len(indexes) > _INDEXES_LENGTH_MAX:
            errors.append(too_long(here, _INDEXES_LENGTH_MAX))
        try:
            total = count_indexes(indexes, completions)
        except ValueError as error:
            errors.append(invalid(here, indexes, f"error parsing succeededIndexes: {error}"))
    if count is None:
        return
    here = f"{path}.succeededCount"
    errors += non_negative(count, here)
    limits = [(completions, "the number of specified completions")]
    if indexes is not None:
        limits.append((total, "the number of indexes in the specified succeededIndexes field"))
    for limit, what in limits:
        if count > limit:
            text = f"must be less than or equal to {limit} ({what})"
            errors.append(invalid(here, count, text))


def count_indexes(text: str, completions: int) -> int:
    """How many indexes ``0,2-4`` names. Raises ValueError."""
    total, last = 0, None
    for part in text.split(",") if text else ():
        low, high = read_interval(part, completions)
        if last is not None and last >= low:
            raise ValueError(f"non-increasing order, previous: {last}, current: {low}")
        total += high - low + 1
        last = high
    return total


def read_interval(part: str, completions: int) -> tuple[int, int]:
    """``2`` or ``2-4``. Raises ValueError."""
    words = part.split("-")
    if len(words) > 2:
        raise ValueError(
            f"the fragment {quote(part)} violates the requirement that an index interval can "
            "have at most two parts separated by '-'"
        )
    ends = [_index(word, completions) for word in words]
    if len(ends) == 2 and ends[0] >= ends[1]:
        raise ValueError(f"non-increasing order, previous: {ends[0]}, current: {ends[1]}")
    return ends[0], ends[-1]


def _index(word: str, completions: int) -> int:
    digits = word.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"cannot convert string to integer for index: {quote(word)}")
    if int(digits) >= completions:
        raise ValueError(f"too large index: {quote(word)}")
    return int(digits)
