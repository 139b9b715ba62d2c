"""Images for containers: pull policies, credentials, back-off, limits on pulls at once.

Between a pod's worker and the runtime's image store. Laws: one pull at a time per image, shared
by all who wait for it; back-off per pod and image; credentials never reach a log or an event.
https://kubernetes.io/docs/concepts/containers/images/
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from kutter.api.types.core_v1 import Pod, Secret
from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.log import get_logger
from kutter.node.environment import decode_secret
from kutter.node.facts import NO_DELAY, CrashDelay, Problem
from kutter.runtime.cri import Auth, CriError, Image, ImageStore

_log = get_logger("node.images")

DEFAULT_REGISTRY = "docker.io"
RETRY_SOON_S = 1.0

Event = Callable[[str, str, str], None]  # (kind, reason, message)


class ImageProblem(Exception):
    """The image is not to be had now."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class _Shared(NamedTuple):
    task: asyncio.Task[tuple[Image, float]]
    users: set[str]


class Wanted(NamedTuple):
    """An image and when to pull it; an empty policy is filled in as the API does."""

    name: str
    policy: str = ""


def pull_policy(wanted: Wanted) -> str:
    """The policy in force; the API fills it in, static pods may leave it out."""
    if wanted.policy:
        return wanted.policy
    name = wanted.name.rpartition("/")[2]
    tagged = ":" in name or "@" in name
    return "Always" if not tagged or name.endswith(":latest") else "IfNotPresent"


def registry_of(image: str) -> str:
    """The registry a reference leads to."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first
    return DEFAULT_REGISTRY


def parse_docker_config(data: bytes, *, legacy: bool = False) -> dict[str, Auth]:
    """Credentials by registry from ``config.json`` or the older ``.dockercfg``."""
    try:
        tree = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(tree, dict):
        return {}
    entries: Any = tree if legacy else tree.get("auths")
    found: dict[str, Auth] = {}
    for server, entry in (entries or {}).items():
        if not isinstance(entry, dict):
            continue
        username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
        if not username and entry.get("auth"):
            try:
                text = base64.b64decode(entry["auth"]).decode()
            except (binascii.Error, ValueError):
                continue
            username, _, password = text.partition(":")
        token = str(entry.get("identitytoken") or "")
        found[_server(server)] = Auth(username, password, token)
    return found


def _server(server: str) -> str:
    text = server.removeprefix("https://").removeprefix("http://").rstrip("/")
    text = text.removesuffix("/v1").removesuffix("/v2")
    return (
        DEFAULT_REGISTRY
        if text in ("index.docker.io", "docker.io", "registry-1.docker.io")
        else text
    )


def credentials(image: str, secrets: Iterable[Secret], node: dict[str, Auth]) -> list[Auth]:
    """Credentials that fit an image, the most specific first: pull secrets, then the node's."""
    found: list[Auth] = []
    known: list[dict[str, Auth]] = []
    for secret in secrets:
        if ".dockerconfigjson" in secret.data:
            known.append(parse_docker_config(decode_secret(secret.data[".dockerconfigjson"])))
        elif ".dockercfg" in secret.data:
            data = decode_secret(secret.data[".dockercfg"])
            known.append(parse_docker_config(data, legacy=True))
    registry = registry_of(image)
    name = image if image.startswith(registry) else f"{registry}/{image}"
    for table in (*known, node):
        fitting = [s for s in table if name == s or name.startswith(s + "/") or s == registry]
        for server in sorted(fitting, key=len, reverse=True):
            if table[server] not in found:
                found.append(table[server])
    return found


