"""The cluster in the kubeconfigs of whoever started it, so that kubectl works at once.

Between the administrator's kubeconfig and ``~/.kube/config``: of the user who called sudo, whose
current context becomes the cluster, and of root, who gets the context and keeps a choice made
before. Laws: nothing of others is touched; what is taken back leaves no empty file behind; who
sets KUBECONFIG manages it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kutter.client import kubeconfig
from kutter.cluster.config import ClusterConfig

CONTEXT = "kutter"
_SECTIONS = ("clusters", "users", "contexts")


@dataclass(frozen=True, slots=True)
class Account:
    """One user's kubeconfig. ``chooses``: the cluster becomes its current context."""

    path: Path
    uid: int
    gid: int
    chooses: bool


def accounts(config: ClusterConfig) -> Iterator[Account]:
    """Whose kubeconfigs are ours to write: the machine's own cluster's only, the caller's first."""
    if os.environ.get("KUBECONFIG") or config.state_dir != ClusterConfig().state_dir:
        return
    caller = os.environ.get("SUDO_USER") or "root"
    for name in dict.fromkeys((caller, "root")):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        path = Path(entry.pw_dir) / ".kube" / "config"
        yield Account(path, entry.pw_uid, entry.pw_gid, name == caller)


def add_context(config: ClusterConfig) -> Path | None:
    """Add the cluster everywhere; answers the caller's file when it was written."""
    own = kubeconfig.load_file(config.kubeconfig_file)
    written: Path | None = None
    for account in accounts(config):
        try:
            exists = account.path.exists()
            merged = kubeconfig.load_file(account.path) if exists else kubeconfig.Kubeconfig()
        except (kubeconfig.KubeconfigError, OSError):
            continue  # not ours to repair
        for section in _SECTIONS:
            merged.section(section)[CONTEXT] = own.section(section)[CONTEXT]
        if account.chooses or not merged.current_context:
            merged.current_context = CONTEXT
        _save(merged, account)
        if account.chooses:
            written = account.path
    return written


def remove_context(config: ClusterConfig) -> None:
    """Take it out again; a file that holds nothing else goes too."""
    for account in accounts(config):
        try:
            merged = kubeconfig.load_file(account.path)
        except (kubeconfig.KubeconfigError, OSError):
            continue
        merged.remove_cluster_entry(CONTEXT)
        if any(merged.section(section) for section in _SECTIONS):
            _save(merged, account)
            continue
        with contextlib.suppress(OSError):
            account.path.unlink()
            account.path.parent.rmdir()  # stays when it holds more


def _save(merged: kubeconfig.Kubeconfig, account: Account) -> None:
    fresh_folder = not account.path.parent.exists()
    kubeconfig.save(merged, account.path)
    with contextlib.suppress(OSError):
        os.chown(account.path, account.uid, account.gid, follow_symlinks=False)
        if fresh_folder:
            os.chown(account.path.parent, account.uid, account.gid, follow_symlinks=False)
