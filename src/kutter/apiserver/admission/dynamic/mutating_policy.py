"""MutatingAdmissionPolicy: changing objects by expressions, without asking anybody outside.

Upstream: https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kutter.api.apply.shapes import shape_of
from kutter.api.errors import ApiError
from kutter.api.resources import Resource
from kutter.apiserver.admission.dynamic.bindings import bindings_of
from kutter.apiserver.admission.dynamic.conditions import ConditionError
from kutter.apiserver.admission.dynamic.evaluation import Evaluation, OverBudgetError
from kutter.apiserver.admission.dynamic.expressions import Expression
from kutter.apiserver.admission.dynamic.mutations import (
    MutationError,
    apply_configuration,
    apply_patch,
)
from kutter.apiserver.admission.dynamic.policies import (
    Binding,
    MutatingPolicy,
    Policies,
    compile_mutating,
)
from kutter.apiserver.admission.dynamic.policy_plugin import Invocation, PolicyPlugin
from kutter.apiserver.admission.dynamic.rounds import Rounds, fingerprint
from kutter.apiserver.admission.dynamic.subject import Subject
from kutter.apiserver.admission.dynamic.type_names import find_misnamed
from kutter.apiserver.admission.plugin import refusal
from kutter.apiserver.ports import AdmissionRequest

_GROUP = "admissionregistration.k8s.io"


class _Failure(NamedTuple):
    policy: MutatingPolicy
    binding: Binding | None
    message: str
    reason: str = ""

    def __str__(self) -> str:
        if self.binding is None:
            return f'policy "{self.policy.name}" denied request: {self.message}'
        return (
            f"policy '{self.policy.name}' with binding '{self.binding.name}' denied request: "
            f"{self.message}"
        )


class MutatingAdmissionPolicy(PolicyPlugin[MutatingPolicy]):
    name = "MutatingAdmissionPolicy"

    def __init__(self) -> None:
        super().__init__(
            Policies(
                f"mutatingadmissionpolicies.{_GROUP}",
                f"mutatingadmissionpolicybindings.{_GROUP}",
                compile_mutating,
            )
        )

    async def mutate(self, request: AdmissionRequest) -> None:
        subject = self.subject(request)
        rounds: Rounds = subject.state(self.name, Rounds)
        again = request.round > 0
        rounds.begin(request.object, again=again)
        invocations, failed = await self.invocations(subject)
        failures = [_Failure(wrong.policy, wrong.binding, wrong.message) for wrong in failed]
        for invocation in invocations:
            key = _key(invocation)
            try:
                if not await self._holds(subject, invocation) or rounds.skips(key, again=again):
                    continue
                changed = await self._apply(subject, invocation, failures)
            except ConditionError as error:
                failures.append(_failure(invocation, error))
                continue
            if changed:
                rounds.changed()
                request.reinvoke = not again
            if invocation.policy.reinvocable:
                rounds.called(key)
        rounds.end(request.object)
        _refuse(request, [f for f in failures if not f.policy.ignores_failure])

    async def _holds(self, subject: Subject, invocation: Invocation[MutatingPolicy]) -> bool:
        policy, _, matched, params = invocation
        if policy.conditions is None:
            return True
        return await policy.conditions.hold(
            subject,
            matched,
            self.outside().decisions(subject),
            ignores_failure=policy.ignores_failure,
            params=params,
        )

    async def _apply(
        self,
        subject: Subject,
        invocation: Invocation[MutatingPolicy],
        failures: list[_Failure],
    ) -> bool:
        """All mutations of one policy in order; whether the object is another one now."""
        policy, matched = invocation.policy, invocation.matched
        before = await subject.new_in(matched)
        if before is None:
            return False
        was = fingerprint(before)
        for kind, expression in policy.mutations:
            try:
                await self._apply_one(subject, invocation, kind, expression)
            except (MutationError, OverBudgetError) as error:
                failures.append(_failure(invocation, error))
        return fingerprint(await subject.new_in(matched)) != was

    async def _apply_one(
        self,
        subject: Subject,
        invocation: Invocation[MutatingPolicy],
        kind: str,
        expression: Expression,
    ) -> None:
        value = await self._evaluate(subject, invocation, expression)
        matched = invocation.matched
        tree = await subject.new_in(matched)
        assert tree is not None, "there was one before"
        if kind == "JSONPatch":
            made = apply_patch(tree, value)
            if made is not tree:
                await subject.replace(made, matched, strict=True)
            return
        node = self._schema_node(subject, matched)
        await subject.replace(apply_configuration(tree, value, shape_of(node)), matched)

    def _schema_node(self, subject: Subject, matched: Resource) -> Any:
        schema = self.outside().versions.schema_of(matched, *subject.kind_of(matched))
        return None if schema is None else schema.node

    async def _evaluate(
        self, subject: Subject, invocation: Invocation[MutatingPolicy], expression: Expression
    ) -> Any:
        """Each mutation sees what the one before it left. Raises MutationError."""
        policy, _, matched, params = invocation
        if expression.program is None:
            raise MutationError(expression.error)
        misnamed = find_misnamed(expression.program.tree)
        if misnamed:
            raise MutationError(f"type mismatch: {misnamed}")
        decisions = self.outside().decisions(subject)
        bindings = await bindings_of(subject, matched, decisions, params=params)
        value, error = await decisions.run(
            lambda: Evaluation(bindings, policy.composition).evaluate(expression)
        )
        if error:
            raise MutationError(error)
        return value


def _key(invocation: Invocation[MutatingPolicy]) -> str:
    metadata = (invocation.params or {}).get("metadata") or {}
    place = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
    return f"{invocation.policy.name}/{invocation.binding.name}/{place}"


def _failure(invocation: Invocation[MutatingPolicy], error: Exception) -> _Failure:
    return _Failure(invocation.policy, invocation.binding, str(error), "Invalid")


def _refuse(request: AdmissionRequest, failures: list[_Failure]) -> None:
    """403 with the first failure's text and reason, all of them as causes (as upstream)."""
    if not failures:
        return
    error: ApiError = refusal(request, "admission request denied by policy")
    error.message = str(failures[0])
    error.reason = failures[0].reason or error.reason
    causes = [{"message": str(failure)} for failure in failures]
    error.details = {**(error.details or {}), "causes": causes}
    raise error
