"""Files made of the cluster's own objects: items of secrets and config maps, facts of the pod,
tokens; alone, or projected into one volume.
"""

from __future__ import annotations

from typing import Any

from kutter.api.errors import FieldError, forbidden_field, invalid, required
from kutter.apiserver.validation.downward import (
    CONTAINER_RESOURCES,
    validate_field_ref,
    validate_resource_field_ref,
)
from kutter.apiserver.validation.paths import local_non_reserved_path

Tree = dict[str, Any]
Errors = list[FieldError]

VOLUME_FIELD_PATHS = frozenset(
    {
        "metadata.name",
        "metadata.namespace",
        "metadata.labels",
        "metadata.annotations",
        "metadata.uid",
    }
)
_FILE_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
_DUPLICATE = "conflicting duplicate paths"


def file_mode(errors: Errors, mode: Any, path: str) -> None:
    if mode is not None and not 0 <= mode <= 0o777:
        errors.append(invalid(path, mode, _FILE_MODE))


def secret(errors: Errors, source: Tree, path: str) -> None:
    if not source.get("secretName"):
        errors.append(required(f"{path}.secretName"))
    file_mode(errors, source.get("defaultMode"), f"{path}.defaultMode")
    _items(errors, source.get("items"), path)


def config_map(errors: Errors, source: Tree, path: str) -> None:
    if not source.get("name"):
        errors.append(required(f"{path}.name"))
    file_mode(errors, source.get("defaultMode"), f"{path}.defaultMode")
    _items(errors, source.get("items"), path)


def _items(errors: Errors, items: list[Tree] | None, path: str) -> None:
    for i, item in enumerate(items or ()):
        _item(errors, item, f"{path}.items[{i}]")


def _item(errors: Errors, item: Tree, path: str) -> None:
    if not item.get("key"):
        errors.append(required(f"{path}.key"))
    where = item.get("path") or ""
    if not where:
        errors.append(required(f"{path}.path"))
    local_non_reserved_path(errors, where, f"{path}.path")
    file_mode(errors, item.get("mode"), f"{path}.mode")


def downward(errors: Errors, source: Tree, path: str) -> None:
    file_mode(errors, source.get("defaultMode"), f"{path}.defaultMode")
    for item in source.get("items") or ():
        _downward_item(errors, item, path)


def _downward_item(errors: Errors, item: Tree, path: str) -> None:
    """One file; upstream does not say which."""
    where = item.get("path") or ""
    if not where:
        errors.append(required(f"{path}.path"))
    local_non_reserved_path(errors, where, f"{path}.path")
    field_ref, resource_ref = item.get("fieldRef"), item.get("resourceFieldRef")
    if field_ref is not None:
        validate_field_ref(errors, field_ref, VOLUME_FIELD_PATHS, f"{path}.fieldRef")
        if resource_ref is not None:
            detail = "fieldRef and resourceFieldRef can not be specified simultaneously"
            errors.append(invalid(path, "resource", detail))
    elif resource_ref is not None:
        here = f"{path}.resourceFieldRef"
        validate_resource_field_ref(errors, resource_ref, CONTAINER_RESOURCES, here, in_volume=True)
    else:
        errors.append(required(path, "one of fieldRef and resourceFieldRef is required"))
    file_mode(errors, item.get("mode"), f"{path}.mode")


def projected(errors: Errors, source: Tree, path: str) -> None:
    file_mode(errors, source.get("defaultMode"), f"{path}.defaultMode")
    paths: set[str] = set()
    for i, part in enumerate(source.get("sources") or ()):
        here = f"{path}.sources[{i}]"
        count = 0
        for field in ("secret", "configMap"):
            inner = part.get(field)
            if inner is not None:
                count += 1
                _projected_items(errors, inner, path, f"{here}.{field}", paths)
        facts, token = part.get("downwardAPI"), part.get("serviceAccountToken")
        if facts is not None:
            count += 1
            for item in facts.get("items") or ():
                _downward_item(errors, item, f"{here}.downwardAPI")
                _take_path(errors, item.get("path"), item.get("path"), path, paths)
        if token is not None:
            count += 1
            _token(errors, token, path, f"{here}.serviceAccountToken")
        if count > 1:
            detail = "may not specify more than 1 volume type per source"
            errors.append(forbidden_field(here, detail))


def _projected_items(errors: Errors, inner: Tree, volume: str, path: str, paths: set[str]) -> None:
    name = inner.get("name") or ""
    if not name:
        errors.append(required(f"{path}.name"))
    for i, item in enumerate(inner.get("items") or ()):
        _item(errors, item, f"{path}.items[{i}]")
        _take_path(errors, item.get("path"), name, volume, paths)


def _take_path(
    errors: Errors, where: str | None, shown: str | None, volume: str, paths: set[str]
) -> None:
    if not where:
        return
    if where in paths:
        errors.append(invalid(volume, shown or "", _DUPLICATE))
    paths.add(where)


def _token(errors: Errors, token: Tree, volume: str, path: str) -> None:
    seconds = token.get("expirationSeconds")
    here = f"{path}.expirationSeconds"
    if seconds is not None and seconds < 600:
        errors.append(invalid(here, seconds, "may not specify a duration less than 10 minutes"))
    if seconds is not None and seconds > 1 << 32:
        errors.append(invalid(here, seconds, "may not specify a duration larger than 2^32 seconds"))
    where = token.get("path") or ""
    if where:
        local_non_reserved_path(errors, where, f"{volume}.path")
    else:
        errors.append(required(f"{volume}.path"))
