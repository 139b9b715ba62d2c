"""What webhooks and policies do to requests, counted; names are upstream's."""

from __future__ import annotations

from kutter.base.metrics import Counter, Histogram, Registry

_NAMES_LIMIT = 512


class AdmissionMetrics:
    """Labels name what administrators made; beyond the first few hundred they share a series."""

    def __init__(self, registry: Registry) -> None:
        self._names: set[str] = set()
        hook = ("name", "type", "operation")
        self._duration = registry.add(
            Histogram(
                "apiserver_admission_webhook_admission_duration_seconds",
                "Admission webhook latency in seconds by name, type, operation and rejection.",
                (*hook, "rejected"),
            )
        )
        self._requests = registry.add(
            Counter(
                "apiserver_admission_webhook_request_total",
                "Admission webhook calls by name, type, operation, code and rejection.",
                (*hook, "code", "rejected"),
            )
        )
        self._rejections = registry.add(
            Counter(
                "apiserver_admission_webhook_rejection_count",
                "Requests rejected by admission webhooks, by why.",
                (*hook, "error_type", "rejection_code"),
            )
        )
        self._open = registry.add(
            Counter(
                "apiserver_admission_webhook_fail_open_count",
                "Calls of admission webhooks that failed and were ignored.",
                ("name", "type"),
            )
        )
        self._checks = registry.add(
            Counter(
                "apiserver_validating_admission_policy_check_total",
                "Validations that did not hold or could not be decided, by what followed.",
                ("policy", "policy_binding", "error_type", "enforcement_action"),
            )
        )

    def _known(self, name: str) -> str:
        if name in self._names or len(self._names) < _NAMES_LIMIT:
            self._names.add(name)
            return name
        return ""

    def called(
        self, webhook: str, step: str, operation: str, *, duration_s: float, code: int, error: str
    ) -> None:
        """One call. ``error`` is upstream's error type of a rejection, empty for none."""
        labels = (self._known(webhook), step, operation)
        rejected = "true" if error else "false"
        self._duration.observe(duration_s, *labels, rejected)
        self._requests.inc(*labels, str(code), rejected)
        if error:
            # As upstream: few codes are told apart.
            self._rejections.inc(*labels, error, str(min(code, 600)))

    def ignored(self, webhook: str, step: str) -> None:
        """A call failed and the request goes on."""
        self._open.inc(self._known(webhook), step)

    def checked(self, policy: str, binding: str, *, error: bool, action: str) -> None:
        """A validation that did not hold."""
        kind = "invalid_error" if error else "no_error"
        self._checks.inc(self._known(policy), self._known(binding), kind, action)
