"""OpenAPI documents against what an upstream v1.36.2 API server answers with its default flags.

``v1.36.json`` has a mark of each of its documents (v3), paths and definitions (v2): what is left
without descriptions, hashed. ``custom.yaml`` are definitions that were made there, and
``custom.json`` what it published of them. Kutter serves three old group-versions more.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.apiserver_harness import Api
from tests.custom_kinds import define, serving

HERE = Path(__file__).parent
_UPSTREAM: dict[str, Any] = json.loads((HERE / "v1.36.json").read_text())
_CUSTOM: dict[str, Any] = json.loads((HERE / "custom.json").read_text())
_OLDER = ("apis/extensions", "apis/apps/v1beta1", "apis/apps/v1beta2")
_ISSUER = ("/.well-known/openid-configuration", "/openid/v1/jwks")


def bare(value: Any) -> Any:
    """Without descriptions, and with what has no order sorted."""
    if isinstance(value, dict):
        made = {
            key: bare(below)
            for key, below in value.items()
            if not (key == "description" and isinstance(below, str))
        }
        if isinstance(made.get("required"), list):
            made["required"] = sorted(made["required"])
        return made
    return [bare(below) for below in value] if isinstance(value, list) else value


def mark(value: Any) -> str:
    text = json.dumps(bare(value), sort_keys=True)
    return sha256(text.encode()).hexdigest()[:10]


def marks(document: dict[str, Any], *parts: str) -> dict[str, str]:
    """A mark of each entry of a document's parts."""
    return {name: mark(one) for part in parts for name, one in document[part].items()}


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serving() as served:
        served.server.documents.update(dict.fromkeys(_ISSUER, ("application/json", b"{}")))
        yield served


async def test_version_3(api: Api) -> None:
    index = (await api.ok("GET", "/openapi/v3"))["paths"]
    found = {}
    for name, entry in index.items():
        document = await api.ok("GET", entry["serverRelativeURL"])
        if not name.startswith(_OLDER):
            found[name] = mark(document)
    assert found == _UPSTREAM["v3"]


async def test_version_2(api: Api) -> None:
    document = await api.ok("GET", "/openapi/v2")
    found = marks(document, "paths", "definitions", "parameters")
    assert {n: m for n, m in found.items() if not n[1:].startswith(_OLDER)} == _UPSTREAM["v2"]
    rest = {k: v for k, v in document.items() if k not in ("paths", "definitions", "parameters")}
    assert bare(rest) == _UPSTREAM["v2 head"]


async def test_custom_kinds(api: Api) -> None:
    for tree in yaml.safe_load_all((HERE / "custom.yaml").read_text()):
        await define(api, tree)
    index = (await api.ok("GET", "/openapi/v3"))["paths"]
    for name, wanted in _CUSTOM["v3"].items():
        document = await api.ok("GET", index[name]["serverRelativeURL"])
        assert bare(document["components"]["schemas"]) == wanted["schemas"]
        del document["components"]["schemas"]
        assert mark(document) == wanted["rest"]
    own = "describe.example.com"
    assert {name for name in index if own in name} == set(_CUSTOM["v3"])
    document = await api.ok("GET", "/openapi/v2")
    paths = {name: mark(one) for name, one in document["paths"].items() if own in name}
    assert paths == _CUSTOM["v2 paths"]
    definitions = {n: d for n, d in document["definitions"].items() if "example" in n}
    assert bare(definitions) == _CUSTOM["v2 definitions"]
