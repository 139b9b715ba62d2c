"""What mutating policies write out: ``Object{spec: Object.spec{…}}`` and ``JSONPatch{op: …}``.

An object that was written out is a plain tree. Objects know no schema, so any field goes; the name
of an inner type must be that of the field it stands in.
Upstream: https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kutter.api.cel.types import DYN, STRING, Field, Type, object_type

OBJECT = "Object"
JSON_PATCH = object_type(
    "JSONPatch",
    {
        "op": Field("op", STRING),
        "path": Field("path", STRING),
        "from": Field("from", STRING),
        "value": Field("value", DYN),
    },
)


class _AnyField(Mapping[str, Field]):
    """Every field there may be."""

    def __getitem__(self, name: str) -> Field:
        return Field(name, DYN)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def get(self, name: str, default: object = None) -> Field:
        return Field(name, DYN)


class MutationTypes(Mapping[str, Type]):
    """Types by name: ``JSONPatch``, ``Object`` and ``Object.`` with a path of fields."""

    def __getitem__(self, name: str) -> Type:
        if name == JSON_PATCH.name:
            return JSON_PATCH
        if name == OBJECT or name.startswith(f"{OBJECT}."):
            return object_type(name, _AnyField())
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter((OBJECT, JSON_PATCH.name))

    def __len__(self) -> int:
        return 2


MUTATION_TYPES = MutationTypes()
