"""The one chain every request passes, over HTTP or from the same process.

identify → authenticate → audit → impersonate → seat (priority and fairness) → authorize → route
→ verb → answer. Laws:
whatever goes wrong becomes a Status; an unexpected exception becomes a 500 that names the
audit id and nothing of the inside; every answer carries ``Audit-Id`` and ``Cache-Control``.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import msgspec

from kutter.api.catalog import Catalog
from kutter.api.durations import DurationError, parse
from kutter.api.errors import (
    ApiError,
    PageNotFoundError,
    bad_request,
    method_not_allowed,
    path_not_found,
    timed_out,
    unauthorized,
    unavailable,
)
from kutter.api.quoting import quote
from kutter.api.resources import Resource
from kutter.apiserver.answers import error_answer, status_for
from kutter.apiserver.authn.identity import User
from kutter.apiserver.authn.impersonation import impersonate, impersonates
from kutter.apiserver.authz.messages import refusal
from kutter.apiserver.context import Call
from kutter.apiserver.fairness.fairness import Flow
from kutter.apiserver.ports import Attributes
from kutter.apiserver.request_info import LONG_RUNNING, RequestInfo, parse_request_info
from kutter.apiserver.request_metrics import APPLY_MARK
from kutter.apiserver.verbs import read, watch, write
from kutter.base.deadlines import Deadlines
from kutter.base.log import get_logger
from kutter.base.memo import remember
from kutter.http.messages import ImmutableResponse, Request, Response
from kutter.store.interface import StoreError

if TYPE_CHECKING:
    from kutter.apiserver.audit.record import Record
    from kutter.apiserver.server import ApiServer

_VERBS = {
    "get": read.get,
    "list": read.list_,
    "watch": watch.watch,
    "create": write.create,
    "update": write.update,
    "patch": write.patch,
    "delete": write.delete,
    "deletecollection": write.delete_collection,
}
_WITHOUT_NAME = frozenset({"list", "watch", "create", "deletecollection"})
_CHANGING = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_REMOVED = re.compile(r"unavailable in v(\d+\.\d+)\+")
_NO_CACHE = ("Cache-Control", "no-cache, private")
_log = get_logger("apiserver")


class Passage(msgspec.Struct):
    """A request whose caller is known. ``record`` is None when nobody audits it."""

    request: Request
    info: RequestInfo
    user: User
    query: dict[str, str]
    audit_id: str
    warnings: list[str]
    record: Record | None


class Pipeline:
    """``handle`` is the API server's one entry."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._deadlines = Deadlines()

    async def handle(self, request: Request) -> Response:
        server = self._server
        started = server.clock.monotonic()
        audit_id = request.headers.get("audit-id") or server.rng.uid()
        warnings: list[str] = []
        query = first_values(request) if request.raw_query else {}
        info = parse_request_info(request.method, request.path, query)
        auditor = server.auditor
        fairness = server.fairness
        record: Record | None = None
        flow: Flow | None = None
        waited_s = 0.0
        requests = server.metrics.requests
        changing = info.verb in _CHANGING
        if info.verb != "watch":
            requests.inflight[changing] += 1
        try:
            if "timeout" in query and not _runs_long(info):
                # Refused before it is asked who calls, whatever the path; used later.
                requested_timeout(query["timeout"], server.request_timeout_s)
            user = request.local_user
            if user is None:
                user = await self._authenticate(request, info, audit_id)
            assert isinstance(user, User)
            if auditor is not None:
                record = auditor.begin(request, info, user, audit_id)
            if request.local_user is None and impersonates(request):
                caller = user
                user = await impersonate(request, caller, server.authorizer)
                if record is not None and user is not caller:
                    record.impersonated = user
            passage = Passage(request, info, user, query, audit_id, warnings, record)
            flow = fairness.flow_of(user, info)
            flow.dispatched += 1
            level = flow.level
            if level.exempt or (info.subresource in LONG_RUNNING and info.verb != "watch"):
                response = await self._pass(passage)
            else:
                seats = 1
                if flow.width_limit > 1 and info.verb != "get":
                    seats = fairness.width_of(info, query, flow.width_limit)
                if level.try_take(seats):
                    try:
                        response = await self._pass(passage)
                    finally:
                        level.give_back(seats)
                else:
                    async with fairness.seated(flow, user, info, seats) as waited_s:
                        response = await self._pass(passage, waited_s)
        except ApiError as error:
            response = error_answer(error)
        except BaseExceptionGroup as group:
            response = error_answer(_from_group(group, audit_id))
        except (StoreError, OSError, TimeoutError) as error:
            _log.warning("request failed", audit_id=audit_id, path=info.path, error=repr(error))
            response = error_answer(_from_failure(error, audit_id))
        except asyncio.CancelledError:
            if auditor is not None and record is not None:
                auditor.abandon(record, request)
            raise
        except Exception as error:
            _log.error("request crashed", audit_id=audit_id, path=info.path, exc_info=error)
            response = error_answer(_crashed(audit_id))
            if auditor is not None and record is not None:
                auditor.crash(record, request, error)
                record = None
        finally:
            if info.verb != "watch":
                requests.inflight[changing] -= 1
        if auditor is not None and record is not None:
            auditor.finish(record, request, response)
        status_for(request, response)
        headers = response.headers
        headers.append(("Audit-Id", audit_id))
        if not isinstance(response, ImmutableResponse):
            headers.append(_NO_CACHE)
        if flow is not None and request.local_user is None:
            headers += flow.headers
        for text in warnings:
            headers.append(("Warning", f'299 - "{_quoted(text)}"'))
        requests.observe(
            info,
            response.status,
            server.clock.monotonic() - started,
            size=len(response.body),
            dry_run=query.get("dryRun"),
            media=APPLY_MARK if info.verb == "patch" and _applies(request) else "",
            waited_s=waited_s,
        )
        return response

    async def _authenticate(self, request: Request, info: RequestInfo, audit_id: str) -> User:
        """Who calls over the network. Raises 401."""
        server = self._server
        auditor = server.auditor
        # Asked now, because authentication takes the token out of the request.
        shown = auditor.credentials_of(request) if auditor is not None else ""
        try:
            user = await server.authenticator.authenticate(request)
            if user is None:
                raise unauthorized()
            server.metrics.requests.authentications[True] += 1
        except ApiError as error:
            server.metrics.requests.authentications[False] += 1
            if auditor is not None:
                auditor.refuse(request, info, audit_id, shown, error)
            raise
        return user

    async def _pass(self, passage: Passage, waited_s: float = 0.0) -> Response:
        """Authorize and serve a request that has its seat."""
        info, user, record = passage.info, passage.user, passage.record
        server = self._server
        attributes = Attributes(
            user=user,
            verb=info.verb,
            group=info.group,
            version=info.version,
            resource=info.resource,
            subresource=info.subresource,
            namespace=info.namespace,
            name=info.name,
            path=info.path,
            is_resource=info.is_resource,
            field_selector=info.field_selector,
            label_selector=info.label_selector,
        )
        decision = await server.authorizer.authorize(attributes)
        server.metrics.requests.authorizations[decision.allowed] += 1
        if record is not None:
            assert server.auditor is not None, "a record without an auditor"
            server.auditor.note_decision(record, attributes, decision)
        if not decision.allowed:
            raise refusal(attributes, decision.reason)
        if server.aggregator.remotes:
            remote = server.aggregator.remote_of(info)
            if remote is not None:
                limit_s = server.request_timeout_s - waited_s
                return await remote.forward(
                    passage.request, user, passage.audit_id, timeout_s=limit_s
                )
        if not info.is_resource:
            return await server.answer_path(passage.request, info)
        resource = server.catalog.find(info.group, info.version, info.resource)
        if resource is None:
            raise _no_resource(info, server.catalog)
        _check_scope(info, resource, server.catalog)
        served = server.served_for(resource)
        call = Call(
            server=server,
            request=passage.request,
            info=info,
            user=user,
            now=server.clock.now(),
            query=passage.query,
            served=served,
            audit_id=passage.audit_id,
            warnings=passage.warnings,
            record=record,
        )
        if served.deprecation:
            passage.warnings.append(served.deprecation)
            removed = _REMOVED.search(served.deprecation)
            server.metrics.requests.deprecated.add(
                (
                    info.group,
                    removed[1] if removed else "",
                    info.resource,
                    info.subresource if info.subresource in resource.subresources else "",
                    info.version,
                )
            )
        # Reads of one object wait for nothing, so they are done before they could be late.
        if info.verb == "get" and not info.subresource and "timeout" not in call.query:
            return await route(call)
        return await self._limit(call, waited_s)

    async def _limit(self, call: Call, waited_s: float) -> Response:
        """Serve within the request's time; what runs long has its own end."""
        info = call.info
        if _runs_long(info):
            return await route(call)
        limit_s = self._server.request_timeout_s
        if "timeout" in call.query:
            limit_s = requested_timeout(call.query["timeout"], limit_s)
        try:
            if waited_s or "timeout" in call.query:
                async with asyncio.timeout(limit_s - waited_s):
                    return await route(call)
            with self._deadlines.within(limit_s):
                return await route(call)
        except TimeoutError:
            raise timed_out(
                "Timeout: request did not complete within requested timeout - "
                "context deadline exceeded"
            ) from None


