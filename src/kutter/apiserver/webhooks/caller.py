"""One POST to a webhook: TLS checked, connections kept, time and answer bounded.

Between whoever asks a webhook (admission, conversion, authentication, authorization, audit) and
:class:`kutter.http.client.HttpClient`. A client is kept for each client configuration, the least
recently used ones go. An answer is JSON or a failure; what it means is the caller's business.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import orjson

from kutter.apiserver.ports import Reader
from kutter.apiserver.webhooks.client_config import ClientConfig
from kutter.apiserver.webhooks.errors import WebhookCallError, describe_failure, describe_status
from kutter.apiserver.webhooks.targets import NoTargetError, ServiceTargets, Target
from kutter.base.rng import SYSTEM_RNG, Rng
from kutter.http.client import HttpAnswer, HttpClient
from kutter.http.client_connection import StaleConnectionError
from kutter.http.tls import client_context

ANSWER_LIMIT_BYTES = 8 * 1024 * 1024
_CLIENTS = 256
_CONNECTIONS, _IDLE = 128, 8
_ATTEMPTS = 3


class WebhookCaller:
    """The webhooks of one server. Without a ``reader`` only URLs can be called."""

    def __init__(self, reader: Reader | None = None, *, rng: Rng = SYSTEM_RNG) -> None:
        self._targets = ServiceTargets(reader, rng) if reader is not None else None
        self._clients: OrderedDict[ClientConfig, HttpClient] = OrderedDict()

    async def post(self, config: ClientConfig, body: Any, *, timeout_s: float) -> Any:
        """POST ``body`` as JSON; the decoded JSON of a 2xx answer. Raises WebhookCallError."""
        return await self.post_bytes(config, orjson.dumps(body), timeout_s=timeout_s)

    async def post_bytes(self, config: ClientConfig, body: bytes, *, timeout_s: float) -> Any:
        """As ``post``, with a body that is JSON already."""
        answer = await self._exchange(config, body, timeout_s)
        if not 200 <= answer.status <= 206:
            raise WebhookCallError(
                describe_status(answer.status, answer.body), status=answer.status
            )
        try:
            return orjson.loads(answer.body)
        except ValueError as error:
            raise WebhookCallError(
                f"couldn't get version/kind; json parse error: {error}", status=answer.status
            ) from error

    async def close(self) -> None:
        """Drop all connections."""
        clients = list(self._clients.values())
        self._clients.clear()
        for client in clients:
            await client.close()

    # -- one exchange ---------------------------------------------------------

    async def _exchange(self, config: ClientConfig, body: bytes, timeout_s: float) -> HttpAnswer:
        shown = f"{config.shown_url}?timeout={_duration(timeout_s)}"
        place = ""
        try:
            async with asyncio.timeout(timeout_s):
                for attempt in range(1, _ATTEMPTS + 1):
                    target = self._target(config)
                    place = f"{target.host}:{target.port}"
                    try:
                        return await self._send(config, target, body, shown)
                    except StaleConnectionError:
                        # Nothing was answered: a kept connection the other side had given up.
                        if attempt == _ATTEMPTS:
                            raise
        except NoTargetError as error:
            raise WebhookCallError(f'Post "{shown}": {error}') from error
        except OSError as error:
            text = f'Post "{shown}": {describe_failure(error, place)}'
            raise WebhookCallError(text, timed_out=isinstance(error, TimeoutError)) from error
        raise AssertionError("the last attempt answers or raises")

    def _target(self, config: ClientConfig) -> Target:
        if config.url:
            parts = urlsplit(config.url)
            port = parts.port or (80 if parts.scheme == "http" else 443)
            return Target(parts.hostname or "", port)
        if not config.name:
            raise NoTargetError("webhook configuration must have either service or URL")
        if self._targets is None:
            raise NoTargetError("this server resolves no services for webhooks")
        return self._targets.resolve(config.namespace, config.name, config.port)

    async def _send(
        self, config: ClientConfig, target: Target, body: bytes, shown: str
    ) -> HttpAnswer:
        parts = urlsplit(shown)
        host = f"[{target.host}]" if ":" in target.host else target.host
        url = urlunsplit((parts.scheme, f"{host}:{target.port}", parts.path, parts.query, ""))
        headers = {
            "Host": parts.netloc,
            "User-Agent": "kutter-apiserver",
            "Accept": "application/json, */*",
            "Content-Type": "application/json",
        }
        if config.token:
            headers["Authorization"] = f"Bearer {config.token}"
        client = self._client_of(config)
        # The time is measured around: connecting and resolving are part of it.
        return await client.request(
            "POST", url, headers=headers, body=body, timeout_s=None, limit_bytes=ANSWER_LIMIT_BYTES
        )

    def _client_of(self, config: ClientConfig) -> HttpClient:
        client = self._clients.get(config)
        if client is not None:
            self._clients.move_to_end(config)
            return client
        client = HttpClient(
            tls=client_context(
                ca_data=config.ca_pem, cert_data=config.cert_pem, key_data=config.key_pem
            ),
            server_hostname="" if config.url else config.server_name,
            connect_timeout_s=30.0,
            max_connections=_CONNECTIONS,
            max_idle=_IDLE,
        )
        self._clients[config] = client
        if len(self._clients) > _CLIENTS:
            self._clients.popitem(last=False)[1].retire()
        return client


def _duration(seconds: float) -> str:
    """As Go prints a duration of whole seconds or milliseconds: ``10s``, ``1m0s``, ``500ms``."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    text = f"{rest:g}s"
    return f"{int(minutes)}m{text}" if minutes else text
