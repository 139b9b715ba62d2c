"""cgroups on the real kernel: this host's layout, and the version 2 face where it is mounted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kutter.linux.cgroups import Cgroups, Layout, Limits, detect_cgroups
from kutter.linux.process import Child, spawn

pytestmark = pytest.mark.root

_GROUP = f"/kutter-test-{os.getpid()}"


def _layouts() -> list[Cgroups]:
    host = detect_cgroups()
    found = [host]
    if host.layout is Layout.HYBRID:
        found.append(Cgroups(Layout.V2, {"unified": host.roots["unified"]}))
    return found


@pytest.fixture(params=_layouts(), ids=lambda cgroups: str(cgroups.layout.value))
def cgroups(request: pytest.FixtureRequest) -> Iterator[Cgroups]:
    made: Cgroups = request.param
    yield made
    made.kill_all(_GROUP)
    assert made.remove(_GROUP)
    assert not made.exists(_GROUP)


async def test_processes_are_listed_frozen_and_killed(cgroups: Cgroups) -> None:
    cgroups.create(f"{_GROUP}/below")
    child: Child = spawn(["sleep", "100"])
    cgroups.add_process(f"{_GROUP}/below", child.pid)
    assert cgroups.list_pids(_GROUP) == [child.pid]
    assert cgroups.list_pids(_GROUP, recursive=False) == []
    assert not cgroups.remove(_GROUP)
    cgroups.freeze(f"{_GROUP}/below")
    cgroups.freeze(f"{_GROUP}/below", frozen=False)
    assert cgroups.kill_all(_GROUP) == 1
    assert await child.wait() == -9


def test_preparing_moves_changes_nothing(cgroups: Cgroups) -> None:
    before = Path("/proc/self/cgroup").read_text()
    cgroups.prepare_moves()
    assert Path("/proc/self/cgroup").read_text() == before


async def test_limits_hold(cgroups: Cgroups) -> None:
    cgroups.create(_GROUP)
    if not cgroups.has("pids"):  # hybrid: the controllers are on version 1
        assert cgroups.layout is Layout.V2
        cgroups.write_limits(_GROUP, Limits(pids=1))
        return
    cgroups.write_limits(_GROUP, Limits(pids=1, cpu_shares=100, memory_bytes=64 << 20))
    child = spawn(["sh", "-c", "read x; sleep 0; exit 0"], stdin=_held_pipe())
    cgroups.add_process(_GROUP, child.pid)
    os.write(_writers.pop(), b"go\n")
    assert await child.wait() != 0  # it may not fork


_writers: list[int] = []


def _held_pipe() -> int:
    read, write = os.pipe()
    _writers.append(write)
    return read