def _runs_long(info: RequestInfo) -> bool:
    return info.verb == "watch" or info.subresource in LONG_RUNNING


async def route(call: Call) -> Response:
    """The verb of the resource, or the subresource's handler."""
    info, served = call.info, call.served
    resource = served.resource
    # A proxy passes on whatever method it is asked with.
    if call.request.method == "HEAD" and not resource.custom and info.subresource != "proxy":
        raise method_not_allowed("")
    if info.subresource:
        subresource = resource.subresources.get(info.subresource)
        if subresource is None or (len(info.parts) > 3 and info.subresource != "proxy"):
            raise served.storage.not_found(info.name) if resource.custom else path_not_found()
        handler = call.server.subresource_handler(resource, info.subresource)
        if handler is not None:
            return await handler(call)
        if info.verb not in subresource.verbs:
            raise method_not_allowed("")
        return await _part(call)
    if served.handler is not None:
        if info.verb not in served.verbs:
            raise method_not_allowed("")
        return await served.handler(call)
    named = len(info.parts) > 1
    if named:
        _check_segment(info.name)
    if info.verb not in served.verbs or not served.stored:
        raise method_not_allowed("")
    if named is (info.verb in _WITHOUT_NAME) and not (info.verb == "watch" and named):
        raise method_not_allowed("")
    return await _VERBS[info.verb](call)


