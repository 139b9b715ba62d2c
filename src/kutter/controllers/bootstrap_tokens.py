"""Bootstrap tokens: expired ones are removed, and they sign what joining nodes read first.

:class:`TokenCleaner` owns the end of secrets of type ``bootstrap.kubernetes.io/token``: each goes
when it expires. :class:`BootstrapSigner` owns the keys ``jws-kubeconfig-ID`` of the ConfigMap
``cluster-info`` in kube-public: a detached signature (HS256) of its ``kubeconfig`` for each token
with ``usage-bootstrap-signing``, and none for others.
Upstream: kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import orjson

from kutter.api.errors import ApiError, is_reason
from kutter.api.types.core_v1 import ConfigMap, Secret
from kutter.base.clock import Clock, parse_time
from kutter.client.client import Client
from kutter.machinery.controller import Change, Result, Source, own_key
from kutter.machinery.informer import Informer, InformerFactory

NAMESPACE, PUBLIC = "kube-system", "kube-public"
CLUSTER_INFO = "cluster-info"
_TYPE = "bootstrap.kubernetes.io/token"
_NAME_PREFIX = "bootstrap-token-"
_SIGNATURE = "jws-kubeconfig-"


def bootstrap_secrets(informers: InformerFactory) -> Informer[Secret]:
    return informers.informer(Secret, namespace=NAMESPACE, field_selector=f"type={_TYPE}")


def text_of(secret: Secret, key: str) -> str:
    """A value of the secret; empty where there is none."""
    try:
        return base64.b64decode(secret.data.get(key, "")).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def expiry_of(secret: Secret) -> datetime | None:
    """When the token ends; None: never. A date nobody can read has passed."""
    text = text_of(secret, "expiration")
    if not text:
        return None
    try:
        return parse_time(text)
    except ValueError:
        return parse_time("1970-01-01T00:00:00Z")


def sign_detached(content: str, token_id: str, token_secret: str) -> str:
    """A JSON Web Signature of ``content`` without ``content``."""
    header = _encode(orjson.dumps({"alg": "HS256", "kid": token_id}))
    signed = f"{header}.{_encode(content.encode())}".encode()
    mac = hmac.new(token_secret.encode(), signed, hashlib.sha256).digest()
    return f"{header}..{_encode(mac)}"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def plan_signatures(
    data: Mapping[str, str], secrets: Iterable[Secret], now: datetime
) -> dict[str, str]:
    """What ``data`` of cluster-info should be. Pure."""
    kept = {key: value for key, value in data.items() if not key.startswith(_SIGNATURE)}
    content = data.get("kubeconfig")
    if content is None:
        return kept
    for secret in secrets:
        token_id = text_of(secret, "token-id")
        token_secret = text_of(secret, "token-secret")
        ends = expiry_of(secret)
        if (
            token_id
            and token_secret
            and secret.metadata.name == _NAME_PREFIX + token_id
            and not secret.metadata.deletion_timestamp
            and (ends is None or ends > now)
            and text_of(secret, "usage-bootstrap-signing") == "true"
        ):
            kept[_SIGNATURE + token_id] = sign_detached(content, token_id, token_secret)
    return kept


class TokenCleaner:
    name = "token-cleaner"

    def __init__(self, client: Client, informers: InformerFactory, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._secrets = bootstrap_secrets(informers)

    def sources(self) -> Sequence[Source]:
        return [Source(self._secrets, own_key)]

    async def reconcile(self, key: str) -> Result:
        secret = self._secrets.get(key)
        ends = expiry_of(secret) if secret is not None else None
        if secret is None or ends is None:
            return Result()
        left = (ends - self._clock.now()).total_seconds()
        if left > 0:
            return Result("it goes when it expires", left)
        meta = secret.metadata
        try:
            await self._client.delete(Secret, meta.name, meta.namespace, uid=meta.uid)
        except ApiError as error:
            if not is_reason(error, "NotFound", "Conflict"):
                raise
        return Result("removed: it expired")


class BootstrapSigner:
    name = "bootstrap-signer"

    def __init__(self, client: Client, informers: InformerFactory, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._secrets = bootstrap_secrets(informers)
        self._config_maps = informers.informer(
            ConfigMap, namespace=PUBLIC, field_selector=f"metadata.name={CLUSTER_INFO}"
        )

    def sources(self) -> Sequence[Source]:
        return [Source(self._secrets, _cluster_info), Source(self._config_maps, _cluster_info)]

    async def reconcile(self, key: str) -> Result:
        known = self._config_maps.get(key)
        if known is None:
            return Result()
        wanted = plan_signatures(known.data, self._secrets.items(), self._clock.now())
        if wanted == known.data:
            return Result()
        tree = await self._client.get_tree(ConfigMap, CLUSTER_INFO, PUBLIC)
        tree["metadata"]["resourceVersion"] = known.metadata.resource_version
        tree["data"] = wanted
        await self._client.update(ConfigMap, tree)
        count = sum(name.startswith(_SIGNATURE) for name in wanted)
        return Result(f"signed for {count} tokens")


def _cluster_info(change: Change[Secret] | Change[ConfigMap]) -> Sequence[str]:
    return (f"{PUBLIC}/{CLUSTER_INFO}",)
