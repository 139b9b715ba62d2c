"""Opens a path inside a volume without ever following a link out of it.

A container can plant symbolic links in its volume and then ask for them by ``subPath``
(CVE-2017-1002101, CVE-2021-25741). So every component is opened relative to its parent with
``O_NOFOLLOW``, a link inside the volume is followed by hand, and what is bound is the opened
descriptor, not the name.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

LINK_LIMIT = 40


class SubPathError(Exception):
    """The sub-path leaves its volume or cannot be opened."""


def open_below(root: Path, sub_path: str, *, create: bool = False, mode: int = 0o750) -> int:
    """A descriptor (``O_PATH``) of ``root/sub_path``. Raises SubPathError.

    With ``create``, missing folders are made with ``mode``.
    """
    pending = list(PurePosixPath(sub_path).parts)
    if PurePosixPath(sub_path).is_absolute() or ".." in pending:
        raise SubPathError(f"subPath {sub_path!r} must be relative and without '..'")
    stack = [os.open(root, os.O_PATH | os.O_DIRECTORY)]
    links = 0
    try:
        while pending:
            name = pending.pop(0)
            if name in ("", "."):
                continue
            if name == "..":
                if len(stack) == 1:
                    raise SubPathError(f"subPath {sub_path!r} leaves its volume")
                os.close(stack.pop())
                continue
            found = _open_one(stack[-1], name, create=create, mode=mode)
            if stat.S_ISLNK(os.fstat(found).st_mode):
                links += 1
                target = os.readlink("", dir_fd=found)
                os.close(found)
                if links > LINK_LIMIT:
                    raise SubPathError(f"subPath {sub_path!r} has too many links")
                if target.startswith("/"):
                    raise SubPathError(f"subPath {sub_path!r} leaves its volume")
                pending[:0] = PurePosixPath(target).parts
                continue
            stack.append(found)
        result = stack.pop()
    except OSError as error:
        raise SubPathError(f"subPath {sub_path!r}: {error.strerror}") from error
    finally:
        for descriptor in stack:
            os.close(descriptor)
    return result


def _open_one(parent: int, name: str, *, create: bool, mode: int) -> int:
    flags = os.O_PATH | os.O_NOFOLLOW
    try:
        return os.open(name, flags, dir_fd=parent)
    except FileNotFoundError:
        if not create:
            raise
    try:
        os.mkdir(name, mode, dir_fd=parent)
        # The umask must not take away what the volume's owner gives.
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        try:
            os.fchmod(descriptor, mode)
            above = os.fstat(parent)
            os.fchown(descriptor, -1, above.st_gid)
        finally:
            os.close(descriptor)
    except FileExistsError:
        pass
    return os.open(name, flags, dir_fd=parent)
