"""Nobody grants through roles and bindings what they do not hold themselves.

Between admission and the RBAC index. Exceptions: ``system:masters``; the verb ``escalate`` on the
role; the verb ``bind`` on the role a binding refers to; what garbage collection changes.
https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
"""

from __future__ import annotations

from collections.abc import Iterable

from kutter.api.errors import ApiError, forbidden
from kutter.api.quoting import quote
from kutter.apiserver.authn.identity import GROUP_MASTERS, User
from kutter.apiserver.authz.rbac import GROUP, RbacIndex, describe_missing, role_ref_of
from kutter.apiserver.authz.rules import Rule, uncovered_rules
from kutter.apiserver.ports import AdmissionRequest, Attributes, Authorizer, Tree

_FULL_AUTHORITY: tuple[Rule, ...] = (
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
)


class EscalationCheck:
    """Refuses writes of roles and bindings that would grant more than the writer has."""

    def __init__(self, index: RbacIndex, authorizer: Authorizer) -> None:
        self._index = index
        self._authorizer = authorizer

    async def check_role(self, request: AdmissionRequest) -> None:
        """For a Role or ClusterRole being created or updated. Raises 403."""
        new, old = request.object, request.old
        assert new is not None
        if GROUP_MASTERS in request.user.groups:
            return
        if old is not None and _only_collected(new, old):
            return
        plural = request.resource.plural
        if await self._may(request, "escalate", plural, request.name, request.namespace):
            return
        if new.get("aggregationRule") and self._lacking(request, _FULL_AUTHORITY):
            text = "must have cluster-admin privileges to use the aggregationRule"
            raise forbidden(plural, request.name, text, GROUP)
        self._confirm(request, new.get("rules"))

    async def check_binding(self, request: AdmissionRequest) -> None:
        """For a RoleBinding or ClusterRoleBinding. Raises 403, and 404 for an unknown role."""
        new, old = request.object, request.old
        assert new is not None
        if GROUP_MASTERS in request.user.groups:
            return
        if old is not None and _only_collected(new, old):
            return
        ref = role_ref_of(new.get("roleRef") or {}, request.namespace)
        plural = "roles" if ref[0] else "clusterroles"
        if await self._may(request, "bind", plural, ref[1], request.namespace):
            return
        rules = self._index.role_rules(ref)
        if rules is None:
            kind = "role" if ref[0] else "clusterrole"
            details = {"name": ref[1], "group": GROUP, "kind": kind}
            raise ApiError(404, "NotFound", describe_missing([ref]), details=details)
        self._confirm(request, rules)

    async def _may(
        self, request: AdmissionRequest, verb: str, plural: str, name: str, namespace: str
    ) -> bool:
        attributes = Attributes(
            request.user,
            verb,
            group=GROUP,
            version="*",
            resource=plural,
            name=name,
            namespace=namespace,
            is_resource=True,
        )
        return (await self._authorizer.authorize(attributes)).allowed

    def _lacking(self, request: AdmissionRequest, rules: Iterable[Rule] | None) -> list[Rule]:
        owned = self._index.rules_for(request.user, request.namespace)
        return list(uncovered_rules(owned, rules))

    def _confirm(self, request: AdmissionRequest, rules: Iterable[Rule] | None) -> None:
        lacking = self._lacking(request, rules)
        if lacking:
            text = _complaint(request.user, lacking)
            raise forbidden(request.resource.plural, request.name, text, GROUP)


# What the garbage collector must be able to change on objects it could not have granted.
_COLLECTED = frozenset({"ownerReferences", "finalizers", "managedFields", "resourceVersion"})


def _only_collected(new: Tree, old: Tree) -> bool:
    """Whether nothing changed but what garbage collection needs. A label is a change: it may make
    the role part of an aggregated one.
    """
    return _rest(new) == _rest(old)


def _rest(tree: Tree) -> Tree:
    kept = {k: v for k, v in tree.items() if k not in ("metadata", "kind", "apiVersion")}
    metadata = tree.get("metadata") or {}
    kept["metadata"] = {k: v for k, v in metadata.items() if k not in _COLLECTED and v}
    return kept


def _complaint(user: User, lacking: list[Rule]) -> str:
    lines = "\n".join(sorted({render_rule(rule) for rule in _merge(lacking)}))
    return (
        f"user {quote(user.name)} (groups={_render_list(user.groups)}) is attempting to grant "
        f"RBAC permissions not currently held:\n{lines}"
    )


def _merge(rules: list[Rule]) -> list[Rule]:
    """Join single grants that differ only in their verb."""
    merged: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    fields = ("apiGroups", "resources", "resourceNames", "nonResourceURLs")
    for rule in rules:
        key = tuple(tuple(rule.get(field) or ()) for field in fields)
        verbs = merged.setdefault(key, [])
        verbs += [v for v in rule["verbs"] if v not in verbs]
    return [{**dict(zip(fields, key, strict=True)), "verbs": v} for key, v in merged.items()]


def render_rule(rule: Rule) -> str:
    """``{APIGroups:[""], Resources:["pods"], Verbs:["get"]}``."""
    titles = {
        "apiGroups": "APIGroups",
        "resources": "Resources",
        "nonResourceURLs": "NonResourceURLs",
        "resourceNames": "ResourceNames",
        "verbs": "Verbs",
    }
    parts = [f"{t}:{_render_list(rule[f])}" for f, t in titles.items() if rule.get(f)]
    return "{" + ", ".join(parts) + "}"


def _render_list(values: Iterable[str]) -> str:
    return "[" + " ".join(quote(v) for v in values) + "]"
