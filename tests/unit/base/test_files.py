"""Files are replaced whole, and their folder's names are synced when the writer says so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kutter.base.files import sync_folder, write_atomic


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has been synced, in order."""
    found: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        found.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    return found


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(
    tmp_path: Path, synced: list[str]
) -> None:
    path = tmp_path / "folder" / "a"
    write_atomic(path, b"old")
    assert path.stat().st_mode & 0o777 == 0o600
    write_atomic(path, b"new", mode=0o644)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in path.parent.iterdir()] == ["a"]
    assert synced[1::2] == ["folder", "folder"]
    assert all(name.startswith(".a.") for name in synced[::2])


def test_a_failure_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_folder_is_synced_once_for_several_files(tmp_path: Path, synced: list[str]) -> None:
    for name in "ab":
        write_atomic(tmp_path / name, b"x", last=False)
    sync_folder(tmp_path)
    assert synced.count(tmp_path.name) == 1
    assert synced[-1] == tmp_path.name
    assert len(synced) == 3
