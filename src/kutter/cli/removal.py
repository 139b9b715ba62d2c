"""Waiting until deleted objects are gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kutter.cli import moments
from kutter.cli.command import CommandError

if TYPE_CHECKING:
    from kutter.api.resources import Resource
    from kutter.cli.session import Session

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.5


class Removal(NamedTuple):
    """One object on its way out; another one of its name is not it."""

    resource: Resource
    namespace: str
    name: str
    uid: str


def wait_until_gone(session: Session, removals: Sequence[Removal], timeout_s: float) -> None:
    """Until all are gone; 0 seconds is a week, as kubectl has it. Raises CommandError."""
    deadline = moments.monotonic() + (timeout_s or 7 * 86400.0)
    for removal in removals:
        pause_s = _FIRST_PAUSE_S
        while True:
            current = session.find(removal.resource, removal.name, removal.namespace)
            if current is None or (removal.uid and current["metadata"].get("uid") != removal.uid):
                break
            if moments.monotonic() >= deadline:
                raise CommandError(
                    "timed out waiting for the condition on"
                    f" {removal.resource.plural}/{removal.name}",
                    hint=f"'kutter why {removal.resource.singular}/{removal.name}' says why",
                )
            moments.pause(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
