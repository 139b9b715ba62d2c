"""From a container's wishes to an OCI runtime spec: pure functions.

Defaults (mounts, capabilities, masked and read-only paths) are those of containerd's CRI
plugin, so that an image behaves here as it does elsewhere. Format:
https://github.com/opencontainers/runtime-spec
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kutter.linux.cgroups import shares_to_weight
from kutter.linux.seccomp import render_default_profile
from kutter.runtime.cri import (
    ContainerConfig,
    CreateContainerError,
    Mount,
    Resources,
    SecurityContext,
)
from kutter.runtime.embedded.manifests import ImageConfig
from kutter.runtime.embedded.users import ResolvedUser

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

DEFAULT_CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)

# By number, linux/capability.h.
_CAPABILITY_NAMES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG
WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
ALL_CAPABILITIES = tuple(f"CAP_{name}" for name in _CAPABILITY_NAMES.split())

MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """A device of the host; ``kind`` is c or b."""

    path: str
    kind: str
    major: int
    minor: int
    permissions: str = "rwm"
    mode: int = 0o666
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class Host:
    """Facts of this machine the spec depends on."""

    capabilities: tuple[str, ...] = ALL_CAPABILITIES
    oom_score_adj_min: int = -1000
    cgroup_v2: bool = False
    seccomp: bool = True
    devices: tuple[DeviceNode, ...] = ()  # for privileged containers


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the sandbox gives a container: paths to join and files to bind.

    ``namespaces`` maps OCI kinds to paths; "" makes a new one; a kind left out is the host's.
    ``files`` maps paths in the container to files of the host.
    """

    hostname: str
    namespaces: Mapping[str, str]
    files: Mapping[str, str]
    shm: str
    cgroup: str
    rootfs: str
    devices: tuple[DeviceNode, ...] = ()
    seccomp_profile: Mapping[str, Any] | None = field(default=None)


def compute_command(config: ContainerConfig, image: ImageConfig) -> list[str]:
    """CRI: a command replaces entrypoint *and* cmd, args replace cmd."""
    if config.command:
        command = [*config.command, *config.args]
    else:
        command = [*image.entrypoint, *(config.args or image.cmd)]
    if not command:
        raise CreateContainerError("no command specified")
    return command


def compute_environment(config: ContainerConfig, image: ImageConfig, hostname: str) -> list[str]:
    """Image first, then ours, then the caller's; the last value of a name wins."""
    values: dict[str, str] = {}
    for entry in (_PATH, *image.env):
        key, _, value = entry.partition("=")
        values[key] = value
    values["HOSTNAME"] = hostname
    if config.tty:
        values.setdefault("TERM", "xterm")
    values.update(config.envs)
    return [f"{key}={value}" for key, value in values.items()]


def _normalize(names: Iterable[str]) -> list[str]:
    upper = [name.upper() for name in names]
    return [name if name.startswith("CAP_") or name == "ALL" else f"CAP_{name}" for name in upper]


def compute_capabilities(security: SecurityContext, host: Host) -> list[str]:
    """Drops happen after adds, except that ``drop: ALL`` keeps what is added by name."""
    if security.privileged:
        return list(host.capabilities)
    add, drop = _normalize(security.capabilities_add), _normalize(security.capabilities_drop)
    unknown = [name for name in (*add, *drop) if name not in ALL_CAPABILITIES and name != "ALL"]
    if unknown:
        raise CreateContainerError(f"unknown capability {unknown[0]!r}")
    wanted = set(host.capabilities if "ALL" in add else DEFAULT_CAPABILITIES)
    if "ALL" in drop:
        wanted = set()
    wanted |= set(add)
    wanted -= set(drop)
    return [name for name in ALL_CAPABILITIES if name in wanted and name in host.capabilities]


