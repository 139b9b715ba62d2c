"""Starting and stopping the cluster of this machine: what ``kutter up`` and ``down`` do.

Order of start: certificates, server, wait for ``/readyz``, agent, wait for the node, supervisor.
Every step is safe to repeat, so ``up`` after a crash continues where things were.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError

import orjson

from kutter.client import kubeconfig
from kutter.cluster import processes, supervision, users_kubeconfig
from kutter.cluster.admin_kubeconfig import build_kubeconfig
from kutter.cluster.api_options import seconds_of
from kutter.cluster.certificates import Certificates, certificates_of
from kutter.cluster.config import ClusterConfig, save_config
from kutter.cluster.users_kubeconfig import CONTEXT

Say = Callable[[str], None]

SERVER, AGENT = "server", "agent"
_POLL_S = 0.02
_STOP_S = 20.0
_LOCK_S = 60.0


class StartError(Exception):
    """The cluster could not be started or stopped; ``hint`` says what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class State:
    """What runs on this machine now."""

    server: processes.Running | None
    agent: processes.Running | None
    supervisor: processes.Running | None


def observe(config: ClusterConfig) -> State:
    """Look up our processes."""
    names = (SERVER, AGENT, supervision.NAME)
    return State(*(processes.find(config.run_dir, name) for name in names))


def bring_up(config: ClusterConfig, *, with_agent: bool, timeout_s: float, say: Say) -> None:
    """Start what does not run yet, wait for it, have it watched. Raises StartError."""
    _check_machine(config, with_agent=with_agent)
    deadline = time.monotonic() + timeout_s
    try:
        with supervision.alone(config, timeout_s):
            # What we start we also report about; the supervisor would start it behind our back.
            supervision.stop(config)
            try:
                _bring_up(config, with_agent=with_agent, deadline=deadline, say=say)
            finally:
                _supervise(config)
    except supervision.SupervisionError as error:
        raise StartError(str(error), "look at 'kutter status' and try again") from error


def _supervise(config: ClusterConfig) -> None:
    """Have watched what runs now."""
    commands = {
        name: [name, *place_flags(config)]
        for name in (SERVER, AGENT)
        if processes.find(config.run_dir, name) is not None
    }
    if commands:
        supervision.start(config, commands)


def _bring_up(config: ClusterConfig, *, with_agent: bool, deadline: float, say: Say) -> None:
    started_s = time.monotonic()
    state = observe(config)
    config.state_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
    save_config(config)
    certificates = certificates_of(config)
    certificates.ensure()
    if with_agent:
        certificates.issue_node(config.node_name, (config.address,))
    write_kubeconfig(config, certificates)
    if state.server is None:
        _check_port_free(config.api_port, "API server", "--api-port")
        say("Starting the server ...")
        processes.start(config.run_dir, config.log_dir, SERVER, [SERVER, *place_flags(config)])
    _wait_ready(config, certificates, deadline)
    say(f"API server ready at {config.server_url} ({time.monotonic() - started_s:.1f} s)")
    if not with_agent:
        return
    if state.agent is None:
        _check_port_free(config.kubelet_port, "node agent", "--kubelet-port")
        processes.start(config.run_dir, config.log_dir, AGENT, [AGENT, *place_flags(config)])
    _wait_node(config, certificates, deadline)
    say(f"Node {config.node_name} ready ({time.monotonic() - started_s:.1f} s)")
    merged = users_kubeconfig.add_context(config)
    if merged is not None:
        say(f"Context '{CONTEXT}' written to {merged}")


def place_flags(config: ClusterConfig) -> list[str]:
    """Flags that lead a component to the configuration written by :func:`save_config`."""
    return [
        f"--state-dir={config.state_dir}",
        f"--run-dir={config.run_dir}",
        f"--log-dir={config.log_dir}",
    ]


def take_down(config: ClusterConfig, *, purge: bool, say: Say) -> str:
    """Stop everything; answers one sentence. Raises StartError."""
    if os.geteuid() != 0:
        raise StartError("stopping the cluster needs root", "run it with sudo")
    try:
        with supervision.alone(config, _LOCK_S):
            return _take_down(config, purge=purge, say=say)
    except supervision.SupervisionError as error:
        raise StartError(str(error), "look at 'kutter status' and try again") from error


def _take_down(config: ClusterConfig, *, purge: bool, say: Say) -> str:
    try:
        supervision.stop(config)
        agent = processes.stop(config.run_dir, AGENT)
        patience_s = _STOP_S + seconds_of(config, "shutdown_delay_duration")
        server = processes.stop(config.run_dir, SERVER, timeout_s=patience_s)
        processes.stop_strays(config.run_dir, (AGENT, SERVER), timeout_s=patience_s)
    except RuntimeError as error:
        raise StartError(str(error), "look at what it waits for with 'ps' and try again") from error
    say("Removing containers, mounts, interfaces and rules ...")
    from kutter.cluster.agent import remove_traces

    remove_traces(config)
    shutil.rmtree(config.run_dir, ignore_errors=True)
    if purge:
        users_kubeconfig.remove_context(config)
        shutil.rmtree(config.state_dir, ignore_errors=True)
        shutil.rmtree(config.log_dir, ignore_errors=True)
        return "The cluster is stopped and forgotten."
    if not agent and not server:
        return "The cluster was not running; nothing of it is left on this machine but its state."
    return "The cluster is stopped; its state is kept for the next 'kutter up'."


