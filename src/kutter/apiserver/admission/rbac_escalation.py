"""Roles and bindings pass only as far as the writer's own rights go."""

from __future__ import annotations

from kutter.apiserver.admission.plugin import Plugin
from kutter.apiserver.authz.escalation import EscalationCheck
from kutter.apiserver.authz.rbac import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
)
from kutter.apiserver.ports import AdmissionRequest, Operation

_ROLES = frozenset({ROLES, CLUSTER_ROLES})
_BINDINGS = frozenset({ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS})


class RbacEscalation(Plugin):
    name = "RbacEscalation"

    def __init__(self, check: EscalationCheck) -> None:
        self._check = check

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource in _ROLES | _BINDINGS and operation in ("CREATE", "UPDATE")

    async def validate(self, request: AdmissionRequest) -> None:
        if request.resource.group_resource in _ROLES:
            await self._check.check_role(request)
        else:
            await self._check.check_binding(request)
