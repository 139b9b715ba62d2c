"""Webhooks that answer reviews (TokenReview, SubjectAccessReview): named by a kubeconfig file.

Between those who ask and :class:`WebhookCaller`. A failure that may pass is tried again, as
upstream does: five times in all, half a second apart and longer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kutter.apiserver.configuration_file import ConfigurationError
from kutter.apiserver.webhooks.caller import WebhookCaller
from kutter.apiserver.webhooks.client_config import ClientConfig
from kutter.apiserver.webhooks.errors import WebhookCallError
from kutter.base.backoff import Backoff
from kutter.base.clock import Clock
from kutter.client.kubeconfig import Connection, KubeconfigError, load_connection

ATTEMPTS = 5
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 2.0
_PASSING = frozenset({0, 429, 500, 502, 503, 504})


class ReviewWebhook:
    """One webhook."""

    def __init__(
        self, config: ClientConfig, caller: WebhookCaller, *, timeout_s: float, clock: Clock
    ) -> None:
        self._config = config
        self._caller = caller
        self._timeout_s = timeout_s
        self._clock = clock

    async def ask(self, review: dict[str, Any]) -> dict[str, Any]:
        """The review as it came back. Raises WebhookCallError."""
        waits = Backoff(initial_s=_FIRST_WAIT_S, maximum_s=_LONGEST_WAIT_S, factor=1.5)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = await self._caller.post(self._config, review, timeout_s=self._timeout_s)
            except WebhookCallError as error:
                if attempt == ATTEMPTS or error.status not in _PASSING:
                    raise
                await self._clock.sleep(waits.next())
                continue
            if not isinstance(answer, dict) or answer.get("kind") != review["kind"]:
                raise WebhookCallError(f"the answer is no {review['kind']}")
            return answer
        raise AssertionError("the last attempt answers or raises")


def read_webhook_file(path: Path) -> ClientConfig:
    """The webhook a kubeconfig names. Raises ConfigurationError."""
    try:
        connection = load_connection(path)
        return ClientConfig(
            url=connection.server,
            ca_pem=connection.ca_data or _content(connection.ca_file),
            cert_pem=connection.cert_data or _content(connection.cert_file),
            key_pem=connection.key_data or _content(connection.key_file),
            token=_token(connection),
        )
    except (KubeconfigError, OSError) as error:
        raise ConfigurationError(f"webhook configuration {path}: {error}") from error


def _content(file: Path | None) -> bytes:
    return file.read_bytes() if file is not None else b""


def _token(connection: Connection) -> str:
    if connection.insecure or connection.tls_server_name or connection.exec_plugin:
        raise KubeconfigError(
            "insecure-skip-tls-verify, tls-server-name and exec are not supported"
        )
    if connection.token_file is not None:
        return connection.token_file.read_text().strip()
    return connection.token
