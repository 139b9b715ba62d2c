"""The runtime contract: the Container Runtime Interface v1 as Python protocols and values.

Follows https://github.com/kubernetes/cri-api (runtime.v1). Knows sandboxes, containers and
images, no Pod type. Two implementations share one contract suite: *embedded*
(:mod:`kutter.runtime.embedded`) and *remote* (any CRI socket, a later issue).

Ids are opaque lower-case hex. Times are nanoseconds since the epoch, 0 = not yet. Every call
is safe to repeat: stopping what is stopped and removing what is gone succeed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import NamedTuple, Protocol

# What is kept of each output of a command that is waited for.
EXEC_OUTPUT_MAX_BYTES = 16 << 20


class CriError(Exception):
    """Base of what a runtime raises. ``reason`` is a short CamelCase word for pod status."""

    reason = "RuntimeError"


class NotFoundError(CriError):
    """No such sandbox, container or image."""

    reason = "NotFound"


class ImagePullError(CriError):
    """The image could not be pulled (network, registry, digest)."""

    reason = "ErrImagePull"


class ImageAuthError(ImagePullError):
    """The registry refused the credentials."""


class InvalidImageNameError(CriError):
    """The reference cannot be parsed."""

    reason = "InvalidImageName"


class CreateContainerError(CriError):
    """The container could not be created."""

    reason = "CreateContainerError"


class StartContainerError(CriError):
    """The container was created but could not be started (no such command, ...)."""

    reason = "RunContainerError"


class NamespaceMode(Enum):
    """Whose namespace a container joins."""

    POD = "pod"
    CONTAINER = "container"
    NODE = "node"


class SandboxState(Enum):
    READY = "ready"
    NOT_READY = "notready"


class ContainerState(Enum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SandboxMetadata:
    """Names as the caller gives them; unique per ``uid`` and ``attempt``."""

    name: str
    uid: str
    namespace: str
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class DnsConfig:
    """Becomes the sandbox's ``resolv.conf``; empty means: the node's own file."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class PortMapping(NamedTuple):
    """A host port that leads to the sandbox's port."""

    container_port: int
    host_port: int
    protocol: str = "TCP"
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """What a sandbox is made from.

    ``cgroup_parent`` is an absolute cgroup path below the hierarchy's root, made by the caller
    (``/kutter/besteffort/pod<uid>``). ``log_directory`` holds the containers' CRI logs.
    """

    metadata: SandboxMetadata
    hostname: str = ""
    log_directory: Path = Path("/")
    dns: DnsConfig | None = None
    port_mappings: tuple[PortMapping, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    cgroup_parent: str = ""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    network: NamespaceMode = NamespaceMode.POD
    pid: NamespaceMode = NamespaceMode.CONTAINER
    ipc: NamespaceMode = NamespaceMode.POD
    privileged: bool = False
    runtime_handler: str = ""
    extra_hosts_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox as it is. ``ips`` is empty for the node's network."""

    id: str
    metadata: SandboxMetadata
    state: SandboxState
    created_at_ns: int
    ips: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    network_namespace: Path | None = None
    runtime_handler: str = ""


@dataclass(frozen=True, slots=True)
class Mount:
    """A bind mount into a container. ``propagation``: private, rslave, rshared.

    ``image`` (the id of one that is present) is mounted instead of ``host_path``, always read-only:
    all of it or what lies at ``image_sub_path``, which must be there.
    """

    container_path: str
    host_path: Path
    readonly: bool = False
    propagation: str = "private"
    recursive_readonly: bool = False
    image: str = ""
    image_sub_path: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    container_path: str
    host_path: Path
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True)
class Resources:
    """cgroup limits; 0 or None leaves the kernel's default."""

    cpu_shares: int = 0
    cpu_quota_us: int = 0
    cpu_period_us: int = 0
    memory_limit_bytes: int = 0
    memory_swap_limit_bytes: int = 0
    oom_score_adj: int | None = None
    pids_limit: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    hugepage_limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SecurityContext:
    """Of one container. ``seccomp``: ``runtime/default``, ``unconfined`` or ``localhost/<path>``.

    Groups follow CRI: the effective groups are the user's primary group (``run_as_group`` or
    the image's), ``supplemental_groups``, and with policy ``Merge`` the image's ``/etc/group``.
    """

    privileged: bool = False
    run_as_user: int | None = None
    run_as_username: str = ""
    run_as_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    supplemental_groups_policy: str = "Merge"
    readonly_rootfs: bool = False
    no_new_privs: bool = False
    capabilities_add: tuple[str, ...] = ()
    capabilities_drop: tuple[str, ...] = ()
    seccomp: str = "runtime/default"
    apparmor: str = ""
    masked_paths: tuple[str, ...] | None = None  # None: the runtime's defaults
    readonly_paths: tuple[str, ...] | None = None
    network: NamespaceMode = NamespaceMode.POD
    pid: NamespaceMode = NamespaceMode.CONTAINER
    ipc: NamespaceMode = NamespaceMode.POD
    target_container: str = ""  # pid namespace of this container (ephemeral containers)


