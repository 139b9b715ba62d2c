"""The audit policy: which requests are recorded, and how much of each.

Between a policy file (``audit.k8s.io/v1 Policy``) and the auditor. The first rule that matches
decides; what none matches is not recorded. One thing no policy can ask for: secrets,
configuration and tokens are never recorded beyond their metadata.

Upstream: https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from kutter.api.names import check_dns_subdomain
from kutter.apiserver.authn.identity import User
from kutter.apiserver.request_info import RequestInfo

NONE, METADATA, REQUEST, REQUEST_RESPONSE = range(4)
LEVELS = ("None", "Metadata", "Request", "RequestResponse")
REQUEST_RECEIVED = "RequestReceived"
RESPONSE_STARTED = "ResponseStarted"
RESPONSE_COMPLETE = "ResponseComplete"
PANIC = "Panic"
STAGES = (REQUEST_RECEIVED, RESPONSE_STARTED, RESPONSE_COMPLETE, PANIC)
GROUP_VERSION = "audit.k8s.io/v1"
# (group, resource, subresource) whose bodies are secrets, configuration or tokens.
_CONFIDENTIAL = frozenset(
    {
        ("", "secrets", ""),
        ("", "configmaps", ""),
        ("", "serviceaccounts", "token"),
        ("authentication.k8s.io", "tokenreviews", ""),
    }
)


class PolicyError(Exception):
    """A policy that cannot be followed; the message names the field."""


class GroupResources(msgspec.Struct, frozen=True):
    group: str = ""
    resources: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()

    def matches(self, info: RequestInfo) -> bool:
        if self.group not in (info.group, "*"):
            return False
        if not self.resources:
            return True
        if self.names and info.name not in self.names:
            return False
        combined = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
        return any(
            wanted in (combined, "*")
            or (info.subresource and wanted == f"*/{info.subresource}")
            or wanted == f"{info.resource}/*"
            for wanted in self.resources
        )


class Rule(msgspec.Struct, frozen=True):
    level: int
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    verbs: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    resources: tuple[GroupResources, ...] = ()
    paths: tuple[str, ...] = ()
    omit_stages: frozenset[str] = frozenset()
    omit_managed_fields: bool = False

    def matches(self, user: User | None, info: RequestInfo) -> bool:
        if self.users and (user is None or user.name not in self.users):
            return False
        if self.groups and (user is None or self.groups.isdisjoint(user.groups)):
            return False
        if self.verbs and info.verb not in self.verbs:
            return False
        if self.namespaces or self.resources:
            if not info.is_resource:
                return False
            if self.namespaces and info.namespace not in self.namespaces:
                return False
            return not self.resources or any(r.matches(info) for r in self.resources)
        if self.paths:
            return not info.is_resource and any(_path_matches(p, info.path) for p in self.paths)
        return True


def _path_matches(spec: str, path: str) -> bool:
    if spec.endswith("*"):
        return path.startswith(spec.rstrip("*"))
    return spec == path


class Policy(msgspec.Struct, frozen=True):
    rules: tuple[Rule, ...] = msgspec.field(default_factory=tuple)

    def rule_for(self, user: User | None, info: RequestInfo) -> Rule | None:
        """The rule that decides about a request; None when it is not recorded."""
        for rule in self.rules:
            if rule.matches(user, info):
                return rule if rule.level else None
        return None


def level_for(rule: Rule, info: RequestInfo) -> int:
    """How much of a request is recorded: what the rule says, but nothing confidential."""
    if (info.group, info.resource, info.subresource) in _CONFIDENTIAL:
        return min(rule.level, METADATA)
    return rule.level


def read_policy(path: Path) -> Policy:
    """The policy in a file. Raises PolicyError, OSError."""
    try:
        tree = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise PolicyError(f"{path}: {error}") from error
    try:
        return parse_policy(tree)
    except PolicyError as error:
        raise PolicyError(f"{path}: {error}") from error


def parse_policy(tree: Any) -> Policy:
    """A policy's tree. Raises PolicyError."""
    if not isinstance(tree, dict):
        raise PolicyError("not a policy")
    found = tree.get("apiVersion"), tree.get("kind")
    if found != (GROUP_VERSION, "Policy"):
        raise PolicyError(f"unknown group version field {found[0]}, Kind={found[1]} in policy")
    _check_known(tree, {"apiVersion", "kind", "metadata", "rules", "omitStages", _OMIT_FIELDS}, "")
    omitted = _stages(tree, "omitStages")
    omit_fields = _flag(tree, _OMIT_FIELDS, "", default=False)
    rules = tree.get("rules")
    if not isinstance(rules, list) or not rules:
        raise PolicyError("loaded illegal policy with 0 rules")
    return Policy(
        tuple(_rule(rule, f"rules[{i}]", omitted, omit_fields) for i, rule in enumerate(rules))
    )


