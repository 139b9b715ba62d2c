"""RBAC policy rules: matching, compiled, and covering (does one set of rules grant another).

Pure. The rules of the language are upstream's
(https://kubernetes.io/docs/reference/access-authn-authz/rbac/): ``*`` in verbs, groups and
resources; ``*/scale`` for a subresource of every resource; resource names restrict requests that
carry a name; a non-resource URL may end in ``*``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from kutter.apiserver.ports import Attributes

Rule = Mapping[str, Any]


class CompiledRule(msgspec.Struct, frozen=True):
    """One ``PolicyRule`` made ready for matching."""

    verbs: frozenset[str]
    all_verbs: bool
    groups: frozenset[str]
    all_groups: bool
    resources: frozenset[str]
    all_resources: bool
    names: frozenset[str]
    paths: frozenset[str]
    path_prefixes: tuple[str, ...]

    def matches_resource(self, verb: str, group: str, resource: str, sub: str, name: str) -> bool:
        """``resource`` includes the subresource (``pods/log``), ``sub`` is ``*/log`` or empty."""
        return (
            (self.all_verbs or verb in self.verbs)
            and (self.all_groups or group in self.groups)
            and (
                self.all_resources
                or resource in self.resources
                or (sub != "" and sub in self.resources)
            )
            and (not self.names or name in self.names)
        )

    def matches_path(self, verb: str, path: str) -> bool:
        return (self.all_verbs or verb in self.verbs) and (
            path in self.paths or (self.path_prefixes != () and path.startswith(self.path_prefixes))
        )


def compile_rule(rule: Rule) -> CompiledRule:
    """Compile one rule tree; absent lists are empty."""
    verbs = frozenset(rule.get("verbs") or ())
    groups = frozenset(rule.get("apiGroups") or ())
    resources = frozenset(rule.get("resources") or ())
    urls = rule.get("nonResourceURLs") or ()
    return CompiledRule(
        verbs=verbs,
        all_verbs="*" in verbs,
        groups=groups,
        all_groups="*" in groups,
        resources=resources,
        all_resources="*" in resources,
        names=frozenset(rule.get("resourceNames") or ()),
        paths=frozenset(urls),
        path_prefixes=tuple(u.rstrip("*") for u in urls if u.endswith("*")),
    )


def compile_rules(rules: Iterable[Rule] | None) -> tuple[CompiledRule, ...]:
    return tuple(compile_rule(rule) for rule in rules or ())


def any_allows(rules: Iterable[CompiledRule], attributes: Attributes) -> bool:
    """Whether one of ``rules`` allows the request."""
    verb = attributes.verb
    if not attributes.is_resource:
        path = attributes.path
        return any(rule.matches_path(verb, path) for rule in rules)
    group, name = attributes.group, attributes.name
    resource, sub = attributes.resource, ""
    if attributes.subresource:
        resource, sub = f"{resource}/{attributes.subresource}", f"*/{attributes.subresource}"
    return any(rule.matches_resource(verb, group, resource, sub, name) for rule in rules)


# -- covering ------------------------------------------------------------------


def uncovered_rules(owned: Iterable[Rule], wanted: Iterable[Rule] | None) -> list[dict[str, Any]]:
    """The parts of ``wanted`` that ``owned`` does not grant, broken down to single grants.

    A breakdown has one verb and one resource (or URL, or resource name) each: a set of rules
    covers another only if one owned rule covers each single grant.
    """
    owned = list(owned)
    return [
        single
        for rule in wanted or ()
        for single in _break_down(rule)
        if not any(_covers(rule_owned, single) for rule_owned in owned)
    ]


def _break_down(rule: Rule) -> list[dict[str, Any]]:
    singles: list[dict[str, Any]] = []
    verbs = rule.get("verbs") or ()
    for group in rule.get("apiGroups") or ():
        for resource in rule.get("resources") or ():
            for verb in verbs:
                base = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                names = rule.get("resourceNames") or ()
                singles += [{**base, "resourceNames": [n]} for n in names] if names else [base]
    for url in rule.get("nonResourceURLs") or ():
        singles += [{"nonResourceURLs": [url], "verbs": [verb]} for verb in verbs]
    return singles


def _covers(owned: Rule, single: Rule) -> bool:
    return (
        _has_all(owned.get("verbs"), single["verbs"])
        and _has_all(owned.get("apiGroups"), single.get("apiGroups"))
        and _covers_resources(owned.get("resources") or (), single.get("resources") or ())
        and _covers_names(owned.get("resourceNames") or (), single.get("resourceNames") or ())
        and all(
            any(_covers_url(o, u) for o in owned.get("nonResourceURLs") or ())
            for u in single.get("nonResourceURLs") or ()
        )
    )


def _has_all(owned: Iterable[str] | None, wanted: Iterable[str] | None) -> bool:
    have = set(owned or ())
    return "*" in have or set(wanted or ()) <= have


def _covers_resources(owned: Iterable[str], wanted: Iterable[str]) -> bool:
    have = set(owned)
    if "*" in have:
        return True
    for resource in wanted:
        if resource in have:
            continue
        _, slash, sub = resource.partition("/")
        if not slash or f"*/{sub}" not in have:
            return False
    return True


def _covers_names(owned: Iterable[str], wanted: Iterable[str]) -> bool:
    have, want = set(owned), set(wanted)
    if not have:
        return True
    return bool(want) and want <= have


def _covers_url(owned: str, wanted: str) -> bool:
    if owned in (wanted, "*"):
        return True
    return owned.endswith("*") and wanted.startswith(owned.rstrip("*"))
