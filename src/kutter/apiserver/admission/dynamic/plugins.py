"""The dynamic plugins of one server, in upstream's order, and how they come to know it.

Webhooks and policies bring expressions, patches and calls with them, a tenth of what a server has
to read in. So each plugin is read in with the first object it is for, and wants nothing before.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from kutter.apiserver.admission.dynamic.metrics import AdmissionMetrics
from kutter.apiserver.admission.dynamic.outside import Outside
from kutter.apiserver.admission.dynamic.param_rights import PolicyParamRights
from kutter.apiserver.admission.dynamic.policy_status import PolicyStatus
from kutter.apiserver.admission.dynamic.versions import Versions
from kutter.apiserver.admission.plugin import Plugin
from kutter.apiserver.ports import AdmissionRequest, Change, Operation, Reader

if TYPE_CHECKING:
    from kutter.apiserver.server import ApiServer

_GROUP = "admissionregistration.k8s.io"


class _Attachable(Protocol):
    """What webhooks' and policies' plugins have in common."""

    def attach(self, server: Outside, reader: Reader, on_change: Callable[[], None]) -> None: ...

    def wants(self, resource: str, operation: Operation) -> bool: ...

    async def mutate(self, request: AdmissionRequest) -> None: ...

    async def validate(self, request: AdmissionRequest) -> None: ...


class _Late(Plugin):
    """A plugin that is read in with the first object of the kinds it is for."""

    module: str

    def __init__(self, *plurals: str) -> None:
        self._places = [f"{plural}.{_GROUP}" for plural in plurals]
        self._plugin: _Attachable | None = None
        self._attach: Callable[[_Attachable], None] | None = None

    def attach(self, server: Outside, reader: Reader, on_change: Callable[[], None]) -> None:
        """Follow the objects in ``reader``; ``on_change`` is told of their changes."""
        self._attach = lambda plugin: plugin.attach(server, reader, on_change)
        if any(True for place in self._places for _ in reader.list(place)):
            self._read_in()
            return
        for place in self._places:
            reader.on_change(place, self._changed)

    def _changed(self, _: list[Change]) -> None:
        if self._plugin is None:
            self._read_in()

    def _read_in(self) -> None:
        assert self._attach is not None, "attached before anything changes"
        module = import_module(f"kutter.apiserver.admission.dynamic.{self.module}")
        plugin = cast("_Attachable", getattr(module, self.name)())
        # It reads what there is by now itself, and follows from here on.
        self._attach(plugin)
        self._plugin = plugin

    def wants(self, resource: str, operation: Operation) -> bool:
        return self._plugin is not None and self._plugin.wants(resource, operation)


class _LateMutating(_Late):
    async def mutate(self, request: AdmissionRequest) -> None:
        assert self._plugin is not None, "wants nothing before"
        await self._plugin.mutate(request)


class _LateValidating(_Late):
    async def validate(self, request: AdmissionRequest) -> None:
        assert self._plugin is not None, "wants nothing before"
        await self._plugin.validate(request)


class _MutatingPolicy(_LateMutating):
    name, module = "MutatingAdmissionPolicy", "mutating_policy"


class _MutatingWebhook(_LateMutating):
    name, module = "MutatingAdmissionWebhook", "webhook_plugins"


class _ValidatingPolicy(_LateValidating):
    name, module = "ValidatingAdmissionPolicy", "validating_policy"


class _ValidatingWebhook(_LateValidating):
    name, module = "ValidatingAdmissionWebhook", "webhook_plugins"


class DynamicAdmission:
    """``plugins`` go into the chain; ``attach`` once the server's caches are filled."""

    def __init__(self) -> None:
        self._rights = PolicyParamRights()
        self._attachable = (
            _MutatingPolicy("mutatingadmissionpolicies", "mutatingadmissionpolicybindings"),
            _MutatingWebhook("mutatingwebhookconfigurations"),
            _ValidatingPolicy("validatingadmissionpolicies", "validatingadmissionpolicybindings"),
            _ValidatingWebhook("validatingwebhookconfigurations"),
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
