"""Processes that no pid file tells of: ended by their command line, and no others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kutter.cluster import processes


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts what looks like a component: ``python -m kutter NAME --run-dir=...``."""
    package = tmp_path / "kutter"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("import time\nprint(flush=True)\ntime.sleep(600)\n")
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "kutter", *arguments]
        made = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, env={})
        started.append(made)
        assert made.stdout is not None
        made.stdout.readline()
        return made

    yield start
    for made in started:
        made.kill()
        made.wait()
        assert made.stdout is not None
        made.stdout.close()


def test_strays_of_this_cluster_are_ended_and_nothing_else(run, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    ours = [run("agent", f"--run-dir={here}"), run("server", "--log-dir=x", f"--run-dir={here}")]
    others = [run("agent", f"--run-dir={there}"), run("logs", f"--run-dir={here}")]
    assert processes.stop_strays(here, ("agent", "server")) == 2
    for made in ours:
        made.wait(30)
        assert processes.start_time_of(made.pid) is None
    assert [made.poll() for made in others] == [None, None]
    assert processes.stop_strays(here, ("agent", "server")) == 0
