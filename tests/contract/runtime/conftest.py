"""A runtime under test, and a check that nothing is left behind.

The suite speaks only the contract (:mod:`kutter.runtime.cri`); another implementation joins it
by yielding itself from :func:`world`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.contract.runtime.leaks import find_leaks
from tests.contract.runtime.world import LoopbackNetwork, World

from kutter.linux.cgroups import Cgroups, detect_cgroups
from kutter.linux.mounts import unmount_below
from kutter.runtime.embedded.assembly import build_runtime
from kutter.runtime.embedded.paths import RuntimePaths
from kutter.testing.images import BuiltImage, build_busybox_image


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> BuiltImage:
    return build_busybox_image(tmp_path_factory.mktemp("images") / "busybox.tar")


@pytest.fixture(scope="session")
def cgroups() -> Cgroups:
    return detect_cgroups()


@pytest.fixture
def clean_base(cgroups: Cgroups) -> Iterator[tuple[Path, str]]:
    """A folder and a cgroup name of the test's own; afterwards nothing may be left."""
    base = Path(tempfile.mkdtemp(prefix="kutter-rt-"))
    cgroup = f"/kutter-test-{base.name[-8:]}"
    yield base, cgroup
    leaks = find_leaks(base, cgroup, cgroups)
    # A failed test must not spoil the next ones.
    cgroups.kill_all(cgroup)
    unmount_below(base)
    cgroups.remove(cgroup)
    shutil.rmtree(base, ignore_errors=True)
    assert leaks == []


@pytest.fixture
async def world(clean_base: tuple[Path, str], busybox: BuiltImage) -> AsyncIterator[World]:
    base, cgroup = clean_base
    paths = RuntimePaths(base / "root", base / "run", cgroup)
    network = LoopbackNetwork()
    runtime, images = build_runtime(paths, network)
    await runtime.start()
    made = World(base, paths, network, runtime, images)
    await images.import_archive(busybox.path)
    try:
        yield made
    finally:
        await made.runtime.purge()
        assert network.attached == {}
