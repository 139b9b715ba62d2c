"""Which requests a webhook or policy is about: rules, namespace and object selectors. Pure.

Between configurations' trees and :class:`kutter.apiserver.admission.dynamic.subject.Subject`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from kutter.api.resources import Resource
from kutter.api.selectors import Selector, SelectorError, from_tree
from kutter.apiserver.ports import Operation, Tree

_ADMISSION = "admissionregistration.k8s.io"
_EXEMPT = frozenset(
    f"{plural}.{_ADMISSION}"
    for plural in (
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
    )
)


def is_exempt(group_resource: str) -> bool:
    """What configures admission is never subject to what it configures: no way out otherwise."""
    return group_resource in _EXEMPT


class Rule(msgspec.Struct, frozen=True):
    """One rule; ``names`` empty means any."""

    operations: frozenset[str]
    groups: frozenset[str]
    versions: frozenset[str]
    resources: tuple[tuple[str, str], ...]
    scope: str
    names: frozenset[str]

    def might(self, plural: str, subresource: str, operation: Operation) -> bool:
        """Whether it can match anything of this name, whatever group serves it."""
        if not ("*" in self.operations or operation in self.operations):
            return False
        return any(
            resource in ("*", plural) and part in ("*", subresource)
            for resource, part in self.resources
        )

    def matches(
        self, resource: Resource, subresource: str, operation: Operation, namespace: str, name: str
    ) -> bool:
        return (
            self.might(resource.plural, subresource, operation)
            and ("*" in self.groups or resource.group in self.groups)
            and ("*" in self.versions or resource.version in self.versions)
            and self._in_scope(resource, namespace)
            and (not self.names or name in self.names)
        )

    def _in_scope(self, resource: Resource, namespace: str) -> bool:
        if self.scope == "*":
            return True
        # A request for a namespace carries the namespace's name and is cluster-wide all the same.
        cluster = not namespace or (resource.plural == "namespaces" and not resource.group)
        return cluster if self.scope == "Cluster" else not cluster


def read_rule(tree: Tree) -> Rule:
    """A validated ``RuleWithOperations``, with ``resourceNames`` if it has any."""
    split = [text.partition("/") for text in tree.get("resources") or ()]
    return Rule(
        operations=frozenset(tree.get("operations") or ()),
        groups=frozenset(tree.get("apiGroups") or ()),
        versions=frozenset(tree.get("apiVersions") or ()),
        resources=tuple((resource, part) for resource, _, part in split),
        scope=tree.get("scope") or "*",
        names=frozenset(tree.get("resourceNames") or ()),
    )


class Place(msgspec.Struct, frozen=True):
    """What rules look at in a request. ``equivalents`` are the resource's other versions."""

    resource: Resource
    subresource: str
    operation: Operation
    namespace: str
    name: str
    equivalents: Callable[[], list[Resource]]


class Matcher:
    """Rules and selectors of one webhook, policy or binding.

    ``open``: without any rule everything matches (bindings, policies), not nothing.
    """

    __slots__ = (
        "_equivalent",
        "_excluded",
        "_namespaces",
        "_objects",
        "_open",
        "_rules",
        "broken",
    )

    def __init__(
        self,
        rules: Iterable[Tree],
        *,
        excluded: Iterable[Tree] = (),
        match_policy: str = "Equivalent",
        namespace_selector: Tree | None = None,
        object_selector: Tree | None = None,
        open: bool = False,
    ) -> None:
        self._rules = tuple(map(read_rule, rules))
        self._excluded = tuple(map(read_rule, excluded))
        self._equivalent = match_policy != "Exact"
        # Selectors older servers let through: whoever matches the rules is told.
        self.broken = ""
        self._namespaces = self._selector(namespace_selector)
        self._objects = self._selector(object_selector)
        self._open = open

    def _selector(self, tree: Tree | None) -> Selector:
        """Here an absent selector is an empty one, which selects everything."""
        try:
            return from_tree(tree or {})
        except SelectorError as error:
            self.broken = str(error)
            return from_tree({})

    def might(self, plural: str, subresource: str, operation: Operation) -> bool:
        """Whether a request of this sort can match at all."""
        if self._open and not self._rules:
            return True
        return any(rule.might(plural, subresource, operation) for rule in self._rules)

    def find(self, place: Place) -> Resource | None:
        """The resource, in the version the first fitting rule names; None for no match."""
        if self._excluded and self._first(self._excluded, place) is not None:
            return None
        if self._open and not self._rules:
            return place.resource
        return self._first(self._rules, place)

    def _first(self, rules: tuple[Rule, ...], place: Place) -> Resource | None:
        part, operation = place.subresource, place.operation
        for rule in rules:
            if rule.matches(place.resource, part, operation, place.namespace, place.name):
                return place.resource
        if not self._equivalent or not any(
            rule.might(place.resource.plural, part, operation) for rule in rules
        ):
            return None
        for rule in rules:
            for other in place.equivalents():
                if rule.matches(other, part, operation, place.namespace, place.name):
                    return other
        return None

    @property
    def looks_at_namespace(self) -> bool:
        return not self._namespaces.empty

    @property
    def looks_at_object(self) -> bool:
        return not self._objects.empty

    def selects_namespace(self, labels: Mapping[str, str]) -> bool:
        return self._namespaces.matches(labels)

    def selects_object(self, labels: Mapping[str, str]) -> bool:
        return self._objects.matches(labels)
