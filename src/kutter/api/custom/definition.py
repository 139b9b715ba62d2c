"""A CustomResourceDefinition as what it defines: resources, schemas, columns, per version.

Between the definition's tree and those who serve it. Made once per change of a definition;
frozen, shared. Nothing here judges: what is malformed was refused when it was written.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from kutter.api.custom.schema import CustomNode, custom_root
from kutter.api.resources import Resource, Subresource
from kutter.api.schema import KindSchema
from kutter.api.schema.duplicates import list_duplicates
from kutter.api.schema.strict import steps_of

Tree = dict[str, Any]

GROUP = "apiextensions.k8s.io"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
_PART_VERBS = ("get", "patch", "update")
_kube_version = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?", re.ASCII).fullmatch
_AGE: Tree = {
    "name": "Age",
    "type": "date",
    "description": "When the server first stored the object.",
    "jsonPath": ".metadata.creationTimestamp",
}
_STAGES = {None: 2, "beta": 1, "alpha": 0}


def version_rank(version: str) -> tuple[Any, ...]:
    """Sorts versions, the preferred first: ``v2``, ``v1``, ``v1beta2``, ``v1alpha1``, others."""
    match = _kube_version(version)
    if match is None:
        return (1, version)
    return (0, -_STAGES[match[2]], -int(match[1]), -int(match[3] or 0))


class CustomSchema(KindSchema):
    """A custom kind's schema: strategic merge patch has nothing to go by."""

    strategic = False

    def _complain(self, unknown: list[str], source: bytes | None) -> list[str]:
        """Keys given twice come first: reading the text and pruning are two steps here."""
        doubled = list_duplicates(source) if source is not None else []
        found = [f'duplicate field "{path}"' for path in doubled]
        return found + [f'unknown field "{path}"' for path in sorted(unknown, key=self._rank)]

    def _rank(self, path: str) -> tuple[int, str]:
        """The object's metadata first, that of objects embedded in it last."""
        *holder, metadata, _ = ("", *steps_of(path))
        if metadata != "metadata":
            return 1, path
        if len(holder) == 1:
            return 0, path
        node = self.node.at(tuple(holder[1:]))
        return (2 if node is not None and node.embedded else 1), path


class ScalePaths(msgspec.Struct, frozen=True):
    """Where a custom object keeps what Scale shows: paths of keys."""

    spec: tuple[str, ...]
    status: tuple[str, ...]
    selector: tuple[str, ...] = ()


class DefinedVersion(msgspec.Struct, frozen=True):
    """One version of a custom kind. ``columns`` are the definition's, never empty."""

    name: str
    served: bool
    storage: bool
    resource: Resource
    schema: Tree
    node: CustomNode
    columns: tuple[Tree, ...]
    selectable: tuple[str, ...]
    has_status: bool
    scale: ScalePaths | None
    deprecation: str

    @property
    def kind_schema(self) -> KindSchema:
        resource = self.resource
        return CustomSchema(resource.group, resource.version, resource.kind, self.node)


class Definition(msgspec.Struct, frozen=True):
    """A whole definition, under the names that were accepted."""

    name: str
    group: str
    plural: str
    kind: str
    versions: tuple[DefinedVersion, ...]
    conversion: Tree

    @property
    def stored(self) -> DefinedVersion:
        return next(version for version in self.versions if version.storage)

    @property
    def served(self) -> list[DefinedVersion]:
        """Versions that are served, the preferred first."""
        found = [version for version in self.versions if version.served]
        return sorted(found, key=lambda version: version_rank(version.name))

    @property
    def converts(self) -> bool:
        """Whether versions differ in more than their name."""
        return str(self.conversion.get("strategy", "None")) != "None"


def path_keys(path: str) -> tuple[str, ...]:
    """``.spec.replicas`` → (``spec``, ``replicas``); the paths of scale and selectable fields."""
    keys = re.findall(r"\.([^.\[\]]+)|\['([^']+)'\]", path if path[:1] in ".[" else "." + path)
    return tuple(plain or quoted for plain, quoted in keys)


def read_definition(tree: Tree) -> Definition:
    """Read a valid definition whose names are accepted."""
    spec, status = tree["spec"], tree.get("status") or {}
    names = status.get("acceptedNames") or {}
    if not names.get("plural") or not names.get("kind"):
        names = spec["names"]
    versions = tuple(_version(spec, names, version) for version in spec["versions"])
    return Definition(
        name=tree["metadata"]["name"],
        group=spec["group"],
        plural=names["plural"],
        kind=names["kind"],
        versions=versions,
        conversion=spec.get("conversion") or {},
    )


def _version(spec: Tree, names: Tree, version: Tree) -> DefinedVersion:
    parts = version.get("subresources") or {}
    scale = parts.get("scale")
    resource = _resource(spec, names, version["name"], "status" in parts, scale is not None)
    schema = (version.get("schema") or {}).get("openAPIV3Schema") or {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
    }
    return DefinedVersion(
        name=version["name"],
        served=bool(version.get("served")),
        storage=bool(version.get("storage")),
        resource=resource,
        schema=schema,
        node=custom_root(schema, names["kind"]),
        columns=tuple(version.get("additionalPrinterColumns") or (_AGE,)),
        selectable=tuple(field["jsonPath"] for field in version.get("selectableFields") or ()),
        has_status="status" in parts,
        scale=_scale(scale) if scale is not None else None,
        deprecation=_deprecation(spec, names, version),
    )


def _scale(scale: Tree) -> ScalePaths:
    return ScalePaths(
        path_keys(scale["specReplicasPath"]),
        path_keys(scale["statusReplicasPath"]),
        path_keys(scale.get("labelSelectorPath") or ""),
    )


def _resource(spec: Tree, names: Tree, version: str, status: bool, scale: bool) -> Resource:
    group, plural, kind = spec["group"], names["plural"], names["kind"]
    parts: dict[str, Subresource] = {}
    if status:
        parts["status"] = Subresource("status", kind, _PART_VERBS)
    if scale:
        parts["scale"] = Subresource("scale", "Scale", _PART_VERBS, "autoscaling", "v1")
    return Resource(
        group=group,
        version=version,
        plural=plural,
        kind=kind,
        namespaced=spec["scope"] == "Namespaced",
        verbs=_VERBS,
        singular=names.get("singular") or kind.lower(),
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=parts,
        list_kind=names.get("listKind") or f"{kind}List",
        storage_prefix=f"/registry/{group}/{plural}",
        stored_as=next((f"{group}/{v['name']}" for v in spec["versions"] if _shows(v)), ""),
        custom=True,
    )


def _shows(version: Tree) -> bool:
    """Whether discovery's hash tells that objects are stored in this version."""
    return bool(version.get("storage") and version.get("served"))


def _deprecation(spec: Tree, names: Tree, version: Tree) -> str:
    if not version.get("deprecated"):
        return ""
    if version.get("deprecationWarning") is not None:
        return str(version["deprecationWarning"])
    group, kind, name = spec["group"], names["kind"], version["name"]
    text = f"{group}/{name} {kind} is deprecated"
    usable = [v["name"] for v in spec["versions"] if v.get("served") and not v.get("deprecated")]
    newest = min(usable, key=version_rank, default="")
    if newest and version_rank(newest) < version_rank(name):
        text += f"; use {group}/{newest} {kind}"
    return text
