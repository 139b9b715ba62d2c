"""AdmissionReview: what a webhook is asked and what it may answer. Pure.

Upstream: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from kutter.api.errors import ApiError, bad_request
from kutter.api.resources import Resource
from kutter.apiserver.admission.dynamic.subject import Subject
from kutter.apiserver.ports import Tree

VERSIONS = ("v1", "v1beta1")
_GROUP = "admission.k8s.io"


class ReviewError(ValueError):
    """The webhook's answer breaks the rules; the message is upstream's."""


class Answer(msgspec.Struct):
    """A webhook's verdict. ``patch`` is the decoded JSON Patch, empty for no change."""

    allowed: bool
    status: Tree | None = None
    patch: list[Any] = msgspec.field(default_factory=list)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    warnings: list[str] = msgspec.field(default_factory=list)


def choose_version(accepted: Sequence[str]) -> str:
    """The first version both sides know. Raises ReviewError."""
    for version in accepted:
        if version in VERSIONS:
            return version
    raise ReviewError("webhook does not accept known AdmissionReview versions (v1, v1beta1)")


async def render_review(subject: Subject, matched: Resource, version: str, uid: str) -> Tree:
    """The review of a request, its objects in the version of ``matched``. Raises ApiError."""
    request = render_request(subject, matched, uid)
    last = {key: request.pop(key) for key in ("dryRun", "options")}
    request["object"] = await subject.new_in(matched)
    request["oldObject"] = await subject.old_in(matched)
    request |= last
    return {"kind": "AdmissionReview", "apiVersion": f"{_GROUP}/{version}", "request": request}


def render_request(subject: Subject, matched: Resource, uid: str) -> Tree:
    """The request without its objects."""
    place, request = subject.place, subject.request
    tree: Tree = {
        "uid": uid,
        "kind": _kind(subject.kind_of(matched)),
        "resource": _resource(matched),
    }
    if place.subresource:
        tree["subResource"] = place.subresource
    tree["requestKind"] = _kind(subject.kind_of(place.resource))
    tree["requestResource"] = _resource(place.resource)
    if place.subresource:
        tree["requestSubResource"] = place.subresource
    if place.name:
        tree["name"] = place.name
    if place.namespace:
        tree["namespace"] = place.namespace
    tree["operation"] = place.operation
    tree["userInfo"] = request.user.to_user_info()
    tree["dryRun"] = request.dry_run
    tree["options"] = request.options or None
    return tree


def _kind(parts: tuple[str, str, str]) -> Tree:
    group, version, kind = parts
    return {"group": group, "version": version, "kind": kind}


def _resource(resource: Resource) -> Tree:
    return {"group": resource.group, "version": resource.version, "resource": resource.plural}


def read_answer(review: Any, *, version: str, uid: str, mutating: bool) -> Answer:
    """The verdict in a webhook's answer. Raises ReviewError."""
    if not isinstance(review, dict):
        raise ReviewError("webhook response was absent")
    response = review.get("response")
    if not isinstance(response, dict):
        raise ReviewError("webhook response was absent")
    if version == "v1":
        if response.get("uid") != uid:
            found = orjson.dumps(response.get("uid") or "").decode()
            raise ReviewError(f'expected response.uid="{uid}", got {found}')
        found = _gvk(review)
        wanted = f"{_GROUP}/v1, Kind=AdmissionReview"
        if found != wanted:
            raise ReviewError(f"expected webhook response of {wanted}, got {found}")
    return Answer(
        allowed=response.get("allowed") is True,
        status=_of_type(response, "status", dict),
        patch=_patch(response, version=version, mutating=mutating),
        annotations=_texts(_of_type(response, "auditAnnotations", dict) or {}),
        warnings=[str(text) for text in _of_type(response, "warnings", list) or ()],
    )


def _of_type(response: Tree, key: str, kind: type) -> Any:
    value = response.get(key)
    if value is not None and not isinstance(value, kind):
        raise ReviewError(f"response.{key} is of the wrong type")
    return value


def _texts(found: Tree) -> dict[str, str]:
    return {str(key): str(value) for key, value in found.items()}


def _gvk(tree: Tree) -> str:
    group, _, version = str(tree.get("apiVersion") or "").rpartition("/")
    return f"{group}/{version}, Kind={tree.get('kind') or ''}"


def _patch(response: Tree, *, version: str, mutating: bool) -> list[Any]:
    encoded, kind = response.get("patch"), response.get("patchType")
    if not mutating:
        if version == "v1" and encoded:
            raise ReviewError("validating webhook may not return response.patch")
        if version == "v1" and kind is not None:
            raise ReviewError("validating webhook may not return response.patchType")
        return []
    if version == "v1":
        if encoded and kind is None:
            raise ReviewError("webhook returned response.patch but not response.patchType")
        if not encoded and kind is not None:
            raise ReviewError("webhook returned response.patchType but not response.patch")
        if kind == "":
            raise ReviewError('webhook returned invalid response.patchType of ""')
    if not encoded:
        return []
    if version == "v1" and kind != "JSONPatch":
        raise ReviewError(f'unsupported patch type "{kind}"')
    return _decode(encoded)


def _decode(encoded: Any) -> list[Any]:
    head = "received undecodable patch in webhook response: "
    try:
        patch = orjson.loads(base64.b64decode(encoded, validate=True))
    except (binascii.Error, TypeError, ValueError) as error:
        raise ReviewError(f"{head}{error}") from None
    if not isinstance(patch, list):
        raise ReviewError(f"{head}json: cannot unmarshal object into Go value of type jsonpatch")
    return patch


def denial(webhook: str, status: Tree | None) -> ApiError:
    """The refusal a webhook's verdict becomes."""
    status = dict(status or {})
    denied = f'admission webhook "{webhook}" denied the request'
    code = status.get("code") or 0
    reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    if message:
        text = f"{denied}: {message}"
    elif reason:
        text = f"{denied}: {reason}"
    else:
        text = f"{denied} without explanation"
    if not isinstance(code, int) or not 400 <= code <= 599:
        code = 400
    details = status.get("details")
    error = ApiError(code, reason, text, details=details if isinstance(details, dict) else None)
    if isinstance(status.get("metadata"), dict):
        error.metadata = status["metadata"]
    return error


def no_dry_run(webhook: str) -> ApiError:
    return bad_request(f'admission webhook "{webhook}" does not support dry run')
