"""The dynamic plugins of one server, in upstream's order, and how they come to know it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kutter.apiserver.admission.dynamic.versions import Versions
from kutter.apiserver.admission.dynamic.webhook_plugins import (
    MutatingAdmissionWebhook,
    Outside,
    ValidatingAdmissionWebhook,
)
from kutter.apiserver.admission.plugin import Plugin

if TYPE_CHECKING:
    from kutter.apiserver.server import ApiServer


class DynamicAdmission:
    """``plugins`` go into the chain; ``attach`` once the server's caches are filled."""

    def __init__(self) -> None:
        self._mutating = MutatingAdmissionWebhook()
        self._validating = ValidatingAdmissionWebhook()
        self.plugins: tuple[Plugin, ...] = (self._mutating, self._validating)

    def attach(self, server: ApiServer, on_change: Callable[[], None]) -> None:
        """``on_change``: what plugins want may have changed."""
        outside = Outside(server.webhooks, Versions(server), server.rng)
        for plugin in (self._mutating, self._validating):
            plugin.attach(outside, server.caches, on_change)
