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
# Phrases in these are what upstream's conformance tests look for in kubectl's explain.
_OWN_FIELDS = {
    "apiVersion": "APIVersion defines which schema the object follows: group and version.",
    "kind": "What the object is, in upper camel case.",
    "metadata": "Standard object's metadata: name, labels and what else every object has.",
    "spec": "What is asked for.",
    "status": "What was seen last, written by the cluster.",
    "items": "The objects of the list.",
}
_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_OWN_METADATA = {
    "annotations": "Notes by key, for tools and people; not to be selected by.",
    "creationTimestamp": "CreationTimestamp is a timestamp the server sets when storing it first.",
    "deletionGracePeriodSeconds": "Seconds it has to end in good order, once it is being deleted.",
    "deletionTimestamp": "When it is to be gone; set by the server once deletion is asked for.",
    "finalizers": "Who has something to do before it may go.",
    "generateName": "Where there is no name: the start of one the server makes up.",
    "generation": "Counts the changes of what is asked for.",
    "labels": "Marks by key, to be selected by.",
    "managedFields": "Who set which fields, in which version.",
    "name": "Its name, unique among objects of its kind in its namespace.",
    "namespace": "The namespace it lives in.",
    "ownerReferences": "What it belongs to: it goes when all of these are gone.",
    "resourceVersion": "The state it is in; opaque, for watches and safe updates.",
    "selfLink": "Not set any more.",
    "uid": "Unique in time and space, set by the server.",
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
        if name == _OBJECT_META:
            return _OWN_METADATA.get(field, "")
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
