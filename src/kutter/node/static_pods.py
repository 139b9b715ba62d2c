"""Static pods: manifests in a folder, run without the API, shown there by mirror pods.

https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from kutter.api.errors import ApiError, is_reason
from kutter.api.types.base import convert
from kutter.api.types.core_v1 import Pod
from kutter.base.log import get_logger
from kutter.base.tasks import Scope, supervise
from kutter.node.status_writer import CONFIG_SOURCE

if TYPE_CHECKING:
    from kutter.node.agent import NodeAgent

_log = get_logger("node.static")

CONFIG_HASH = "kubernetes.io/config.hash"
CONFIG_MIRROR = "kubernetes.io/config.mirror"
SCAN_S = 5.0
_CONTAINER_DEFAULTS = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
Tree = dict[str, Any]


def static_pod(manifest: Tree, source: str, node_name: str) -> Tree:
    """The pod a manifest means on this node: name, uid and tolerations filled in."""
    uid = hashlib.md5(  # an identity as upstream makes it, no secret
        f"{node_name}\0{source}\0{manifest!r}".encode(), usedforsecurity=False
    ).hexdigest()
    meta = dict(manifest.get("metadata") or {})
    spec = dict(manifest.get("spec") or {})
    meta["name"] = f"{meta['name']}-{node_name}"
    meta.setdefault("namespace", "default")
    meta["uid"] = uid
    meta["annotations"] = {
        **(meta.get("annotations") or {}),
        CONFIG_SOURCE: "file",
        CONFIG_HASH: uid,
    }
    spec["nodeName"] = node_name
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("enableServiceLinks", True)
    spec["tolerations"] = [
        *(spec.get("tolerations") or ()),
        {"operator": "Exists", "effect": "NoExecute"},
    ]
    for listing in ("containers", "initContainers"):
        if spec.get(listing):
            spec[listing] = [{**_CONTAINER_DEFAULTS, **c} for c in spec[listing]]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def mirror_of(pod: Tree, node_uid: str, node_name: str) -> Tree:
    """The mirror pod: the static pod without uid, with the mirror annotation."""
    meta = {k: v for k, v in pod["metadata"].items() if k != "uid"}
    annotations = meta["annotations"]
    meta["annotations"] = {**annotations, CONFIG_MIRROR: annotations[CONFIG_HASH]}
    if node_uid:
        meta["ownerReferences"] = [
            {
                "apiVersion": "v1",
                "kind": "Node",
                "name": node_name,
                "uid": node_uid,
                "controller": True,
            }
        ]
    return {**pod, "metadata": meta}


class StaticPods:
    """Follows the folder; keeps workers and mirrors in step with it."""

    def __init__(self, agent: NodeAgent) -> None:
        self._agent = agent
        self._wanted: dict[str, Tree] = {}  # by uid

    def owns(self, pod: Pod) -> bool:
        """Whether an API pod is a mirror (which is never run itself)."""
        return CONFIG_MIRROR in pod.metadata.annotations

    async def start(self, scope: Scope) -> None:
        """Begin following, if a folder is configured."""
        if self._agent.options.manifest_folder is None:
            return
        await self.scan()
        scope.start(
            supervise("static-pods", self._scan_forever, clock=self._agent.clock), "static-pods"
        )

    async def _scan_forever(self) -> None:
        while True:
            await self._agent.clock.sleep(SCAN_S)
            await self.scan()

    async def scan(self) -> None:
        """Compare the folder with what runs."""
        agent = self._agent
        folder = agent.options.manifest_folder
        assert folder is not None
        found = await asyncio.to_thread(self._read, folder)
        for uid in [u for u in self._wanted if u not in found]:
            del self._wanted[uid]
            worker = agent.workers.get(uid)
            if worker is not None:
                worker.mark_deleted()
                await self._delete_mirror(worker.pod)
        for uid, tree in found.items():
            if uid not in self._wanted:
                self._wanted[uid] = tree
                agent.take(convert(Pod, tree))
            await self._ensure_mirror(tree)

    def _read(self, folder: Path) -> dict[str, Tree]:
        found: dict[str, Tree] = {}
        if not folder.is_dir():
            return found
        for path in sorted(folder.iterdir()):
            if path.name.startswith(".") or path.suffix not in (".yaml", ".yml", ".json"):
                continue
            try:
                manifest = yaml.safe_load(path.read_text())
                pod = static_pod(manifest, str(path), self._agent.options.node_name)
                convert(Pod, pod)
            except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
                _log.warning("static pod not read", path=str(path), error=str(error))
                continue
            found[pod["metadata"]["uid"]] = pod
        return found

    async def _ensure_mirror(self, tree: Tree) -> None:
        agent = self._agent
        meta = tree["metadata"]
        known = agent.pods.get(f"{meta['namespace']}/{meta['name']}")
        if known is not None:
            same = known.metadata.annotations.get(CONFIG_MIRROR) == meta["uid"]
            if same and known.metadata.deletion_timestamp is None:
                return
            await self._delete_mirror(known)
        node = agent.registration.node
        body = mirror_of(tree, node.metadata.uid if node else "", agent.options.node_name)
        try:
            await agent.client.create(Pod, body, meta["namespace"])
        except (ApiError, OSError, TimeoutError) as error:
            if not is_reason(error, "AlreadyExists"):
                _log.warning("mirror pod not made", pod=meta["name"], error=str(error))
                return
        worker = agent.workers.get(meta["uid"])
        if worker is not None:
            worker.status.write_again()  # it has somewhere to go now

    async def _delete_mirror(self, pod: Pod) -> None:
        meta = pod.metadata
        try:
            await self._agent.client.delete(Pod, meta.name, meta.namespace, grace_period_s=0)
        except (ApiError, OSError, TimeoutError) as error:
            if not is_reason(error, "NotFound"):
                _log.warning("mirror pod not deleted", pod=meta.name, error=str(error))
