"""Looks into a container's root file system from outside; links in it cannot lead out."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from kutter.linux.syscalls import open_in_root
from kutter.runtime.cri import CreateContainerError

_FILE_MAX_BYTES = 4 << 20
_COPY_TIMEOUT_S = 300.0


def read_in_root(rootfs: Path, path: str) -> str:
    """A small file of a root file system, empty when absent or no plain file."""
    try:
        descriptor = open_in_root(rootfs, path)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        try:
            return file.read(_FILE_MAX_BYTES).decode(errors="replace")
        except OSError:
            return ""


def find_in_root(rootfs: Path, path: str) -> Path:
    """Where ``path`` of a root file system lies, links followed inside it.

    Raises CreateContainerError when it is not there.
    """
    if not path:
        return rootfs
    try:
        descriptor = open_in_root(rootfs, path, os.O_PATH)
    except OSError as error:
        raise CreateContainerError(f"image path {path!r}: {error.strerror}") from None
    try:
        return Path(os.readlink(f"/proc/self/fd/{descriptor}"))
    finally:
        os.close(descriptor)


def copy_tree_in_root(rootfs: Path, path: str, target: Path) -> None:
    """Copy a folder of a root file system with owners and modes; blocking.

    An absent folder is an empty one. Raises CreateContainerError.
    """
    try:
        descriptor = open_in_root(rootfs, path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        done = subprocess.run(
            ["cp", "-a", "--", f"/proc/self/fd/{descriptor}/.", str(target)],
            pass_fds=(descriptor,),
            capture_output=True,
            timeout=_COPY_TIMEOUT_S,
            check=False,
        )
    finally:
        os.close(descriptor)
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip()
        raise CreateContainerError(f"cannot copy the image's volume {path}: {reason}")
