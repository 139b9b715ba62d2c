"""Looking for programs on the path.

As ``shutil.which`` does, without what that module reads in (bz2, lzma, patterns): a twentieth of
what ``kutter up`` does before it starts a server.
"""

from __future__ import annotations

import os


def find_program(name: str) -> str | None:
    """Where a program is; None if it is nowhere on the path."""
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder or os.curdir, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None
