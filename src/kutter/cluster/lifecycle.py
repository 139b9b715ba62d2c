"""Starting and stopping the cluster of this machine: what ``kutter up`` and ``down`` do.

Order of start: server, certificates, wait for ``/readyz``, agent, wait for the node, supervisor.
Every step is safe to repeat, so ``up`` after a crash continues where things were. What is needed
only after the server has been started is imported then.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from kutter.base.programs import find_program
from kutter.cluster import processes, supervision
from kutter.cluster.api_options import seconds_of
from kutter.cluster.config import ClusterConfig, save_config
from kutter.cluster.errors import StartError
from kutter.cluster.processes import AGENT, SERVER

Say = Callable[[str], None]

_STOP_S = 20.0
_LOCK_S = 60.0


class State(NamedTuple):
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
    # The server first: reading itself in takes longest, and it makes what certificates it needs
    # by itself; whoever comes second finds them.
    started = state.server is None
    if started:
        _check_port_free(config.api_port, "API server", "--api-port")
        say("Starting the server ...")
        processes.start(config.run_dir, config.log_dir, SERVER, [SERVER, *place_flags(config)])
    from kutter.cluster import credentials, readiness

    try:
        certificates = credentials.prepare(config, with_agent=with_agent)
    except (OSError, ValueError):
        # It cannot run either, and nobody is to start it again and again.
        if started:
            processes.stop(config.run_dir, SERVER)
        raise
    readiness.wait_ready(config, certificates, deadline)
    say(f"API server ready at {config.server_url} ({time.monotonic() - started_s:.1f} s)")
    if not with_agent:
        return
    if state.agent is None:
        _check_port_free(config.kubelet_port, "node agent", "--kubelet-port")
        processes.start(config.run_dir, config.log_dir, AGENT, [AGENT, *place_flags(config)])
    readiness.wait_node(config, certificates, deadline)
    say(f"Node {config.node_name} ready ({time.monotonic() - started_s:.1f} s)")
    from kutter.cluster import users_kubeconfig

    merged = users_kubeconfig.add_context(config)
    if merged is not None:
        say(f"Context '{users_kubeconfig.CONTEXT}' written to {merged}")


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
    import shutil  # not for a start

    say("Removing containers, mounts, interfaces and rules ...")
    from kutter.cluster.agent import remove_traces

    remove_traces(config)
    shutil.rmtree(config.run_dir, ignore_errors=True)
    if purge:
        from kutter.cluster import users_kubeconfig

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
    missing = [tool for tool in ("conmon", "nft") if find_program(tool) is None]
    if find_program("runc") is None and find_program("crun") is None:
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


def next_steps(config: ClusterConfig) -> str:
    """What to try next, for a person."""
    from kutter.cluster import users_kubeconfig

    me = own_command()
    account = next(users_kubeconfig.accounts(config), None)
    if account is None:
        kubectl = f"kubectl works with KUBECONFIG={config.kubeconfig_file} (root may read it)"
    else:
        kubectl = (
            f"kubectl works as well: its context is '{users_kubeconfig.CONTEXT}' in {account.path}"
        )
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
    found = find_program("kutter")
    mine = Path(sys.argv[0])
    if mine.name != "kutter" or (found and Path(found).resolve() == mine.resolve()):
        return "kutter"
    return str(mine.absolute())
