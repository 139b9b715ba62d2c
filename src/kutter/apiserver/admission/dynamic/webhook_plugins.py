"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook: asking those outside.

Mutating ones are called one after the other in the order of their configurations' names,
validating ones all at once. Texts, annotations and reinvocation are upstream's.
Upstream: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

import orjson

from kutter.api.errors import ApiError
from kutter.api.patch import PatchError, apply_json_patch
from kutter.api.resources import Resource
from kutter.apiserver.admission.dynamic.conditions import ConditionError
from kutter.apiserver.admission.dynamic.hooks import Hook, Hooks
from kutter.apiserver.admission.dynamic.matching import is_exempt
from kutter.apiserver.admission.dynamic.outside import Outside
from kutter.apiserver.admission.dynamic.review import (
    Answer,
    ReviewError,
    choose_version,
    denial,
    no_dry_run,
    read_answer,
    render_review,
)
from kutter.apiserver.admission.dynamic.rounds import Rounds, fingerprint
from kutter.apiserver.admission.dynamic.subject import Subject
from kutter.apiserver.admission.plugin import Plugin, refusal
from kutter.apiserver.ports import AdmissionRequest, Operation, Reader
from kutter.apiserver.webhooks import WebhookCallError
from kutter.base.log import get_logger

_log = get_logger("admission")
_GROUP = "admissionregistration.k8s.io"


def call_error(text: str) -> ApiError:
    """500 with its cause, as upstream's internal errors."""
    message = f"Internal error occurred: {text}"
    return ApiError(500, "InternalError", message, details={"causes": [{"message": text}]})


class _CallFailedError(Exception):
    """The webhook could not be asked; its failure policy decides."""


class WebhookPlugin(Plugin):
    """What both kinds share. Attached to its server once that exists; nothing before."""

    plural: ClassVar[str]
    step: ClassVar[str]

    def __init__(self) -> None:
        self._hooks = Hooks(f"{self.plural}.{_GROUP}")
        self._server: Outside | None = None

    def attach(self, server: Outside, reader: Reader, on_change: Callable[[], None]) -> None:
        """Follow the configurations in ``reader``; ``on_change`` is told of their changes."""
        self._server = server
        self._hooks.follow(reader, on_change)

    def _outside(self) -> Outside:
        assert self._server is not None, "configurations are known once attached"
        return self._server

    def wants(self, resource: str, operation: Operation) -> bool:
        full, _, subresource = resource.partition("/")
        if is_exempt(full):
            return False
        if resource == "pods/binding":
            operation = "CREATE"
        return self._hooks.might(full.partition(".")[0], subresource, operation)

    def _subject(self, request: AdmissionRequest) -> Subject:
        subject = Subject.of(request, self._outside().versions)
        subject.begin()
        return subject

    async def _match(self, hook: Hook, subject: Subject) -> Resource | None:
        """The version to ask in; None for not to ask. Raises ApiError."""
        matched = subject.match(hook.matcher)
        if matched is None or hook.conditions is None:
            return matched
        try:
            holds = await hook.conditions.hold(
                subject,
                matched,
                self._outside().decisions(subject),
                ignores_failure=hook.ignores_failure,
            )
        except ConditionError as error:
            raise refusal(subject.request, str(error)) from error
        return matched if holds else None

    async def _ask(self, hook: Hook, subject: Subject, matched: Resource) -> Answer:
        """One call; annotations and warnings are kept. Raises ApiError or _CallFailedError."""
        request = subject.request
        if request.dry_run and hook.side_effects not in ("None", "NoneOnDryRun"):
            raise no_dry_run(hook.name)
        try:
            version = choose_version(hook.versions)
        except ReviewError as error:
            raise _CallFailedError(f"could not create admission objects: {error}") from error
        outside = self._outside()
        uid = outside.rng.uid()
        review = await render_review(subject, matched, version, uid)
        try:
            found = await outside.caller.post(hook.client, review, timeout_s=hook.timeout_s)
        except WebhookCallError as error:
            raise _CallFailedError(f"failed to call webhook: {error}") from error
        try:
            answer = read_answer(found, version=version, uid=uid, mutating=self.step == "admit")
        except ReviewError as error:
            text = str(error)
            if not text.startswith(("received undecodable", "unsupported patch")):
                text = f"received invalid webhook response: {text}"
            raise _CallFailedError(text) from error
        for key, value in answer.annotations.items():
            _annotate(request, f"{hook.name}/{key}", value)
        request.warnings += answer.warnings
        return answer

    async def _judge(
        self, hook: Hook, subject: Subject, matched: Resource, index: int
    ) -> Answer | None:
        """The webhook's consent; None when it failed and that is to be ignored.

        Raises ApiError for a refusal, or a failure that counts.
        """
        outside = self._outside()
        started = outside.clock.monotonic()
        code, fault = 200, ""
        try:
            answer = await self._ask(hook, subject, matched)
            if not answer.allowed:
                fault = "no_error"
                error = denial(hook.name, answer.status)
                code = error.code
                raise error
            return answer
        except _CallFailedError as error:
            code = 503
            if not hook.ignores_failure:
                fault = "calling_webhook_error"
                raise call_error(_failure(hook, error)) from error
            self._ignore(hook, subject.request, error, index)
            return None
        finally:
            outside.metrics.called(
                hook.name,
                self.step,
                subject.place.operation,
                duration_s=outside.clock.monotonic() - started,
                code=code,
                error=fault,
            )

    def _ignore(self, hook: Hook, request: AdmissionRequest, error: Exception, index: int) -> None:
        _log.warning("webhook failed, request goes on", error=_failure(hook, error))
        self._outside().metrics.ignored(hook.name, self.step)
        name = "mutation" if self.step == "admit" else "validating"
        key = f"failed-open.{name}.webhook.admission.k8s.io/round_{request.round}_index_{index}"
        _annotate(request, key, hook.name)


