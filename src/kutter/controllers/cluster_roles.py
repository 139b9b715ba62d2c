"""Aggregated ClusterRoles: what their parts grant, written into them.

Owns: ``rules`` of ClusterRoles with an aggregation rule. Reads: ClusterRoles. Writes: such rules.
Invariants: parts count in order of their names, each rule once; a role is never part of itself. The
API server's authorizer does not wait for this: it is for who reads the role.
Upstream: kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kutter.api.selectors import from_view
from kutter.api.types.rbac_v1 import ClusterRole, PolicyRule
from kutter.client.client import Client
from kutter.machinery.controller import Change, Result, Source
from kutter.machinery.informer import InformerFactory


def plan_rules(role: ClusterRole, roles: Iterable[ClusterRole]) -> list[PolicyRule] | None:
    """What ``rules`` should be; None for a role that aggregates nothing. Pure."""
    if role.aggregation_rule is None:
        return None
    selectors = [from_view(s) for s in role.aggregation_rule.cluster_role_selectors]
    parts = [
        other
        for other in roles
        if other.metadata.name != role.metadata.name
        and any(selector.matches(other.metadata.labels or {}) for selector in selectors)
    ]
    parts.sort(key=lambda part: part.metadata.name)
    found: list[PolicyRule] = []
    for part in parts:
        found += [rule for rule in part.rules if rule not in found]
    return found


class ClusterRoleAggregator:
    name = "clusterrole-aggregation-controller"

    def __init__(self, client: Client, informers: InformerFactory) -> None:
        self._client = client
        self._roles = informers.informer(ClusterRole)

    def sources(self) -> Sequence[Source]:
        return [Source(self._roles, self._aggregated)]

    def _aggregated(self, change: Change[ClusterRole]) -> Sequence[str]:
        """Every aggregated role: any change may concern any of them, and there are few."""
        return [r.metadata.name for r in self._roles.items() if r.aggregation_rule is not None]

    async def reconcile(self, key: str) -> Result:
        role = self._roles.get(key)
        if role is None or role.metadata.deletion_timestamp:
            return Result()
        wanted = plan_rules(role, self._roles.items())
        if wanted is None or wanted == list(role.rules):
            return Result()
        body = {
            "metadata": {"resourceVersion": role.metadata.resource_version},
            "rules": [rule.tree() for rule in wanted],
        }
        await self._client.patch(ClusterRole, key, body)
        return Result(f"its parts grant {len(wanted)} rules")
