"""The one chain every request passes, over HTTP or from the same process.

identify → authenticate → audit → impersonate → authorize → limit → route → verb → answer. Laws:
whatever goes wrong becomes a Status; an unexpected exception becomes a 500 that names the
audit id and nothing of the inside; every answer carries ``Audit-Id`` and ``Cache-Control``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kutter.api.errors import (
    ApiError,
    method_not_allowed,
    path_not_found,
    timed_out,
    unauthorized,
    unavailable,
)
from kutter.api.resources import Resource
from kutter.apiserver.answers import error_answer
from kutter.apiserver.audit.auditor import credentials_of
from kutter.apiserver.audit.record import Record
from kutter.apiserver.authn.identity import GROUP_MASTERS, User
from kutter.apiserver.authn.impersonation import impersonate
from kutter.apiserver.authz.messages import refusal
from kutter.apiserver.context import Call
from kutter.apiserver.limits import Seats
from kutter.apiserver.ports import Attributes
from kutter.apiserver.protobuf_encoders import status_for
from kutter.apiserver.request_info import RequestInfo, parse_request_info
from kutter.apiserver.verbs import read, watch, write
from kutter.base.log import get_logger
from kutter.http.messages import Request, Response
from kutter.store.interface import StoreError

if TYPE_CHECKING:
    from kutter.apiserver.server import ApiServer

REQUEST_TIMEOUT_S = 60.0
# As upstream's --max-requests-inflight and --max-mutating-requests-inflight, with a queue.
READ_SEATS, WRITE_SEATS, QUEUE_LIMIT = 400, 600, 10_000
_LONG_RUNNING = frozenset({"log", "exec", "attach", "portforward", "proxy"})
_MUTATING = frozenset({"create", "update", "patch", "delete", "deletecollection"})
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
_NO_CACHE = ("Cache-Control", "no-cache, private")
_log = get_logger("apiserver")


class Pipeline:
    """``handle`` is the API server's one entry."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._reads = Seats(READ_SEATS, QUEUE_LIMIT)
        self._writes = Seats(WRITE_SEATS, QUEUE_LIMIT)

    async def handle(self, request: Request) -> Response:
        server = self._server
        started = server.clock.monotonic()
        audit_id = request.headers.get("audit-id") or server.rng.uid()
        warnings: list[str] = []
        query = first_values(request) if request.raw_query else {}
        info = parse_request_info(request.method, request.path, query)
        auditor = server.auditor
        record: Record | None = None
        try:
            user = request.local_user
            if user is None:
                user = await self._authenticate(request, info, audit_id)
            assert isinstance(user, User)
            if auditor is not None:
                record = auditor.begin(request, info, user, audit_id)
            response = await self._pass(
                request,
                info,
                user,
                query=query,
                audit_id=audit_id,
                warnings=warnings,
                record=record,
            )
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
        if auditor is not None and record is not None:
            auditor.finish(record, request, response)
        status_for(request, response)
        headers = response.headers
        headers.append(("Audit-Id", audit_id))
        headers.append(_NO_CACHE)
        for text in warnings:
            headers.append(("Warning", f'299 - "{_quoted(text)}"'))
        server.metrics.observe(info, response.status, server.clock.monotonic() - started)
        return response

    async def _authenticate(self, request: Request, info: RequestInfo, audit_id: str) -> User:
        """Who calls over the network. Raises 401."""
        server = self._server
        auditor = server.auditor
        # Asked now, because authentication takes the token out of the request.
        shown = credentials_of(request) if auditor is not None else ""
        try:
            user = await server.authenticator.authenticate(request)
            if user is None:
                raise unauthorized()
        except ApiError as error:
            if auditor is not None:
                auditor.refuse(request, info, audit_id, shown, error)
            raise
        return user

    async def _pass(
        self,
        request: Request,
        info: RequestInfo,
        user: User,
        *,
        query: dict[str, str],
        audit_id: str,
        warnings: list[str],
        record: Record | None,
    ) -> Response:
        server = self._server
        if request.local_user is None:
            caller = user
            user = await impersonate(request, caller, server.authorizer)
            if record is not None and user is not caller:
                record.impersonated = user
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
        if record is not None:
            assert server.auditor is not None, "a record without an auditor"
            server.auditor.note_decision(record, attributes, decision)
        if not decision.allowed:
            raise refusal(attributes, decision.reason)
        if not info.is_resource:
            return await server.answer_path(request, info)
        resource = server.catalog.find(info.group, info.version, info.resource)
        if resource is None:
            raise path_not_found()
        _check_scope(info, resource)
        served = server.served_for(resource)
        call = Call(
            server=server,
            request=request,
            info=info,
            user=user,
            now=server.clock.now(),
            query=query,
            served=served,
            audit_id=audit_id,
            warnings=warnings,
            record=record,
        )
        if served.deprecation:
            warnings.append(served.deprecation)
        return await self._limit(call)

    async def _limit(self, call: Call) -> Response:
        info = call.info
        if info.verb == "watch" or info.subresource in _LONG_RUNNING:
            return await route(call)
        exempt = call.request.local_user is not None or GROUP_MASTERS in call.user.groups
        if info.verb not in _MUTATING:
            # Most reads never wait for anything, so they are done before they could queue.
            seats = self._reads
        else:
            seats = self._writes
        taken = seats.try_take()
        if not taken and not exempt:
            await seats.take()
            taken = True
        try:
            if info.verb == "get" and not info.subresource:
                return await route(call)
            async with asyncio.timeout(_timeout_of(call)):
                return await route(call)
        except TimeoutError:
            raise timed_out(
                "Timeout: request did not complete within requested timeout - "
                "context deadline exceeded"
            ) from None
        finally:
            if taken:
                seats.give_back()


async def route(call: Call) -> Response:
    """The verb of the resource, or the subresource's handler."""
    info, served = call.info, call.served
    resource = served.resource
    if info.subresource:
        subresource = resource.subresources.get(info.subresource)
        if subresource is None or (len(info.parts) > 3 and info.subresource != "proxy"):
            raise path_not_found()
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
    if info.verb not in served.verbs or not served.stored:
        raise method_not_allowed("")
    if named is (info.verb in _WITHOUT_NAME) and not (info.verb == "watch" and named):
        raise method_not_allowed("")
    return await _VERBS[info.verb](call)


def _check_scope(info: RequestInfo, resource: Resource) -> None:
    """A namespace in the path belongs to namespaced resources, and to each of their objects."""
    if not resource.namespaced:
        if info.namespace and info.resource != "namespaces":
            raise path_not_found()
        # The path of a namespace names it twice; the object itself lives in none.
        info.namespace = ""
    elif not info.namespace:
        if len(info.parts) > 1:
            raise path_not_found()
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
    values: dict[str, str] = {}
    for key, value in request.query:
        values.setdefault(key, value)
    return values


def _timeout_of(call: Call) -> float:
    text = call.query.get("timeout", "")
    if text:
        seconds = _duration_s(text)
        if seconds:
            return min(seconds, REQUEST_TIMEOUT_S)
    return REQUEST_TIMEOUT_S


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _duration_s(text: str) -> float:
    """A simple Go duration (``30s``); 0 for what is none. Raises nothing."""
    for unit, factor in _UNITS.items():
        number = text.removesuffix(unit)
        if number != text and number.replace(".", "", 1).isdecimal():
            return float(number) * factor
    return 0.0


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


def _quoted(text: str) -> str:
    """A header's quoted string: one line, quotes and backslashes escaped."""
    one_line = " ".join(text.split())
    return one_line.replace("\\", "\\\\").replace('"', '\\"')
