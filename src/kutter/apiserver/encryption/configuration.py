"""``EncryptionConfiguration``: which resources are encrypted, with which keys.

Read and checked as upstream does, so that one file serves both:
https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/#apiserver-config-k8s-io-v1-EncryptionConfiguration
"""

from __future__ import annotations

import base64
import binascii
import secrets
from pathlib import Path
from typing import Any

import msgspec
import orjson

from kutter.api.errors import FieldError, duplicate, invalid, required
from kutter.apiserver.configuration_file import (
    GROUP,
    ConfigurationError,
    Part,
    parse_configuration,
)
from kutter.base.files import write_atomic

KIND = "EncryptionConfiguration"
_AES_SIZES, _SECRETBOX_SIZES = (16, 24, 32), (32,)


class Key(Part):
    name: str = ""
    secret: str = ""

    @property
    def bytes(self) -> bytes:
        return base64.b64decode(self.secret)


class Keys(Part):
    keys: tuple[Key, ...] = ()


class Kms(Part):
    api_version: str = "v1"
    name: str = ""
    endpoint: str = ""
    cachesize: int | None = None
    timeout: str | None = None


class Provider(Part):
    """Exactly one is given."""

    aesgcm: Keys | None = None
    aescbc: Keys | None = None
    secretbox: Keys | None = None
    identity: dict[str, Any] | None = None
    kms: Kms | None = None


class Resources(Part):
    resources: tuple[str, ...] = ()
    providers: tuple[Provider, ...] = ()


class EncryptionConfiguration(Part):
    resources: tuple[Resources, ...] = msgspec.field(default=())


def parse_encryption(content: bytes) -> EncryptionConfiguration:
    """Raises ConfigurationError."""
    found = parse_configuration(content, KIND, ("v1",), EncryptionConfiguration)
    errors = _check(found)
    if errors:
        raise ConfigurationError.of(KIND, errors)
    return found


def ensure_encryption_file(path: Path) -> bool:
    """Make the configuration of a new cluster: secrets are encrypted with a key of its own.

    What was stored in plain text before stays readable. Never replaces a file: its keys are the
    only way to what they encrypted. Raises OSError.
    """
    if path.exists():
        return False
    key = {"name": "key1", "secret": base64.b64encode(secrets.token_bytes(32)).decode()}
    tree = {
        "kind": KIND,
        "apiVersion": f"{GROUP}/v1",
        "resources": [
            {
                "resources": ["secrets"],
                "providers": [{"aesgcm": {"keys": [key]}}, {"identity": {}}],
            }
        ],
    }
    # JSON, which is YAML as well, and is read without its library.
    write_atomic(path, orjson.dumps(tree, option=orjson.OPT_INDENT_2) + b"\n", mode=0o600)
    return True


# -- checks ------------------------------------------------------------------------------


def _check(configuration: EncryptionConfiguration) -> list[FieldError]:
    if not configuration.resources:
        return [required("resources", "at least one resource and provider is required")]
    errors: list[FieldError] = []
    for index, rule in enumerate(configuration.resources):
        path = f"resources[{index}]"
        if not rule.resources:
            errors.append(required(f"{path}.resources", "at least one resource is required"))
        seen: set[str] = set()
        for number, name in enumerate(rule.resources):
            errors += _check_resource(f"{path}.resources[{number}]", name, seen)
        if not rule.providers:
            errors.append(required(f"{path}.providers", "at least one provider is required"))
        for number, provider in enumerate(rule.providers):
            errors += _check_provider(f"{path}.providers[{number}]", provider)
    return errors


def _check_resource(path: str, name: str, seen: set[str]) -> list[FieldError]:
    if name in seen:
        return [duplicate(path, name)]
    seen.add(name)
    plural, dot, group = name.partition(".")
    if not plural or "/" in name:
        return [invalid(path, name, "expected a resource, as in secrets or deployments.apps")]
    if plural == "*" and not dot:
        text = "use '*.' to encrypt all the resources from core API group or *.* to encrypt all"
        return [invalid(path, name, text)]
    if "*" in plural and plural != "*":
        return [invalid(path, name, "wildcards stand for whole names")]
    if "*" in group and name != "*.*":
        return [invalid(path, name, "wildcard groups are only allowed as *.*")]
    return []


def _check_provider(path: str, provider: Provider) -> list[FieldError]:
    given = [name for name in provider.__struct_fields__ if getattr(provider, name) is not None]
    if len(given) != 1:
        return [invalid(path, given, "expected exactly one provider")]
    name = given[0]
    if name == "kms":
        return [invalid(f"{path}.kms", "", "this server calls no key management service")]
    if name == "identity":
        return []
    keys: Keys = getattr(provider, name)
    path = f"{path}.{name}.keys"
    if not keys.keys:
        return [required(path, "at least one key is required")]
    sizes = _SECRETBOX_SIZES if name == "secretbox" else _AES_SIZES
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, key in enumerate(keys.keys):
        errors += _check_key(f"{path}[{index}]", key, sizes, seen)
    return errors


def _check_key(path: str, key: Key, sizes: tuple[int, ...], seen: set[str]) -> list[FieldError]:
    """Never tells the secret itself."""
    if not key.name:
        return [required(f"{path}.name", "key name is required")]
    if ":" in key.name:
        return [invalid(f"{path}.name", key.name, "must not contain a colon")]
    if key.name in seen:
        return [duplicate(f"{path}.name", key.name)]
    seen.add(key.name)
    if not key.secret:
        return [required(f"{path}.secret", "secret is required")]
    try:
        size = len(base64.b64decode(key.secret, validate=True))
    except binascii.Error:
        return [invalid(f"{path}.secret", "REDACTED", "secret must be base64 encoded")]
    if size not in sizes:
        expected = " ".join(map(str, sizes))
        text = f"secret is not of the expected length, got {size}, expected one of [{expected}]"
        return [invalid(f"{path}.secret", "REDACTED", text)]
    return []
