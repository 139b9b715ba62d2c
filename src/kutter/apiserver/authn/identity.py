"""Who calls: the identity that authentication establishes and everything after it trusts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

ANONYMOUS_NAME = "system:anonymous"
GROUP_AUTHENTICATED = "system:authenticated"
GROUP_UNAUTHENTICATED = "system:unauthenticated"
GROUP_MASTERS = "system:masters"


class User(msgspec.Struct, frozen=True):
    """A caller: ``groups`` and ``extra`` are what authorization decides on."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)

    def to_user_info(self) -> dict[str, Any]:
        """``authentication.k8s.io/v1 UserInfo``."""
        info: dict[str, Any] = {"username": self.name}
        if self.uid:
            info["uid"] = self.uid
        if self.groups:
            info["groups"] = list(self.groups)
        if self.extra:
            info["extra"] = {key: list(values) for key, values in self.extra.items()}
        return info


ANONYMOUS = User(ANONYMOUS_NAME, groups=(GROUP_UNAUTHENTICATED,))


def with_authenticated(user: User) -> User:
    """``user`` in the group of everybody who proved an identity."""
    if GROUP_AUTHENTICATED in user.groups or GROUP_UNAUTHENTICATED in user.groups:
        return user
    return replace(user, groups=(*user.groups, GROUP_AUTHENTICATED))
