"""The auditor: begins a record for a request, ends it with the answer, hands events to the sinks.

Between the pipeline and the sinks. Laws: a server without a policy has no auditor, so that audit
costs it nothing; a request that no rule wants costs the search for its rule; a sink that fails
is counted and told in the log, and never fails a request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import orjson

from kutter.api.errors import ApiError
from kutter.api.protobuf import MEDIA_TYPE as PROTOBUF
from kutter.api.protobuf import ProtobufError, decode_object
from kutter.apiserver.audit.policy import (
    LEVELS,
    METADATA,
    NONE,
    PANIC,
    REQUEST_RECEIVED,
    RESPONSE_COMPLETE,
    RESPONSE_STARTED,
    Policy,
    level_for,
)
from kutter.apiserver.audit.record import Record
from kutter.apiserver.authn.identity import User
from kutter.apiserver.body import content_type_of, load_yaml
from kutter.apiserver.ports import Attributes, Decision
from kutter.apiserver.request_info import RequestInfo
from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.log import get_logger
from kutter.base.metrics import Counter, Registry
from kutter.http.messages import ByteStream, Push, Request, Response

_DECISION = "authorization.k8s.io/decision"
_REASON = "authorization.k8s.io/reason"
_log = get_logger("audit")


class Sink(Protocol):
    """Takes encoded events, in order."""

    name: str

    def take(self, event: bytes) -> None:
        """Keep one event; never waits. Raises OSError."""
        ...

    async def run(self) -> None:
        """Whatever the sink does apart from requests, until cancelled."""
        ...

    async def close(self) -> None: ...


Explain = Callable[[Attributes], str]


class Auditor:
    """One policy, some sinks."""

    def __init__(
        self,
        policy: Policy,
        *,
        explain: Explain | None = None,
        clock: Clock = SYSTEM_CLOCK,
        metrics: Registry | None = None,
    ) -> None:
        """``explain`` tells why a request is allowed, where the decision does not."""
        self._policy = policy
        self._explain = explain
        self._clock = clock
        self.sinks: list[Sink] = []
        self._failing: set[str] = set()
        registry = metrics or Registry()
        self._events = registry.add(
            Counter(
                "apiserver_audit_event_total",
                "Counter of audit events generated and sent to the audit backend.",
            )
        )
        self._errors = registry.add(
            Counter(
                "apiserver_audit_error_total",
                "Counter of audit events that failed to be audited properly, by plugin.",
                ("plugin",),
            )
        )
        self._levels = registry.add(
            Counter(
                "apiserver_audit_level_total",
                "Counter of policy levels for audit events (1 per request).",
                ("level",),
            )
        )

    def add(self, sink: Sink) -> None:
        self.sinks.append(sink)

    def count_lost(self, name: str, count: int) -> None:
        """``count`` events did not reach the sink ``name``."""
        self._errors.inc(name, by=count)

    # -- asked by the pipeline ---------------------------------------------------

    @staticmethod
    def credentials_of(request: Request) -> str:
        """Which kinds of credentials a request shows; asked before authentication takes them."""
        found = []
        scheme = request.headers.get("authorization", "").strip().partition(" ")[0].lower()
        if scheme == "basic":
            found.append("basic")
        elif scheme == "bearer":
            found.append("bearer")
        if request.peer_certificate is not None:
            found.append("x509")
        return f"attempted: {', '.join(found)}" if found else "no credentials provided"

    def begin(
        self, request: Request, info: RequestInfo, user: User, audit_id: str
    ) -> Record | None:
        """The record of a request whose caller is known; None when the policy wants none."""
        record = self._record(request, info, user, audit_id)
        if record is not None:
            self._write(record, REQUEST_RECEIVED)
        return record

    def refuse(
        self, request: Request, info: RequestInfo, audit_id: str, shown: str, error: ApiError
    ) -> None:
        """Record a request whose caller is unknown: ``shown`` are the credentials it had."""
        record = self._record(request, info, None, audit_id)
        if record is not None:
            message = f"Authentication failed, {shown}"
            record.status = {"metadata": {}, "message": message, "code": error.code}
            self._write(record, RESPONSE_STARTED)

    def note_decision(self, record: Record, attributes: Attributes, decision: Decision) -> None:
        """What authorization said, and why."""
        reason = decision.reason
        if not reason and decision.allowed and self._explain is not None:
            reason = self._explain(attributes)
        record.annotate(_DECISION, "allow" if decision.allowed else "forbid")
        record.annotate(_REASON, reason)

    def finish(self, record: Record, request: Request, response: Response) -> None:
        """The answer is known; of long-running requests its begin is told, too."""
        self._note_request(record, request)
        if record.status is None:
            record.status = {"metadata": {}, "code": response.status}
        if response.body:
            _note_answer(record, response)
        if record.long_running:
            self._write(record, RESPONSE_STARTED)
        if response.stream is not None:
            response.stream = _AuditedStream(self, record, response.stream)
        elif response.upgrade is not None:
            response.upgrade = _AuditedUpgrade(self, record, response.upgrade)
        else:
            self._write(record, RESPONSE_COMPLETE)

    def abandon(self, record: Record, request: Request) -> None:
        """The caller went before the answer was known."""
        self._note_request(record, request)
        record.status = {
            "metadata": {},
            "status": "Success",
            "message": "Connection closed early",
            "code": 200,
        }
        self._write(record, RESPONSE_COMPLETE)

    def crash(self, record: Record, request: Request, error: BaseException) -> None:
        """The request met a bug of ours."""
        self._note_request(record, request)
        record.status = {
            "metadata": {},
            "status": "Failure",
            "message": f"APIServer panic'd: {type(error).__name__}",
            "reason": "InternalError",
            "code": 500,
        }
        self._write(record, PANIC)

    def end(self, record: Record) -> None:
        """What began to be answered is over."""
        self._write(record, RESPONSE_COMPLETE)

    async def close(self) -> None:
        for sink in self.sinks:
            await sink.close()

    # -- inside ------------------------------------------------------------------

    def _record(
        self, request: Request, info: RequestInfo, user: User | None, audit_id: str
    ) -> Record | None:
        rule = self._policy.rule_for(user, info)
        level = NONE if rule is None else level_for(rule, info)
        self._levels.inc(LEVELS[level])
        if rule is None:
            return None
        return Record(
            request,
            info,
            user,
            audit_id=audit_id,
            received=self._clock.now(),
            level=level,
            omit_stages=rule.omit_stages,
            omit_managed_fields=rule.omit_managed_fields,
        )

    def _note_request(self, record: Record, request: Request) -> None:
        if record.wants_request and request.body:
            tree = _decode(request.body, content_type_of(request))
            if tree is not None:
                record.take_request_tree(tree)

    def _write(self, record: Record, stage: str) -> None:
        if stage in record.omit_stages:
            return
        event = record.render(stage, self._clock.now())
        self._events.inc()
        for sink in self.sinks:
            try:
                sink.take(event)
            except (OSError, ValueError) as error:
                self._errors.inc(sink.name)
                if sink.name not in self._failing:  # a full disk fails every event
                    self._failing.add(sink.name)
                    _log.error("audit events are lost", sink=sink.name, error=str(error))
            else:
                if self._failing and sink.name in self._failing:
                    self._failing.discard(sink.name)
                    _log.info("audit events are written again", sink=sink.name)


class _AuditedStream:
    """A streamed answer that tells of its end."""

    def __init__(self, auditor: Auditor, record: Record, stream: AsyncIterator[bytes]) -> None:
        self._auditor = auditor
        self._record: Record | None = record
        self._stream = stream

    def __aiter__(self) -> _AuditedStream:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._stream.__anext__()
        except BaseException:
            self._end()
            raise

    def attach(self, push: Push | None) -> None:
        """What is pushed need not come by here: only the end is of interest."""
        attach = getattr(self._stream, "attach", None)
        if attach is not None:
            attach(push)

    async def aclose(self) -> None:
        self._end()
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await close()

    def _end(self) -> None:
        record, self._record = self._record, None
        if record is not None:
            self._auditor.end(record)


class _AuditedUpgrade:
    """An upgraded connection that tells of its end."""

    def __init__(self, auditor: Auditor, record: Record, upgrade: Any) -> None:
        self._auditor = auditor
        self._record: Record | None = record
        self._upgrade = upgrade

    async def __call__(self, stream: ByteStream) -> None:
        try:
            await self._upgrade(stream)
        finally:
            self._end()

    async def aclose(self) -> None:
        self._end()
        close = getattr(self._upgrade, "aclose", None)
        if close is not None:
            await close()

    def _end(self) -> None:
        record, self._record = self._record, None
        if record is not None:
            self._auditor.end(record)


def _note_answer(record: Record, response: Response) -> None:
    """The object answered, or what a Status in its place says."""
    refused = response.status >= 400
    if record.level < METADATA or not (refused or record.wants_response):
        return
    media = encoding = ""
    for name, value in response.headers:
        lower = name.lower()
        if lower == "content-type":
            media = value.partition(";")[0].strip().lower()
        elif lower == "content-encoding":
            encoding = value
    body = response.body
    if encoding == "gzip":
        import gzip

        body = gzip.decompress(body)
    elif encoding:
        return
    tree = _decode(body, media)
    if not isinstance(tree, dict) or "kind" not in tree:
        return  # no object: a version, an OpenAPI document
    if refused and tree.get("kind") == "Status":
        record.take_status(tree)
    if record.wants_response:
        record.take_response_tree(tree)


def _decode(body: bytes, media: str) -> Any:
    """A body as a tree; None for what is no object."""
    try:
        if media == PROTOBUF:
            return decode_object(body)
        if "yaml" in media:
            return load_yaml(body)[0]
        if "json" in media or not media:
            return orjson.loads(body)
    except (ValueError, ProtobufError):
        return None
    return None
