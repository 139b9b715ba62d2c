"""Puts the audit together from its settings: policy, log file, collector."""

from __future__ import annotations

from pathlib import Path

from kutter.apiserver.audit.auditor import Auditor, Explain
from kutter.apiserver.audit.log_file import LogFile
from kutter.apiserver.audit.policy import PolicyError, read_policy
from kutter.apiserver.audit.webhook import BatchOptions, WebhookSink
from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.metrics import Registry
from kutter.client.http import HttpTransport
from kutter.client.kubeconfig import KubeconfigError, load_connection
from kutter.cluster.api_options import ApiServerOptions, seconds_of

_MEGABYTE = 1024 * 1024


def build_auditor(
    options: ApiServerOptions,
    *,
    explain: Explain | None = None,
    clock: Clock = SYSTEM_CLOCK,
    metrics: Registry | None = None,
) -> Auditor | None:
    """None without a policy. Raises ValueError for a policy or collector that cannot be used."""
    if not options.audit_policy_file:
        if options.audit_log_path or options.audit_webhook_config_file:
            raise ValueError("an audit backend is set, but no audit policy file")
        return None
    try:
        policy = read_policy(Path(options.audit_policy_file))
    except (PolicyError, OSError) as error:
        raise ValueError(f"loading audit policy file: {error}") from error
    auditor = Auditor(policy, explain=explain, clock=clock, metrics=metrics)
    if options.audit_log_path:
        auditor.add(
            LogFile(
                options.audit_log_path,
                size_bytes=options.audit_log_maxsize * _MEGABYTE,
                backups=options.audit_log_maxbackup,
                age_days=options.audit_log_maxage,
                clock=clock,
            )
        )
    if options.audit_webhook_config_file:
        auditor.add(_webhook(options, auditor, clock))
    return auditor if auditor.sinks else None


def _webhook(options: ApiServerOptions, auditor: Auditor, clock: Clock) -> WebhookSink:
    try:
        connection = load_connection(Path(options.audit_webhook_config_file))
    except (KubeconfigError, OSError) as error:
        raise ValueError(f"initializing audit webhook: {error}") from error
    batch = BatchOptions(
        buffer_size=options.audit_webhook_batch_buffer_size,
        max_size=options.audit_webhook_batch_max_size,
        max_wait_s=seconds_of(options, "audit_webhook_batch_max_wait"),
        throttle=options.audit_webhook_batch_throttle_enable == "true",
        throttle_qps=options.audit_webhook_batch_throttle_qps,
        throttle_burst=options.audit_webhook_batch_throttle_burst,
        initial_backoff_s=seconds_of(options, "audit_webhook_initial_backoff"),
    )
    return WebhookSink(
        _Collector(HttpTransport(connection, user_agent="kutter-audit")),
        batch,
        dropped=lambda count: auditor.count_lost(WebhookSink.name, count),
        clock=clock,
    )


class _Collector:
    def __init__(self, transport: HttpTransport) -> None:
        self._transport = transport

    async def send(self, body: bytes) -> int:
        headers = {"Content-Type": "application/json"}
        answer = await self._transport.request("POST", "", headers=headers, body=body)
        return answer.status

    async def close(self) -> None:
        await self._transport.close()
