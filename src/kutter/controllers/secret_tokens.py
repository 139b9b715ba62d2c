"""Tokens that live in secrets of type ``kubernetes.io/service-account-token``.

Owns: ``token``, ``ca.crt`` and ``namespace`` in the data of such secrets, and the annotation with
their account's uid. Reads: secrets, service accounts. Invariants: a token is filled in once and
stays; a secret whose account is gone, or is another one by now, goes too.
Upstream: kubernetes.io/docs/concepts/configuration/secret/#serviceaccount-token-secrets
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence

from kutter.api.errors import ApiError, is_reason
from kutter.api.types.core_v1 import Secret, ServiceAccount
from kutter.client.client import Client, Tree
from kutter.machinery.controller import Change, Result, Source, own_key
from kutter.machinery.informer import InformerFactory

Issue = Callable[[str, str, str, str], str]
"""From namespace, account, its uid and the secret's name to a token."""

_TYPE = "kubernetes.io/service-account-token"
_NAME, _UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"


def plan_data(
    data: dict[str, str], *, namespace: str, root_ca: str, issue: Callable[[], str]
) -> dict[str, str]:
    """What ``data`` of a token's secret should be; the same when nothing lacks. Pure but for
    ``issue``, called for a token that is not there yet.
    """
    wanted = dict(data)
    if root_ca:
        wanted["ca.crt"] = _encode(root_ca)
    wanted.setdefault("namespace", _encode(namespace))
    if not wanted.get("token"):
        wanted["token"] = _encode(issue())
    return wanted


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class SecretTokenController:
    name = "serviceaccount-token"

    def __init__(
        self, client: Client, informers: InformerFactory, issue: Issue, root_ca: str
    ) -> None:
        self._client = client
        self._issue = issue
        self._root_ca = root_ca
        self._accounts = informers.informer(ServiceAccount)
        self._secrets = informers.informer(Secret, field_selector=f"type={_TYPE}")
        self._secrets.add_index("account", _account_of)

    def sources(self) -> Sequence[Source]:
        return [Source(self._secrets, own_key), Source(self._accounts, self._tokens_of)]

    def _tokens_of(self, change: Change[ServiceAccount]) -> Sequence[str]:
        found = self._secrets.by_index("account", change.key)
        return [f"{s.metadata.namespace}/{s.metadata.name}" for s in found]

    async def reconcile(self, key: str) -> Result:
        secret = self._secrets.get(key)
        if secret is None or secret.metadata.deletion_timestamp:
            return Result()
        meta = secret.metadata
        annotations = meta.annotations or {}
        account_name, uid = annotations.get(_NAME, ""), annotations.get(_UID, "")
        if not account_name:
            return Result()
        account = await self._find(meta.namespace, account_name)
        if account is None or (uid and uid != account.metadata.uid):
            await self._remove(secret)
            return Result(f"removed: its account {account_name} is gone")
        wanted = plan_data(
            secret.data,
            namespace=meta.namespace,
            root_ca=self._root_ca,
            issue=lambda: self._issue(
                meta.namespace, account_name, account.metadata.uid, meta.name
            ),
        )
        if wanted == secret.data and uid:
            return Result()
        tree = await self._client.get_tree(Secret, meta.name, meta.namespace)
        metadata: Tree = tree["metadata"]
        metadata["resourceVersion"] = meta.resource_version
        metadata["annotations"] = {**annotations, _UID: account.metadata.uid}
        tree["data"] = wanted
        await self._client.update(Secret, tree)
        return Result("its token is filled in")

    async def _find(self, namespace: str, name: str) -> ServiceAccount | None:
        """The account; asked for again before anybody concludes that there is none."""
        known = self._accounts.get(f"{namespace}/{name}")
        if known is not None:
            return known
        try:
            return await self._client.get(ServiceAccount, name, namespace)
        except ApiError as error:
            if is_reason(error, "NotFound"):
                return None
            raise

    async def _remove(self, secret: Secret) -> None:
        meta = secret.metadata
        try:
            await self._client.delete(Secret, meta.name, meta.namespace, uid=meta.uid)
        except ApiError as error:
            if not is_reason(error, "NotFound", "Conflict"):
                raise


def _account_of(secret: Secret) -> tuple[str, ...]:
    name = (secret.metadata.annotations or {}).get(_NAME)
    return (f"{secret.metadata.namespace}/{name}",) if name else ()
