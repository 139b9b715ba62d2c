"""All authorizers of a server, asked in turn: the first to allow, or to deny for good, wins.

``system:masters`` is allowed everything before any of them is asked, so that a broken policy can
be repaired.
"""

from __future__ import annotations

from collections.abc import Sequence

from kutter.apiserver.authn.identity import GROUP_MASTERS
from kutter.apiserver.ports import Attributes, Authorizer, Decision


class UnionAuthorizer:
    """Asks ``authorizers`` in order; the reasons of all refusals are told together.

    The list may be replaced at any time.
    """

    def __init__(self, authorizers: Sequence[Authorizer]) -> None:
        self.authorizers = tuple(authorizers)

    async def authorize(self, attributes: Attributes) -> Decision:
        if GROUP_MASTERS in attributes.user.groups:
            return _ALLOWED
        reasons: list[str] = []
        for authorizer in self.authorizers:
            decision = await authorizer.authorize(attributes)
            if decision.allowed or decision.denied:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(False, "\n".join(reasons))


_ALLOWED = Decision(True)
