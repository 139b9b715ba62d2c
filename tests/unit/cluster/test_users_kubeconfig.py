"""The cluster's context in the kubeconfigs of its starter and of root."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

import pytest

from kutter.client import kubeconfig
from kutter.cluster import users_kubeconfig
from kutter.cluster.config import ClusterConfig
from kutter.cluster.users_kubeconfig import CONTEXT, accounts, add_context, remove_context


@dataclass
class Entry:
    pw_dir: str
    pw_uid: int
    pw_gid: int


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    made = {name: tmp_path / name for name in ("ann", "root")}
    for home in made.values():
        home.mkdir()

    def look_up(name: str) -> Entry:
        return Entry(str(made[name]), os.getuid(), os.getgid())

    monkeypatch.setattr(pwd, "getpwnam", look_up)
    monkeypatch.setenv("SUDO_USER", "ann")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return {name: home / ".kube" / "config" for name, home in made.items()}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClusterConfig:
    """The machine's own cluster, in a place of the test's."""
    made = ClusterConfig(state_dir=tmp_path / "state", address="192.0.2.1")
    made.state_dir.mkdir()
    monkeypatch.setattr(users_kubeconfig, "ClusterConfig", lambda: made)
    entry = kubeconfig.Kubeconfig()
    entry.set_cluster_entry(CONTEXT, cluster={"server": made.server_url}, user={"token": "t"})
    kubeconfig.save(entry, made.kubeconfig_file)
    return made


def other(path: Path) -> None:
    made = kubeconfig.Kubeconfig()
    made.set_cluster_entry("work", cluster={"server": "https://work:6443"}, user={"token": "w"})
    path.parent.mkdir()
    kubeconfig.save(made, path)


def test_starter_and_root_get_the_context(homes: dict[str, Path], config: ClusterConfig) -> None:
    assert add_context(config) == homes["ann"]
    for path in homes.values():
        assert kubeconfig.load_file(path).current_context == CONTEXT
        assert path.stat().st_mode & 0o777 == 0o600
    remove_context(config)
    assert not any(path.parent.exists() for path in homes.values()), "nothing is left"


def test_what_is_there_is_kept(homes: dict[str, Path], config: ClusterConfig) -> None:
    for path in homes.values():
        other(path)
    add_context(config)
    starter, root = (kubeconfig.load_file(homes[name]) for name in ("ann", "root"))
    assert starter.current_context == CONTEXT
    assert root.current_context == "work", "root's choice stays"
    assert set(starter.contexts) == set(root.contexts) == {"work", CONTEXT}
    remove_context(config)
    for path in homes.values():
        left = kubeconfig.load_file(path)
        assert (set(left.contexts), set(left.clusters)) == ({"work"}, {"work"})
        assert left.current_context == "work"


def test_what_cannot_be_read_is_left_alone(homes: dict[str, Path], config: ClusterConfig) -> None:
    homes["ann"].parent.mkdir()
    homes["ann"].write_text("{broken")
    assert add_context(config) is None
    assert homes["ann"].read_text() == "{broken"
    assert kubeconfig.load_file(homes["root"]).current_context == CONTEXT
    remove_context(config)
    assert homes["ann"].read_text() == "{broken"


def test_other_clusters_and_who_sets_kubeconfig_manage_theirs(
    homes: dict[str, Path], config: ClusterConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(accounts(config.replace(state_dir=Path("/elsewhere")))) == []
    monkeypatch.setenv("KUBECONFIG", "/somewhere")
    assert list(accounts(config)) == []
    assert add_context(config) is None


def test_root_alone_is_one_account(
    homes: dict[str, Path], config: ClusterConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDO_USER")
    assert [a.path for a in accounts(config)] == [homes["root"]]
    assert add_context(config) == homes["root"]
