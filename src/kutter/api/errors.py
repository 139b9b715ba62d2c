"""Errors of the API and their wire form, ``metav1.Status``.

Raise one of the constructors below; the pipeline renders it. Reasons, codes and the shape of
``details`` follow upstream's API conventions (sig-architecture/api-conventions.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kutter.api.quoting import quote


# No Struct: commands read this in to tell of an error, and start faster without msgspec.
@dataclass(frozen=True, slots=True)
class FieldError:
    """One invalid field: a cause in ``details.causes``.

    ``reason`` is upstream's cause type: FieldValueInvalid, FieldValueRequired,
    FieldValueNotSupported, FieldValueDuplicate, FieldValueForbidden, FieldValueNotFound,
    FieldValueTooLong, FieldValueTooMany, FieldValueTypeInvalid, InternalError.
    ``message`` is the full text after the path, e.g. ``Required value: must be set``.
    """

    path: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def required(path: str, detail: str = "") -> FieldError:
    return FieldError(path, "FieldValueRequired", _join("Required value", detail))


def invalid(path: str, value: Any, detail: str) -> FieldError:
    return FieldError(path, "FieldValueInvalid", _join(f"Invalid value: {quote(value)}", detail))


def type_invalid(path: str, value: Any, detail: str) -> FieldError:
    return FieldError(
        path, "FieldValueTypeInvalid", _join(f"Invalid value: {quote(value)}", detail)
    )


def not_supported(path: str, value: Any, supported: list[str]) -> FieldError:
    listed = ", ".join(quote(s) for s in supported)
    detail = f"supported values: {listed}" if supported else ""
    return FieldError(
        path, "FieldValueNotSupported", _join(f"Unsupported value: {quote(value)}", detail)
    )


def duplicate(path: str, value: Any) -> FieldError:
    return FieldError(path, "FieldValueDuplicate", f"Duplicate value: {quote(value)}")


def forbidden_field(path: str, detail: str) -> FieldError:
    return FieldError(path, "FieldValueForbidden", _join("Forbidden", detail))


def not_found_field(path: str, value: Any) -> FieldError:
    return FieldError(path, "FieldValueNotFound", f"Not found: {quote(value)}")


def too_long(path: str, maximum: int) -> FieldError:
    noun = "byte" if maximum == 1 else "bytes"
    return FieldError(path, "FieldValueTooLong", f"Too long: may not be more than {maximum} {noun}")


def too_many(path: str, actual: int, maximum: int) -> FieldError:
    noun = "item" if maximum == 1 else "items"
    return FieldError(
        path, "FieldValueTooMany", f"Too many: {actual}: must have at most {maximum} {noun}"
    )


def _join(head: str, detail: str) -> str:
    return f"{head}: {detail}" if detail else head


class ApiError(Exception):
    """A failure the client is told about as a ``Status``."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers or {}
        # The Status' ListMeta: an expired list says how to go on in ``continue``.
        self.metadata: dict[str, Any] = {}

    def to_status(self) -> dict[str, Any]:
        """The ``metav1.Status`` body."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status

    @classmethod
    def from_status(cls, status: dict[str, Any], code: int = 0) -> ApiError:
        """Read a ``Status`` answered by a server."""
        return cls(
            int(status.get("code") or code or 500),
            str(status.get("reason") or ""),
            str(status.get("message") or "the server answered without a message"),
            details=status.get("details"),
        )


def is_reason(error: BaseException, *reasons: str) -> bool:
    """Whether ``error`` is an :class:`ApiError` with one of ``reasons``."""
    return isinstance(error, ApiError) and error.reason in reasons


def _qualified(resource: str, group: str) -> str:
    return f"{resource}.{group}" if group else resource


def _details(resource: str, group: str, name: str, **more: Any) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    if resource:
        details["kind"] = resource
    details.update({k: v for k, v in more.items() if v})
    return details


def not_found(resource: str, name: str, group: str = "") -> ApiError:
    """404 NotFound for one object. ``resource`` is the plural."""
    message = f'{_qualified(resource, group)} "{name}" not found'
    return ApiError(404, "NotFound", message, details=_details(resource, group, name))


class PageNotFoundError(ApiError):
    """404 for a path nobody serves: a page of text, as upstream answers it, and no Status."""

    def __init__(self) -> None:
        message = "the server could not find the requested resource"
        super().__init__(404, "NotFound", message, details={})


def path_not_found() -> ApiError:
    """404 for a path below one of the server's own groups that is no resource."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", details={})