def _check_segment(name: str) -> None:
    """Raises 400 for a name no path can have, however it was escaped."""
    if "%" in name:
        detail = "may not contain '%'"
    elif name in (".", ".."):
        detail = f"may not be '{name}'"
    else:
        return
    raise bad_request(f"Name parameter invalid: {quote(name)}: {detail}")


def _no_resource(info: RequestInfo, catalog: Catalog) -> ApiError:
    return path_not_found() if catalog.is_own_group(info.group) else PageNotFoundError()


def _check_scope(info: RequestInfo, resource: Resource, catalog: Catalog) -> None:
    """A namespace in the path belongs to namespaced resources, and to each of their objects."""
    if not resource.namespaced:
        if info.namespace and info.resource != "namespaces":
            raise _no_resource(info, catalog)
        # The path of a namespace names it twice; the object itself lives in none.
        info.namespace = ""
    elif not info.namespace:
        if len(info.parts) > 1:
            raise _no_resource(info, catalog)
        if info.verb not in ("list", "watch") and resource.storage_prefix:
            raise method_not_allowed("")


async def _part(call: Call) -> Response:
    """Subresources that are a part of their object (status)."""
    if call.info.verb == "get":
        return await read.get(call)
    if call.info.verb == "update":
        return await write.update(call, call.info.subresource)
    return await write.patch(call, call.info.subresource)


def first_values(request: Request) -> dict[str, str]:
    """The first value of each query parameter."""
    return _first_values(request.raw_query).copy()


@remember(512)
def _first_values(raw_query: str) -> dict[str, str]:
    # Clients send few different ones, each again and again: ``fieldManager``, ``force``.
    values: dict[str, str] = {}
    for key, value in parse_qsl(raw_query, keep_blank_values=True):
        values.setdefault(key, value)
    return values


def requested_timeout(text: str, limit_s: float) -> float:
    """``timeout`` of the query in seconds, at most ``limit_s``; 0 asks for none of its own.

    Raises 400.
    """
    if not text:
        return limit_s
    try:
        seconds = parse(text)
    except DurationError as error:
        raise bad_request(f"invalid timeout specified in the request URL - {error}") from None
    return seconds if 0 < seconds < limit_s else limit_s


def _from_group(group: BaseExceptionGroup[BaseException], audit_id: str) -> ApiError:
    """The first refusal in a group of concurrent steps; cancellation travels on."""
    cancelled, rest = group.split(asyncio.CancelledError)
    if rest is None:
        assert cancelled is not None
        raise asyncio.CancelledError
    for error in rest.exceptions:
        if isinstance(error, ApiError):
            return error
    _log.error("request crashed", audit_id=audit_id, exc_info=rest)
    return _crashed(audit_id)


def _crashed(audit_id: str) -> ApiError:
    return ApiError(
        500,
        "InternalError",
        f"This request caused apiserver to panic. Look in the logs for audit ID {audit_id}",
    )


def _from_failure(error: Exception, audit_id: str) -> ApiError:
    if isinstance(error, ConnectionError | TimeoutError):
        return unavailable(f"error trying to reach service: {error}")
    return ApiError(
        500,
        "InternalError",
        f"Internal error occurred: the store failed, look in the logs for audit ID {audit_id}",
    )


def _applies(request: Request) -> bool:
    return request.headers.get("content-type", "").startswith(APPLY_MARK)


def _quoted(text: str) -> str:
    """A header's quoted string: one line, quotes and backslashes escaped."""
    one_line = text.replace("\r", " ").replace("\n", " ").replace("\t", " ")
    return one_line.replace("\\", "\\\\").replace('"', '\\"')
