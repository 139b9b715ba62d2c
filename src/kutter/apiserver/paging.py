"""Continue tokens and the version arguments of lists. Pure.

Upstream: https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
"""

from __future__ import annotations

import base64
import posixpath
import re
from collections.abc import Mapping

import msgspec
import orjson

from kutter.api.errors import (
    ApiError,
    FieldError,
    bad_request,
    forbidden_field,
    invalid_object,
    not_supported,
)
from kutter.api.json_errors import explain
from kutter.apiserver.request_info import is_true

_INT64 = 1 << 63
_MATCHES = ("Exact", "NotOlderThan")
_NOT_WITH_CONTINUE = "resourceVersionMatch is forbidden when continue is provided"
_TOKEN_VERSION = "meta.k8s.io/v1"  # noqa: S105  (a format's name)
_IN_VERSION = f"version {_TOKEN_VERSION}"


class Continue(msgspec.Struct, frozen=True):
    """Where a list goes on: from ``start`` on, at ``revision`` (-1: newest, inconsistent)."""

    revision: int
    start: str

    def encode(self) -> str:
        tree = {"v": _TOKEN_VERSION, "rv": self.revision, "start": self.start}
        return base64.urlsafe_b64encode(orjson.dumps(tree)).decode().rstrip("=")


def parse_continue(token: str) -> Continue:
    """Raises 400 for what is no token, in upstream's words."""
    try:
        return _read_token(token)
    except ValueError as error:
        raise bad_request(f"invalid continue token: {error}") from error


def _read_token(token: str) -> Continue:
    invalid = "continue key is not valid"
    try:
        padded = token + "=" * (-len(token) % 4)
        data = base64.b64decode(padded, altchars=b"-_", validate=True)
    except ValueError:
        bad = re.search(r"[^A-Za-z0-9_-]", token)
        at = bad.start() if bad else len(token) // 4 * 4
        raise ValueError(f"{invalid}: illegal base64 data at input byte {at}") from None
    try:
        tree = orjson.loads(data)
    except ValueError as error:
        raise ValueError(f"{invalid}: {explain(data) or error}") from None
    if not isinstance(tree, dict):
        raise ValueError(f"{invalid}: {token}")  # noqa: TRY004  (answered as 400)
    if tree.get("v") != _TOKEN_VERSION:
        found = tree.get("v") or ""
        raise ValueError(f"{invalid}: server does not recognize this encoded version {found}")
    revision, start = tree.get("rv") or 0, tree.get("start") or ""
    if not isinstance(revision, int) or not isinstance(start, str):
        raise ValueError(f"{invalid}: {token}")  # noqa: TRY004  (answered as 400)
    if not revision:
        raise ValueError(f"{invalid}: incorrect encoded start resourceVersion ({_IN_VERSION})")
    if not start:
        raise ValueError(f"{invalid}: encoded start key empty ({_IN_VERSION})")
    # A key that leaves the collection's own part of the store is nobody's continuation.
    key = start if start.startswith("/") else f"/{start}"
    if key != "/" and posixpath.normpath(key) != key:
        raise ValueError(f"{invalid}: {start}")
    return Continue(revision, start)


class ListOptions(msgspec.Struct, frozen=True):
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
        number = int(text)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
    if not -_INT64 <= number < _INT64:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return number


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
        raise invalid_version(version, watch=watch)
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


def invalid_version(version: str, *, watch: bool) -> ApiError:
    """What is no resourceVersion: 400 to a list; 500 without a reason to a watch, as upstream."""
    detail = (
        f'resourceVersion: Invalid value: "{version}": strconv.ParseUint: parsing "{version}": '
        "invalid syntax"
    )
    return (
        ApiError(500, "", detail) if watch else bad_request(f"invalid resource version: {detail}")
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
            errors.append(forbidden_field(path, _NOT_WITH_CONTINUE))
        if match not in _MATCHES:
            errors.append(not_supported(path, match, ["Exact", "NotOlderThan", ""]))
        elif match == "Exact" and version == "0":
            errors.append(
                forbidden_field(
                    path, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
                )
            )
    elif watch and token and initial is None and version in ("", "0"):
        # A watch from nowhere is one that begins with what is there.
        errors.append(forbidden_field(path, _NOT_WITH_CONTINUE))
    if initial is not None:
        path = "sendInitialEvents"
        if not watch:
            errors.append(forbidden_field(path, "sendInitialEvents is forbidden for list"))
        elif match != "NotOlderThan":
            path = "resourceVersionMatch"
            detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            errors.append(forbidden_field(path, detail))
            if match:
                errors.append(not_supported(path, match, ["NotOlderThan"]))
    if errors:
        raise invalid_object("ListOptions", "", errors, "meta.k8s.io")
    if token and not watch:
        parse_continue(token)
        if version and version != "0":
            raise bad_request("specifying resource version is not allowed when using continue")
