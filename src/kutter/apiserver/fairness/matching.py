"""Which flow schema a request belongs to: subjects and rules, compiled once per schema.

Upstream: https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#flowschema
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from kutter.apiserver.authn.identity import User
from kutter.apiserver.ports import Tree
from kutter.apiserver.request_info import RequestInfo

_ACCOUNT = "system:serviceaccount:"
_Contains = Callable[[str], bool]


def _anything(_: str) -> bool:
    return True


def _one_of(values: Iterable[str] | None) -> _Contains:
    """A wildcard stands alone, as upstream reads it."""
    listed = tuple(values or ())
    return _anything if listed == ("*",) else frozenset(listed).__contains__


class _Subjects(msgspec.Struct, frozen=True):
    users: frozenset[str]
    groups: frozenset[str]
    account_prefixes: tuple[str, ...]
    everybody: bool

    def match(self, user: User) -> bool:
        return (
            self.everybody
            or user.name in self.users
            or not self.groups.isdisjoint(user.groups)
            or (self.account_prefixes != () and user.name.startswith(self.account_prefixes))
        )


class _ResourceRule(msgspec.Struct, frozen=True):
    verbs: _Contains
    groups: _Contains
    resources: _Contains
    namespaces: _Contains
    cluster_scope: bool

    def match(self, info: RequestInfo) -> bool:
        resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
        return (
            self.verbs(info.verb)
            and self.resources(resource)
            and self.groups(info.group)
            and (self.namespaces(info.namespace) if info.namespace else self.cluster_scope)
        )


class _PathRule(msgspec.Struct, frozen=True):
    verbs: _Contains
    paths: frozenset[str]
    prefixes: tuple[str, ...]
    all_paths: bool

    def match(self, info: RequestInfo) -> bool:
        return self.verbs(info.verb) and (
            self.all_paths or info.path in self.paths or info.path.startswith(self.prefixes)
        )


class _Rules(msgspec.Struct, frozen=True):
    subjects: _Subjects
    resources: tuple[_ResourceRule, ...]
    paths: tuple[_PathRule, ...]


class Matcher:
    """``match(user, info)``; ``namespaces`` says whether some rule names one."""

    __slots__ = ("_rules", "namespaces")

    def __init__(self, spec: Tree) -> None:
        self._rules = tuple(_read(rule) for rule in spec.get("rules") or ())
        self.namespaces = any(
            rule.get("namespaces") not in (None, [], ["*"])
            for rules in spec.get("rules") or ()
            for rule in rules.get("resourceRules") or ()
        )

    def match(self, user: User, info: RequestInfo) -> bool:
        for rules in self._rules:
            if rules.subjects.match(user):
                wanted = rules.resources if info.is_resource else rules.paths
                if any(rule.match(info) for rule in wanted):
                    return True
        return False


def _read(tree: Tree) -> _Rules:
    return _Rules(
        _read_subjects(tree.get("subjects") or ()),
        tuple(
            _ResourceRule(
                _one_of(rule.get("verbs")),
                _one_of(rule.get("apiGroups")),
                _one_of(rule.get("resources")),
                _one_of(rule.get("namespaces")),
                bool(rule.get("clusterScope")),
            )
            for rule in tree.get("resourceRules") or ()
        ),
        tuple(_read_paths(rule) for rule in tree.get("nonResourceRules") or ()),
    )


def _read_paths(rule: Tree) -> _PathRule:
    urls = rule.get("nonResourceURLs") or ()
    # What is below a path belongs to it, whether it ends in a wildcard or not.
    prefixes = tuple(f"{url.removesuffix('*').removesuffix('/')}/" for url in urls)
    return _PathRule(_one_of(rule.get("verbs")), frozenset(urls), prefixes, "*" in urls)


def _read_subjects(subjects: Iterable[Tree]) -> _Subjects:
    users: set[str] = set()
    groups: set[str] = set()
    prefixes: list[str] = []
    for subject in subjects:
        kind = subject.get("kind")
        if kind == "User":
            users.add((subject.get("user") or {}).get("name", ""))
        elif kind == "Group":
            groups.add((subject.get("group") or {}).get("name", ""))
        elif kind == "ServiceAccount":
            account = subject.get("serviceAccount") or {}
            prefix = f"{_ACCOUNT}{account.get('namespace', '')}:"
            if account.get("name") == "*":
                prefixes.append(prefix)
            else:
                users.add(f"{prefix}{account.get('name', '')}")
    everybody = "*" in users or "*" in groups
    return _Subjects(frozenset(users), frozenset(groups), tuple(prefixes), everybody)
