"""The order ``kutter up`` goes in, and what it leaves behind when it cannot go on."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kutter.cluster import credentials, lifecycle, processes, readiness, supervision
from kutter.cluster.config import ClusterConfig


@pytest.fixture
def config(tmp_path: Path) -> ClusterConfig:
    return ClusterConfig(
        state_dir=tmp_path / "state",
        run_dir=tmp_path / "run",
        log_dir=tmp_path / "log",
        node_name="n",
        address="127.0.0.1",
        api_port=0,
    )


class Steps:
    """What was done, in order; processes are noted, not started."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.running: set[str] = set()
        patch.setattr(processes, "start", self._start)
        patch.setattr(processes, "stop", self._stop)
        patch.setattr(processes, "find", self._find)
        patch.setattr(supervision, "alone", self._alone)
        patch.setattr(supervision, "start", self._supervise)
        patch.setattr(supervision, "stop", lambda config: None)
        patch.setattr(readiness, "wait_ready", lambda *_: self.done.append("wait"))
        self.prepare = credentials.prepare
        patch.setattr(credentials, "prepare", self._prepare)

    def _start(self, run_dir: Path, log_dir: Path, name: str, arguments: list[str]) -> None:
        self.done.append(f"start {name}")
        self.running.add(name)

    def _stop(self, run_dir: Path, name: str, **_: Any) -> bool:
        self.done.append(f"stop {name}")
        self.running.discard(name)
        return True

    def _find(self, run_dir: Path, name: str) -> processes.Running | None:
        return processes.Running(name, 1) if name in self.running else None

    @contextlib.contextmanager
    def _alone(self, config: ClusterConfig, timeout_s: float) -> Iterator[None]:
        yield

    def _supervise(self, config: ClusterConfig, commands: dict[str, list[str]]) -> None:
        self.done.append(f"watch {','.join(commands)}")

    def _prepare(self, config: ClusterConfig, **more: Any) -> Any:
        self.done.append("certificates")
        return self.prepare(config, **more)


def up(config: ClusterConfig) -> None:
    lifecycle.bring_up(config, with_agent=False, timeout_s=20, say=lambda text: None)


def test_the_server_reads_itself_in_while_certificates_are_made(
    config: ClusterConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps(monkeypatch)
    up(config)
    assert steps.done == ["start server", "certificates", "wait", "watch server"]
    assert config.kubeconfig_file.exists()
    steps.done.clear()
    up(config)  # again, while it runs
    assert steps.done == ["certificates", "wait", "watch server"]


def test_without_certificates_nothing_stays_running(
    config: ClusterConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps(monkeypatch)
    up(config)
    steps.running.clear()
    steps.done.clear()
    (config.pki_dir / "ca.crt").write_text("damaged")
    with pytest.raises(ValueError, match="PEM"):
        up(config)
    assert steps.done == ["start server", "certificates", "stop server"]


def test_what_is_needed_later_is_not_imported_before_the_server_starts() -> None:
    program = "import sys; import kutter.cluster.lifecycle; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert "kutter.cluster.processes" in loaded
    assert loaded.isdisjoint({"cryptography", "yaml", "urllib.request", "asyncio", "ssl"})
    # Each of these reads in inspect and ast, or is two thousand lines of tables.
    assert loaded.isdisjoint({"dataclasses", "orjson", "msgspec", "kutter.api.catalog"})
    assert loaded.isdisjoint({"hashlib", "shutil", "tempfile"})
