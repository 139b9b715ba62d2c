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
        self.authorizers = authorizers

    @property
    def authorizers(self) -> Sequence[Authorizer]:
        return self._authorizers

    @authorizers.setter
    def authorizers(self, authorizers: Sequence[Authorizer]) -> None:
        self._authorizers = tuple(authorizers)
        # Those that never wait are asked without the detour.
        self._deciders = tuple((getattr(a, "decide", None), a) for a in self._authorizers)

    async def authorize(self, attributes: Attributes) -> Decision:
        if GROUP_MASTERS in attributes.user.groups:
            return _ALLOWED
        reasons: list[str] = []
        for decide, authorizer in self._deciders:
            decision: Decision = (
                decide(attributes) if decide is not None else await authorizer.authorize(attributes)
            )
            if decision.allowed or decision.denied:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(False, "\n".join(reasons))


_ALLOWED = Decision(True)
