"""The parameters of a policy for one request: objects of its ``paramKind`` its binding refers to.

Read from the read cache, so a change of a parameter holds at once.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from kutter.api.catalog import split_api_version
from kutter.api.resources import Resource
from kutter.api.selectors import from_tree
from kutter.apiserver.admission.dynamic.policies import Binding, Policy
from kutter.apiserver.admission.dynamic.subject import Subject
from kutter.apiserver.admission.dynamic.versions import Versions
from kutter.apiserver.ports import Reader, Tree

_KEPT = 256


class ConfigurationError(Exception):
    """A policy or binding that cannot be applied; the message is upstream's."""


def find_param_resource(policy: Policy, versions: Versions) -> Resource | None:
    """The resource of the ``paramKind``, None without one. Raises ConfigurationError."""
    kind = policy.param_kind
    if kind is None:
        return None
    api_version, name = str(kind.get("apiVersion") or ""), str(kind.get("kind") or "")
    group, version = split_api_version(api_version)
    resource = versions.resource_of_kind(group, version, name)
    if resource is None or not resource.storage_prefix:
        shown = f"{group}/{version}, Kind={name}"
        raise ConfigurationError(f"failed to find resource referenced by paramKind: '{shown}'")
    return resource


class ParamCache:
    """What references led to, until anything of their kind changes. Trees are shared: read only."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, bytes], tuple[int, list[Tree]]] = {}

    def find(
        self, reader: Reader, resource: Resource, reference: Tree, namespace: str
    ) -> list[Tree]:
        place = resource.group_resource
        key = (place, namespace, orjson.dumps(reference))
        revision = reader.revision(place)
        kept = self._kept.get(key)
        if kept is not None and kept[0] == revision:
            return kept[1]
        found = _find(reader, resource, reference, namespace)
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        self._kept[key] = (revision, found)
        return found


async def collect_params(
    policy: Policy, binding: Binding, subject: Subject, versions: Versions, cache: ParamCache
) -> list[Tree | None]:
    """What to evaluate with, one after the other; ``[None]`` without parameters.

    Raises ConfigurationError.
    """
    resource, reference = find_param_resource(policy, versions), binding.params
    if resource is None or reference is None:
        return [None]
    namespace = _namespace(resource, reference, subject)
    found = cache.find(subject.request.reader, resource, reference, namespace)
    if not found:
        if reference.get("parameterNotFoundAction") == "Deny":
            raise ConfigurationError(
                "no params found for policy binding with `Deny` parameterNotFoundAction"
            )
        return []
    return [await versions.from_cache(tree, resource) for tree in found]


def _namespace(resource: Resource, reference: Tree, subject: Subject) -> str:
    given = str(reference.get("namespace") or "")
    if not resource.namespaced:
        if given:
            raise ConfigurationError(
                "paramRef.namespace must not be provided for a cluster-scoped `paramKind`"
            )
        return ""
    namespace = given or subject.place.namespace
    if not namespace:
        raise ConfigurationError(
            "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
        )
    return namespace


def _find(reader: Reader, resource: Resource, reference: Tree, namespace: str) -> list[Tree]:
    place = resource.group_resource
    if reference.get("name"):
        found = reader.get(place, namespace, str(reference["name"]))
        return [] if found is None else [found]
    selector = from_tree(reference.get("selector") or {})
    trees: Iterable[Tree] = reader.list(place, namespace)
    return [tree for tree in trees if selector.matches(tree["metadata"].get("labels") or {})]
