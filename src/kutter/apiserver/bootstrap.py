"""What every cluster holds from its first second: namespaces, default policy, system priorities.

Between an API server that has just started and its first caller. Everything is written through
the server's own pipeline, as the system itself, concurrently so that the writes share commits. On
later starts only what is missing or was weakened is written.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import orjson

from kutter.api.errors import ApiError, is_reason
from kutter.apiserver.admission.priority import CLASSES, SYSTEM_CLASSES
from kutter.apiserver.authn.identity import GROUP_MASTERS, User
from kutter.apiserver.authz.policy import default_objects, optional_objects
from kutter.apiserver.authz.reconcile import reconcile_policy
from kutter.apiserver.ports import Reader, Tree
from kutter.http.messages import Request, Response

SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
SYSTEM_USER = User("system:apiserver", groups=(GROUP_MASTERS,))
_RBAC_PATH = "/apis/rbac.authorization.k8s.io/v1"

Handle = Callable[[Request], Awaitable[Response]]


async def bootstrap(handle: Handle, reader: Reader, optional: Iterable[str] = ()) -> int:
    """Write what is missing; answers how many writes that took. Raises ApiError.

    ``optional``: the group-versions served beside the usual ones.
    """
    writer = _Writer(handle)
    missing = [n for n in SYSTEM_NAMESPACES if not reader.exists("namespaces", "", n)]
    async with asyncio.TaskGroup() as group:
        for name in missing:
            tree = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}
            group.create_task(writer.post("/api/v1/namespaces", tree))
    classes = [t for t in SYSTEM_CLASSES if not reader.exists(CLASSES, "", t["metadata"]["name"])]
    async with asyncio.TaskGroup() as group:
        for tree in classes:
            path = "/apis/scheduling.k8s.io/v1/priorityclasses"
            group.create_task(writer.post(path, tree))
        policy = group.create_task(
            reconcile_policy(reader, writer, [*default_objects(), *optional_objects(optional)])
        )
    return len(missing) + len(classes) + policy.result()


async def publish_cluster_info(
    handle: Handle, reader: Reader, *, server_url: str, ca_pem: bytes
) -> None:
    """Where the cluster is and whom to trust there, for nodes that are about to join.

    In kube-public; bootstrap tokens sign it (:mod:`kutter.controllers.bootstrap_tokens`). What is
    there stays: its owner may have written another address. Raises ApiError.
    """
    if reader.exists("configmaps", "kube-public", "cluster-info"):
        return
    tree = {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": "cluster-info", "namespace": "kube-public"},
        "data": {"kubeconfig": _cluster_info(server_url, ca_pem)},
    }
    await _Writer(handle).post("/api/v1/namespaces/kube-public/configmaps", tree)


def _cluster_info(server_url: str, ca_pem: bytes) -> str:
    """A kubeconfig of nobody. As text: a library to write YAML is 10 ms of a start."""
    return f"""\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {base64.b64encode(ca_pem).decode()}
    server: {server_url}
  name: ''
contexts: null
current-context: ''
kind: Config
preferences: {{}}
users: null
"""


class _Writer:
    """A :class:`kutter.apiserver.authz.reconcile.PolicyWriter` over the pipeline."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    async def create(self, plural: str, tree: Tree) -> None:
        await self.post(_path(plural, tree["metadata"].get("namespace", "")), tree)

    async def update(self, plural: str, tree: Tree) -> None:
        metadata = tree["metadata"]
        path = _path(plural, metadata.get("namespace", ""), metadata["name"])
        await self._ask("PUT", path, tree)

    async def delete(self, plural: str, namespace: str, name: str) -> None:
        await self._ask("DELETE", _path(plural, namespace, name))

    async def post(self, path: str, tree: Tree) -> None:
        """Create; another server may have been quicker."""
        try:
            await self._ask("POST", path, tree)
        except ApiError as error:
            if not is_reason(error, "AlreadyExists"):
                raise

    async def _ask(self, method: str, path: str, tree: Any = None) -> None:
        await _ask(self._handle, method, path, tree)


async def create_as_system(handle: Handle, path: str, tree: Any) -> None:
    """Make an object as the server itself. Raises ApiError."""
    await _ask(handle, "POST", path, tree)


async def _ask(handle: Handle, method: str, path: str, tree: Any) -> None:
    request = Request(
        method,
        path,
        headers={"content-type": "application/json"},
        body=orjson.dumps(tree) if tree is not None else b"",
        local_user=SYSTEM_USER,
    )
    response = await handle(request)
    if response.status >= 300:
        raise ApiError.from_status(orjson.loads(response.body), response.status)


def _path(plural: str, namespace: str, name: str = "") -> str:
    parts = [_RBAC_PATH, *(("namespaces", namespace) if namespace else ()), plural]
    return "/".join([*parts, name] if name else parts)
