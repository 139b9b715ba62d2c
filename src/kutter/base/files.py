"""Writing files so that a crash leaves the old content or the new, never half of it."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomic(path: Path, content: bytes, *, mode: int = 0o600, last: bool = True) -> None:
    """Write to a temporary file beside ``path``, fsync, rename, fsync the folder.

    Not ``last``: more files of the folder follow, after which whoever writes them calls
    :func:`sync_folder`. Until then a crash may leave the old content or the new, still never half.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not by tempfile, which reads in much of what a start has no other use for.
    name = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        name.unlink(missing_ok=True)
        raise
    if last:
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