class ImagePuller:
    """Gets images for containers. ``ensure`` raises ImageProblem."""

    def __init__(
        self,
        store: ImageStore,
        *,
        clock: Clock = SYSTEM_CLOCK,
        parallel: int = 5,
        registry_config: Path | None = None,
        on_pulled: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._slots = asyncio.Semaphore(parallel)
        self._registry_config = registry_config
        self._on_pulled = on_pulled
        self._running: dict[str, _Shared] = {}
        self._delays: dict[tuple[str, str], CrashDelay] = {}
        self._errors: dict[tuple[str, str], str] = {}

    async def ensure(
        self, pod: Pod, wanted: Wanted, secrets: Iterable[Secret], event: Event
    ) -> Image:
        """The image, pulled if the policy says so. Raises ImageProblem."""
        name, policy = wanted.name, pull_policy(wanted)
        try:
            present = await self._store.image(name)
        except CriError as error:
            message = f'Failed to inspect image "{name}": {error}'
            event("Warning", "InspectFailed", message)
            raise ImageProblem(self._problem(error.reason, message)) from error
        if present is not None and policy != "Always":
            event(
                "Normal",
                "Pulled",
                f'Container image "{name}" already present on machine and can be accessed by '
                "the pod",
            )
            return present
        if policy == "Never":
            message = f'Container image "{name}" is not present with pull policy of Never'
            event("Warning", "ErrImageNeverPull", message)
            raise ImageProblem(self._problem("ErrImageNeverPull", message, 10.0))
        return await self._pull(pod, name, list(secrets), event)

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        for key in [k for k in self._delays if k[0] == uid]:
            del self._delays[key]
            self._errors.pop(key, None)

    def _problem(self, reason: str, message: str, delay_s: float = RETRY_SOON_S) -> Problem:
        return Problem(reason, message, self._clock.now().timestamp() + delay_s)

    async def _pull(self, pod: Pod, name: str, secrets: list[Secret], event: Event) -> Image:
        key = (pod.metadata.uid, name)
        now = self._clock.now().timestamp()
        delay = self._delays.get(key, NO_DELAY)
        if delay.delay_s and now < delay.raised_at + delay.delay_s:
            message = f'Back-off pulling image "{name}"'
            known = self._errors.get(key)
            if known:
                message += f": ErrImagePull: {known}"
            event("Normal", "BackOff", f'Back-off pulling image "{name}"')
            due = delay.raised_at + delay.delay_s
            raise ImageProblem(Problem("ImagePullBackOff", message, due))
        event("Normal", "Pulling", f'Pulling image "{name}"')
        began = self._clock.monotonic()
        try:
            image, pulled_s = await self._shared(name, secrets, pod.metadata.uid)
        except (CriError, OSError, TimeoutError) as error:
            reason = getattr(error, "reason", "ErrImagePull")
            text = str(error) or type(error).__name__
            if reason == "InvalidImageName":
                message = f'Failed to apply default image tag "{name}": {text}'
                event("Warning", "InspectFailed", message)
                raise ImageProblem(self._problem(reason, message, 30.0)) from error
            event("Warning", "Failed", f'Failed to pull image "{name}": {text}')
            event("Warning", "Failed", "Error: ErrImagePull")
            self._delays[key] = delay.next(self._clock.now().timestamp())
            self._errors[key] = text
            raise ImageProblem(self._problem("ErrImagePull", text)) from error
        waited_s = self._clock.monotonic() - began
        event(
            "Normal",
            "Pulled",
            f'Successfully pulled image "{name}" in {pulled_s:.3f}s ({waited_s:.3f}s including '
            f"waiting). Image size: {image.size_bytes} bytes.",
        )
        self._delays.pop(key, None)
        self._errors.pop(key, None)
        self._on_pulled()
        return image

    async def _shared(self, name: str, secrets: list[Secret], uid: str) -> tuple[Image, float]:
        """Join a pull that runs with the same credentials, or start one."""
        auths = credentials(name, secrets, self._node_credentials())
        key = f"{name}\0{auths!r}" if auths else name
        shared = self._running.get(key)
        if shared is None:
            task = asyncio.ensure_future(self._store_pull(name, auths))
            shared = self._running[key] = _Shared(task, set())
        shared.users.add(uid)
        try:
            return await asyncio.shield(shared.task)
        finally:
            shared.users.discard(uid)
            if shared.task.done():
                self._running.pop(key, None)
            elif not shared.users:
                self._running.pop(key, None)
                shared.task.cancel()

    async def _store_pull(self, name: str, auths: list[Auth]) -> tuple[Image, float]:
        async with self._slots:
            began = self._clock.monotonic()
            failure: CriError | None = None
            for auth in (*auths, None) if auths else (None,):
                try:
                    image = await self._store.pull(name, auth)
                except CriError as error:
                    # The first failure tells of the credentials meant for this image.
                    failure = failure or error
                else:
                    return image, self._clock.monotonic() - began
            assert failure is not None
            raise failure

    def _node_credentials(self) -> dict[str, Auth]:
        if self._registry_config is None or not self._registry_config.exists():
            return {}
        return parse_docker_config(self._registry_config.read_bytes())


async def collect_images(
    store: ImageStore, *, high: float, low: float, minimum_age_s: float
) -> tuple[list[Image], int]:
    """Remove unused images when their disk is fuller than ``high``; (removed, bytes missing).

    https://kubernetes.io/docs/concepts/architecture/garbage-collection/#container-image-garbage-collection
    """
    used, capacity = await store.usage_bytes()
    if not capacity or used / capacity < high:
        return [], 0
    wanted = used - int(capacity * low)
    removed = await store.collect_garbage(free_bytes=wanted, minimum_age_s=minimum_age_s)
    freed = sum(image.size_bytes for image in removed)
    return removed, max(0, wanted - freed)
