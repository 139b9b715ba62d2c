"""Fixtures of the shipped test kit, also where the package is not installed (worktrees), and
upstream's clients before those of the machine (``tools/install.sh test`` brings them).
"""

import os
import sys
from pathlib import Path

from kutter.testing.plugin import kutter_cluster, kutter_cluster_factory

_CLIENTS = Path(sys.prefix) / "clients"
if _CLIENTS.is_dir():
    os.environ["PATH"] = f"{_CLIENTS}{os.pathsep}{os.environ.get('PATH', os.defpath)}"

__all__ = ["kutter_cluster", "kutter_cluster_factory"]
