"""The environment of a container: values, and where they may come from."""

from __future__ import annotations

from typing import Any

from kutter.api.errors import (
    FieldError,
    invalid,
    required,
)
from kutter.apiserver.validation import text
from kutter.apiserver.validation.downward import (
    CONTAINER_RESOURCES,
    ENV_FIELD_PATHS,
    validate_field_ref,
    validate_resource_field_ref,
)

Tree = dict[str, Any]
Errors = list[FieldError]


def validate_env(errors: Errors, env: list[Tree], path: str) -> None:
    for i, variable in enumerate(env):
        name = variable.get("name") or ""
        if not name:
            errors.append(required(f"{path}[{i}].name"))
        else:
            problems = text.env_name(name)
            if problems:
                errors += [invalid(f"{path}[{i}].name", name, p) for p in problems]
        source = variable.get("valueFrom")
        if source is not None:
            _value_from(errors, source, bool(variable.get("value")), f"{path}[{i}].valueFrom")


def _value_from(errors: Errors, source: Tree, has_value: bool, path: str) -> None:
    count = 0
    if source.get("fieldRef") is not None:
        count += 1
        validate_field_ref(errors, source["fieldRef"], ENV_FIELD_PATHS, f"{path}.fieldRef")
    if source.get("resourceFieldRef") is not None:
        count += 1
        validate_resource_field_ref(
            errors,
            source["resourceFieldRef"],
            CONTAINER_RESOURCES,
            f"{path}.resourceFieldRef",
            in_volume=False,
        )
    for field in ("configMapKeyRef", "secretKeyRef"):
        reference = source.get(field)
        if reference is not None:
            count += 1
            name, key = reference.get("name") or "", reference.get("key") or ""
            problems = text.dns_subdomain(name)
            errors += [invalid(f"{path}.{field}.name", name, p) for p in problems]
            if not key:
                errors.append(required(f"{path}.{field}.key"))
            else:
                errors += [invalid(f"{path}.{field}.key", key, p) for p in text.config_key(key)]
    if source.get("fileKeyRef") is not None:
        count += 1
        for field in ("volumeName", "path", "key"):
            if not source["fileKeyRef"].get(field):
                errors.append(required(f"{path}.fileKeyRef.{field}"))
    if count == 0:
        errors.append(
            invalid(
                path,
                "",
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, "
                "`secretKeyRef` or `fileKeyRef`",
            )
        )
    elif has_value:
        errors.append(invalid(path, "", "may not be specified when `value` is not empty"))
    elif count > 1:
        errors.append(invalid(path, "", "may not have more than one field specified at a time"))


def validate_env_from(errors: Errors, sources: list[Tree], path: str) -> None:
    for i, source in enumerate(sources):
        prefix = source.get("prefix")
        if prefix:
            errors += [invalid(f"{path}[{i}].prefix", prefix, p) for p in text.env_name(prefix)]
        count = 0
        for field in ("configMapRef", "secretRef"):
            reference = source.get(field)
            if reference is None:
                continue
            count += 1
            name = reference.get("name") or ""
            if not name:
                errors.append(required(f"{path}[{i}].{field}.name"))
            else:
                errors += [
                    invalid(f"{path}[{i}].{field}.name", name, p) for p in text.dns_subdomain(name)
                ]
        if count == 0:
            errors.append(invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif count > 1:
            errors.append(invalid(path, "", "may not have more than one field specified at a time"))
