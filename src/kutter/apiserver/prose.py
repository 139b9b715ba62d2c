"""Descriptions of built-in kinds and fields, from an optional package, read when first asked for.

Between OpenAPI documents and ``kubernetes-validate`` (``pip install "kutter[explain]"``), which
carries the descriptions upstream publishes. Without it documents say what fields there are and
of which type; what every object begins with is told in our own words.
"""

from __future__ import annotations

import re
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

_FOLDER = re.compile(r"v1\.36\.(\d+)-local")
_OWN_FIELDS = {
    "apiVersion": "Group and version of this representation of the object.",
    "kind": "What the object is, in upper camel case.",
    "metadata": "Name, labels and what else every object has.",
    "spec": "What is asked for.",
    "status": "What was seen last, written by the cluster.",
    "items": "The objects of the list.",
}


class Prose:
    """``kind`` describes a type by its definition's name, ``field`` one of its fields."""

    @cached_property
    def _found(self) -> dict[str, tuple[str, dict[str, str]]]:
        path = _definitions_path()
        if path is None:
            return {}
        definitions: dict[str, dict[str, Any]] = orjson.loads(path.read_bytes())["$defs"]
        return {
            name: (
                schema.get("description") or "",
                {
                    field: below["description"]
                    for field, below in (schema.get("properties") or {}).items()
                    if isinstance(below, dict) and below.get("description")
                },
            )
            for name, schema in definitions.items()
        }

    @property
    def known(self) -> bool:
        """Whether there is more than our own few words."""
        return bool(self._found)

    def kind(self, name: str) -> str:
        return self._found.get(name, ("", {}))[0]

    def field(self, name: str, field: str) -> str:
        found = self._found.get(name)
        if found is not None:
            return found[1].get(field, "")
        return _OWN_FIELDS.get(field, "")


def _definitions_path() -> Path | None:
    spec = find_spec("kubernetes_validate")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "kubernetes-json-schema"
    found = [match for path in folder.glob("v1.36.*") if (match := _FOLDER.fullmatch(path.name))]
    if not found:
        return None
    newest = max(found, key=lambda match: int(match[1]))
    path = folder / newest[0] / "_definitions.json"
    return path if path.is_file() else None
