"""The lease by which an API server says that it is there.

Owns: the Lease ``apiserver-HASH`` in kube-system, named by this machine's name, and the end of
those that other servers left behind. Invariants: the holder is new with each start; a lease is
removed only when its own time is over. Known difference: renewed every minute instead of every ten
seconds (it holds for an hour), because an idle cluster should write nothing it need not.
Upstream: kubernetes.io/docs/concepts/architecture/leases/#api-server-identity
"""

from __future__ import annotations

import base64
import hashlib
import socket
from datetime import timedelta
from typing import Any

from kutter.api.errors import ApiError, is_reason
from kutter.api.types.coordination_v1 import Lease
from kutter.base.clock import Clock, parse_time, render_micro_time
from kutter.base.rng import SYSTEM_RNG, Rng
from kutter.client.client import Client

NAMESPACE = "kube-system"
LABEL, COMPONENT = "apiserver.kubernetes.io/identity", "kube-apiserver"
DURATION_S = 3600
RENEW_S = 60.0
COLLECT_S = 3600.0


def server_id(hostname: str) -> str:
    """``apiserver-`` and half a digest of the machine's name, as upstream's."""
    digest = hashlib.sha256(hostname.encode()).digest()[:16]
    return "apiserver-" + base64.b32encode(digest).decode().rstrip("=").lower()


class IdentityLease:
    """``run`` it for as long as the server serves."""

    def __init__(
        self, client: Client, *, clock: Clock, rng: Rng = SYSTEM_RNG, hostname: str = ""
    ) -> None:
        self._client = client
        self._clock = clock
        self._hostname = hostname or socket.gethostname()
        self._name = server_id(self._hostname)
        self._holder = f"{self._name}_{rng.uid()}"

    async def run(self) -> None:
        """Renew until cancelled. Raises ApiError."""
        collected = self._clock.monotonic() - COLLECT_S
        while True:
            await self.renew()
            if self._clock.monotonic() - collected >= COLLECT_S:
                collected = self._clock.monotonic()
                await self.collect()
            await self._clock.sleep(RENEW_S)

    async def renew(self) -> None:
        """Hold the lease from now on. Raises ApiError."""
        now = render_micro_time(self._clock.now())
        spec: dict[str, Any] = {"holderIdentity": self._holder, "renewTime": now}
        spec["leaseDurationSeconds"] = DURATION_S
        labels = {LABEL: COMPONENT, "kubernetes.io/hostname": self._hostname}
        body: dict[str, Any] = {"metadata": {"labels": labels}, "spec": spec}
        try:
            await self._client.patch(Lease, self._name, body, NAMESPACE)
        except ApiError as error:
            if not is_reason(error, "NotFound"):
                raise
            metadata = {"name": self._name, "namespace": NAMESPACE, "labels": labels}
            tree = {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": metadata}
            await self._client.create(Lease, {**tree, "spec": spec}, NAMESPACE)

    async def collect(self) -> None:
        """Remove the leases of servers that are gone. Raises ApiError."""
        found = await self._client.list_tree(
            Lease, NAMESPACE, label_selector=f"{LABEL}={COMPONENT}"
        )
        for tree in found.get("items") or ():
            metadata = tree["metadata"]
            if metadata["name"] == self._name or not self._is_over(tree.get("spec") or {}):
                continue
            try:
                await self._client.delete(
                    Lease,
                    metadata["name"],
                    NAMESPACE,
                    uid=metadata["uid"],
                    resource_version=metadata["resourceVersion"],
                )
            except ApiError as error:
                if not is_reason(error, "NotFound", "Conflict"):
                    raise

    def _is_over(self, spec: dict[str, Any]) -> bool:
        renewed, duration_s = spec.get("renewTime"), spec.get("leaseDurationSeconds")
        if not renewed or duration_s is None:
            return True
        return parse_time(renewed) + timedelta(seconds=duration_s) < self._clock.now()
