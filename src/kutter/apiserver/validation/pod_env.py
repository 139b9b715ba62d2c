"""The environment of a container: values, and where they may come from."""

from __future__ import annotations

from typing import Any

from kutter.api.errors import (
    FieldError,
    invalid,
    not_found_field,
    required,
)
from kutter.apiserver.validation import text
from kutter.apiserver.validation.downward import (
    CONTAINER_RESOURCES,
    ENV_FIELD_PATHS,
    validate_field_ref,
    validate_resource_field_ref,
)
from kutter.apiserver.validation.metadata import mask_prefix
from kutter.apiserver.validation.paths import no_backsteps

Tree = dict[str, Any]
Errors = list[FieldError]


def validate_env(errors: Errors, env: list[Tree], path: str) -> bool:
    """Check all variables; answers whether any comes from a file of a volume."""
    files = False
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
            files = files or source.get("fileKeyRef") is not None
    return files


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
        _file_key(errors, source["fileKeyRef"], f"{path}.fileKeyRef")
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


def _file_key(errors: Errors, reference: Tree, path: str) -> None:
    key, volume = reference.get("key") or "", reference.get("volumeName") or ""
    where = reference.get("path") or ""
    for field, value, check in (
        ("key", key, text.env_name),
        ("volumeName", volume, text.dns_label),
    ):
        if value:
            errors += [invalid(f"{path}.{field}", value, p) for p in check(value)]
        else:
            errors.append(required(f"{path}.{field}"))
    if where:
        no_backsteps(errors, where, f"{path}.path")
    else:
        errors.append(required(f"{path}.path"))


def validate_env_files(errors: Errors, spec: Tree, path: str) -> None:
    """Files of variables come from the pod's own empty directories."""
    volumes = {v.get("name") or "": v for v in spec.get("volumes") or ()}
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for c, container in enumerate(spec.get(field) or ()):
            for e, variable in enumerate(container.get("env") or ()):
                reference = (variable.get("valueFrom") or {}).get("fileKeyRef")
                if reference is None:
                    continue
                here = f"{path}.{field}[{c}].env[{e}].valueFrom.fileKeyRef.volumeName"
                name = reference.get("volumeName") or ""
                volume = volumes.get(name)
                if volume is None:
                    errors.append(not_found_field(here, name))
                elif volume.get("emptyDir") is None:
                    detail = "referenced volume must be of type emptyDir"
                    errors.append(invalid(here, name, detail))


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
                # Upstream looks at these names as if more followed.
                problems = text.dns_subdomain(mask_prefix(name))
                errors += [invalid(f"{path}[{i}].{field}.name", name, p) for p in problems]
        if count == 0:
            errors.append(invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif count > 1:
            errors.append(invalid(path, "", "may not have more than one field specified at a time"))
