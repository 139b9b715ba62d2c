"""Starting and stopping the supervisor, and letting one start or stop at a time.

Between ``kutter up`` and ``down`` and :mod:`kutter.cluster.supervisor`, which runs on its own: as a
unit of systemd where that is the machine's first process, as a background process elsewhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from kutter.base.programs import find_program
from kutter.cluster import processes, supervisor
from kutter.cluster.config import ClusterConfig

NAME = supervisor.OWN_NAME
LOCK = "lock"
_START_S = 20.0
_POLL_S = 0.01


class SupervisionError(Exception):
    """The supervisor does not start, or another start or stop is under way."""


def start(config: ClusterConfig, commands: Mapping[str, list[str]]) -> None:
    """Have these components watched: name → arguments of ``kutter``. Raises SupervisionError."""
    python = [sys.executable, "-m", "kutter"]
    plan = {
        "run_dir": str(config.run_dir),
        "log_dir": str(config.log_dir),
        "components": {name: [*python, *arguments] for name, arguments in commands.items()},
    }
    command = [sys.executable, "-I", "-S", supervisor.__file__, json.dumps(plan)]
    log = config.log_dir / f"{NAME}.log"
    if has_systemd():
        _start_unit(config, command)
    else:
        with log.open("ab") as output:
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd="/",
            )
    deadline = time.monotonic() + _START_S
    while processes.find(config.run_dir, NAME) is None:
        if time.monotonic() > deadline:
            raise SupervisionError(f"the supervisor does not start; its log is {log}")
        time.sleep(_POLL_S)


def stop(config: ClusterConfig) -> None:
    """End the supervisor, and nothing else; it is no error that there is none."""
    if has_systemd():
        _systemctl("stop", unit_of(config))
        _systemctl("reset-failed", unit_of(config))
    processes.stop(config.run_dir, NAME)


def has_systemd() -> bool:
    """Whether systemd is the first process of the machine (or container) we are in."""
    if os.geteuid() != 0 or find_program("systemd-run") is None:
        return False
    try:
        return Path("/proc/1/comm").read_text().strip() == "systemd"
    except OSError:
        return False


def unit_of(config: ClusterConfig) -> str:
    """The unit's name; a cluster kept elsewhere has one of its own."""
    if config.run_dir == ClusterConfig().run_dir:
        return "kutter.service"
    import hashlib  # with OpenSSL: most starts are of the usual place

    place = hashlib.sha256(str(config.run_dir).encode()).hexdigest()[:10]
    return f"kutter-{place}.service"


def _start_unit(config: ClusterConfig, command: list[str]) -> None:
    log = config.log_dir / f"{NAME}.log"
    settings = (
        "Type=exec",
        "Restart=always",
        "RestartSec=1",
        # Stopping the unit ends the supervisor; 'kutter down' ends the rest, in its order.
        "KillMode=process",
        "OOMScoreAdjust=-999",
        f"StandardOutput=append:{log}",
        f"StandardError=append:{log}",
    )
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "PYTHONPATH") or "KUTTER_" in k}
    done = subprocess.run(
        [
            "systemd-run",
            "--quiet",
            "--collect",
            f"--unit={unit_of(config)}",
            "--description=Kutter, a Kubernetes cluster",
            *(f"--property={setting}" for setting in settings),
            *(f"--setenv={name}={value}" for name, value in kept.items()),
            "--",
            *command,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SupervisionError(f"systemd does not start the supervisor: {done.stderr.strip()}")


def _systemctl(verb: str, unit: str) -> None:
    # A unit that is not there is what was wanted.
    subprocess.run(["systemctl", "--quiet", verb, unit], capture_output=True, check=False)


@contextlib.contextmanager
def alone(config: ClusterConfig, timeout_s: float) -> Iterator[None]:
    """Hold the lock that lets one ``up`` or ``down`` work at a time. Raises SupervisionError."""
    deadline = time.monotonic() + timeout_s
    path = config.run_dir / LOCK
    while True:
        config.run_dir.mkdir(parents=True, exist_ok=True, mode=0o755)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:
            continue  # a 'down' took the folder away
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(path, descriptor):
                break
            os.close(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            if time.monotonic() > deadline:
                raise SupervisionError("another 'kutter up' or 'kutter down' is at work") from None
            time.sleep(_POLL_S)
    try:
        yield
    finally:
        os.close(descriptor)


def _is(path: Path, descriptor: int) -> bool:
    """Whether the open file is still the one at ``path``."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
