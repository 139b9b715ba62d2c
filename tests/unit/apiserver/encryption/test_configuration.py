"""EncryptionConfiguration: what is right, and what is said about what is not."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import orjson
import pytest

from kutter.apiserver.configuration_file import ConfigurationError
from kutter.apiserver.encryption.configuration import ensure_encryption_file, parse_encryption

SECRET = base64.b64encode(b"x" * 32).decode()


def configuration(*resources: Any, **more: Any) -> bytes:
    return orjson.dumps(
        {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "EncryptionConfiguration",
            "resources": list(resources),
            **more,
        }
    )


def rule(*providers: Any, resources: tuple[str, ...] = ("secrets",)) -> dict[str, Any]:
    return {"resources": list(resources), "providers": list(providers)}


def keys(name: str = "aesgcm", **key: str) -> dict[str, Any]:
    return {name: {"keys": [{"name": "key1", "secret": SECRET, **key}]}}


def test_a_new_clusters_file_encrypts_secrets_and_is_its_own(tmp_path: Path) -> None:
    path = tmp_path / "server" / "encryption.yaml"
    assert ensure_encryption_file(path)
    content = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    (found,) = parse_encryption(content).resources
    assert found.resources == ("secrets",)
    assert found.providers[0].aesgcm is not None
    assert len(found.providers[0].aesgcm.keys[0].bytes) == 32
    assert not ensure_encryption_file(path)
    assert path.read_bytes() == content
    other = tmp_path / "other.yaml"
    ensure_encryption_file(other)
    assert other.read_bytes() != content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "no YAML"),
        (b"[]", "no object"),
        (b"a: 1\na: 2", "duplicate key 'a'"),
        (b'{"a": {"b": 1, "b": 2}}', "duplicate key 'b'"),
        (b'{"kind": "\xff"}', "no YAML"),
        (
            b"{kind: EncryptionConfiguration, apiVersion: v1}",
            "expected apiVersion apiserver.config",
        ),
        (b"kind: EncryptionConfiguration\napiVersion: v1", "expected apiVersion apiserver.config"),
        (configuration(), "at least one resource and provider is required"),
        (configuration(rule(keys()), colour="red"), "unknown field `colour`"),
        (configuration(rule()), "resources[0].providers: Required value"),
        (configuration(rule(keys(), resources=())), "resources[0].resources: Required value"),
        (configuration(rule({})), "exactly one provider"),
        (configuration(rule({**keys(), "identity": {}})), "exactly one provider"),
        (configuration(rule({"aesgcm": {"keys": []}})), "aesgcm.keys: Required value"),
        (configuration(rule(keys(name="aesgcm", secret=""))), "keys[0].secret: Required value"),
        (configuration(rule(keys(secret="***"))), "must be base64 encoded"),
        (
            configuration(rule(keys(secret="YWJj"))),
            "secret is not of the expected length, got 3, expected one of [16 24 32]",
        ),
        (
            configuration(
                rule({"secretbox": {"keys": [{"name": "a", "secret": "eHh4eHh4eHh4eHh4eHh4eA=="}]}})
            ),
            "got 16, expected one of [32]",
        ),
        (configuration(rule(keys(), resources=("secrets", "secrets"))), "Duplicate value"),
        (configuration(rule(keys(), resources=("*",))), "use '*.'"),
        (configuration(rule(keys(), resources=("pods/log",))), "expected a resource"),
        (configuration(rule(keys(), resources=("se*ts",))), "wildcards"),
        (configuration(rule(keys(), resources=("secrets.*",))), "wildcard groups"),
        (configuration(rule({"kms": {"name": "x", "apiVersion": "v2"}})), "key management"),
    ],
)
def test_what_is_wrong_is_said(content: bytes, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_encryption(content)
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)
