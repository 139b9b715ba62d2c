"""Config maps and secrets: keys that become files, within a mebibyte."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import ClassVar

import orjson

from kutter.api import json_errors
from kutter.api.errors import (
    FieldError,
    forbidden_field,
    invalid,
    required,
    too_long,
)
from kutter.apiserver.kinds.standard import Standard, setdefault
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.equality import equal
from kutter.apiserver.validation.key_pairs import key_pair_problem
from kutter.apiserver.validation.metadata import (
    WHOLE,
    checked,
    immutable,
)

Errors = list[FieldError]

_DATA_MAX_BYTES = 1 << 20
_SEALED = "field is immutable when `immutable` is set"


class ConfigMapKind(Standard):
    rechecks_metadata: ClassVar[bool] = True
    has_status: ClassVar[bool] = False

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        data, binary = tree.get("data") or {}, tree.get("binaryData") or {}
        size = 0
        for key, value in data.items():
            if text.config_key(key):
                errors += checked(f"data[{key}]", key, text.config_key)
            if key in binary:
                detail = "duplicate of key present in binaryData"
                errors.append(invalid(f"data[{key}]", key, detail))
            size += len(value.encode())
        for key, value in binary.items():
            errors += checked(f"binaryData[{key}]", key, text.config_key)
            size += _decoded_size(value)
        if size > _DATA_MAX_BYTES:
            errors.append(too_long(WHOLE, _DATA_MAX_BYTES))
        return errors

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        return _sealed(new, old, "data", "binaryData")


def _sealed(new: Tree, old: Tree, *fields: str) -> list[FieldError]:
    if not old.get("immutable"):
        return []
    errors = [] if new.get("immutable") else [forbidden_field("immutable", _SEALED)]
    errors += [forbidden_field(f, _SEALED) for f in fields if not equal(new.get(f), old.get(f))]
    return errors


def _decoded_size(value: str | None) -> int:
    return len(value or "") * 3 // 4 - (value or "")[-2:].count("=")


def _decoded(value: str | None) -> bytes:
    try:
        return base64.b64decode(value or "", validate=True)
    except (binascii.Error, ValueError):
        return b""


class SecretKind(Standard):
    rechecks_metadata: ClassVar[bool] = True
    has_status: ClassVar[bool] = False
    field_labels: ClassVar[frozenset[str]] = frozenset({"type"})

    def default(self, tree: Tree) -> None:
        if not tree.get("type"):
            tree["type"] = "Opaque"
        plain = tree.pop("stringData", None)
        if plain:
            data = setdefault(tree, "data", {})
            for key, value in plain.items():
                data[key] = base64.b64encode(value.encode()).decode()

    def prepare_for_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        # Clients that never learned of types keep what was there.
        if not new.get("type"):
            new["type"] = old.get("type")

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        data = tree.get("data") or {}
        size = 0
        for key, value in data.items():
            if text.config_key(key):
                errors += checked(f"data[{key}]", key, text.config_key)
            size += _decoded_size(value)
        if size > _DATA_MAX_BYTES:
            errors.append(too_long("data", _DATA_MAX_BYTES))
        self._by_type(errors, tree, data)
        return errors

    def _by_type(self, errors: Errors, tree: Tree, data: Tree) -> None:
        match tree.get("type"):
            case "kubernetes.io/service-account-token":
                annotations = (tree.get("metadata") or {}).get("annotations") or {}
                key = "kubernetes.io/service-account.name"
                if not annotations.get(key):
                    errors.append(required(f"metadata.annotations[{key}]"))
            case "kubernetes.io/dockercfg":
                _json_key(errors, data, ".dockercfg")
            case "kubernetes.io/dockerconfigjson":
                _json_key(errors, data, ".dockerconfigjson")
            case "kubernetes.io/basic-auth":
                if "username" not in data and "password" not in data:
                    errors += [required("data[username]"), required("data[password]")]
            case "kubernetes.io/ssh-auth":
                if not data.get("ssh-privatekey"):
                    errors.append(required("data[ssh-privatekey]"))
            case "kubernetes.io/tls":
                errors += [
                    required(f"data[{key}]") for key in ("tls.crt", "tls.key") if key not in data
                ]

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        return immutable(new.get("type"), old.get("type"), "type") + _sealed(new, old, "data")

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        if new.get("type") != "kubernetes.io/tls":
            return []
        data = new.get("data") or {}
        problem = key_pair_problem(_decoded(data.get("tls.crt")), _decoded(data.get("tls.key")))
        return [problem] if problem else []

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        return {"type": tree.get("type") or ""}


def _json_key(errors: Errors, data: Tree, key: str) -> None:
    if key not in data:
        errors.append(required(f"data[{key}]"))
        return
    problem = _no_json_object(_decoded(data[key]))
    if problem:
        errors.append(invalid(f"data[{key}]", "<secret contents redacted>", problem))


def _no_json_object(data: bytes) -> str:
    """Go's words for what cannot be read into a map."""
    try:
        content = orjson.loads(data)
    except orjson.JSONDecodeError:
        return json_errors.explain(data)
    if content is None or isinstance(content, dict):
        return ""
    return json_errors.misfit(content, "map[string]interface {}")