@dataclass(frozen=True, slots=True)
class ContainerMetadata:
    name: str
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """What a container is made from. ``command``/``args`` override entrypoint/cmd as in CRI.

    ``log_path`` is relative to the sandbox's ``log_directory``. ``stop_signal`` overrides the
    image's.
    """

    metadata: ContainerMetadata
    image: str  # an image id or reference that is present
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    envs: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    log_path: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    resources: Resources = field(default_factory=Resources)
    security: SecurityContext = field(default_factory=SecurityContext)
    stop_signal: str = ""


class LinuxUser(NamedTuple):
    """Who a container's first process was started as; the primary group is one of the groups."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Container:
    """A container as it is. ``reason`` is Completed, Error, OOMKilled or an error's word."""

    id: str
    sandbox_id: str
    metadata: ContainerMetadata
    image: str
    image_id: str
    state: ContainerState
    created_at_ns: int
    started_at_ns: int = 0
    finished_at_ns: int = 0
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    pid: int = 0
    log_path: Path = Path("/")
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    user: LinuxUser | None = None
    image_ref: str = ""  # repository@digest where the image has one, else its id
    resources: Resources = field(default_factory=Resources)  # in force, or for its start


@dataclass(frozen=True, slots=True)
class Image:
    """A present image. ``id`` is ``sha256:<config digest>``.

    ``repo_digests`` are ``repository@sha256:<manifest digest>``. ``uid``/``username`` is the
    image's configured user. ``pinned`` images are never collected.
    """

    id: str
    repo_tags: tuple[str, ...]
    repo_digests: tuple[str, ...]
    size_bytes: int
    uid: int | None = None
    username: str = ""
    pinned: bool = False
    last_used_ns: int = 0


@dataclass(frozen=True, slots=True)
class Auth:
    """Registry credentials: a name and password, or an identity token."""

    username: str = ""
    password: str = ""
    identity_token: str = ""


@dataclass(frozen=True, slots=True)
class PullProgress:
    """Bytes fetched so far of all layers, and the whole (0: not yet known)."""

    fetched_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class ContainerStats:
    """Cumulative CPU and the memory working set (usage without inactive file pages)."""

    container_id: str
    name: str
    timestamp_ns: int
    cpu_usage_ns: int
    memory_usage_bytes: int
    memory_working_set_bytes: int
    writable_layer_bytes: int = 0
    pids: int = 0
    memory_rss_bytes: int = 0
    page_faults: int = 0
    major_page_faults: int = 0
    memory_limit_bytes: int = 0
    started_at_ns: int = 0


@dataclass(frozen=True, slots=True)
class SandboxStats:
    sandbox_id: str
    timestamp_ns: int
    containers: tuple[ContainerStats, ...]
    network_rx_bytes: int = 0
    network_tx_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """A container or sandbox changed: look again. Lost ones are covered by relisting."""

    sandbox_id: str
    container_id: str
    kind: str  # created, started, stopped, deleted


class ExecIo(Protocol):
    """The caller's end of an exec or attach session.

    The runtime reads ``read_stdin`` (``b""`` at the end), writes output, and takes resizes.
    """

    async def read_stdin(self) -> bytes: ...
    async def write_stdout(self, data: bytes) -> None: ...
    async def write_stderr(self, data: bytes) -> None: ...
    async def next_resize(self) -> tuple[int, int] | None:
        """Wait for (columns, rows); None when no more will come."""


