"""What is wrong with a policy's expressions, given the kinds it matches: told, never enforced.

Between stored policies and ``status.typeChecking``. A policy is looked at once for each of its
generations. Upstream: ``apiserver/pkg/admission/plugin/policy/validating/typechecking.go``.
"""

from __future__ import annotations

import asyncio
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

    async def check(self, policy: Tree) -> list[Tree]:
        """``expressionWarnings`` of a validating policy. Others run between two expressions."""
        spec: Tree = policy.get("spec") or {}
        compositions = [(shown, _compose(spec, known)) for shown, known in self._known(spec)]
        warnings: list[Tree] = []
        for i, validation in enumerate(spec.get("validations") or ()):
            for field in ("expression", "messageExpression"):
                text = validation.get(field)
                if not text:
                    continue
                found: list[str] = []
                for shown, composition in compositions:
                    await asyncio.sleep(0)
                    error = composition.compile(str(text)).error
                    if error:
                        found.append(f"{shown}: {error.removeprefix(COMPILATION_FAILED)}\n")
                if found:
                    path = f"spec.validations[{i}].{field}"
                    warnings.append({"fieldRef": path, "warning": "\n".join(found)})
        return warnings

    def _known(self, spec: Tree) -> list[tuple[str, dict[str, Type]]]:
        """The types of what expressions name, for each kind the rules name."""
        kind = spec.get("paramKind")
        more = {} if kind is None else {"params": self._param_type(kind)}
        return [
            (shown, {"object": type, "oldObject": type, **more})
            for shown, type in self._types(spec)
        ]

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


def _compose(spec: Tree, known: dict[str, Type]) -> Composition:
    params = spec.get("paramKind") is not None
    composition = Composition(params=params, variables=True, types=known)
    for variable in spec.get("variables") or ():
        composition.add_variable(str(variable["name"]), str(variable["expression"]))
    return composition
