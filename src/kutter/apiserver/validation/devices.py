"""What claims, classes and slices of devices have in common: lists, names, configuration.

Upstream looks at no item of a list that is too long, so that a huge one costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import orjson

from kutter.api import names
from kutter.api.errors import (
    FieldError,
    duplicate,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
)
from kutter.api.schema.loader import type_node
from kutter.api.schema.wire import render
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.metadata import IMMUTABLE, checked
from kutter.apiserver.validation.volume_sources import csi_driver_name

Errors = list[FieldError]

GROUP = "resource.k8s.io/v1"
CONFIG_LIMIT = 32
EFFECTS = ["NoExecute", "NoSchedule", "None"]
ID_LIMIT, DOMAIN_LIMIT = 32, 63
OPAQUE_LIMIT_BYTES = 10 << 10
_CONDITIONS_LIMIT = 4
_POOL_NAME_LIMIT = 253
_OPERATORS = ["Equal", "Exists"]


def check_list(
    errors: Errors,
    items: list[Any],
    limit: int | None,
    check: Callable[[Errors, Any, str], None],
    path: str,
    *,
    key: Callable[[Any], Hashable] | None = None,
    shown: Callable[[Any], Any] = lambda key: key,
) -> None:
    """``check`` for each, unless there are too many; with ``key`` none may be there twice."""
    if limit is not None and len(items) > limit:
        errors.append(too_many(path, len(items), limit))
        return
    for i, item in enumerate(items):
        check(errors, item, f"{path}[{i}]")
    if key is None:
        return
    seen: set[Hashable] = set()
    for i, item in enumerate(items):
        found = key(item)
        if found in seen:
            errors.append(duplicate(f"{path}[{i}]", shown(found)))
        seen.add(found)


def itself(item: Any) -> Any:
    return item


def check_label(errors: Errors, name: str, path: str) -> None:
    errors += checked(path, name, text.dns_label)


def check_pool_name(errors: Errors, name: str, path: str) -> None:
    if not name:
        errors.append(required(path))
        return
    if len(name.encode()) > _POOL_NAME_LIMIT:
        errors.append(too_long(path, _POOL_NAME_LIMIT))
    for part in name.split("/"):
        errors += checked(path, part, text.dns_subdomain)


def check_qualified_name(errors: Errors, name: str, path: str) -> None:
    """An identifier, or one of a domain. Of more parts upstream says nothing."""
    parts = name.split("/")
    if len(parts) == 1:
        _identifier(errors, name, path)
    elif len(parts) == 2:
        domain, rest = parts
        if domain:
            csi_driver_name(errors, domain, path)
        else:
            errors.append(invalid(path, "", "the domain must not be empty"))
        if rest:
            _identifier(errors, rest, path)
        else:
            errors.append(invalid(path, "", "the name must not be empty"))


def check_fully_qualified_name(errors: Errors, name: str, path: str) -> None:
    check_qualified_name(errors, name, path)
    if "/" not in name:
        detail = "a fully qualified name must be a domain and a name separated by a slash"
        errors.append(invalid(path, name, detail))


_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"


def _identifier(errors: Errors, name: str, path: str) -> None:
    if len(name.encode()) > ID_LIMIT:
        errors.append(too_long(path, ID_LIMIT))
    if not (name.isascii() and name.isidentifier()):
        message = (
            "a valid C identifier must start with alphabetic character or '_', followed by a "
            "string of alphanumeric characters or '_'"
        )
        detail = names.regex_error(message, _IDENTIFIER, "my_name", "MY_NAME", "MyName")
        errors.append(invalid(path, name, detail))


def check_configuration(
    errors: Errors, config: Tree, path: str, *, limit: int | None = OPAQUE_LIMIT_BYTES
) -> None:
    """``limit``: none for what was stored before there was one."""
    opaque = config.get("opaque")
    if opaque is None:
        errors.append(required(f"{path}.opaque"))
        return
    csi_driver_name(errors, opaque.get("driver") or "", f"{path}.opaque.driver")
    check_raw_object(errors, opaque.get("parameters"), f"{path}.opaque.parameters", limit)


def check_raw_object(
    errors: Errors, value: Any, path: str, limit: int | None = OPAQUE_LIMIT_BYTES
) -> None:
    """What a driver reads: any object, and no more of it than ``limit``."""
    if value is None:
        errors.append(required(path))
    elif limit is not None and len(orjson.dumps(value)) > limit:
        errors.append(too_long(path, limit))
    elif not isinstance(value, dict):
        errors.append(invalid(path, "<value omitted>", "must be a valid JSON object"))


def check_toleration(errors: Errors, toleration: Tree, path: str) -> None:
    key, value = toleration.get("key") or "", toleration.get("value") or ""
    if key:
        errors += checked(f"{path}.key", key, text.qualified_name)
    operator = toleration.get("operator") or ""
    if operator == "Exists":
        if value:
            errors.append(invalid(f"{path}.value", value, "must be empty for operator `Exists`"))
    elif operator == "Equal":
        errors += checked(f"{path}.value", value, text.label_value)
    elif not operator:
        errors.append(required(f"{path}.operator"))
    else:
        errors.append(not_supported(f"{path}.operator", operator, _OPERATORS))
    effect = toleration.get("effect") or ""
    if effect and effect not in EFFECTS:
        errors.append(not_supported(f"{path}.effect", effect, EFFECTS))


def check_binding_conditions(errors: Errors, tree: Tree, path: str) -> None:
    """Conditions to wait for: those of success and those of failure go together."""
    wanted = tree.get("bindingConditions") or []
    failing = tree.get("bindingFailureConditions") or []
    for field, listed in (("bindingConditions", wanted), ("bindingFailureConditions", failing)):
        check_list(errors, listed, _CONDITIONS_LIMIT, _label_name, f"{path}.{field}")
    for i, condition in enumerate(wanted):
        if condition in wanted[:i]:
            errors.append(duplicate(f"{path}.bindingConditions[{i}]", condition))
    for i, condition in enumerate(failing):
        here = f"{path}.bindingFailureConditions[{i}]"
        if condition in failing[:i]:
            errors.append(duplicate(here, condition))
        if condition in wanted:
            detail = "bindingFailureConditions must not overlap with bindingConditions"
            errors.append(invalid(here, condition, detail))
    if failing and not wanted:
        detail = "bindingConditions are required to use bindingFailureConditions"
        errors.append(invalid(f"{path}.bindingConditions", None, detail))
    if wanted and not failing:
        detail = "bindingFailureConditions are required to use bindingConditions"
        errors.append(invalid(f"{path}.bindingFailureConditions", None, detail))


def _label_name(errors: Errors, name: str, path: str) -> None:
    errors += checked(path, name, text.qualified_name)


def fixed(new: Any, old: Any, kind: str, path: str) -> Errors:
    """Nothing of a struct may change."""
    if new == old:
        return []
    return [invalid(path, render(new or {}, type_node(GROUP, kind), internal=True), IMMUTABLE)]