class SandboxNetwork(Protocol):
    """How a runtime gives a sandbox its network; implemented by :mod:`kutter.network`."""

    async def attach(
        self, namespace: Path, sandbox_id: str, ports: Sequence[PortMapping]
    ) -> tuple[str, ...]:
        """Give the network namespace its interfaces; answers its addresses."""

    async def detach(self, sandbox_id: str) -> None:
        """Take interface, address and host ports back. Safe without ``attach``."""


class ContainerRuntime(Protocol):
    """RuntimeService. Methods raise :class:`CriError` subclasses."""

    async def version(self) -> tuple[str, str]:
        """(runtime name, runtime version)."""

    async def check_ready(self) -> list[str]:
        """Reasons why the runtime cannot work now; empty when ready."""

    async def run_sandbox(self, config: SandboxConfig) -> str: ...
    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Kill what still runs in it and release its network."""

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Stop it if need be and remove it with its containers."""

    async def list_sandboxes(self) -> list[Sandbox]: ...
    async def sandbox(self, sandbox_id: str) -> Sandbox: ...

    async def create_container(
        self, sandbox_id: str, config: ContainerConfig, sandbox_config: SandboxConfig
    ) -> str: ...
    async def start_container(self, container_id: str) -> None: ...
    async def stop_container(self, container_id: str, timeout_s: float) -> None:
        """Send the stop signal, then KILL after ``timeout_s``; returns when it has exited."""

    async def remove_container(self, container_id: str) -> None: ...
    async def list_containers(self, sandbox_id: str = "") -> list[Container]: ...
    async def container(self, container_id: str) -> Container: ...
    async def update_resources(self, container_id: str, resources: Resources) -> None: ...
    async def reopen_log(self, container_id: str) -> None:
        """The log file was renamed: start a new one."""

    async def exec_sync(
        self,
        container_id: str,
        command: Sequence[str],
        timeout_s: float,
        *,
        output_max_bytes: int = EXEC_OUTPUT_MAX_BYTES,
    ) -> tuple[int, bytes, bytes]:
        """(exit code, stdout, stderr). Raises TimeoutError.

        Of each output the first ``output_max_bytes`` are kept; the rest is read and forgotten,
        so that the command ends as it would.
        """

    async def exec(
        self, container_id: str, command: Sequence[str], io: ExecIo, *, tty: bool, stdin: bool
    ) -> int:
        """Run a process in the container on ``io``; answers its exit code."""

    async def attach(self, container_id: str, io: ExecIo, *, tty: bool, stdin: bool) -> None:
        """Connect to the main process; returns when it ends or the caller hangs up."""

    async def connect_port(
        self, sandbox_id: str, port: int
    ) -> tuple[
        Callable[[int], Awaitable[bytes]], Callable[[bytes], Awaitable[None]], Callable[[], None]
    ]:
        """Open a TCP connection to localhost:port inside the sandbox: (read, write, close).

        To write nothing ends what is sent (a half-close); what comes back can still be read.
        """

    async def container_stats(self, container_id: str) -> ContainerStats: ...
    async def sandbox_stats(self, sandbox_id: str) -> SandboxStats: ...
    async def next_events(self) -> list[ContainerEvent]:
        """Wait for changes."""

    async def close(self) -> None:
        """Let go of files and tasks; containers run on."""


class ImageStore(Protocol):
    """ImageService."""

    async def list_images(self) -> list[Image]: ...
    async def image(self, reference: str) -> Image | None:
        """By id, digest, tag (short names are completed as upstream does: docker.io/library)."""

    async def pull(
        self,
        reference: str,
        auth: Auth | None = None,
        progress: Callable[[PullProgress], None] | None = None,
    ) -> Image: ...
    async def import_archive(self, path: Path, *, tag: str = "") -> list[Image]:
        """Import an OCI or docker-save archive (tar, also compressed)."""

    async def remove_image(self, reference: str) -> None: ...
    async def usage_bytes(self) -> tuple[int, int]:
        """(bytes used by images, bytes of the file system they are on)."""

    async def collect_garbage(self, *, free_bytes: int, minimum_age_s: float) -> list[Image]:
        """Remove unused images, oldest use first, until ``free_bytes`` are freed."""
