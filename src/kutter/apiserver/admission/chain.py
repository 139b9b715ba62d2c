"""The admission chain: every plugin's mutate in order, later every plugin's validate.

Which plugins a request concerns is worked out once per (resource, subresource, operation), so that
a request pays only for plugins that look at it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from kutter.api.resources import Resource
from kutter.apiserver.admission.plugin import Plugin
from kutter.apiserver.ports import AdmissionRequest, Operation

_Hook = Callable[[AdmissionRequest], Awaitable[None]]
_Key = tuple[str, str, Operation]


class AdmissionChain:
    """The ``Admission`` of the API server: ``plugins`` in their order."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self.plugins = tuple(plugins)
        self._mutate: dict[_Key, tuple[_Hook, ...]] = {}
        self._validate: dict[_Key, tuple[_Hook, ...]] = {}
        self._permits: dict[_Key, object | None] = {}
        self._reads_bound_pods: bool | None = None
        self._sparing: dict[_Key, bool] = {}

    async def mutate(self, request: AdmissionRequest) -> None:
        key = (request.resource.group_resource, request.subresource, request.operation)
        hooks = self._mutate.get(key)
        if hooks is None:
            hooks = self._mutate[key] = tuple(
                p.mutate for p in self._concerned(key) if type(p).mutate is not Plugin.mutate
            )
        for hook in hooks:
            await hook(request)
        if request.reinvoke:
            # Webhooks changed what earlier plugins saw: all look once more, never a third time.
            request.reinvoke, request.round = False, 1
            for hook in hooks:
                await hook(request)

    def forget(self) -> None:
        """Ask the plugins anew what they want: configurations have changed."""
        self._mutate.clear()
        self._validate.clear()
        self._permits.clear()
        self._reads_bound_pods = None
        self._sparing.clear()

    def permit(self, resource: Resource, operation: Operation) -> object | None:
        key: _Key = (resource.group_resource, "", operation)
        if key not in self._permits:
            repeatable = all(plugin.repeatable for plugin in self._concerned(key))
            self._permits[key] = object() if repeatable else None
        return self._permits[key]

    def reads_bound_pods(self) -> bool:
        reads = self._reads_bound_pods
        if reads is None:
            concerned = self._concerned(("pods", "binding", "UPDATE"))
            reads = self._reads_bound_pods = any(p.reads_bound_pods for p in concerned)
        return reads

    def spares_spec(self, resource: Resource, subresource: str) -> bool:
        key: _Key = (resource.group_resource, subresource, "UPDATE")
        spares = self._sparing.get(key)
        if spares is None:
            spares = self._sparing[key] = all(
                plugin.spares_spec or type(plugin).mutate is Plugin.mutate
                for plugin in self._concerned(key)
            )
        return spares

    async def validate(self, request: AdmissionRequest) -> None:
        key = (request.resource.group_resource, request.subresource, request.operation)
        hooks = self._validate.get(key)
        if hooks is None:
            hooks = self._validate[key] = tuple(
                p.validate for p in self._concerned(key) if type(p).validate is not Plugin.validate
            )
        for hook in hooks:
            await hook(request)

    def _concerned(self, key: _Key) -> list[Plugin]:
        resource, subresource, operation = key
        full = f"{resource}/{subresource}" if subresource else resource
        return [plugin for plugin in self.plugins if plugin.wants(full, operation)]
