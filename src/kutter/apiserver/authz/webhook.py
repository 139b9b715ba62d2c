"""Asks a webhook whether a caller may: a SubjectAccessReview goes out, its status comes back.

Between :class:`UnionAuthorizer` and :class:`ReviewWebhook`. Laws: answers are remembered for as
long as the configuration says, bounded; equal questions at the same time are asked once; a failure
means what ``failurePolicy`` says and is never remembered; match conditions are cheap and decide
first whether the webhook is asked at all.
https://kubernetes.io/docs/reference/access-authn-authz/webhook/
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from kutter.api.cel.environment import Program
from kutter.api.cel.errors import CelError
from kutter.api.durations import parse
from kutter.apiserver.authz.authorization_configuration import Webhook, compile_conditions
from kutter.apiserver.authz.review_wire import spec_of_attributes
from kutter.apiserver.ports import Attributes, Decision
from kutter.apiserver.webhooks.errors import WebhookCallError
from kutter.apiserver.webhooks.reviews import ReviewWebhook
from kutter.base.clock import Clock
from kutter.base.log import get_logger

_ENTRIES_MAX = 8192
# Bigger questions are not remembered: somebody made them up.
_QUESTION_MAX_BYTES = 10_000
_NO_OPINION = Decision(False)
_NOTHING_ASKED = dict.fromkeys(
    ("namespace", "verb", "group", "version", "resource", "subresource", "name"), ""
)
_log = get_logger("authz.webhook")


class WebhookAuthorizer:
    """One webhook among the authorizers."""

    def __init__(
        self, name: str, webhook: ReviewWebhook, settings: Webhook, *, clock: Clock
    ) -> None:
        self._name = name
        self._webhook = webhook
        self._version = settings.subject_access_review_version
        conditions, errors = compile_conditions("", settings.match_conditions)
        assert not errors, errors
        self._conditions: list[Program] = conditions
        self._on_failure = Decision(False, denied=settings.failure_policy == "Deny")
        self._allowed_s = (
            parse(settings.authorized_ttl) if settings.cache_authorized_requests else 0.0
        )
        self._refused_s = (
            parse(settings.unauthorized_ttl) if settings.cache_unauthorized_requests else 0.0
        )
        self._clock = clock
        self._entries: dict[bytes, tuple[float, Decision]] = {}
        self._asking: dict[bytes, asyncio.Future[Decision]] = {}

    async def authorize(self, attributes: Attributes) -> Decision:
        spec = spec_of_attributes(attributes)
        try:
            if self._conditions and not self._matches(spec):
                return _NO_OPINION
        except CelError as error:
            _log.warning("match condition failed", authorizer=self._name, error=str(error))
            return self._on_failure
        key = orjson.dumps(spec, option=orjson.OPT_SORT_KEYS)
        entry = self._entries.get(key)
        if entry is not None:
            if self._clock.monotonic() < entry[0]:
                return entry[1]
            del self._entries[key]
        asking = self._asking.get(key)
        if asking is not None:
            return await asyncio.shield(asking)
        return await self._ask_once(key, spec)

    def _matches(self, spec: dict[str, Any]) -> bool:
        """Raises CelError. Expressions see every attribute there is, also empty ones."""
        request: dict[str, Any] = {"user": "", "uid": "", "groups": [], "extra": {}, **spec}
        asked = spec.get("resourceAttributes")
        if asked is not None:
            request["resourceAttributes"] = {**_NOTHING_ASKED, **asked}
        return all(program.evaluate({"request": request}) for program in self._conditions)

    async def _ask_once(self, key: bytes, spec: dict[str, Any]) -> Decision:
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._asking[key] = future
        decision = self._on_failure
        try:
            decision = await self._ask(spec)
            self._keep(key, decision)
        except WebhookCallError as error:
            _log.warning("webhook failed", authorizer=self._name, error=str(error))
        finally:
            del self._asking[key]
            future.set_result(decision)
        return decision

    async def _ask(self, spec: dict[str, Any]) -> Decision:
        if self._version == "v1beta1" and "groups" in spec:
            spec = {**spec, "group": spec["groups"]}
            del spec["groups"]
        answer = await self._webhook.ask(
            {
                "kind": "SubjectAccessReview",
                "apiVersion": f"authorization.k8s.io/{self._version}",
                "metadata": {"creationTimestamp": None},
                "spec": spec,
                "status": {"allowed": False},
            }
        )
        status = answer.get("status") or {}
        allowed, denied = status.get("allowed") is True, status.get("denied") is True
        if allowed and denied:
            raise WebhookCallError("webhook subject access review returned both allow and deny")
        return Decision(allowed, str(status.get("reason") or ""), denied=denied)

    def _keep(self, key: bytes, decision: Decision) -> None:
        ttl_s = self._allowed_s if decision.allowed else self._refused_s
        if ttl_s <= 0 or len(key) > _QUESTION_MAX_BYTES:
            return
        if len(self._entries) >= _ENTRIES_MAX:
            self._entries.clear()
        self._entries[key] = (self._clock.monotonic() + ttl_s, decision)
