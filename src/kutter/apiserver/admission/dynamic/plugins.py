"""The dynamic plugins of one server, in upstream's order, and how they come to know it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kutter.apiserver.admission.dynamic.metrics import AdmissionMetrics
from kutter.apiserver.admission.dynamic.mutating_policy import MutatingAdmissionPolicy
from kutter.apiserver.admission.dynamic.outside import Outside
from kutter.apiserver.admission.dynamic.param_rights import PolicyParamRights
from kutter.apiserver.admission.dynamic.policy_status import PolicyStatus
from kutter.apiserver.admission.dynamic.validating_policy import ValidatingAdmissionPolicy
from kutter.apiserver.admission.dynamic.versions import Versions
from kutter.apiserver.admission.dynamic.webhook_plugins import (
    MutatingAdmissionWebhook,
    ValidatingAdmissionWebhook,
)
from kutter.apiserver.admission.plugin import Plugin

if TYPE_CHECKING:
    from kutter.apiserver.server import ApiServer


class DynamicAdmission:
    """``plugins`` go into the chain; ``attach`` once the server's caches are filled."""

    def __init__(self) -> None:
        self._rights = PolicyParamRights()
        self._attachable = (
            MutatingAdmissionPolicy(),
            MutatingAdmissionWebhook(),
            ValidatingAdmissionPolicy(),
            ValidatingAdmissionWebhook(),
        )
        self.plugins: tuple[Plugin, ...] = (*self._attachable, self._rights)
        self._status = PolicyStatus()

    def attach(self, server: ApiServer, on_change: Callable[[], None]) -> None:
        """``on_change``: what plugins want may have changed."""
        outside = Outside(
            caller=server.webhooks,
            versions=Versions(server),
            authorizer=server.authorizer,
            metrics=AdmissionMetrics(server.metrics.registry),
            clock=server.clock,
            rng=server.rng,
        )
        self._status.follow(server)
        self._rights.attach(outside)
        for plugin in self._attachable:
            plugin.attach(outside, server.caches, on_change)

    async def run(self) -> None:
        """Keep the status of policies, until cancelled."""
        await self._status.run()
