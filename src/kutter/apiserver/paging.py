"""Continue tokens and the version arguments of lists. Pure.

Upstream: https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from kutter.api.errors import (
    FieldError,
    bad_request,
    forbidden_field,
    invalid_object,
    not_supported,
)
from kutter.apiserver.request_info import is_true

_MATCHES = ("Exact", "NotOlderThan")
_TOKEN_VERSION = "meta.k8s.io/v1"  # noqa: S105  (a format's name)


@dataclass(frozen=True, slots=True)
class Continue:
    """Where a list goes on: from ``start`` on, at ``revision`` (-1: newest, inconsistent)."""

    revision: int
    start: str

    def encode(self) -> str:
        tree = {"v": _TOKEN_VERSION, "rv": self.revision, "start": self.start}
        return base64.urlsafe_b64encode(orjson.dumps(tree)).decode().rstrip("=")


def parse_continue(token: str) -> Continue:
    """Raises 400 for what is no token."""
    try:
        padded = token + "=" * (-len(token) % 4)
        tree = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if tree["v"] != _TOKEN_VERSION:
            detail = f'incorrect encoded start resourceVersion (version "{tree["v"]}")'
            raise bad_request(f"continue key is not valid: {detail}")
        revision, start = tree["rv"], tree["start"]
        if not isinstance(revision, int) or not isinstance(start, str) or not revision or not start:
            raise TypeError
        return Continue(revision, start)
    except (ValueError, KeyError, TypeError) as error:
        raise bad_request(f"continue key is not valid: {token}") from error


@dataclass(frozen=True, slots=True)
class ListOptions:
    """The arguments of a list or watch beside its selectors. ``revision`` None: not given."""

    limit: int = 0
    token: Continue | None = None
    revision: int | None = None
    match: str = ""
    watch: bool = False
    timeout_s: float | None = None
    bookmarks: bool = False
    initial_events: bool | None = None


_NONE = ListOptions()


def _integer(name: str, query: Mapping[str, str]) -> int:
    text = query.get(name, "")
    if not text:
        return 0
    try:
        return int(text)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def parse_list_options(query: Mapping[str, str], *, watch: bool) -> ListOptions:
    """Read and check. Raises 400 for what cannot be read, 422 for what does not go together."""
    if not query:
        return _NONE
    version = query.get("resourceVersion", "")
    match = query.get("resourceVersionMatch", "")
    token = query.get("continue", "")
    initial = query.get("sendInitialEvents")
    send_initial = None if initial is None else is_true(initial)
    _check(version, match, token, send_initial, watch=watch)
    if version and not version.isdecimal():
        raise bad_request(
            f'Invalid value: "{version}": strconv.ParseUint: parsing "{version}": invalid syntax'
        )
    timeout = _integer("timeoutSeconds", query)
    return ListOptions(
        limit=max(0, _integer("limit", query)),
        token=parse_continue(token) if token and not watch else None,
        revision=int(version) if version else None,
        match=match,
        watch=watch,
        timeout_s=float(timeout) if timeout > 0 else None,
        bookmarks=is_true(query.get("allowWatchBookmarks")),
        initial_events=send_initial,
    )


def _check(version: str, match: str, token: str, initial: bool | None, *, watch: bool) -> None:
    errors: list[FieldError] = []
    path = "resourceVersionMatch"
    if match:
        if watch and initial is None:
            errors.append(
                forbidden_field(
                    path,
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents "
                    "is provided",
                )
            )
        elif not watch and not version:
            errors.append(
                forbidden_field(
                    path,
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                )
            )
        if token:
            errors.append(
                forbidden_field(path, "resourceVersionMatch is forbidden when continue is provided")
            )
        if match not in _MATCHES:
            errors.append(not_supported(path, match, ["Exact", "NotOlderThan", ""]))
        elif match == "Exact" and version == "0":
            errors.append(
                forbidden_field(
                    path, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
                )
            )
    if initial is not None:
        path = "sendInitialEvents"
        if not watch:
            errors.append(forbidden_field(path, "sendInitialEvents is forbidden for list"))
        elif match != "NotOlderThan":
            errors.append(
                forbidden_field(
                    "resourceVersionMatch",
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                )
            )
    if errors:
        raise invalid_object("ListOptions", "", errors, "meta.k8s.io")
    if token and version and version != "0":
        raise bad_request("specifying resource version is not allowed when using continue")
