"""What the plugins of both sorts of policies share: which apply to a request, and with what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple

from kutter.api.errors import ApiError
from kutter.api.resources import Resource
from kutter.apiserver.admission.dynamic.matching import is_exempt
from kutter.apiserver.admission.dynamic.outside import Outside
from kutter.apiserver.admission.dynamic.params import (
    ConfigurationError,
    ParamCache,
    collect_params,
    find_param_resource,
)
from kutter.apiserver.admission.dynamic.policies import Active, Binding, P, Policies
from kutter.apiserver.admission.dynamic.subject import Subject
from kutter.apiserver.admission.plugin import Plugin
from kutter.apiserver.ports import AdmissionRequest, Operation, Reader, Tree


class Invocation(NamedTuple, Generic[P]):
    """One policy, bound, with one set of parameters, for a request."""

    policy: P
    binding: Binding
    matched: Resource
    params: Tree | None


class Misconfigured(NamedTuple, Generic[P]):
    """A policy or binding that cannot be applied; failure policy decides."""

    policy: P
    binding: Binding | None
    message: str


class PolicyPlugin(Plugin, Generic[P]):
    """Attached to its server once that exists; nothing before."""

    def __init__(self, policies: Policies[P]) -> None:
        self._policies = policies
        self._server: Outside | None = None
        self._params = ParamCache()

    def attach(self, server: Outside, reader: Reader, on_change: Callable[[], None]) -> None:
        """Follow the policies in ``reader``; ``on_change`` is told of their changes."""
        self._server = server
        self._policies.follow(reader, on_change)

    def outside(self) -> Outside:
        assert self._server is not None, "policies are known once attached"
        return self._server

    def wants(self, resource: str, operation: Operation) -> bool:
        full, _, subresource = resource.partition("/")
        if is_exempt(full):
            return False
        if resource == "pods/binding":
            operation = "CREATE"
        return self._policies.might(full.partition(".")[0], subresource, operation)

    def subject(self, request: AdmissionRequest) -> Subject:
        subject = Subject.of(request, self.outside().versions)
        subject.begin()
        return subject

    async def invocations(
        self, subject: Subject
    ) -> tuple[list[Invocation[P]], list[Misconfigured[P]]]:
        """What applies, in order, and what should but cannot."""
        found: list[Invocation[P]] = []
        failed: list[Misconfigured[P]] = []
        for active in self._policies.active:
            policy = active.policy
            try:
                matched = subject.match(policy.matcher)
                if matched is None:
                    continue
                find_param_resource(policy, self.outside().versions)
            except (ApiError, ConfigurationError) as error:
                text = f"failed to configure policy: {error}"
                failed.append(Misconfigured(policy, None, text))
                continue
            await self._bind(active, subject, matched, found, failed)
        return found, failed

    async def _bind(
        self,
        active: Active[P],
        subject: Subject,
        matched: Resource,
        found: list[Invocation[P]],
        failed: list[Misconfigured[P]],
    ) -> None:
        policy = active.policy
        for binding in active.bindings:
            try:
                if subject.match(binding.matcher) is None:
                    continue
                params = await collect_params(
                    policy, binding, subject, self.outside().versions, self._params
                )
            except (ApiError, ConfigurationError) as error:
                text = f"failed to configure binding: {error}"
                failed.append(Misconfigured(policy, binding, text))
                continue
            found += [Invocation(policy, binding, matched, one) for one in params]
