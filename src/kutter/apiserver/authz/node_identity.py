"""Which node a caller is."""

from __future__ import annotations

from kutter.apiserver.authn.identity import User

USER_PREFIX = "system:node:"
GROUP_NODES = "system:nodes"


def node_of(user: User) -> tuple[str, bool]:
    """The node's name and whether the caller is a node at all."""
    if not user.name.startswith(USER_PREFIX) or GROUP_NODES not in user.groups:
        return "", False
    return user.name[len(USER_PREFIX) :], True
