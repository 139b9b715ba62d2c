"""One real cluster for the whole run, on a machine of its own; its logs when a test fails."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.cluster import Cluster, Space
from tests.e2e.images import build_scratch_image, build_tools_image, build_web_image
from tests.e2e.machine import Machine

_NEEDED = ("unshare", "nsenter", "ip", "nft", "conmon", "busybox", "curl", "kubectl")
_numbers = itertools.count(1)
FIGURES = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.root)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(120))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    report = yield
    if report.failed:
        for name in ("cluster", "own_cluster"):
            found = getattr(item, "funcargs", {}).get(name)
            if isinstance(found, Cluster):
                report.sections.append((f"logs of the {name}", found.log_tails()))
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    lines = config.stash.get(FIGURES, [])
    if lines:
        terminalreporter.write_sep("-", "figures")
    for line in lines:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def what_it_needs() -> None:
    """Fails, not skips: whoever asks for these tests wants to know that they ran."""
    missing = [tool for tool in _NEEDED if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        pytest.fail(f"end-to-end tests need root and these tools: {', '.join(missing) or 'root'}")


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The images every cluster of these tests starts with."""
    folder = tmp_path_factory.mktemp("images")
    return [
        build_web_image(folder, "nginx:1.7.9").path,
        build_web_image(folder, "nginx:1.10.4").path,
        build_tools_image(folder).path,
        build_scratch_image(folder, "scratch:1").path,
    ]


@pytest.fixture(scope="session")
def cluster(archives: list[Path]) -> Iterator[Cluster]:
    """The cluster most tests share; they leave it running."""
    machine = Machine()
    made = Cluster(machine)
    try:
        made.up()
        for archive in archives:
            made.import_image(archive)
        yield made
        made.down("--purge")
    finally:
        machine.close()


@pytest.fixture
def own_cluster(archives: list[Path]) -> Iterator[Cluster]:
    """A machine with a cluster of the test's own, not started yet; to kill and take down."""
    machine = Machine()
    try:
        yield Cluster(machine)
    finally:
        machine.close()


def make_space(cluster: Cluster, word: str) -> Space:
    return Space(cluster, f"{word}-{next(_numbers)}").make()


@pytest.fixture
def space(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Space]:
    """A namespace for one test."""
    made = make_space(cluster, "test")
    yield made
    made.remove()


@pytest.fixture(scope="module")
def module_space(cluster: Cluster) -> Iterator[Space]:
    """A namespace for all tests of a module."""
    made = make_space(cluster, "module")
    yield made
    made.remove()
