"""Upstream's kubectl against a cluster in this process, with a discovery cache of its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kutter.testing.cluster import LocalCluster

Kubectl = Callable[..., str]


def kubectl_for(cluster: LocalCluster, cache: Path, *flags: str) -> Kubectl:
    """A function that runs kubectl and answers what it says; it fails where kubectl is missing.

    ``body`` is one tree, or a list of documents; with ``fails`` kubectl has to refuse, and what
    it complains of is answered.
    """
    tool = shutil.which("kubectl") or pytest.fail("this test needs kubectl")
    command = [tool, f"--kubeconfig={cluster.kubeconfig_path}", f"--cache-dir={cache}", *flags]

    def run(*words: str, body: Any = None, fails: bool = False) -> str:
        documents = body if isinstance(body, list) else [body]
        done = subprocess.run(
            [*command, *words],
            input=yaml.safe_dump_all(documents) if body is not None else None,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert (done.returncode != 0) is fails, f"kubectl {words}: {done.stdout}{done.stderr}"
        return (done.stderr if fails else done.stdout).strip()

    return run