# Checks before anything is started


def _check_machine(config: ClusterConfig, *, with_agent: bool) -> None:
    if not with_agent:
        return
    if os.geteuid() != 0:
        raise StartError("starting a node needs root", "run 'sudo kutter up'")
    missing = [tool for tool in ("conmon", "nft") if shutil.which(tool) is None]
    if shutil.which("runc") is None and shutil.which("crun") is None:
        missing.append("runc")
    if missing:
        names = " ".join("nftables" if m == "nft" else m for m in missing)
        raise StartError(
            f"this machine lacks {', '.join(missing)}", f"install: apt-get install {names}"
        )


def _check_port_free(port: int, who: str, flag: str) -> None:
    probe = socket.socket(socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET)
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("", port))
    except OSError as error:
        raise StartError(
            f"port {port} for the {who} is taken: {error.strerror}",
            f"stop what uses it ('ss -ltnp sport = :{port}' tells) or choose another with {flag}",
        ) from error
    finally:
        probe.close()


# Waiting


def _fetch(config: ClusterConfig, certificates: Certificates, path: str) -> tuple[int, bytes]:
    """One request as the administrator, with nothing but the standard library: start-up time."""
    context = ssl.create_default_context(cafile=str(certificates.ca_file))
    pair = certificates.pair("admin")
    context.load_cert_chain(pair.certificate, pair.key)
    request = urllib.request.Request(f"{config.local_url}{path}")  # noqa: S310  (our own https)
    try:
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:  # noqa: S310
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, error.read()


def _polls(config: ClusterConfig, component: str, deadline: float) -> Iterator[None]:
    """Tick until the deadline or until the component has died."""
    while time.monotonic() < deadline:
        if processes.find(config.run_dir, component) is None:
            log = config.log_dir / f"{component}.log"
            raise StartError(f"the {component} ended: {_last_line(log)}", f"its log is {log}")
        yield
        time.sleep(_POLL_S)


def _wait_ready(config: ClusterConfig, certificates: Certificates, deadline: float) -> None:
    detail = "it does not answer"
    for _ in _polls(config, SERVER, deadline):
        try:
            status, body = _fetch(config, certificates, "/readyz?verbose")
        except (URLError, OSError):
            continue
        if status == 200:
            return
        detail = body.decode(errors="replace").strip()
    raise StartError(
        f"the server is not ready in time: {detail}", f"its log is {config.log_dir}/server.log"
    )


def _wait_node(config: ClusterConfig, certificates: Certificates, deadline: float) -> None:
    detail = "it has not registered"
    for _ in _polls(config, AGENT, deadline):
        # The stored node may still say Ready from an earlier run: ask the agent itself first.
        if not _agent_is_ready(config):
            continue
        try:
            status, body = _fetch(config, certificates, f"/api/v1/nodes/{config.node_name}")
        except (URLError, OSError):
            continue
        if status != 200:
            continue
        node = orjson.loads(body)
        for condition in node.get("status", {}).get("conditions", []):
            if condition["type"] == "Ready":
                if condition["status"] == "True":
                    return
                detail = condition.get("message") or condition.get("reason", "")
    raise StartError(
        f"node {config.node_name} is not Ready in time: {detail}",
        f"its log is {config.log_dir}/agent.log",
    )


def _agent_is_ready(config: ClusterConfig) -> bool:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(5)
    try:
        connection.connect(str(config.run_dir / "agent.sock"))
        connection.sendall(b"GET /ready HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")
        return b" 200 " in connection.recv(64)
    except OSError:
        return False
    finally:
        connection.close()


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = [line for line in file.read().decode(errors="replace").splitlines() if line]
    except OSError:
        return "no log was written"
    return lines[-1] if lines else "its log is empty"


# The kubeconfig


def write_kubeconfig(config: ClusterConfig, certificates: Certificates) -> None:
    """The administrator's kubeconfig, with everything embedded."""
    made = build_kubeconfig(certificates, server=config.server_url, cluster=CONTEXT)
    kubeconfig.save(made, config.kubeconfig_file)


def next_steps(config: ClusterConfig) -> str:
    """What to try next, for a person."""
    me = own_command()
    account = next(users_kubeconfig.accounts(config), None)
    if account is None:
        kubectl = f"kubectl works with KUBECONFIG={config.kubeconfig_file} (root may read it)"
    else:
        kubectl = f"kubectl works as well: its context is '{CONTEXT}' in {account.path}"
    return f"""
The cluster is up. Try:

  {me} get nodes
  {me} create -f FILE-OR-URL
  {me} get pods -A -w
  {me} why pod/NAME          why it is not running yet

{kubectl}
Stop it with 'sudo {me} down'."""


def own_command() -> str:
    """How to call this program again: by name if it is on the path, else by its place."""
    found = shutil.which("kutter")
    mine = Path(sys.argv[0])
    if mine.name != "kutter" or (found and Path(found).resolve() == mine.resolve()):
        return "kutter"
    return str(mine.absolute())
