"""Handlers of what is asked and answered without being stored: reviews and token requests.

Between the pipeline's :class:`Call` and the reviews, which know trees and users only.
"""

from __future__ import annotations

from typing import Protocol

import orjson

from kutter.api.errors import method_not_allowed
from kutter.api.resources import Resource
from kutter.api.schema import KindSchema
from kutter.apiserver.answers import answer
from kutter.apiserver.authn.identity import User
from kutter.apiserver.authn.token_request import GROUP as TOKEN_GROUP
from kutter.apiserver.authn.token_request import TokenRequests
from kutter.apiserver.body import check_fields, check_kind, content_type_of, parse_tree
from kutter.apiserver.context import Call
from kutter.apiserver.negotiation import JSON
from kutter.apiserver.ports import Admission, AdmissionRequest, Tree
from kutter.apiserver.verbs.write import check_namespace, decode_object
from kutter.apiserver.versions import schema_of
from kutter.http.messages import Response


class Review(Protocol):
    """One kind of question."""

    async def review(self, tree: Tree, user: User, namespace: str) -> Tree:
        """``tree`` with its status. Raises ApiError."""
        ...


class ReviewHandler:
    """Answers POSTs to a resource that is only asked."""

    def __init__(self, review: Review) -> None:
        self._review = review

    async def __call__(self, call: Call) -> Response:
        accepted = call.negotiate(convertible=False)
        tree = decode_object(call)
        # Nothing is stored, so nobody owns fields of it; nor has anything checked these.
        tree["metadata"].pop("managedFields", None)
        check_namespace(tree, call.info.namespace)
        tree = await _admit(call, tree)
        answered = await self._review.review(tree, call.user, call.info.namespace)
        return await answer(call, orjson.dumps(answered), accepted, 201)


async def _admit(call: Call, tree: Tree) -> Tree:
    """Asking is a creation like any other; the question admission leaves. Raises ApiError."""
    context = call.write_context("CreateOptions")
    request = AdmissionRequest(
        operation="CREATE",
        resource=call.served.resource,
        subresource="",
        namespace=call.info.namespace,
        name="",
        object=tree,
        old=None,
        user=call.user,
        reader=call.server.caches,
        now=call.now,
        dry_run=context.dry_run,
        kind=call.served.resource.kind,
        options=context.options,
        warnings=call.warnings,
        annotate=context.annotate,
    )
    await call.server.admission.mutate(request)
    await call.server.admission.validate(request)
    assert request.object is not None, "admission keeps the object"
    return request.object


_TOKEN_REQUEST = Resource(
    TOKEN_GROUP, "v1", "tokenrequests", "TokenRequest", namespaced=True, verbs=("create",)
)


class TokenRequestHandler:
    """``POST serviceaccounts/NAME/token``."""

    def __init__(self, requests: TokenRequests, admission: Admission) -> None:
        self._requests = requests
        self._admission = admission
        self._schema: KindSchema | None = None

    async def __call__(self, call: Call) -> Response:
        if call.info.verb != "create":
            raise method_not_allowed("")
        accepted = call.negotiate(convertible=False)
        context = call.write_context("CreateOptions", subresource="token")
        tree = self._decode(call)
        namespace, name = call.info.namespace, call.info.name
        request = AdmissionRequest(
            operation="CREATE",
            resource=call.served.resource,
            subresource="token",
            namespace=namespace,
            name=name,
            object=tree,
            old=None,
            user=call.user,
            reader=call.server.caches,
            now=call.now,
            dry_run=context.dry_run,
            kind="TokenRequest",
            options=context.options,
            warnings=call.warnings,
            annotate=context.annotate,
        )
        await self._admission.mutate(request)
        assert request.object is not None, "admission keeps the object"
        # Admission sees the request as it was made: a pod volume without an audience asks for
        # none, and only later stands for the API server's own.
        tree = {**request.object, "spec": dict(request.object.get("spec") or {})}
        self._requests.complete(tree, namespace, name)
        await self._admission.validate(request)
        answered = self._requests.issue(tree, call.server.caches, call.now)
        return await answer(call, orjson.dumps(answered), accepted, 201)

    def _decode(self, call: Call) -> Tree:
        tree = parse_tree(call.request, "TokenRequest")
        check_kind(tree, _TOKEN_REQUEST, "TokenRequest", _TOKEN_REQUEST.api_version)
        if self._schema is None:
            self._schema = schema_of(_TOKEN_REQUEST)
        source = call.request.body if content_type_of(call.request) in ("", JSON) else None
        validation = call.query.get("fieldValidation", "")
        check_fields(self._schema, tree, validation, source, call.warnings)
        return tree
