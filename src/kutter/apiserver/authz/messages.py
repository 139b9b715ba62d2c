"""The 403 a refused request is answered with: the one wording every client knows."""

from __future__ import annotations

from kutter.api.errors import ApiError, forbidden
from kutter.api.quoting import quote
from kutter.apiserver.ports import Attributes

# The message may be shown by a browser: as upstream, nothing in it reads as markup.
_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def describe_refusal(attributes: Attributes) -> str:
    """``User "x" cannot list resource "pods" in API group "" in the namespace "y"``."""
    who = quote(attributes.user.name)
    if not attributes.is_resource:
        return f"User {who} cannot {attributes.verb} path {quote(attributes.path)}"
    resource = attributes.resource
    if attributes.subresource:
        resource = f"{resource}/{attributes.subresource}"
    where = (
        f"in the namespace {quote(attributes.namespace)}"
        if attributes.namespace
        else "at the cluster scope"
    )
    return (
        f"User {who} cannot {attributes.verb} resource {quote(resource)} "
        f"in API group {quote(attributes.group)} {where}"
    )


def refusal(attributes: Attributes, reason: str = "") -> ApiError:
    """The error for a request that was not allowed; ``reason`` is the authorizer's."""
    text = describe_refusal(attributes).translate(_MARKUP)
    if reason:
        text = f"{text}: {reason}"
    if not attributes.is_resource:
        return ApiError(403, "Forbidden", f"forbidden: {text}", details={})
    return forbidden(attributes.resource, attributes.name, text, attributes.group)
