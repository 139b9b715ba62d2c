"""The kernel's side of volumes: tmpfs, bind mounts and taking them away."""

from __future__ import annotations

from pathlib import Path

from kutter.linux.mounts import bind, mount, mounts_below, unmount_below


class KernelMounts:
    """Mounts in this process' namespace."""

    def mount_tmpfs(self, target: Path, *, size_bytes: int = 0, mode: int = 0o777) -> None:
        """Mount a tmpfs on an existing folder; ``size_bytes`` 0 is the kernel's default."""
        options = f"mode={mode:o}" + (f",size={size_bytes}" if size_bytes else "")
        mount("tmpfs", target, "tmpfs", options=options)

    def bind(self, source: Path, target: Path) -> None:
        bind(source, target, recursive=True)

    def is_mounted(self, target: Path) -> bool:
        return str(target) in mounts_below(target)

    def unmount_below(self, path: Path) -> None:
        unmount_below(path)
