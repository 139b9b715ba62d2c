"""Makes and starts one run of one container: environment, mounts, create, start, postStart.

Between a pod's worker and the runtime. Raises :class:`StartProblem` with the waiting state's
reason; events are upstream's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kutter.api.types.core_v1 import Container as ContainerSpec
from kutter.api.types.core_v1 import EphemeralContainer, Volume, VolumeMount
from kutter.node.container_config import container_annotations, container_labels
from kutter.node.dns import compute_hostname, render_hosts
from kutter.node.environment import (
    UnresolvedError,
    compute_command,
    compute_environment,
    expand_strict,
)
from kutter.node.facts import AnyContainerSpec
from kutter.node.hooks.base import PodWork
from kutter.node.lifecycle import HookError, run_handler
from kutter.node.plan import StartContainer
from kutter.node.resources import container_resources
from kutter.node.security import UnsafeUserError, check_non_root, compute_security
from kutter.node.volumes.pod_volumes import VolumeError
from kutter.runtime.cri import (
    ContainerConfig,
    ContainerMetadata,
    CreateContainerError,
    CriError,
    Device,
    Image,
    Mount,
    Sandbox,
    SandboxConfig,
)

_PROPAGATION = {"HostToContainer": "rslave", "Bidirectional": "rshared"}

Event = Callable[[str, str, str], None]


class StartProblem(Exception):
    """The container cannot run now. ``reason`` is the waiting state's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class StartOrder:
    """One start: what, in which sandbox, from which image."""

    step: StartContainer
    spec: AnyContainerSpec
    sandbox: Sandbox
    sandbox_config: SandboxConfig
    image: Image
    target_container: str = ""


async def start_run(work: PodWork, order: StartOrder, event: Event) -> str:
    """Create and start; answers the container's id. Raises StartProblem."""
    runtime = work.kit.runtime
    try:
        if order.step.stale_id:
            await runtime.remove_container(order.step.stale_id)
        config = compute_config(work, order)
    except (UnresolvedError, UnsafeUserError, VolumeError, OSError) as error:
        event("Warning", "Failed", f"Error: {error}")
        raise StartProblem("CreateContainerConfigError", str(error)) from error
    except CriError as error:
        raise StartProblem("CreateContainerError", str(error)) from error
    try:
        container_id = await runtime.create_container(
            order.sandbox.id, config, order.sandbox_config
        )
    except (CriError, OSError) as error:
        event("Warning", "Failed", f"Error: {error}")
        raise StartProblem(CreateContainerError.reason, str(error)) from error
    event("Normal", "Created", "Container created")
    try:
        await runtime.start_container(container_id)
    except (CriError, OSError) as error:
        event("Warning", "Failed", f"Error: {error}")
        raise StartProblem("RunContainerError", str(error)) from error
    event("Normal", "Started", "Container started")
    _link_log(work, order.spec, container_id, order.step.attempt)
    return container_id


async def run_post_start(work: PodWork, spec: AnyContainerSpec, container_id: str) -> None:
    """The container's postStart handler, if it has one. Raises HookError."""
    handler = spec.lifecycle.post_start if spec.lifecycle is not None else None
    if handler is None or not isinstance(spec, ContainerSpec):
        return
    ip = work.pod_ips[0] if work.pod_ips else ""
    try:
        await run_handler(work.kit, handler, spec, container_id, ip)
    except TimeoutError as error:
        raise HookError("the handler timed out") from error


def compute_config(work: PodWork, order: StartOrder) -> ContainerConfig:
    """The runtime's config. Raises UnresolvedError, UnsafeUserError, VolumeError, OSError."""
    pod, spec, kit = work.pod, order.spec, work.kit
    check_non_root(pod, spec, order.image)
    environment = compute_environment(work.context(), spec)
    command, args = compute_command(spec, environment)
    message_file = _message_file(work, spec)
    mounts = [*_volume_mounts(work, spec, environment), *_own_mounts(work, spec, message_file)]
    lifecycle = spec.lifecycle
    return ContainerConfig(
        metadata=ContainerMetadata(spec.name, order.step.attempt),
        image=order.image.id,
        command=command,
        args=args,
        working_dir=spec.working_dir,
        envs=tuple(environment.items()),
        mounts=tuple(mounts),
        devices=_devices(work, spec),
        labels=container_labels(pod, spec),
        annotations=container_annotations(pod, spec, order.step.attempt, message_file),
        log_path=f"{spec.name}/{order.step.attempt}.log",
        stdin=spec.stdin,
        stdin_once=spec.stdin_once,
        tty=spec.tty,
        resources=container_resources(
            pod,
            spec,
            memory_capacity_bytes=kit.memory_capacity_bytes,
            pids_limit=kit.options.pod_pids_limit,
        ),
        security=compute_security(
            pod,
            spec,
            seccomp_default=kit.options.seccomp_default,
            target_container=order.target_container,
        ),
        stop_signal=(lifecycle.stop_signal or "") if lifecycle is not None else "",
    )


