"""Between the runtime and mount(2): mounting, unmounting, and reading ``mountinfo``.

Unmounting what is not mounted succeeds. Nothing here keeps state.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kutter.linux import syscalls

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

_PROPAGATION = {"private": MS_PRIVATE, "slave": MS_SLAVE, "shared": MS_SHARED}
# mount(2) copies at most one page of options.
_OPTIONS_MAX_BYTES = 4095
_VOLATILE = ",volatile"


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of ``/proc/<pid>/mountinfo``. ``propagation`` is shared, slave or private."""

    mount_id: int
    mount_point: str
    root: str
    kind: str
    source: str
    options: str
    propagation: str


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), text)


def parse_mountinfo(text: str) -> list[MountEntry]:
    """Parse ``mountinfo`` (proc(5)); lines that do not fit are left out."""
    entries = []
    for line in text.splitlines():
        left, separator, right = line.partition(" - ")
        before, after = left.split(" "), right.split(" ")
        if not separator or len(before) < 6 or len(after) < 3:
            continue
        tags = before[6:]
        propagation = "private"
        if any(tag.startswith("shared:") for tag in tags):
            propagation = "shared"
        elif any(tag.startswith("master:") for tag in tags):
            propagation = "slave"
        entries.append(
            MountEntry(
                mount_id=int(before[0]),
                mount_point=_unescape(before[4]),
                root=_unescape(before[3]),
                kind=after[0],
                source=_unescape(after[1]),
                options=before[5] + "," + after[2],
                propagation=propagation,
            )
        )
    return entries


def list_mounts() -> list[MountEntry]:
    """The mounts this process sees, in mount order."""
    return parse_mountinfo(Path("/proc/self/mountinfo").read_text(errors="surrogateescape"))


def mounts_below(path: Path) -> list[str]:
    """Mount points at or below ``path``, deepest last-mounted first."""
    top = str(path)
    found = [
        entry.mount_point
        for entry in list_mounts()
        if entry.mount_point == top or entry.mount_point.startswith(top + "/")
    ]
    return found[::-1]


def mount(source: str, target: Path, kind: str, *, flags: int = 0, options: str = "") -> None:
    """Mount a file system. Raises OSError."""
    syscalls.mount(source, str(target), kind, flags, options)


def bind(source: Path, target: Path, *, recursive: bool = False, readonly: bool = False) -> None:
    """Make ``source`` appear at ``target``."""
    syscalls.mount(str(source), str(target), "", MS_BIND | (MS_REC if recursive else 0), "")
    if readonly:
        syscalls.mount("", str(target), "", MS_BIND | MS_REMOUNT | MS_RDONLY, "")


def set_propagation(target: Path, kind: str, *, recursive: bool = False) -> None:
    """Make a mount ``private``, ``slave`` or ``shared``."""
    syscalls.mount("", str(target), "", _PROPAGATION[kind] | (MS_REC if recursive else 0), "")


def unmount(target: Path | str, *, lazy: bool = True) -> bool:
    """Unmount once; answers whether something was mounted."""
    try:
        syscalls.umount(str(target), UMOUNT_NOFOLLOW | (MNT_DETACH if lazy else 0))
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return False
        raise
    return True


def unmount_below(path: Path) -> int:
    """Unmount everything at and below ``path``; answers how many mounts went."""
    return sum(unmount(point) for point in mounts_below(path))


def mount_overlay(
    layers_folder: Path, lower: Sequence[str], upper: Path | None, work: Path | None, target: Path
) -> None:
    """Mount an overlay; ``lower`` are names below ``layers_folder``, topmost first.

    Without ``upper`` it is read-only, and the kernel wants two of ``lower`` at least. mount(2)
    takes one page of options, too little for many absolute paths. So a thread of its own leaves
    the process's working directory (``CLONE_FS``) and mounts with relative names. The features
    that would tie a layer to its lower ones are off: layers are shared.

    What is written is volatile: without that the kernel writes *everything* back that is dirty on
    the disk below, of whomever, when the overlay is unmounted. So ``upper`` is not mounted again
    after that, and who needs it on the disk syncs the disk.
    """
    writable = "" if upper is None else f"upperdir={upper},workdir={work},"
    options = f"lowerdir={':'.join(lower)},{writable}index=off,redirect_dir=off,metacopy=off"
    if len(os.fsencode(options)) + len(_VOLATILE) > _OPTIONS_MAX_BYTES:
        raise OSError(errno.E2BIG, f"{len(lower)} layers are too many", str(target))
    failure: list[OSError] = []

    def work_in_folder() -> None:
        try:
            syscalls.unshare(syscalls.CLONE_FS)
            os.chdir(layers_folder)
            _mount_overlay_here(target, options, writable=upper is not None)
        except OSError as error:
            failure.append(error)

    thread = threading.Thread(target=work_in_folder, name="mount-overlay")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]


def _mount_overlay_here(target: Path, options: str, *, writable: bool) -> None:
    if not writable:
        syscalls.mount("overlay", str(target), "overlay", MS_RDONLY, options)
        return
    try:
        syscalls.mount("overlay", str(target), "overlay", 0, options + _VOLATILE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # Linux before 5.10. Anything else it finds invalid it will say again.
        syscalls.mount("overlay", str(target), "overlay", 0, options)
