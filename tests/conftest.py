"""Fixtures of the shipped test kit, also where the package is not installed (worktrees), and
upstream's clients before those of the machine (``tools/install.sh test`` brings them).
"""

import os
import signal
import sys
from pathlib import Path

from kutter.testing.plugin import kutter_cluster, kutter_cluster_factory

_CLIENTS = Path(sys.prefix) / "clients"
if _CLIENTS.is_dir():
    os.environ["PATH"] = f"{_CLIENTS}{os.pathsep}{os.environ.get('PATH', os.defpath)}"

# A run started in the background of a script ignores SIGINT, and so would all it starts: commands
# that are to end by it never would.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = ["kutter_cluster", "kutter_cluster_factory"]
