"""What every namespace starts with: the ``default`` ServiceAccount and the cluster's CA.

Owns: ServiceAccount ``default`` and ConfigMap ``kube-root-ca.crt`` in every active namespace.
Invariants: both are restored when deleted; the ConfigMap's content is kept right.
Upstream: kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin
"""

from __future__ import annotations

from collections.abc import Sequence

from kutter.api.errors import ApiError, is_reason
from kutter.api.types.core_v1 import ConfigMap, Namespace, ServiceAccount
from kutter.client.client import Client, Tree
from kutter.controllers.pods import is_namespace_terminating
from kutter.machinery.controller import Change, Result, Source, own_key
from kutter.machinery.informer import InformerFactory

ROOT_CA_NAME = "kube-root-ca.crt"
ROOT_CA_NOTE = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal"
    " endpoints such as the internal service IP or kubernetes.default.svc."
    " No other usage is guaranteed across distributions of Kubernetes clusters."
)


class ServiceAccountController:
    name = "serviceaccount"

    def __init__(self, client: Client, informers: InformerFactory) -> None:
        self._client = client
        self._namespaces = informers.informer(Namespace)
        self._accounts = informers.informer(ServiceAccount)

    def sources(self) -> Sequence[Source]:
        return [
            Source(self._namespaces, own_key),
            Source(self._accounts, lambda c: _namespace_of(c, "default")),
        ]

    async def reconcile(self, key: str) -> Result:
        namespace = self._namespaces.get(key)
        if namespace is None or namespace.metadata.deletion_timestamp:
            return Result()
        if self._accounts.get(f"{key}/default") is not None:
            return Result()
        body: Tree = {
            "kind": "ServiceAccount",
            "apiVersion": "v1",
            "metadata": {"name": "default", "namespace": key},
        }
        await create_unless_there(self._client, ServiceAccount, body, key)
        return Result("created the default service account")


class RootCaPublisher:
    name = "root-ca-certificate-publisher"

    def __init__(self, client: Client, informers: InformerFactory, root_ca: str) -> None:
        self._client = client
        self._root_ca = root_ca
        self._namespaces = informers.informer(Namespace)
        self._config_maps = informers.informer(
            ConfigMap, field_selector=f"metadata.name={ROOT_CA_NAME}"
        )

    def sources(self) -> Sequence[Source]:
        return [
            Source(self._namespaces, own_key),
            Source(self._config_maps, lambda c: _namespace_of(c, ROOT_CA_NAME)),
        ]

    async def reconcile(self, key: str) -> Result:
        namespace = self._namespaces.get(key)
        if namespace is None or namespace.metadata.deletion_timestamp:
            return Result()
        data = {"ca.crt": self._root_ca}
        known = self._config_maps.get(f"{key}/{ROOT_CA_NAME}")
        if known is None:
            body: Tree = {
                "kind": "ConfigMap",
                "apiVersion": "v1",
                "metadata": {
                    "name": ROOT_CA_NAME,
                    "namespace": key,
                    "annotations": {"kubernetes.io/description": ROOT_CA_NOTE},
                },
                "data": data,
            }
            await create_unless_there(self._client, ConfigMap, body, key)
            return Result("published the root certificate")
        if known.data == data:
            return Result()
        await self._client.patch(
            ConfigMap,
            ROOT_CA_NAME,
            [{"op": "add", "path": "/data", "value": data}],
            key,
            kind="json",
        )
        return Result("restored the root certificate")


async def create_unless_there(
    client: Client,
    view: type[ServiceAccount] | type[ConfigMap],
    body: Tree,
    namespace: str,
) -> None:
    """Create; someone else's equal creation and a namespace on its way out are fine."""
    try:
        await client.create(view, body, namespace)
    except ApiError as error:
        if is_reason(error, "AlreadyExists", "NotFound") or is_namespace_terminating(error):
            return
        raise


def _namespace_of(change: Change[ServiceAccount] | Change[ConfigMap], name: str) -> Sequence[str]:
    meta = change.any.metadata
    return (meta.namespace,) if meta.name == name else ()
