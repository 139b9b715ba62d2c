"""Programs are found where ``shutil.which`` finds them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kutter.base.programs import find_program


def test_the_first_on_the_path_that_can_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, mode in (("plain", 0o644), ("one", 0o755), ("two", 0o755)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "tool").write_text("#!/bin/sh\n")
        (folder / "tool").chmod(mode)
    (tmp_path / "folder" / "tool").mkdir(parents=True)
    places = ["nowhere", "folder", "plain", "one", "two"]
    monkeypatch.setenv("PATH", ":".join(str(tmp_path / place) for place in places))
    assert find_program("tool") == str(tmp_path / "one" / "tool") == shutil.which("tool")
    assert find_program("other") is None
    monkeypatch.delenv("PATH")
    assert find_program("sh") == shutil.which("sh")
