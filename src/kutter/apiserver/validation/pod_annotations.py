"""What a pod's annotations still mean: older forms of fields, which may not contradict them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from kutter.api import json_errors
from kutter.api.errors import FieldError, forbidden_field, invalid
from kutter.apiserver.validation.paths import local_descending_path
from kutter.apiserver.validation.pod_scheduling import validate_tolerations

Tree = dict[str, Any]
Errors = list[FieldError]

MIRROR = "kubernetes.io/config.mirror"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
TOLERATIONS = "scheduler.alpha.kubernetes.io/tolerations"
SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_LOCAL = "localhost/"
_INT32_MAX = 2**31 - 1


def validate_pod_annotations(errors: Errors, annotations: Tree, spec: Tree, path: str) -> None:
    """The annotations a pod or a template of one is read by."""
    mirror, cost = annotations.get(MIRROR), annotations.get(DELETION_COST)
    if mirror is not None and not spec.get("nodeName"):
        detail = "must set spec.nodeName if mirror pod annotation is set"
        errors.append(invalid(f"{path}[{MIRROR}]", mirror, detail))
    if annotations.get(TOLERATIONS):
        _tolerations(errors, annotations[TOLERATIONS], path)
    if cost is not None and not _is_int32(cost):
        errors.append(invalid(f"{path}[{DELETION_COST}]", cost, "must be a 32bit integer"))
    if SECCOMP_POD in annotations:
        _seccomp(errors, annotations[SECCOMP_POD], f"{path}.{SECCOMP_POD}")
    for key, profile in annotations.items():
        if key.startswith(SECCOMP_CONTAINER):
            _seccomp(errors, profile, f"{path}.{key}")
    for key, profile in annotations.items():
        if key.startswith(APP_ARMOR):
            _app_armor(errors, key, profile, spec, path)


def _is_int32(written: str) -> bool:
    digits = written.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or (len(digits) > 1 and digits[0] == "0"):
        return False
    return -(2**31) <= int(written) <= _INT32_MAX


def _tolerations(errors: Errors, written: str, path: str) -> None:
    try:
        found = orjson.loads(written)
    except orjson.JSONDecodeError:
        errors.append(invalid(path, TOLERATIONS, json_errors.explain(written.encode())))
        return
    if isinstance(found, list) and all(isinstance(t, dict) for t in found):
        validate_tolerations(errors, found, f"{path}.{TOLERATIONS}")
    else:
        detail = json_errors.misfit(found, "[]core.Toleration")
        errors.append(invalid(path, TOLERATIONS, detail))


def _seccomp(errors: Errors, profile: str, path: str) -> None:
    if profile in ("runtime/default", "docker/default", "unconfined"):
        return
    if profile.startswith(_LOCAL):
        local_descending_path(errors, profile.removeprefix(_LOCAL), path)
    else:
        errors.append(invalid(path, profile, "must be a valid seccomp profile"))


def _app_armor(errors: Errors, key: str, profile: str, spec: Tree, path: str) -> None:
    name = key.removeprefix(APP_ARMOR)
    if all(container.get("name") != name for container, _ in _containers(spec, "")):
        errors.append(invalid(f"{path}[{key}]", name, "container not found"))
    known = ("", "runtime/default", "unconfined")
    if profile not in known and not profile.startswith(_LOCAL):
        detail = f'invalid AppArmor profile name: "{profile}"'
        errors.append(invalid(f"{path}[{key}]", profile, detail))


def _containers(spec: Tree, path: str) -> Iterator[tuple[Tree, str]]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for i, container in enumerate(spec.get(field) or ()):
            yield container, f"{path}.{field}[{i}]"


def validate_agreement(errors: Errors, annotations: Tree, spec: Tree, path: str) -> None:
    """Security profiles in annotations say what the fields say."""
    context = spec.get("securityContext") or {}
    whole = context.get("seccompProfile")
    if whole is not None and SECCOMP_POD in annotations:
        _agrees(errors, annotations[SECCOMP_POD], whole, f"{path}.securityContext", "seccomp")
    for container, here in _containers(spec, path):
        own = (container.get("securityContext") or {}).get("seccompProfile")
        written = annotations.get(f"{SECCOMP_CONTAINER}{container.get('name') or ''}")
        if own is not None and written is not None:
            _agrees(errors, written, own, f"{here}.securityContext", "seccomp")
    if (spec.get("os") or {}).get("name") == "windows":
        return
    for container, here in _containers(spec, path):
        own = (container.get("securityContext") or {}).get("appArmorProfile")
        profile = own if own is not None else context.get("appArmorProfile")
        written = annotations.get(f"{APP_ARMOR}{container.get('name') or ''}")
        if profile is not None and written is not None:
            _agrees(errors, written, profile, f"{here}.securityContext", "apparmor")


def _agrees(errors: Errors, written: str, profile: Tree, path: str, what: str) -> None:
    here = f"{path}.{'seccompProfile' if what == 'seccomp' else 'appArmorProfile'}"
    defaults = ["runtime/default"] + (["docker/default"] if what == "seccomp" else [])
    kind, wrong = profile.get("type"), f"{what} type in annotation and field must match"
    if kind == "Unconfined":
        matches = written == "unconfined"
    elif kind == "RuntimeDefault":
        matches = written in defaults
    elif kind == "Localhost":
        matches = written.startswith(_LOCAL)
        if matches and written.removeprefix(_LOCAL) != profile.get("localhostProfile"):
            detail = f"{what} profile in annotation and field must match"
            errors.append(forbidden_field(f"{here}.localhostProfile", detail))
    else:
        return
    if not matches:
        errors.append(forbidden_field(f"{here}.type", wrong))


def validate_annotation_changes(errors: Errors, new: Tree, old: Tree, path: str) -> None:
    """What an update may not do to them."""
    for key, value in old.items():
        if new.get(key) == value:
            continue
        if key.startswith(APP_ARMOR):
            detail = "may not remove or update AppArmor annotations"
            errors.append(forbidden_field(f"{path}[{key}]", detail))
        if key == MIRROR:
            detail = "may not remove or update mirror pod annotation"
            errors.append(forbidden_field(f"{path}[{key}]", detail))
    for key in new:
        if key in old:
            continue
        if key.startswith(APP_ARMOR):
            errors.append(forbidden_field(f"{path}[{key}]", "may not add AppArmor annotations"))
        if key == MIRROR:
            errors.append(forbidden_field(f"{path}[{key}]", "may not add mirror pod annotation"))
