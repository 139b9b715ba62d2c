"""postStart and preStop handlers, and the orderly end of one container.

https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from kutter.api.types.core_v1 import Container as ContainerSpec
from kutter.api.types.core_v1 import LifecycleHandler
from kutter.node.facts import AnyContainerSpec
from kutter.node.http_get import http_get
from kutter.node.kit import NodeKit
from kutter.node.probe_runs import action_url
from kutter.runtime.cri import CriError

HTTP_TIMEOUT_S = 60.0
# What is left for the process when preStop used up the grace.
MINIMUM_GRACE_S = 2.0


class HookError(Exception):
    """A handler failed; the text is for the event."""


async def run_handler(
    kit: NodeKit,
    handler: LifecycleHandler,
    spec: ContainerSpec,
    container_id: str,
    pod_ip: str,
    *,
    timeout_s: float = 0.0,
) -> None:
    """Run one handler. Raises HookError, TimeoutError."""
    if handler.exec is not None:
        try:
            code, out, err = await kit.runtime.exec_sync(
                container_id, handler.exec.command, timeout_s or 86400.0
            )
        except CriError as error:
            raise HookError(str(error)) from error
        if code:
            output = (out + err)[:1024].decode(errors="replace")
            raise HookError(f"command exited with {code}: {output}")
    elif handler.http_get is not None:
        try:
            url = action_url(handler.http_get, spec, pod_ip)
            headers = {h.name: h.value for h in handler.http_get.http_headers}
            await http_get(url, headers, timeout_s or HTTP_TIMEOUT_S)
        except (OSError, ValueError) as error:
            raise HookError(str(error)) from error
    elif handler.sleep is not None:
        await kit.clock.sleep(handler.sleep.seconds)


async def stop_container(
    kit: NodeKit,
    spec: AnyContainerSpec | None,
    container_id: str,
    pod_ip: str,
    *,
    grace_s: float,
    event: Callable[[str, str, str], None],
    before_signal: Callable[[float], Awaitable[None]],
) -> None:
    """PreStop inside the grace, then the stop signal, then KILL. Raises CriError.

    ``before_signal`` is given the grace that is left.
    """
    left = grace_s
    lifecycle = getattr(spec, "lifecycle", None)
    if lifecycle is not None and lifecycle.pre_stop is not None and grace_s > 0:
        assert isinstance(spec, ContainerSpec)
        began = kit.clock.monotonic()
        try:
            async with asyncio.timeout(grace_s):
                await run_handler(
                    kit, lifecycle.pre_stop, spec, container_id, pod_ip, timeout_s=grace_s
                )
        except (HookError, TimeoutError):
            event("Warning", "FailedPreStopHook", "PreStopHook failed")
        left = max(grace_s - (kit.clock.monotonic() - began), MINIMUM_GRACE_S)
    began = kit.clock.monotonic()
    await before_signal(left)
    left = max(left - (kit.clock.monotonic() - began), 0.0)
    await kit.runtime.stop_container(container_id, left)
