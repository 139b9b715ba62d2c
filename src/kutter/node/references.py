"""Config maps and secrets that pods of this node refer to, watched one by one.

Owns one informer per referenced object (field selector ``metadata.name``, as the node authorizer
wants it), shared by all pods that refer to it. Laws: an object is watched while a pod refers to
it and a bounded number longer; a change wakes every pod that refers to it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from kutter.api.types.core_v1 import ConfigMap, Pod, Secret
from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.tasks import Scope, cancel_and_wait
from kutter.client.client import Client
from kutter.machinery.informer import Change, Informer
from kutter.node.facts import AnyContainerSpec
from kutter.node.volumes.payload import PayloadError, referenced_names

LINGER_LIMIT = 64
SYNC_TIMEOUT_S = 10.0


class Reference(NamedTuple):
    """``kind`` is ConfigMap or Secret."""

    kind: str
    namespace: str
    name: str


class _Watch:
    def __init__(
        self, informer: Informer[ConfigMap] | Informer[Secret], task: asyncio.Task[None]
    ) -> None:
        self.informer = informer
        self.task = task
        self.users: set[str] = set()


def references_of(pod: Pod) -> set[Reference]:
    """Everything a pod's environment, volumes and image pulls refer to."""
    namespace = pod.metadata.namespace
    configs: set[str] = set()
    secrets: set[str] = {ref.name for ref in pod.spec.image_pull_secrets}
    for volume in pod.spec.volumes:
        more_configs, more_secrets = referenced_names(volume)
        configs |= more_configs
        secrets |= more_secrets
    spec = pod.spec
    members: list[AnyContainerSpec] = [*spec.init_containers, *spec.containers]
    members += spec.ephemeral_containers
    for container in members:
        for source in container.env_from:
            if source.config_map_ref is not None:
                configs.add(source.config_map_ref.name)
            if source.secret_ref is not None:
                secrets.add(source.secret_ref.name)
        for var in container.env:
            if var.value_from is None:
                continue
            if var.value_from.config_map_key_ref is not None:
                configs.add(var.value_from.config_map_key_ref.name)
            if var.value_from.secret_key_ref is not None:
                secrets.add(var.value_from.secret_key_ref.name)
    found = {Reference("ConfigMap", namespace, name) for name in configs if name}
    return found | {Reference("Secret", namespace, name) for name in secrets if name}


class References:
    """What pods refer to, kept true. ``on_change`` hears the uids of the pods concerned."""

    def __init__(
        self,
        client: Client,
        scope: Scope,
        on_change: Callable[[str], None],
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._client = client
        self._scope = scope
        self._on_change = on_change
        self._clock = clock
        self._watches: dict[Reference, _Watch] = {}
        self._idle: OrderedDict[Reference, None] = OrderedDict()
        self._of_pod: dict[str, set[Reference]] = {}

    async def acquire(self, pod: Pod) -> None:
        """Watch what the pod refers to and wait for it. Raises PayloadError."""
        uid = pod.metadata.uid
        wanted = references_of(pod)
        for reference in self._of_pod.get(uid, set()) - wanted:
            self._drop(reference, uid)
        self._of_pod[uid] = wanted
        watches = [self._watch(reference, uid) for reference in wanted]
        try:
            async with asyncio.timeout(SYNC_TIMEOUT_S):
                for watch in watches:
                    await watch.informer.wait_synced()
        except TimeoutError as error:
            unsynced = sorted(
                f"{r.kind.lower()} {r.name}" for r in wanted if not self._watches[r].informer.synced
            )
            raise PayloadError(
                f"failed to sync {', '.join(unsynced)} cache: timed out waiting for the condition"
            ) from error

    async def release(self, uid: str) -> None:
        """The pod is gone."""
        for reference in self._of_pod.pop(uid, set()):
            self._drop(reference, uid)
        while len(self._idle) > LINGER_LIMIT:
            reference, _ = self._idle.popitem(last=False)
            watch = self._watches.pop(reference)
            await cancel_and_wait(watch.task)

    def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        watch = self._watches.get(Reference("ConfigMap", namespace, name))
        found = watch.informer.get(f"{namespace}/{name}") if watch else None
        return found if isinstance(found, ConfigMap) else None

    def secret(self, namespace: str, name: str) -> Secret | None:
        watch = self._watches.get(Reference("Secret", namespace, name))
        found = watch.informer.get(f"{namespace}/{name}") if watch else None
        return found if isinstance(found, Secret) else None

    def _watch(self, reference: Reference, uid: str) -> _Watch:
        watch = self._watches.get(reference)
        if watch is None:
            selector = f"metadata.name={reference.name}"
            informer: Informer[ConfigMap] | Informer[Secret]
            if reference.kind == "ConfigMap":
                configs = Informer(
                    self._client,
                    ConfigMap,
                    namespace=reference.namespace,
                    field_selector=selector,
                    clock=self._clock,
                )
                configs.on_event(lambda change: self._changed(reference, change))
                informer = configs
            else:
                secrets = Informer(
                    self._client,
                    Secret,
                    namespace=reference.namespace,
                    field_selector=selector,
                    clock=self._clock,
                )
                secrets.on_event(lambda change: self._changed(reference, change))
                informer = secrets
            name = f"watch/{reference.kind}/{reference.namespace}/{reference.name}"
            watch = _Watch(informer, self._scope.start(informer.run(), name))
            self._watches[reference] = watch
        watch.users.add(uid)
        self._idle.pop(reference, None)
        return watch

    def _drop(self, reference: Reference, uid: str) -> None:
        watch = self._watches.get(reference)
        if watch is None:
            return
        watch.users.discard(uid)
        if not watch.users:
            self._idle[reference] = None

    def _changed(self, reference: Reference, change: Change[ConfigMap] | Change[Secret]) -> None:
        watch = self._watches.get(reference)
        if watch is None or not watch.informer.synced:
            return
        for uid in list(watch.users):
            self._on_change(uid)
