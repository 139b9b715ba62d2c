"""Sandboxes: the namespaces, shared memory and files that the containers of a pod share.

There is no pause process: net, IPC and UTS namespaces are pinned by bind mounts, and each
container has a PID namespace of its own. Only a sandbox with a *shared* PID namespace gets a
tiny first process (:mod:`kutter.runtime.embedded.pause`), for a PID namespace ends with it.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from kutter.linux import mounts, process
from kutter.linux.cgroups import Cgroups
from kutter.linux.namespaces import is_pinned, pin_namespaces, unpin_namespaces
from kutter.runtime.cri import (
    DnsConfig,
    NamespaceMode,
    Sandbox,
    SandboxConfig,
    SandboxNetwork,
    SandboxState,
)
from kutter.runtime.embedded.blocking import run_whole
from kutter.runtime.embedded.oci import OciRuntime, end_processes
from kutter.runtime.embedded.paths import RuntimePaths
from kutter.runtime.embedded.pause import start_pause
from kutter.runtime.embedded.records import Phase, SandboxRecord, write_record

_SHM_OPTIONS = "mode=1777,size=65536k"


def render_resolv_conf(dns: DnsConfig) -> str:
    """resolv.conf(5)."""
    lines = []
    if dns.searches:
        lines.append("search " + " ".join(dns.searches))
    lines += [f"nameserver {server}" for server in dns.servers]
    if dns.options:
        lines.append("options " + " ".join(dns.options))
    return "\n".join(lines) + "\n" if lines else ""


def list_pinned(config: SandboxConfig) -> tuple[str, ...]:
    """The kinds of namespaces that are made for this sandbox; the others are the node's."""
    kinds = []
    if config.network is not NamespaceMode.NODE:
        kinds += ["net", "uts"]  # a host-network pod has the node's host name, as upstream
    if config.ipc is not NamespaceMode.NODE:
        kinds.append("ipc")
    return tuple(kinds)


class SandboxHouse:
    """Makes, shows and takes down what one sandbox consists of. Keeps no state itself."""

    def __init__(
        self, paths: RuntimePaths, network: SandboxNetwork, cgroups: Cgroups, boot_id: str
    ) -> None:
        self._paths = paths
        self._network = network
        self._cgroups = cgroups
        self._boot_id = boot_id

    def home(self, sandbox_id: str) -> Path:
        """What survives a reboot: record and files."""
        return self._paths.sandboxes / sandbox_id

    def place(self, sandbox_id: str) -> Path:
        """Pinned namespaces and shared memory."""
        return self._paths.pods / sandbox_id

    def cgroup(self, record: SandboxRecord) -> str:
        """The group the sandbox's containers are in."""
        return record.config.cgroup_parent or f"{self._paths.cgroup}/{record.id}"

    def network_namespace(self, record: SandboxRecord) -> Path | None:
        """The pinned network namespace, None for the node's."""
        if record.config.network is NamespaceMode.NODE:
            return None
        return self.place(record.id) / "net"

    async def make(self, record: SandboxRecord, runtime: OciRuntime) -> None:
        """Bring the sandbox up; the caller undoes with :meth:`take_down` when this raises."""
        config = record.config
        place = self.place(record.id)
        await run_whole(self._make_place, place, config, self.home(record.id))
        if config.pid is NamespaceMode.POD:
            record.pause_pid = await start_pause(
                runtime,
                f"pause-{record.id}",
                self._paths.root / "pause",
                place / "pause",
                cgroup=f"{self.cgroup(record)}/pause-{record.id}",
                namespaces={kind: str(place / kind) for kind in list_pinned(config)},
            )
            record.pause_ticks = process.start_ticks(record.pause_pid)
        namespace = self.network_namespace(record)
        if namespace is not None:
            record.ips = list(
                await self._network.attach(namespace, record.id, config.port_mappings)
            )

    @staticmethod
    def _make_place(place: Path, config: SandboxConfig, home: Path) -> None:
        place.mkdir(parents=True, mode=0o711)
        pin_namespaces(place, list_pinned(config), hostname=config.hostname, sysctls=config.sysctls)
        if config.ipc is not NamespaceMode.NODE:
            shm = place / "shm"
            shm.mkdir()
            flags = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
            mounts.mount("shm", shm, "tmpfs", flags=flags, options=_SHM_OPTIONS)
        if config.dns is None:
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile("/etc/resolv.conf", home / "resolv.conf")
        else:
            (home / "resolv.conf").write_text(render_resolv_conf(config.dns))
        hosts = config.extra_hosts_file or Path("/etc/hosts")
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(hosts, home / "hosts")
        if config.hostname:
            (home / "hostname").write_text(config.hostname + "\n")

    def files(self, record: SandboxRecord) -> dict[str, str]:
        """Files to bind into each container: path there to path here."""
        home = self.home(record.id)
        found = {}
        for name in ("resolv.conf", "hosts", "hostname"):
            if (home / name).exists():
                found[f"/etc/{name}"] = str(home / name)
        return found

    def shared_memory(self, record: SandboxRecord) -> str:
        """What ``/dev/shm`` is in each container."""
        if record.config.ipc is NamespaceMode.NODE:
            return "/dev/shm"  # noqa: S108
        return str(self.place(record.id) / "shm")

    def namespaces(self, record: SandboxRecord) -> Mapping[str, str]:
        """OCI namespaces the containers join (without PID)."""
        names = {"net": "network", "ipc": "ipc", "uts": "uts"}
        place = self.place(record.id)
        return {names[kind]: str(place / kind) for kind in list_pinned(record.config)}

    def is_up(self, record: SandboxRecord) -> bool:
        """Whether what the sandbox consists of is there."""
        if record.phase is not Phase.READY or record.boot_id != self._boot_id:
            return False
        if record.pause_pid and not process.is_alive(record.pause_pid, record.pause_ticks):
            return False
        return all(is_pinned(self.place(record.id) / kind) for kind in list_pinned(record.config))

    async def take_down(self, record: SandboxRecord, runtime: OciRuntime) -> None:
        """Release network, namespaces, memory and first process. Safe at any stage, again."""
        if record.config.network is not NamespaceMode.NODE:
            await self._network.detach(record.id)
        if record.config.pid is NamespaceMode.POD:
            if record.phase is Phase.CREATING:
                await end_processes(f"pause-{record.id}")
            group = f"{self.cgroup(record)}/pause-{record.id}"
            self._cgroups.kill_all(group)
            await runtime.delete(f"pause-{record.id}", group, self._cgroups)
        await run_whole(self._clear_place, record.id)
        if not record.config.cgroup_parent:
            self._cgroups.remove(self.cgroup(record))

    def _clear_place(self, sandbox_id: str) -> None:
        place = self.place(sandbox_id)
        if not place.exists():
            return
        unpin_namespaces(place)
        mounts.unmount(place / "shm")
        shutil.rmtree(place, ignore_errors=True)

    def view(self, record: SandboxRecord) -> Sandbox:
        """As CRI shows it."""
        up = self.is_up(record)
        return Sandbox(
            id=record.id,
            metadata=record.config.metadata,
            state=SandboxState.READY if up else SandboxState.NOT_READY,
            created_at_ns=record.created_at_ns,
            ips=tuple(record.ips),
            labels=record.config.labels,
            annotations=record.config.annotations,
            network_namespace=self.network_namespace(record),
            runtime_handler=record.config.runtime_handler,
        )

    def save(self, record: SandboxRecord) -> None:
        """Write the record."""
        write_record(self.home(record.id), record)