def render_mounts(
    config: ContainerConfig, surroundings: Surroundings, *, host: Host
) -> list[dict[str, Any]]:
    """Default mounts, then files of the sandbox, then the caller's by depth.

    A default gives way to a mount of the caller at the same place.
    """
    privileged = config.security.privileged
    guard = ["nosuid", "noexec", "nodev"]
    readonly = [] if privileged else ["ro"]
    defaults = [
        _mount("/proc", "proc", "proc", guard),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount(
            "/dev/pts",
            "devpts",
            "devpts",
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        _mount("/dev/mqueue", "mqueue", "mqueue", guard),
        _mount("/sys", "sysfs", "sysfs", [*guard, *readonly]),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", [*guard, "relatime", *readonly]),
        _mount("/dev/shm", "bind", surroundings.shm, ["rbind", "rw"]),  # noqa: S108
    ]
    files = [
        _mount(path, "bind", source, ["rbind", "rprivate", "rw"])
        for path, source in surroundings.files.items()
    ]
    own = sorted(config.mounts, key=lambda mount: mount.container_path.rstrip("/").count("/"))
    taken = {mount.container_path.rstrip("/") for mount in own}
    kept = [mount for mount in (*defaults, *files) if mount["destination"] not in taken]
    return [*kept, *map(_render_bind, own)]


def _mount(destination: str, kind: str, source: str, options: Sequence[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def _render_bind(mount: Mount) -> dict[str, Any]:
    options = ["rbind", {"private": "rprivate"}.get(mount.propagation, mount.propagation)]
    options.append("ro" if mount.readonly else "rw")
    if mount.readonly and mount.recursive_readonly:
        options.append("rro")
    return _mount(mount.container_path, "bind", str(mount.host_path), options)


def render_resources(
    resources: Resources, devices: Sequence[dict[str, Any]], *, host: Host
) -> dict[str, Any]:
    """``linux.resources``; what is not set is left to the kernel."""
    # On version 2 the weight is said outright: OCI runtimes differ in what they make of shares.
    cpu = {
        "shares": None if host.cgroup_v2 else resources.cpu_shares,
        "quota": resources.cpu_quota_us,
        "period": resources.cpu_period_us,
        "cpus": resources.cpuset_cpus,
        "mems": resources.cpuset_mems,
    }
    memory = {
        "limit": resources.memory_limit_bytes,
        "swap": resources.memory_swap_limit_bytes,
    }
    out: dict[str, Any] = {
        "cpu": {key: value for key, value in cpu.items() if value},
        "memory": {key: value for key, value in memory.items() if value},
    }
    if devices:
        out["devices"] = list(devices)
    if resources.pids_limit:
        out["pids"] = {"limit": resources.pids_limit}
    if resources.hugepage_limits:
        out["hugepageLimits"] = [
            {"pageSize": size, "limit": limit} for size, limit in resources.hugepage_limits.items()
        ]
    unified = {}
    if host.cgroup_v2 and resources.cpu_shares:
        unified["cpu.weight"] = str(shares_to_weight(resources.cpu_shares))
    if host.cgroup_v2 and resources.memory_limit_bytes:
        # As the kubelet: one process over the limit ends the container, not just itself.
        unified["memory.oom.group"] = "1"
    out["unified"] = unified
    return {key: value for key, value in out.items() if value}


def _render_devices(
    config: ContainerConfig, surroundings: Surroundings, host: Host
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(device nodes, cgroup rules)."""
    privileged = config.security.privileged
    nodes = [*surroundings.devices, *(host.devices if privileged else ())]
    unique = {node.path: node for node in reversed(nodes)}
    rendered = [
        {
            "path": node.path,
            "type": node.kind,
            "major": node.major,
            "minor": node.minor,
            "fileMode": node.mode,
            "uid": node.uid,
            "gid": node.gid,
        }
        for node in unique.values()
    ]
    if privileged:
        return rendered, [{"allow": True, "access": "rwm"}]
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    rules += [
        {
            "allow": True,
            "type": node.kind,
            "major": node.major,
            "minor": node.minor,
            "access": node.permissions,
        }
        for node in unique.values()
    ]
    return rendered, rules


def render_process(
    *,
    args: Sequence[str],
    environment: Sequence[str],
    cwd: str,
    user: ResolvedUser,
    capabilities: Sequence[str],
    terminal: bool,
    no_new_privs: bool,
    oom_score_adj: int | None = None,
) -> dict[str, Any]:
    """``process``, also used for exec. Nothing is inheritable or ambient, as elsewhere."""
    process: dict[str, Any] = {
        "terminal": terminal,
        "user": {
            "uid": user.uid,
            "gid": user.gid,
            "additionalGids": sorted({user.gid, *user.groups}),
        },
        "args": list(args),
        "env": list(environment),
        "cwd": cwd or "/",
        "capabilities": {
            "bounding": list(capabilities),
            "effective": list(capabilities),
            "permitted": list(capabilities),
        },
        "noNewPrivileges": no_new_privs,
    }
    if oom_score_adj is not None:
        process["oomScoreAdj"] = oom_score_adj
    return process


def render_spec(
    config: ContainerConfig,
    image: ImageConfig,
    user: ResolvedUser,
    surroundings: Surroundings,
    host: Host,
) -> dict[str, Any]:
    """The whole spec. Raises CreateContainerError for wishes that cannot be met."""
    security = config.security
    capabilities = compute_capabilities(security, host)
    environment = compute_environment(config, image, surroundings.hostname)
    if not any(entry.startswith("HOME=") for entry in environment):
        environment.append(f"HOME={user.home}")
    adjust = config.resources.oom_score_adj
    devices, rules = _render_devices(config, surroundings, host)
    linux: dict[str, Any] = {
        "namespaces": _render_namespaces(surroundings.namespaces),
        "resources": render_resources(config.resources, rules, host=host),
        "cgroupsPath": surroundings.cgroup,
        "devices": devices,
    }
    if not security.privileged:
        masked, readonly = security.masked_paths, security.readonly_paths
        linux["maskedPaths"] = list(MASKED_PATHS if masked is None else masked)
        linux["readonlyPaths"] = list(READONLY_PATHS if readonly is None else readonly)
        profile = _choose_profile(security, surroundings, capabilities, host)
        if profile is not None:
            linux["seccomp"] = profile
    kinds = {mount.propagation for mount in config.mounts}
    if kinds & {"rshared", "rslave"}:
        linux["rootfsPropagation"] = "rshared" if "rshared" in kinds else "rslave"
    process = render_process(
        args=compute_command(config, image),
        environment=environment,
        cwd=config.working_dir or image.working_dir,
        user=user,
        capabilities=capabilities,
        terminal=config.tty,
        no_new_privs=security.no_new_privs,
        oom_score_adj=None if adjust is None else max(adjust, host.oom_score_adj_min),
    )
    if security.apparmor not in ("", "unconfined", "runtime/default"):
        process["apparmorProfile"] = security.apparmor.removeprefix("localhost/")
    return {
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": surroundings.rootfs, "readonly": security.readonly_rootfs},
        "mounts": render_mounts(config, surroundings, host=host),
        "annotations": {},
        "linux": linux,
    }


def _render_namespaces(namespaces: Mapping[str, str]) -> list[dict[str, str]]:
    rendered = [{"type": "mount"}]
    for kind, path in namespaces.items():
        rendered.append({"type": kind, "path": path} if path else {"type": kind})
    return rendered


def _choose_profile(
    security: SecurityContext,
    surroundings: Surroundings,
    capabilities: Sequence[str],
    host: Host,
) -> Mapping[str, Any] | None:
    if not host.seccomp or security.seccomp in ("", "unconfined"):
        return None
    if security.seccomp == "runtime/default":
        return render_default_profile(capabilities)
    if surroundings.seccomp_profile is None:
        raise CreateContainerError(f"unknown seccomp profile {security.seccomp!r}")
    return surroundings.seccomp_profile
