"""ValidatingAdmissionPolicy: refusing, warning and noting, by expressions.

Upstream: https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import orjson

from kutter.api.errors import ApiError
from kutter.apiserver.admission.dynamic.bindings import bindings_of
from kutter.apiserver.admission.dynamic.conditions import ConditionError
from kutter.apiserver.admission.dynamic.evaluation import Evaluation, OverBudgetError
from kutter.apiserver.admission.dynamic.policies import (
    Binding,
    Policies,
    ValidatingPolicy,
    Validation,
    compile_validating,
)
from kutter.apiserver.admission.dynamic.policy_plugin import Invocation, PolicyPlugin
from kutter.apiserver.admission.dynamic.subject import Subject
from kutter.apiserver.admission.plugin import refusal
from kutter.apiserver.ports import AdmissionRequest, Tree

_GROUP = "admissionregistration.k8s.io"
_CODES = {"Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413, "Invalid": 422}
_MESSAGE_LIMIT_BYTES = 5 * 1024
_VALUE_LIMIT = 10 * 1024


class _Decision(msgspec.Struct, frozen=True):
    """One validation that did not hold, or could not be decided."""

    index: int
    message: str
    reason: str = ""


class _Verdict(NamedTuple):
    """What one invocation comes to. ``faults``: annotations that failed, and with them all."""

    decisions: list[_Decision]
    annotations: list[tuple[str, str]]
    faults: list[str]


class _Refusal(NamedTuple):
    policy: ValidatingPolicy
    binding: Binding | None
    message: str
    reason: str = ""


class ValidatingAdmissionPolicy(PolicyPlugin[ValidatingPolicy]):
    name = "ValidatingAdmissionPolicy"

    def __init__(self) -> None:
        super().__init__(
            Policies(
                f"validatingadmissionpolicies.{_GROUP}",
                f"validatingadmissionpolicybindings.{_GROUP}",
                compile_validating,
            )
        )

    async def validate(self, request: AdmissionRequest) -> None:
        subject = self.subject(request)
        invocations, failed = await self.invocations(subject)
        refusals = [
            _Refusal(wrong.policy, wrong.binding, wrong.message)
            for wrong in failed
            if not wrong.policy.ignores_failure
        ]
        noted: dict[str, list[str]] = {}
        for invocation in invocations:
            verdict = await self._judge(subject, invocation)
            for decision in verdict.decisions:
                for action in invocation.binding.actions:
                    self.outside().metrics.checked(
                        invocation.policy.name,
                        invocation.binding.name,
                        error=not decision.reason,
                        action=action.lower(),
                    )
            refusals += _act(request, invocation, verdict)
            for key, value in verdict.annotations:
                values = noted.setdefault(f"{invocation.policy.name}/{key}", [])
                if value[:_VALUE_LIMIT] not in values:
                    values.append(value[:_VALUE_LIMIT])
        if request.annotate is not None:
            for key, values in noted.items():
                request.annotate(key, ", ".join(values))
        if refusals:
            raise _refuse(request, refusals[0])

    async def _judge(self, subject: Subject, invocation: Invocation[ValidatingPolicy]) -> _Verdict:
        policy, _, matched, params = invocation
        decisions = self.outside().decisions(subject)
        try:
            if policy.conditions is not None and not await policy.conditions.hold(
                subject, matched, decisions, ignores_failure=policy.ignores_failure, params=params
            ):
                return _Verdict([], [], [])
            bindings = await bindings_of(subject, matched, decisions, params=params)
            return await decisions.run(lambda: _evaluate(policy, bindings))
        except (ConditionError, OverBudgetError) as error:
            failure = [] if policy.ignores_failure else [_Decision(0, str(error))]
            return _Verdict(failure, [], [])


def _evaluate(policy: ValidatingPolicy, bindings: Tree) -> _Verdict:
    evaluation = Evaluation(bindings, policy.composition)
    found: list[_Decision] = []
    for index, validation in enumerate(policy.validations):
        value, error = evaluation.evaluate(validation.expression)
        if error:
            if not policy.ignores_failure:
                found.append(_Decision(index, error))
        elif value is not True:
            found.append(_denied(evaluation, index, validation))
    annotations: list[tuple[str, str]] = []
    faults: list[str] = []
    if policy.annotations:
        # As upstream: annotations have a budget of their own.
        noting = Evaluation(bindings, policy.composition)
        for key, expression in policy.annotations:
            value, error = noting.evaluate(expression)
            if error and not policy.ignores_failure:
                faults.append(error)
            elif isinstance(value, str) and value.strip():
                annotations.append((key, value.strip()))
    return _Verdict(found, annotations, faults)


def _denied(evaluation: Evaluation, index: int, validation: Validation) -> _Decision:
    message = ""
    if validation.worded is not None:
        try:
            worded, _ = evaluation.evaluate(validation.worded)
        except OverBudgetError as error:
            return _Decision(index, f"failed messageExpression: {error}")
        message = _one_line(worded)
    if not message:
        message = validation.message
    if not message:
        message = f"failed expression: {validation.expression.text.strip()}"
    return _Decision(index, message, validation.reason)


def _one_line(value: Any) -> str:
    """A message that can be shown, or nothing."""
    if not isinstance(value, str):
        return ""
    text = value.strip()
    return "" if "\n" in text or len(text.encode()) > _MESSAGE_LIMIT_BYTES else text


def _act(
    request: AdmissionRequest, invocation: Invocation[ValidatingPolicy], verdict: _Verdict
) -> list[_Refusal]:
    """Warn and note as the binding says; what is to be refused."""
    policy, binding = invocation.policy, invocation.binding
    refusals: list[_Refusal] = []
    for decision in verdict.decisions:
        for action in binding.actions:
            if action == "Deny":
                refusals.append(_Refusal(policy, binding, decision.message, decision.reason))
            elif action == "Warn":
                request.warnings.append(
                    f"Validation failed for ValidatingAdmissionPolicy '{policy.name}' with binding "
                    f"'{binding.name}': {decision.message}"
                )
            elif request.annotate is not None:
                note = {
                    "message": decision.message,
                    "policy": policy.name,
                    "binding": binding.name,
                    "expressionIndex": decision.index,
                    "validationActions": list(binding.actions),
                }
                key = "validation.policy.admission.k8s.io/validation_failure"
                request.annotate(key, orjson.dumps([note]).decode())
    return refusals + [_Refusal(policy, binding, fault) for fault in verdict.faults]


def _refuse(request: AdmissionRequest, first: _Refusal) -> ApiError:
    bound = f" with binding '{first.binding.name}'" if first.binding is not None else ""
    message = (
        f"ValidatingAdmissionPolicy '{first.policy.name}'{bound} denied request: {first.message}"
    )
    error = refusal(request, message)
    error.reason = first.reason or "Invalid"
    error.code = _CODES.get(error.reason, 422)
    error.details = {**(error.details or {}), "causes": [{"message": message}]}
    return error