def already_exists(resource: str, name: str, group: str = "") -> ApiError:
    message = f'{_qualified(resource, group)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details=_details(resource, group, name))


def conflict(resource: str, name: str, detail: str, group: str = "") -> ApiError:
    message = f'Operation cannot be fulfilled on {_qualified(resource, group)} "{name}": {detail}'
    return ApiError(409, "Conflict", message, details=_details(resource, group, name))


MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def invalid_object(kind: str, name: str, errors: list[FieldError], group: str = "") -> ApiError:
    """422 Invalid with one cause per field error. ``kind`` is the Kind.

    What several checks found is a cause each time, but said once in the message.
    """
    listed = list(dict.fromkeys(str(e) for e in errors))
    text = listed[0] if len(listed) == 1 else "[" + ", ".join(listed) + "]"
    causes = [{"reason": e.reason, "message": e.message, "field": e.path} for e in errors]
    message = f'{_qualified(kind, group)} "{name}" is invalid: {text}'
    return ApiError(422, "Invalid", message, details=_details(kind, group, name, causes=causes))


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(resource: str, name: str, detail: str, group: str = "") -> ApiError:
    """403 Forbidden. ``name`` may be empty."""
    subject = _qualified(resource, group)
    head = f'{subject} "{name}" is forbidden' if name else f"{subject} is forbidden"
    return ApiError(403, "Forbidden", f"{head}: {detail}", details=_details(resource, group, name))


def method_not_allowed(verb: str, resource: str = "", group: str = "") -> ApiError:
    target = f" on resources of type {quote(_qualified(resource, group))}" if resource else ""
    message = (
        f"{verb} is not supported{target}"
        if resource
        else "the server does not allow this method on the requested resource"
    )
    return ApiError(405, "MethodNotAllowed", message, details=_details(resource, group, "") or {})


def not_acceptable(accepted: list[str]) -> ApiError:
    """406 for a form (``as=``) that cannot be made in any acceptable media type."""
    listed = ", ".join(accepted)
    return ApiError(
        406,
        "NotAcceptable",
        f"only the following media types are accepted: {listed}",
    )


def not_represented(*medias: str) -> ApiError:
    """406 of a path that has fixed forms, none of which is acceptable."""
    return ApiError(
        406,
        "NotAcceptable",
        f"406: Not Acceptable\n\nAvailable representations: {', '.join(medias)}",
        details={},
    )


def unsupported_media_type(content_type: str, accepted: list[str]) -> ApiError:
    listed = ", ".join(accepted)
    return ApiError(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        f"{listed}",
    )


def too_large(limit_bytes: int) -> ApiError:
    return ApiError(
        413,
        "RequestEntityTooLarge",
        f"Request entity too large: limit is {limit_bytes}",
    )


def gone(message: str) -> ApiError:
    """410 Gone: a continue token that is too old."""
    return ApiError(410, "Expired", message)


def expired(requested: int, oldest: int) -> ApiError:
    """410 for a watch from a version that is compacted away."""
    return ApiError(410, "Expired", f"too old resource version: {requested} ({oldest})")


def too_many_requests(message: str, retry_after_s: int = 1) -> ApiError:
    return ApiError(
        429,
        "TooManyRequests",
        message,
        details={"retryAfterSeconds": retry_after_s},
        headers={"Retry-After": str(retry_after_s)},
    )


def timed_out(message: str, retry_after_s: int = 0) -> ApiError:
    return ApiError(
        504,
        "Timeout",
        message,
        details={"retryAfterSeconds": retry_after_s} if retry_after_s else None,
    )


def internal(message: str) -> ApiError:
    return ApiError(500, "InternalError", f"Internal error occurred: {message}")


def unavailable(message: str) -> ApiError:
    return ApiError(503, "ServiceUnavailable", message)
