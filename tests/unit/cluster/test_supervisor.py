"""The supervisor as the program it is: adopting, restarting, ending nothing but itself."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from kutter.cluster import processes, supervision, supervisor
from kutter.cluster.config import ClusterConfig

T = TypeVar("T")
_SLEEP = [sys.executable, "-ISc", "import time; time.sleep(600)"]


def wait_until(condition: Callable[[], T | None], timeout_s: float = 30) -> T:
    deadline = time.monotonic() + timeout_s
    while not (answer := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return answer


class Place:
    def __init__(self, folder: Path) -> None:
        self.run, self.logs = folder / "run", folder / "log"
        self.run.mkdir()
        self.logs.mkdir()
        self._watchers: list[subprocess.Popen[bytes]] = []

    def watch(self, **commands: list[str]) -> subprocess.Popen[bytes]:
        plan = {"run_dir": str(self.run), "log_dir": str(self.logs), "components": commands}
        made = subprocess.Popen(
            [sys.executable, "-I", "-S", supervisor.__file__, json.dumps(plan)],
            stderr=subprocess.PIPE,
        )
        self._watchers.append(made)
        return made

    def pid(self, name: str) -> int:
        found = processes.find(self.run, name)
        return found.pid if found else 0

    def close(self) -> None:
        for watcher in self._watchers:
            watcher.kill()
            watcher.communicate()
        for file in self.run.glob("*.pid"):
            with contextlib.suppress(ProcessLookupError):
                if pid := self.pid(file.stem):
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def test_what_ends_is_started_again(place: Place) -> None:
    place.watch(server=_SLEEP, agent=_SLEEP)
    server, agent = wait_until(lambda: place.pid("server")), wait_until(lambda: place.pid("agent"))
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: place.pid("server") not in (0, server))
    assert place.pid("agent") == agent
    os.kill(place.pid("server"), signal.SIGKILL)
    os.kill(agent, signal.SIGKILL)
    wait_until(lambda: place.pid("agent") not in (0, agent))
    wait_until(lambda: place.pid("server"))


def test_what_runs_is_adopted_also_by_the_next_supervisor(place: Place) -> None:
    first = place.watch(server=_SLEEP)
    server = wait_until(lambda: place.pid("server"))
    first.kill()
    first.wait()
    second = place.watch(server=_SLEEP)
    wait_until(lambda: place.pid("supervisor") == second.pid)
    assert place.pid("server") == server
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: place.pid("server") not in (0, server))


def test_ending_it_ends_nothing_else(place: Place) -> None:
    watcher = place.watch(server=_SLEEP)
    server = wait_until(lambda: place.pid("server"))
    watcher.terminate()
    assert watcher.wait(30) == 0
    assert place.pid("server") == server
    assert place.pid("supervisor") == 0


def test_there_is_only_one(place: Place) -> None:
    first = place.watch(server=_SLEEP)
    wait_until(lambda: place.pid("supervisor") == first.pid)
    second = place.watch(server=_SLEEP)
    assert second.wait(30) == 1
    assert place.pid("supervisor") == first.pid


def test_what_keeps_ending_is_tried_less_often(place: Place) -> None:
    program = f"import sys; open({str(place.logs / 'tries')!r}, 'a').write('x'); sys.exit(3)"
    watcher = place.watch(server=[sys.executable, "-ISc", program])
    tries = place.logs / "tries"
    wait_until(lambda: tries.exists() and len(tries.read_text()) >= 4)
    watcher.terminate()
    _, said = watcher.communicate(timeout=30)
    lines = said.decode().splitlines()
    assert "exit code 3; again in 0.1 s" in lines[0]
    assert "again in 0.2 s" in lines[1]
    assert "again in 0.4 s" in lines[2]


def test_output_goes_to_the_log_and_a_full_log_is_set_aside(place: Place) -> None:
    log = place.logs / "server.log"
    with log.open("wb") as file:
        file.truncate(supervisor.LOG_LIMIT_BYTES + 1)
    place.watch(server=[sys.executable, "-ISc", "print('hello')"])
    wait_until(lambda: log.exists() and "hello" in log.read_text(errors="replace"))
    assert (place.logs / "server.log.1").stat().st_size > supervisor.LOG_LIMIT_BYTES


def test_a_command_that_is_not_there_is_told(place: Place) -> None:
    watcher = place.watch(server=["/no/such/program"])
    assert watcher.stderr is not None
    assert b"server cannot be started" in watcher.stderr.readline()


def test_a_reused_pid_is_not_taken_for_ours(place: Place) -> None:
    (place.run / "server.pid").write_text(f"{os.getpid()} 1\n")
    place.watch(server=_SLEEP)
    wait_until(lambda: place.pid("server") not in (0, os.getpid()))


def test_one_start_at_a_time(tmp_path: Path) -> None:
    config = ClusterConfig().replace(run_dir=tmp_path / "run")
    with supervision.alone(config, 1):
        with (
            pytest.raises(supervision.SupervisionError, match="at work"),
            supervision.alone(config, 0.05),
        ):
            pass
        # A 'down' takes the folder away while it holds the lock: the next one makes a new lock.
        (config.run_dir / supervision.LOCK).unlink()
        config.run_dir.rmdir()
        with supervision.alone(config, 1):
            pass


def test_units_of_clusters_apart() -> None:
    default = ClusterConfig()
    assert supervision.unit_of(default) == "kutter.service"
    names = {supervision.unit_of(default.replace(run_dir=Path(f"/run/{n}"))) for n in "ab"}
    assert len(names) == 2


def test_it_is_not_ended_between_starting_a_process_and_noting_it(tmp_path, monkeypatch) -> None:
    """'kutter down' just then would not have found the process."""
    blocked: list[set[signal.Signals]] = []
    note = supervisor.write_pid

    def write_pid(path: str, pid: int) -> None:
        blocked.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        note(path, pid)

    monkeypatch.setattr(supervisor, "write_pid", write_pid)
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    component = supervisor.Component("agent", command, str(tmp_path), str(tmp_path))
    component.ensure()
    try:
        assert blocked
        assert blocked[0] >= {signal.SIGTERM, signal.SIGINT}
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(supervisor.ENDING)
    finally:
        pid = supervisor.read_pid(f"{tmp_path}/agent.pid")
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(component.handle)
