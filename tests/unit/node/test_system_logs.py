"""The log folder over HTTP: what is in it, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from kutter.node.system_logs import answer_log_file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    logs = tmp_path / "log"
    (logs / "pods").mkdir(parents=True)
    (logs / "pods" / "0.log").write_text("line\n")
    (logs / "a<b").write_text("odd")
    (tmp_path / "secret").write_text("secret")
    (logs / "inside").symlink_to(logs / "pods" / "0.log")
    (logs / "outside").symlink_to(tmp_path / "secret")
    return logs


async def ask(root: Path, path: str) -> tuple[int, str]:
    answer = await answer_log_file(root, path.split("/"))
    if answer is None:
        return 404, ""
    body = answer.body
    if answer.stream is not None:
        body = b"".join([chunk async for chunk in answer.stream])
    return answer.status, body.decode()


async def test_folders_are_listed(root: Path) -> None:
    status, page = await ask(root, "")
    assert status == 200
    assert '<a href="pods/">pods/</a>' in page
    assert '<a href="a%3Cb">a&lt;b</a>' in page
    assert (await ask(root, "pods/"))[1].count("<a ") == 1


@pytest.mark.parametrize("path", ["pods/0.log", "inside", "pods/../pods//0.log"])
async def test_files_are_read(root: Path, path: str) -> None:
    assert await ask(root, path) == (200, "line\n")


@pytest.mark.parametrize(
    "path", ["outside", "../secret", "pods/../../secret", "none", "/etc/passwd"]
)
async def test_nothing_outside_is_shown(root: Path, path: str) -> None:
    assert (await ask(root, path))[0] == 404