def _volume_mounts(
    work: PodWork, spec: AnyContainerSpec, environment: dict[str, str]
) -> list[Mount]:
    mounts = []
    contents = {v.name for v in work.pod.spec.volumes if _is_content(v)}
    for index, mount in enumerate(spec.volume_mounts):
        if mount.name in work.volumes.images:
            mounts.append(_image_mount(work, mount, environment))
            continue
        root = work.volumes.paths.get(mount.name)
        if root is None:
            raise VolumeError(
                f'cannot find volume "{mount.name}" to mount into container "{spec.name}"'
            )
        path = root
        read_only = mount.read_only or mount.name in contents
        sub_path = _sub_path(mount, environment)
        if sub_path:
            path = work.volumes.bind_sub_path(
                mount.name, sub_path, spec.name, index, read_only=read_only
            )
        recursive = mount.recursive_read_only in ("Enabled", "IfPossible")
        mounts.append(
            Mount(
                container_path=mount.mount_path,
                host_path=path,
                readonly=read_only,
                propagation=_PROPAGATION.get(mount.mount_propagation or "", "private"),
                recursive_readonly=read_only and recursive,
            )
        )
    return mounts


def _sub_path(mount: VolumeMount, environment: dict[str, str]) -> str:
    if mount.sub_path_expr:
        return expand_strict(mount.sub_path_expr, environment)
    return mount.sub_path


def _image_mount(work: PodWork, mount: VolumeMount, environment: dict[str, str]) -> Mount:
    return Mount(
        container_path=mount.mount_path,
        host_path=Path(),
        readonly=True,
        image=work.volumes.images[mount.name],
        image_sub_path=_sub_path(mount, environment),
    )


def _is_content(volume: Volume) -> bool:
    """Whether the agent writes what is in it: such volumes are read-only in every container."""
    sources = (volume.config_map, volume.secret, volume.downward_api, volume.projected)
    return any(source is not None for source in sources)


def _devices(work: PodWork, spec: AnyContainerSpec) -> tuple[Device, ...]:
    return tuple(
        Device(device.device_path, work.volumes.paths[device.name])
        for device in spec.volume_devices
        if device.name in work.volumes.paths
    )


def _own_mounts(work: PodWork, spec: AnyContainerSpec, message_file: Path) -> list[Mount]:
    taken = {mount.mount_path for mount in spec.volume_mounts}
    mounts = []
    path = spec.termination_message_path or "/dev/termination-log"
    if path not in taken:
        mounts.append(Mount(path, message_file))
    if "/etc/hosts" not in taken:
        mounts.append(Mount("/etc/hosts", write_hosts(work)))
    return mounts


def write_hosts(work: PodWork) -> Path:
    """The pod's ``/etc/hosts`` on this node, written anew for its addresses. Raises OSError."""
    hostname, fqdn = compute_hostname(work.pod, work.kit.dns.cluster_domain, work.kit.hostname)
    node_hosts = Path("/etc/hosts").read_text() if work.pod.spec.host_network else ""
    text = render_hosts(work.pod, work.pod_ips, hostname, fqdn, node_hosts)
    path = work.folder / "etc-hosts"
    if not path.exists() or path.read_text() != text:
        # In place: the file is bound into running containers.
        path.write_text(text)
        path.chmod(0o644)
    return path


def _message_file(work: PodWork, spec: AnyContainerSpec) -> Path:
    folder = work.folder / "containers" / spec.name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / os.urandom(4).hex()
    path.touch()
    path.chmod(0o666)
    return path


def _link_log(work: PodWork, spec: AnyContainerSpec, container_id: str, attempt: int) -> None:
    """The link log collectors look for: ``<pod>_<namespace>_<container>-<id>.log``."""
    root = work.kit.options.container_log_root
    if root is None:
        return
    from kutter.node.container_config import log_folder

    meta = work.pod.metadata
    target = log_folder(work.kit.options, work.pod) / spec.name / f"{attempt}.log"
    link = root / f"{meta.name}_{meta.namespace}_{spec.name}-{container_id}.log"
    try:
        root.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    except OSError:
        # A convenience for others; the container runs without it.
        return


def target_of(spec: AnyContainerSpec) -> str:
    """The container an ephemeral one wants to share processes with."""
    return spec.target_container_name if isinstance(spec, EphemeralContainer) else ""


async def read_message(path: Path, limit: int = 4096) -> str:
    """A termination message file, its first ``limit`` bytes; empty when absent."""

    def read() -> bytes:
        try:
            with path.open("rb") as file:
                return file.read(limit)
        except OSError:
            return b""

    return (await asyncio.to_thread(read)).decode(errors="replace")
