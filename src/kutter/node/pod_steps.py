"""What each step of a plan does: the acting half of a pod's worker.

Each coroutine handles the world's errors itself: it leaves a :class:`Problem` with the worker
and tells an event; the next plan takes it from there.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kutter.api.errors import ApiError
from kutter.api.types.node_v1 import RuntimeClass
from kutter.node.container_config import MESSAGE_FILE, compute_sandbox
from kutter.node.container_start import (
    StartOrder,
    StartProblem,
    run_post_start,
    start_run,
    target_of,
)
from kutter.node.facts import Problem
from kutter.node.hooks import HookFailure
from kutter.node.hooks.cgroup import CgroupHook
from kutter.node.hooks.folders import FoldersHook
from kutter.node.images import ImageProblem, Wanted
from kutter.node.lifecycle import HookError, stop_container
from kutter.node.logs import log_files
from kutter.node.plan import (
    EnsureImage,
    Forget,
    KillContainer,
    MakeSandbox,
    Prepare,
    Release,
    StartContainer,
    Step,
    StopSandbox,
)
from kutter.node.volumes.pod_volumes import image_volumes
from kutter.runtime.cri import (
    Container,
    ContainerState,
    CriError,
    NotFoundError,
    Sandbox,
    SandboxConfig,
)

if TYPE_CHECKING:
    from kutter.node.pod_worker import PodWorker

# Dead runs kept per container beside the newest one: what lastState shows.
KEEP_DEAD = 1
CONFIG_RETRY_S = 5.0
# How long a deleted pod's process may be kept from the news until services have forgotten it.
MAXIMUM_DRAIN_S = 0.5


class PodSteps:
    """Makes the coroutine of a step for one worker."""

    def __init__(self, worker: PodWorker) -> None:
        self._worker = worker
        self._kit = worker.kit

    def work_of(self, step: Step) -> Coroutine[Any, Any, None]:
        """What to run for a step."""
        if isinstance(step, Prepare):
            return self._worker.prepare()
        if isinstance(step, MakeSandbox):
            return self._make_sandbox(step)
        if isinstance(step, EnsureImage):
            return self._ensure_image(step)
        if isinstance(step, StartContainer):
            return self._start(step)
        if isinstance(step, KillContainer):
            return self._kill(step)
        if isinstance(step, StopSandbox):
            return self._stop_sandbox(step.sandbox_id)
        if isinstance(step, Release):
            return self._worker.release()
        assert isinstance(step, Forget)
        return self._worker.forget()

    def _sandbox_config(self, attempt: int) -> SandboxConfig:
        kit = self._kit
        return compute_sandbox(
            self._worker.pod,
            attempt,
            options=kit.options,
            dns=kit.dns,
            node_hostname=kit.hostname,
        )

    async def _make_sandbox(self, step: MakeSandbox) -> None:
        worker, kit = self._worker, self._kit
        for old in kit.view.sandboxes(worker.uid):
            await kit.runtime.stop_sandbox(old.id)
        try:
            await FoldersHook().prepare(worker.work)
            await CgroupHook().prepare(worker.work)
            config = replace(
                self._sandbox_config(step.attempt), runtime_handler=await self._handler()
            )
            sandbox_id = await kit.runtime.run_sandbox(config)
        except HookFailure as error:
            worker.event("Warning", error.reason, str(error))
            worker.pod_problem = Problem(error.reason, str(error), worker.retry_at())
            return
        except (CriError, OSError) as error:
            message = f"Failed to create pod sandbox: {error}"
            worker.event("Warning", "FailedCreatePodSandBox", message)
            worker.pod_problem = Problem("FailedCreatePodSandBox", message, worker.retry_at())
            return
        if step.attempt:
            worker.event(
                "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created."
            )
        await kit.view.refresh(sandbox_id)

    async def _ensure_image(self, step: EnsureImage) -> None:
        worker, kit = self._worker, self._kit
        spec = worker.spec_of(step.container)
        if spec is None:
            return
        worker.operations.allow_interrupt(step.key, allowed=True)
        secrets = []
        if worker.pod.spec.image_pull_secrets:
            await worker.wait_prepared()
            for ref in worker.pod.spec.image_pull_secrets:
                secret = kit.references.secret(worker.pod.metadata.namespace, ref.name)
                if secret is not None:
                    secrets.append(secret)

        def event(kind: str, reason: str, message: str) -> None:
            worker.event(kind, reason, message, container=spec.name)

        try:
            wanted = Wanted(spec.image, spec.image_pull_policy)
            image = await kit.puller.ensure(worker.pod, wanted, secrets, event)
            for volume in image_volumes(worker.pod, spec):
                assert volume.image is not None
                wanted = Wanted(volume.image.reference, volume.image.pull_policy)
                mounted = await kit.puller.ensure(worker.pod, wanted, secrets, event)
                worker.work.volumes.images[volume.name] = mounted.id
        except ImageProblem as error:
            worker.problems[spec.name] = error.problem
            return
        worker.problems.pop(spec.name, None)
        worker.images[spec.name] = image

    async def _start(self, step: StartContainer) -> None:
        worker, kit = self._worker, self._kit
        spec = worker.spec_of(step.container)
        image = worker.images.pop(step.container, None)
        sandbox = self._ready_sandbox()
        if spec is None or image is None or sandbox is None:
            return

        def event(kind: str, reason: str, message: str) -> None:
            worker.event(kind, reason, message, container=spec.name)

        if step.restart:
            worker.raise_delay(spec.name)
        order = StartOrder(
            step=step,
            spec=spec,
            sandbox=sandbox,
            sandbox_config=self._sandbox_config(sandbox.metadata.attempt),
            image=image,
            target_container=self._target_id(target_of(spec)),
        )
        try:
            container_id = await start_run(worker.work, order, event)
        except StartProblem as problem:
            wait = CONFIG_RETRY_S
            if problem.reason == "RunContainerError":
                # A run that could not start counts like one that crashed.
                if not step.restart:
                    worker.raise_delay(spec.name)
                wait = worker.delays[spec.name].delay_s
            retry_at = kit.clock.now().timestamp() + wait
            worker.problems[spec.name] = Problem(problem.reason, problem.message, retry_at)
            await kit.view.refresh(sandbox.id)
            return
        worker.problems.pop(spec.name, None)
        await kit.view.refresh(sandbox.id)
        if spec.lifecycle is not None and spec.lifecycle.post_start is not None:
            worker.operations.allow_interrupt(step.key, allowed=True)
            try:
                await run_post_start(worker.work, spec, container_id)
            except HookError:
                event("Warning", "FailedPostStartHook", "PostStartHook failed")
                event("Normal", "Killing", "FailedPostStartHook")
                worker.operations.allow_interrupt(step.key, allowed=False)
                grace = float(worker.pod.spec.termination_grace_period_seconds or 0)
                await kit.runtime.stop_container(container_id, grace)
                await kit.view.refresh(sandbox.id)
        await self._remove_dead(spec.name)

    async def _handler(self) -> str:
        """The runtime handler of the pod's RuntimeClass. Raises HookFailure."""
        name = self._worker.pod.spec.runtime_class_name
        if not name:
            return ""
        try:
            return (await self._kit.client.get(RuntimeClass, name)).handler
        except (ApiError, OSError, TimeoutError) as error:
            message = f'Failed to create pod sandbox: RuntimeClass "{name}": {error}'
            raise HookFailure("FailedCreatePodSandBox", message) from error

    def _ready_sandbox(self) -> Sandbox | None:
        sandboxes = self._kit.view.sandboxes(self._worker.uid)
        return sandboxes[0] if sandboxes else None

    def _target_id(self, name: str) -> str:
        runs = self._kit.view.containers(self._worker.uid).get(name, ()) if name else ()
        return runs[0].id if runs else ""

    async def _remove_dead(self, name: str) -> None:
        """Remove runs that nothing shows any more."""
        runs = self._kit.view.containers(self._worker.uid).get(name, ())
        for run in runs[1 + KEEP_DEAD :]:
            if run.state is not ContainerState.RUNNING:
                await self._kit.runtime.remove_container(run.id)
                await self._kit.view.refresh(run.sandbox_id)
                self._worker.forget_run(run)
                remove_run_files(run)

    async def _kill(self, step: KillContainer) -> None:
        worker, kit = self._worker, self._kit
        worker.operations.allow_interrupt(step.key, allowed=True)

        def event(kind: str, reason: str, message: str) -> None:
            worker.event(kind, reason, message, container=step.container)

        if step.container_id not in worker.told_killing:
            worker.told_killing.add(step.container_id)
            event("Normal", step.reason, step.message)
        ip = worker.work.pod_ips[0] if worker.work.pod_ips else ""
        run = None
        try:
            run = await kit.runtime.container(step.container_id)
            await stop_container(
                kit,
                worker.spec_of(step.container),
                step.container_id,
                ip,
                grace_s=step.grace_s,
                event=event,
                before_signal=self._drain,
            )
        except NotFoundError:
            pass
        except CriError as error:
            event("Warning", "FailedKillContainer", f"error killing container: {error}")
            await kit.clock.sleep(1.0)
        if run is not None:
            await kit.view.refresh(run.sandbox_id)

    async def _drain(self, grace_s: float) -> None:
        """Let services forget a pod that is deleted before its process hears of it."""
        meta = self._worker.pod.metadata
        if meta.deletion_timestamp:
            wait_s = min(MAXIMUM_DRAIN_S, grace_s / 2)
            await self._kit.drained(meta.namespace, meta.name, wait_s)

    async def _stop_sandbox(self, sandbox_id: str) -> None:
        try:
            await self._kit.runtime.stop_sandbox(sandbox_id)
        except CriError as error:
            message = f'error killing pod: failed to "KillPodSandbox": {error}'
            self._worker.event("Warning", "FailedKillPod", message)
            await self._kit.clock.sleep(1.0)
        await self._kit.view.refresh(sandbox_id)


def remove_run_files(run: Container) -> None:
    """The logs and the message file of a run nothing shows any more."""
    message = run.annotations.get(MESSAGE_FILE)
    paths = [*log_files(run.log_path), *([Path(message)] if message else [])]
    for path in paths:
        path.unlink(missing_ok=True)
