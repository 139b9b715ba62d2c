"""Authorization as configured: authorizers in their order, among them webhooks.

Between the configuration file (followed) and :class:`UnionAuthorizer`, whose list it replaces as a
whole. A configuration that is wrong changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from kutter.api.durations import parse
from kutter.apiserver.authz.authorization_configuration import (
    AuthorizationConfiguration,
    AuthorizerSettings,
    parse_authorization,
)
from kutter.apiserver.authz.union import UnionAuthorizer
from kutter.apiserver.authz.webhook import WebhookAuthorizer
from kutter.apiserver.configuration_file import ConfigurationFile
from kutter.apiserver.ports import Attributes, Authorizer, Decision
from kutter.apiserver.webhooks.reviews import ReviewWebhook
from kutter.base.clock import Clock

WebhookOf = Callable[[Path, float], ReviewWebhook]
"""The webhook of a kubeconfig file, with a time-out. Raises ConfigurationError."""


class Always:
    """One answer to everything."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision

    async def authorize(self, attributes: Attributes) -> Decision:
        return self._decision


ALWAYS: dict[str, Authorizer] = {
    "AlwaysAllow": Always(Decision(allowed=True)),
    "AlwaysDeny": Always(Decision(allowed=False, reason="Everything is forbidden.")),
}


class StructuredAuthorization:
    """``known`` are the authorizers by type that are not webhooks."""

    def __init__(
        self,
        union: UnionAuthorizer,
        known: Mapping[str, Authorizer],
        webhook_of: WebhookOf,
        *,
        clock: Clock,
    ) -> None:
        self._union = union
        self._known = {**ALWAYS, **known}
        self._webhook_of = webhook_of
        self._clock = clock
        self._file: ConfigurationFile | None = None

    def read(self, file: ConfigurationFile) -> None:
        """Put a file into force. Raises ConfigurationError."""
        self._file = file
        self.apply(parse_authorization(file.read()))

    def apply(self, configuration: AuthorizationConfiguration) -> None:
        """Put a checked configuration into force. Raises ConfigurationError."""
        self._union.authorizers = tuple(self._make(s) for s in configuration.authorizers)

    def _make(self, settings: AuthorizerSettings) -> Authorizer:
        webhook = settings.webhook
        if webhook is None:
            return self._known[settings.type]
        file = Path(webhook.connection_info.kube_config_file or "")
        asked = self._webhook_of(file, parse(webhook.timeout))
        return WebhookAuthorizer(settings.name, asked, webhook, clock=self._clock)

    async def run(self) -> None:
        """Follow the file until cancelled; returns where there is none."""
        if self._file is not None:
            await self._file.follow(self._clock, self._reload)

    async def _reload(self, content: bytes) -> None:
        self.apply(parse_authorization(content))
