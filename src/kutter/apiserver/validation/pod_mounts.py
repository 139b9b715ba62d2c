"""Where a container sees the volumes of its pod: mounts and block devices."""

from __future__ import annotations

from typing import Any

from kutter.api.errors import (
    FieldError,
    forbidden_field,
    invalid,
    not_found_field,
    not_supported,
    required,
)
from kutter.apiserver.validation.paths import local_descending_path

Tree = dict[str, Any]
Errors = list[FieldError]


def validate_mounts(
    errors: Errors,
    mounts: list[Tree],
    devices: list[Tree],
    container: Tree,
    path: str,
    *,
    volumes: dict[str, Tree],
) -> None:
    places: set[str] = set()
    device_names = {d.get("name") for d in devices}
    device_paths = {d.get("devicePath") for d in devices}
    for i, mount in enumerate(mounts):
        here = f"{path}[{i}]"
        name, where = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            errors.append(required(f"{here}.name"))
        volume = volumes.get(name)
        if volume is None:
            errors.append(not_found_field(f"{here}.name", name))
        if not where:
            errors.append(required(f"{here}.mountPath"))
        if where in places:
            errors.append(invalid(f"{here}.mountPath", where, "must be unique"))
        places.add(where)
        if name in device_names:
            errors.append(invalid(f"{here}.name", name, "must not already exist in volumeDevices"))
        if where in device_paths:
            errors.append(
                invalid(
                    f"{here}.mountPath", where, "must not already exist as a path in volumeDevices"
                )
            )
        if len(mount) > 2:
            _mount_options(errors, mount, container, path, here)


def _mount_options(errors: Errors, mount: Tree, container: Tree, path: str, here: str) -> None:
    sub, expression = mount.get("subPath") or "", mount.get("subPathExpr") or ""
    if sub:
        local_descending_path(errors, sub, f"{path}.subPath")
    if expression:
        if sub:
            errors.append(
                invalid(
                    f"{here}.subPathExpr",
                    expression,
                    "subPathExpr and subPath are mutually exclusive",
                )
            )
        local_descending_path(errors, expression, f"{path}.subPathExpr")
    propagation = mount.get("mountPropagation")
    allowed = ["Bidirectional", "HostToContainer", "None"]
    if propagation is not None and propagation not in allowed:
        errors.append(not_supported(f"{path}.mountPropagation", propagation, allowed))
    privileged = (container.get("securityContext") or {}).get("privileged")
    if propagation == "Bidirectional" and not privileged:
        errors.append(
            forbidden_field(
                f"{path}.mountPropagation",
                "Bidirectional mount propagation is available only to privileged containers",
            )
        )
    recursive = mount.get("recursiveReadOnly")
    if recursive in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            errors.append(
                forbidden_field(
                    f"{path}.recursiveReadOnly",
                    "may only be specified when readOnly is true",
                )
            )
        if propagation not in (None, "None"):
            errors.append(
                forbidden_field(
                    f"{path}.recursiveReadOnly",
                    "may only be specified when mountPropagation is None or not specified",
                )
            )
    elif recursive not in (None, "Disabled"):
        errors.append(
            not_supported(
                f"{path}.recursiveReadOnly", recursive, ["Disabled", "Enabled", "IfPossible"]
            )
        )


def validate_devices(
    errors: Errors, devices: list[Tree], mounts: list[Tree], path: str, volumes: dict[str, Tree]
) -> None:
    names: set[str] = set()
    paths: set[str] = set()
    mount_names = {m.get("name") for m in mounts}
    mount_paths = {m.get("mountPath") for m in mounts}
    for i, device in enumerate(devices):
        here = f"{path}[{i}]"
        name, where = device.get("name") or "", device.get("devicePath") or ""
        if not name:
            errors.append(required(f"{here}.name"))
        if name in names:
            errors.append(invalid(f"{here}.name", name, "must be unique"))
        volume = volumes.get(name)
        if volume is None:
            errors.append(not_found_field(f"{here}.name", name))
        elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
            errors.append(
                invalid(
                    f"{here}.name",
                    name,
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for "
                    "block mode",
                )
            )
        if not where:
            errors.append(required(f"{here}.devicePath"))
        if where in paths:
            errors.append(invalid(f"{here}.devicePath", where, "must be unique"))
        if ".." in where.split("/"):
            errors.append(invalid(f"{here}.devicePath", where, "can not contain backsteps ('..')"))
        else:
            paths.add(where)
        if name in mount_names:
            errors.append(invalid(f"{here}.name", name, "must not already exist in volumeMounts"))
        if where in mount_paths:
            errors.append(
                invalid(
                    f"{here}.devicePath", where, "must not already exist as a path in volumeMounts"
                )
            )
        if name:
            names.add(name)
