"""Acting as somebody else, for those who may.

Between authentication and everything after it: ``Impersonate-User``, ``-Group``, ``-Uid`` and
``-Extra-*`` headers, each checked with the verb ``impersonate``.
https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

from kutter.api.errors import bad_request
from kutter.api.quoting import quote
from kutter.apiserver.authn.identity import (
    ANONYMOUS_NAME,
    GROUP_AUTHENTICATED,
    GROUP_UNAUTHENTICATED,
    User,
)
from kutter.apiserver.authn.service_accounts import ALL_ACCOUNTS, split_username
from kutter.apiserver.authz.messages import refusal
from kutter.apiserver.ports import Attributes, Authorizer
from kutter.http.heads import header_text
from kutter.http.messages import Request

_PREFIX = "impersonate-"
_EXTRA_PREFIX = "impersonate-extra-"
_GROUP = "authentication.k8s.io"


def impersonates(request: Request) -> bool:
    """Whether a request asks to act as somebody else; hardly any does."""
    remembered = request.remembered
    found: bool | None = remembered.get(impersonates) if remembered is not None else None
    if found is None:
        # One search instead of a look at each.
        found = _PREFIX in "\n".join(request.headers)
        if remembered is not None:
            remembered[impersonates] = found
    return found


async def impersonate(request: Request, user: User, authorizer: Authorizer) -> User:
    """Whom ``user`` acts as: mostly themselves.

    The headers leave the request. Raises 403 for what ``user`` may not, 400 for groups, uid or
    extra without a user.
    """
    found = _take_headers(request)
    name = next((v for k, v in found if k == "impersonate-user" and v), "")
    groups = tuple(v for k, v in found if k == "impersonate-group")
    uid = next((v for k, v in found if k == "impersonate-uid" and v), "")
    extra = _extra_of(found)
    if not name:
        if groups or uid or extra:
            shown = _go_user(uid, groups, extra)
            raise bad_request(f"requested {shown} without impersonating a user name")
        return user
    for attributes in _questions(user, User(name, uid, groups, extra)):
        decision = await authorizer.authorize(attributes)
        if not decision.allowed:
            raise refusal(attributes, decision.reason)
    return User(name, uid, _all_groups(name, groups), extra)


def _take_headers(request: Request) -> list[tuple[str, str]]:
    pairs = request.header_list or list(request.headers.items())
    found = [(k.lower(), header_text(v)) for k, v in pairs if k.lower().startswith(_PREFIX)]
    request.headers = {k: v for k, v in request.headers.items() if not k.startswith(_PREFIX)}
    request.header_list = [
        (k, v) for k, v in request.header_list if not k.lower().startswith(_PREFIX)
    ]
    return found


def _extra_of(found: list[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    extra: dict[str, tuple[str, ...]] = {}
    for header, value in found:
        if header.startswith(_EXTRA_PREFIX):
            key = unquote(header[len(_EXTRA_PREFIX) :]).lower()
            extra[key] = (*extra.get(key, ()), value)
    return extra


def _questions(user: User, wanted: User) -> list[Attributes]:
    account = split_username(wanted.name)
    if account is not None:
        namespace, name = account
        asked = [_ask(user, "serviceaccounts", name, namespace=namespace)]
    else:
        asked = [_ask(user, "users", wanted.name)]
    asked += [_ask(user, "groups", group) for group in wanted.groups]
    asked += [
        _ask(user, "userextras", value, group=_GROUP, subresource=key)
        for key, values in wanted.extra.items()
        for value in values
    ]
    if wanted.uid:
        asked.append(_ask(user, "uids", wanted.uid, group=_GROUP))
    return asked


def _ask(
    user: User,
    resource: str,
    name: str,
    *,
    namespace: str = "",
    group: str = "",
    subresource: str = "",
) -> Attributes:
    return Attributes(
        user,
        "impersonate",
        group=group,
        version="v1",
        resource=resource,
        subresource=subresource,
        namespace=namespace,
        name=name,
        is_resource=True,
    )


def _all_groups(name: str, groups: tuple[str, ...]) -> tuple[str, ...]:
    """The groups given, and those that go without saying."""
    account = split_username(name)
    if account is not None and not groups:
        groups = (ALL_ACCOUNTS, f"{ALL_ACCOUNTS}:{account[0]}")
    if name == ANONYMOUS_NAME:
        return groups if GROUP_UNAUTHENTICATED in groups else (*groups, GROUP_UNAUTHENTICATED)
    if GROUP_AUTHENTICATED in groups or GROUP_UNAUTHENTICATED in groups:
        return groups
    return (*groups, GROUP_AUTHENTICATED)


def _go_user(uid: str, groups: tuple[str, ...], extra: Mapping[str, tuple[str, ...]]) -> str:
    """Somebody without a name as upstream prints them."""
    listed = f"{{{', '.join(map(quote, groups))}}}" if groups else "(nil)"
    more = ", ".join(
        f"{quote(key)}:[]string{{{', '.join(map(quote, extra[key]))}}}" for key in sorted(extra)
    )
    return (
        f'&user.DefaultInfo{{Name:"", UID:{quote(uid)}, Groups:[]string{listed}, '
        f"Extra:map[string][]string{f'{{{more}}}' if extra else '(nil)'}}}"
    )