def _failure(hook: Hook, error: Exception) -> str:
    return f'failed calling webhook "{hook.name}": {error}'


def _annotate(request: AdmissionRequest, key: str, value: str) -> None:
    if request.annotate is not None:
        request.annotate(key, value)


class MutatingAdmissionWebhook(WebhookPlugin):
    name = "MutatingAdmissionWebhook"
    plural = "mutatingwebhookconfigurations"
    step = "admit"
    # Answers are patched into a copy.
    spares_spec = True

    async def mutate(self, request: AdmissionRequest) -> None:
        subject = self._subject(request)
        rounds: Rounds = subject.state(self.name, Rounds)
        again = request.round > 0
        rounds.begin(request.object, again=again)
        for index, hook in enumerate(self._hooks.all):
            matched = await self._match(hook, subject)
            if matched is None or rounds.skips(hook.key, again=again):
                continue
            if await self._call(hook, subject, matched, index):
                rounds.changed()
                request.reinvoke = not again
            if hook.reinvocable:
                rounds.called(hook.key)
        rounds.end(request.object)

    async def _call(self, hook: Hook, subject: Subject, matched: Resource, index: int) -> bool:
        """Whether the object changed."""
        request = subject.request
        answer = await self._judge(hook, subject, matched, index)
        changed = False
        if answer is not None and answer.patch:
            changed = await self._patch(hook, subject, matched, answer.patch)
            _note_patch(hook, request, answer.patch, index)
        if request.annotate is not None:
            note = {"configuration": hook.configuration, "webhook": hook.name, "mutated": changed}
            key = f"mutation.webhook.admission.k8s.io/round_{request.round}_index_{index}"
            request.annotate(key, orjson.dumps(note).decode())
        return changed

    async def _patch(
        self, hook: Hook, subject: Subject, matched: Resource, patch: list[Any]
    ) -> bool:
        before = await subject.new_in(matched)
        if before is None:
            raise call_error(
                f'admission webhook "{hook.name}" attempted to modify the object, which is not '
                "supported for this operation"
            )
        try:
            # A copy: what other plugins hold of the object must not change under them.
            patched = apply_json_patch(orjson.loads(orjson.dumps(before)), patch)
        except PatchError as error:
            raise call_error(error.message) from error
        if not isinstance(patched, dict):
            raise call_error("the patch leaves no object")
        was = fingerprint(before)
        await subject.replace(patched, matched)
        return fingerprint(await subject.new_in(matched)) != was


def _note_patch(hook: Hook, request: AdmissionRequest, patch: list[Any], index: int) -> None:
    if request.annotate is None:
        return
    note = {
        "configuration": hook.configuration,
        "webhook": hook.name,
        "patch": patch,
        "patchType": "JSONPatch",
    }
    key = f"patch.webhook.admission.k8s.io/round_{request.round}_index_{index}"
    request.annotate(key, orjson.dumps(note).decode())


class ValidatingAdmissionWebhook(WebhookPlugin):
    name = "ValidatingAdmissionWebhook"
    plural = "validatingwebhookconfigurations"
    step = "validating"

    async def validate(self, request: AdmissionRequest) -> None:
        subject = self._subject(request)
        asked: list[tuple[Hook, Resource]] = []
        for hook in self._hooks.all:
            matched = await self._match(hook, subject)
            if matched is not None:
                asked.append((hook, matched))
        if not asked:
            return
        if len(asked) == 1:
            errors = [await self._verdict(*asked[0], subject, 0)]
        else:
            for _, matched in asked:
                # Converted once, before all of them read it at the same time.
                await subject.new_in(matched)
                await subject.old_in(matched)
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(self._verdict(hook, matched, subject, index))
                    for index, (hook, matched) in enumerate(asked)
                ]
            errors = [task.result() for task in running]
        for error in errors:
            if error is not None:
                raise error

    async def _verdict(
        self, hook: Hook, matched: Resource, subject: Subject, index: int
    ) -> ApiError | None:
        try:
            await self._judge(hook, subject, matched, index)
        except ApiError as error:
            return error
        return None