_OMIT_FIELDS = "omitManagedFields"
_RULE_FIELDS = {
    "level",
    "users",
    "userGroups",
    "verbs",
    "resources",
    "namespaces",
    "nonResourceURLs",
    "omitStages",
    _OMIT_FIELDS,
}


def _rule(tree: Any, path: str, omitted: frozenset[str], omit_fields: bool) -> Rule:
    if not isinstance(tree, dict):
        raise PolicyError(f"{path}: not a rule")
    _check_known(tree, _RULE_FIELDS, f"{path}.")
    level = tree.get("level")
    if not level:
        raise PolicyError(f"{path}.level: Required value")
    if level not in LEVELS:
        listed = ", ".join(f'"{name}"' for name in LEVELS)
        raise PolicyError(f'{path}.level: Unsupported value: "{level}": supported values: {listed}')
    urls = _texts(tree, "nonResourceURLs", path)
    for i, url in enumerate(urls):
        here = f"{path}.nonResourceURLs[{i}]: Invalid value: "
        if url != "*" and not url.startswith("/"):
            raise PolicyError(
                f"{here}\"{url}\": non-resource URL rules must begin with a '/' character"
            )
        if "*" in url[:-1]:
            raise PolicyError(
                f"{here}\"{url}\": non-resource URL wildcards '*' must be the final character"
                " of the rule"
            )
    resources = _list(tree, "resources", path)
    namespaces = _texts(tree, "namespaces", path)
    if urls and (resources or namespaces):
        raise PolicyError(
            f"{path}.nonResourceURLs: Invalid value: rules cannot apply to both regular resources"
            " and non-resource URLs"
        )
    return Rule(
        level=LEVELS.index(level),
        users=frozenset(_texts(tree, "users", path)),
        groups=frozenset(_texts(tree, "userGroups", path)),
        verbs=frozenset(_texts(tree, "verbs", path)),
        namespaces=frozenset(namespaces),
        resources=tuple(_resources(r, f"{path}.resources[{i}]") for i, r in enumerate(resources)),
        paths=urls,
        omit_stages=omitted | _stages(tree, f"{path}.omitStages"),
        omit_managed_fields=_flag(tree, _OMIT_FIELDS, f"{path}.", default=omit_fields),
    )


def _resources(tree: Any, path: str) -> GroupResources:
    if not isinstance(tree, dict):
        raise PolicyError(f"{path}: not a group with resources")
    _check_known(tree, {"group", "resources", "resourceNames"}, f"{path}.")
    group = tree.get("group") or ""
    if not isinstance(group, str) or (group not in ("", "*") and check_dns_subdomain(group)):
        raise PolicyError(f'{path}.group: Invalid value: "{group}": not a group\'s name')
    resources = _texts(tree, "resources", path)
    names = _texts(tree, "resourceNames", path)
    if names and not resources:
        raise PolicyError(
            f"{path}.resourceNames: Invalid value: using resourceNames requires at least one"
            " resource"
        )
    return GroupResources(group, resources, frozenset(names))


def _stages(tree: dict[str, Any], path: str) -> frozenset[str]:
    found = _texts(tree, "omitStages", path.rpartition(".")[0])
    for stage in found:
        if stage not in STAGES:
            raise PolicyError(
                f'{path}: Invalid value: "{stage}": allowed stages are {",".join(STAGES)}'
            )
    return frozenset(found)


def _check_known(tree: dict[str, Any], known: set[str], prefix: str) -> None:
    # A misspelt restriction would silently record too much or too little.
    for name in tree:
        if name not in known:
            raise PolicyError(f'unknown field "{prefix}{name}"')


def _list(tree: dict[str, Any], name: str, path: str) -> list[Any]:
    found = tree.get(name) or []
    if not isinstance(found, list):
        raise PolicyError(f"{path}.{name}: must be a list")
    return found


def _texts(tree: dict[str, Any], name: str, path: str) -> tuple[str, ...]:
    return _all(_list(tree, name, path), lambda v: isinstance(v, str), f"{path}.{name}")


def _all(values: list[Any], check: Callable[[Any], bool], path: str) -> tuple[str, ...]:
    if not all(check(value) for value in values):
        raise PolicyError(f"{path}: must be a list of texts")
    return tuple(values)


def _flag(tree: dict[str, Any], name: str, prefix: str, *, default: bool) -> bool:
    value = tree.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise PolicyError(f"{prefix}{name}: must be true or false")
    return value
