"""What a check is, and the words checks share. Pure.

A check looks at a pod's metadata and specification as trees and answers what it forbids. Which
form of a check counts depends on the version of the standards a namespace asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import msgspec

from kutter.apiserver.ports import Tree


class Finding(msgspec.Struct, frozen=True):
    """Something forbidden: why in a word, and what exactly."""

    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


Look = Callable[[Tree, Tree], Finding | None]
"""From metadata and specification to what is forbidden about them."""


class Check(msgspec.Struct, frozen=True):
    """``forms``: from which minor version on (of v1) which form counts, oldest first. A
    restricted check takes the place of the baseline checks it ``overrides``.
    """

    name: str
    restricted: bool
    forms: tuple[tuple[int, Look], ...]
    overrides: tuple[str, ...] = ()

    def form(self, minor: int) -> Look | None:
        """The form that counts for a version; None before the check came."""
        found = None
        for since, look in self.forms:
            if since <= minor:
                found = look
        return found


def containers(spec: Tree) -> Iterator[Tree]:
    """Every container, whatever it is for."""
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or ()


def security(holder: Tree, *path: str) -> Any:
    """A field of the ``securityContext`` of a pod's specification or a container."""
    value: Any = holder.get("securityContext")
    for name in path:
        if value is None:
            return None
        value = value.get(name)
    return value


def quoted(names: Collection[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def plural(one: str, count: int) -> str:
    return one if count == 1 else f"{one}s"


def named(what: str, names: Sequence[str]) -> str:
    """``container "a"`` or ``containers "a", "b"``."""
    return f"{plural(what, len(names))} {quoted(names)}"


def setters(*, pod: bool, names: Sequence[str]) -> str:
    """``pod and container "a"``: who set something. Empty when nobody did."""
    found = ["pod"] if pod else []
    if names:
        found.append(named("container", names))
    return " and ".join(found)


def in_user_namespace(spec: Tree) -> bool:
    """Whether root in the pod is nobody on the node."""
    return spec.get("hostUsers") is False


def is_windows(spec: Tree) -> bool:
    return (spec.get("os") or {}).get("name") == "windows"
