"""What is wrong with a policy's expressions, given the kinds it matches: told, never enforced.

Between stored policies and ``status.typeChecking``. A policy is looked at once for each of its
generations. Upstream: ``apiserver/pkg/admission/plugin/policy/validating/typechecking.go``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

from kutter.api.catalog import Catalog, split_api_version
from kutter.api.cel.objects import type_of_node, type_of_schema
from kutter.api.cel.types import DYN, Type
from kutter.api.resources import Resource
from kutter.api.schema import schema_for
from kutter.apiserver.admission.dynamic.expressions import COMPILATION_FAILED, Composition
from kutter.apiserver.ports import Tree

_TYPES_LIMIT = 10
CustomSchema = Callable[[Resource], Tree | None]
"""The ``openAPIV3Schema`` of a custom resource; None for built-in ones."""


class TypeChecker:
    """Types come from the catalog's kinds."""

    def __init__(self, catalog: Catalog, custom_schema: CustomSchema) -> None:
        self._catalog = catalog
        self._custom_schema = custom_schema

    def check(self, policy: Tree) -> list[Tree]:
        """``expressionWarnings`` of a validating policy."""
        spec: Tree = policy.get("spec") or {}
        kind = spec.get("paramKind")
        types = self._types(spec)
        warnings: list[Tree] = []
        for i, validation in enumerate(spec.get("validations") or ()):
            for field in ("expression", "messageExpression"):
                text = validation.get(field)
                if not text:
                    continue
                found = [
                    f"{shown}: {error}\n"
                    for shown, type in types
                    if (error := self._check(spec, kind, type, str(text)))
                ]
                if found:
                    path = f"spec.validations[{i}].{field}"
                    warnings.append({"fieldRef": path, "warning": "\n".join(found)})
        return warnings

    def _check(self, spec: Tree, kind: Tree | None, type: Type, text: str) -> str:
        known = {"object": type, "oldObject": type}
        if kind is not None:
            known["params"] = self._param_type(kind)
        composition = Composition(params=kind is not None, variables=True, types=known)
        for variable in spec.get("variables") or ():
            composition.add_variable(str(variable["name"]), str(variable["expression"]))
        error = composition.compile(text).error
        return error.removeprefix(COMPILATION_FAILED)

    def _types(self, spec: Tree) -> list[tuple[str, Type]]:
        """The kinds the rules name outright, by name."""
        found: dict[tuple[str, str, str], Resource] = {}
        for resource in self._named(spec.get("matchConstraints") or {}):
            found[resource.group, resource.version, resource.kind] = resource
            if len(found) == _TYPES_LIMIT:
                break
        types = []
        for (group, version, kind), resource in sorted(found.items()):
            type = self._type_of(resource)
            if type is not None:
                types.append((f"{group}/{version}, Kind={kind}", type))
        return types

    def _named(self, match: Tree) -> Iterator[Resource]:
        for rule in match.get("resourceRules") or ():
            groups, versions = rule.get("apiGroups") or [], rule.get("apiVersions") or []
            if any("*" in text for text in (*groups, *versions)):
                continue  # nothing in particular
            plurals = [p for p in rule.get("resources") or () if not set(p) & set("*/")]
            for group, version, plural in product(
                sorted(groups), sorted(versions), sorted(plurals)
            ):
                resource = self._catalog.find(group, version, plural)
                if resource is not None:
                    yield resource

    def _param_type(self, kind: Tree) -> Type:
        group, version = split_api_version(str(kind.get("apiVersion") or ""))
        resource = self._catalog.find_kind(group, version, str(kind.get("kind") or ""))
        return (resource and self._type_of(resource)) or DYN

    def _type_of(self, resource: Resource) -> Type | None:
        custom = self._custom_schema(resource)
        if custom is not None:
            return type_of_schema(custom, root=True)
        schema = schema_for(resource.group, resource.version, resource.kind)
        return None if schema is None else type_of_node(schema.node)
