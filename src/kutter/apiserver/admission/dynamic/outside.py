"""What of the server webhooks and policies need."""

from __future__ import annotations

from typing import NamedTuple

from kutter.apiserver.admission.dynamic.evaluation import Decisions
from kutter.apiserver.admission.dynamic.metrics import AdmissionMetrics
from kutter.apiserver.admission.dynamic.subject import Subject
from kutter.apiserver.admission.dynamic.versions import Versions
from kutter.apiserver.ports import Authorizer
from kutter.apiserver.webhooks import WebhookCaller
from kutter.base.clock import Clock
from kutter.base.rng import Rng


class Outside(NamedTuple):
    caller: WebhookCaller
    versions: Versions
    authorizer: Authorizer
    metrics: AdmissionMetrics
    clock: Clock
    rng: Rng

    def decisions(self, subject: Subject) -> Decisions:
        """The authorizer's answers of one request, whoever asks."""
        found = subject.state("decisions", lambda: Decisions(self.authorizer.authorize))
        assert isinstance(found, Decisions)
        return found
