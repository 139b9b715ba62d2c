import errno
from pathlib import Path
from typing import Any

import pytest

from kutter.linux import syscalls
from kutter.linux.mounts import mount_overlay, parse_mountinfo

_TEXT = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw,discard
30 22 0:26 / /sys/fs/cgroup ro,nosuid shared:9 master:3 - tmpfs tmpfs ro,mode=755
41 22 0:4 net:[4026532000] /run/ns\040with\134odd rw - nsfs nsfs rw
50 22 0:5 /sub /only/slave rw master:7 - overlay overlay rw,lowerdir=a:b
broken line
"""


def test_reads_places_kinds_and_propagation():
    entries = parse_mountinfo(_TEXT)
    assert [(e.mount_point, e.kind, e.propagation) for e in entries] == [
        ("/", "ext4", "shared"),
        ("/sys/fs/cgroup", "tmpfs", "shared"),
        ("/run/ns with\\odd", "nsfs", "private"),
        ("/only/slave", "overlay", "slave"),
    ]
    assert entries[3].root == "/sub"
    assert entries[0].options == "rw,relatime,rw,discard"


def note_mounts(monkeypatch: Any, refuse: tuple[str, int] = ("", 0)) -> list[tuple[int, str]]:
    """The flags and options of every mount; ``refuse``: (in the options, errno)."""
    made: list[tuple[int, str]] = []

    def mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
        made.append((flags, options))
        if refuse[0] and refuse[0] in options:
            raise OSError(refuse[1], "refused", target)

    monkeypatch.setattr(syscalls, "mount", mount)
    monkeypatch.setattr(syscalls, "unshare", lambda flags: None)
    monkeypatch.setattr("os.chdir", lambda path: None)
    return made


def mount_writable(folder: Path) -> None:
    mount_overlay(folder, ["a", "b"], folder / "upper", folder / "work", folder / "merged")


def test_writable_overlays_are_volatile_and_others_have_nothing_to_write(monkeypatch, tmp_path):
    made = note_mounts(monkeypatch)
    mount_writable(tmp_path)
    mount_overlay(tmp_path, ["a", "b"], None, None, tmp_path / "merged")
    assert [options.endswith(",volatile") for _, options in made] == [True, False]


def test_a_kernel_that_knows_no_volatile_overlays_mounts_without(monkeypatch, tmp_path):
    made = note_mounts(monkeypatch, ("volatile", errno.EINVAL))
    mount_writable(tmp_path)
    (_, first), (_, second) = made
    assert first == f"{second},volatile"


def test_other_refusals_of_a_mount_are_the_answer(monkeypatch, tmp_path):
    made = note_mounts(monkeypatch, ("lowerdir", errno.EPERM))
    with pytest.raises(PermissionError):
        mount_writable(tmp_path)
    assert len(made) == 1
    made = note_mounts(monkeypatch, ("lowerdir", errno.EINVAL))
    with pytest.raises(OSError, match="refused"):
        mount_writable(tmp_path)
    assert len(made) == 2
