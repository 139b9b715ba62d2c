"""What aggregated servers need to believe this one, in a ConfigMap every one of them may read.

``kube-system/extension-apiserver-authentication``: whose client certificates hold, and whose
certificates may speak for others in which headers. Written at the start, where it differs.
"""

from __future__ import annotations

import orjson

from kutter.api.errors import ApiError, is_reason
from kutter.apiserver.aggregation.front_proxy import (
    EXTRA_PREFIX,
    GROUP_HEADER,
    UID_HEADER,
    USER_HEADER,
)
from kutter.apiserver.authn.request_header import ALLOWED_NAMES
from kutter.apiserver.bootstrap import SYSTEM_USER
from kutter.apiserver.ports import Tree
from kutter.apiserver.server import ApiServer
from kutter.apiserver.writing import WriteContext

NAMESPACE, NAME = "kube-system", "extension-apiserver-authentication"


async def ensure_authentication_config(
    server: ApiServer, *, client_ca_pem: bytes, front_proxy_ca_pem: bytes
) -> None:
    """Publish the authorities. The namespace must be there. Raises ApiError."""
    data = {"client-ca-file": client_ca_pem.decode()}
    if front_proxy_ca_pem:
        data |= {
            "requestheader-client-ca-file": front_proxy_ca_pem.decode(),
            "requestheader-allowed-names": _listed(*ALLOWED_NAMES),
            "requestheader-username-headers": _listed(USER_HEADER),
            "requestheader-uid-headers": _listed(UID_HEADER),
            "requestheader-group-headers": _listed(GROUP_HEADER),
            "requestheader-extra-headers-prefix": _listed(EXTRA_PREFIX),
        }
    found = server.caches.get("configmaps", NAMESPACE, NAME)
    if found is not None and found.get("data") == data:
        return
    storage = server.storage_of("", "configmaps")
    context = WriteContext(user=SYSTEM_USER, now=server.clock.now())
    if found is None:
        tree: Tree = {
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "data": data,
        }
        try:
            await storage.create(context, NAMESPACE, tree)
        except ApiError as error:
            if not is_reason(error, "AlreadyExists"):
                raise
        return

    def change(old: Tree | None) -> Tree:
        assert old is not None, "an update never creates here"
        old["data"] = {**(old.get("data") or {}), **data}
        return old

    await storage.update(context, NAMESPACE, NAME, change)


def _listed(*values: str) -> str:
    return orjson.dumps(values).decode()
