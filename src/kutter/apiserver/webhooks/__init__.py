"""Calling webhooks: from a client configuration to one POST (admission, conversion, audit ...)."""

from kutter.apiserver.webhooks.caller import WebhookCaller
from kutter.apiserver.webhooks.client_config import ClientConfig, read_client_config
from kutter.apiserver.webhooks.errors import WebhookCallError

__all__ = ["ClientConfig", "WebhookCallError", "WebhookCaller", "read_client_config"]
