"""What of the server webhooks and policies need."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kutter.apiserver.admission.dynamic.metrics import AdmissionMetrics
from kutter.apiserver.admission.dynamic.subject import Subject
from kutter.apiserver.admission.dynamic.versions import Versions
from kutter.apiserver.ports import Authorizer
from kutter.apiserver.webhooks import WebhookCaller
from kutter.base.clock import Clock
from kutter.base.rng import Rng

if TYPE_CHECKING:
    from kutter.apiserver.admission.dynamic.evaluation import Decisions


class Outside(NamedTuple):
    caller: WebhookCaller
    versions: Versions
    authorizer: Authorizer
    metrics: AdmissionMetrics
    clock: Clock
    rng: Rng

    def decisions(self, subject: Subject) -> Decisions:
        """The authorizer's answers of one request, whoever asks."""
        # With expressions, which are read in when something has some.
        from kutter.apiserver.admission.dynamic.evaluation import Decisions

        found = subject.state("decisions", lambda: Decisions(self.authorizer.authorize))
        assert isinstance(found, Decisions)
        return found
