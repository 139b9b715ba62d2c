"""Files are put aside when full; old ones go, files of others stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kutter.apiserver.audit.log_file import LogFile


class Clock:
    def __init__(self):
        self.moment = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def now(self):
        return self.moment

    def monotonic(self):
        return 0.0


@pytest.fixture
def clock():
    return Clock()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_events_are_lines_of_a_private_file(tmp_path, clock):
    path = tmp_path / "logs" / "audit.log"
    log = LogFile(str(path), clock=clock)
    log.take(b"{1}")
    log.take(b"{2}")
    assert path.read_bytes() == b"{1}\n{2}\n"
    assert path.stat().st_mode & 0o777 == 0o600


async def test_an_existing_file_is_continued(tmp_path, clock):
    path = tmp_path / "audit.log"
    path.write_bytes(b"{0}\n")
    log = LogFile(str(path), size_bytes=9, clock=clock)
    log.take(b"{1}")
    assert path.read_bytes() == b"{0}\n{1}\n"
    log.take(b"{2}")
    await log.close()
    assert path.read_bytes() == b"{2}\n"
    assert names(tmp_path) == ["audit-2026-03-01T12-00-00.000.log", "audit.log"]


def test_full_files_within_one_moment_are_all_kept(tmp_path, clock):
    log = LogFile(str(tmp_path / "audit.log"), size_bytes=4, clock=clock)
    for number in range(4):
        log.take(b"{%d}" % number)
    assert len(names(tmp_path)) == 4
    texts = [path.read_bytes() for path in sorted(tmp_path.glob("audit-*"))]
    assert texts == [b"{0}\n", b"{1}\n", b"{2}\n"]


def test_only_so_many_are_kept_and_others_files_stay(tmp_path, clock):
    (tmp_path / "audit-notes.log").write_text("mine")
    log = LogFile(str(tmp_path / "audit.log"), size_bytes=4, backups=2, clock=clock)
    for number in range(6):
        clock.moment += timedelta(minutes=1)
        log.take(b"{%d}" % number)
    kept = [path.read_bytes() for path in sorted(tmp_path.glob("audit-2*"))]
    assert kept == [b"{3}\n", b"{4}\n"]
    assert "audit-notes.log" in names(tmp_path)


def test_only_so_old_ones_are_kept(tmp_path, clock):
    log = LogFile(str(tmp_path / "audit.log"), size_bytes=4, age_days=2, clock=clock)
    for number in range(5):
        clock.moment += timedelta(days=1)
        log.take(b"{%d}" % number)
    kept = [path.read_bytes() for path in sorted(tmp_path.glob("audit-2*"))]
    assert kept == [b"{1}\n", b"{2}\n", b"{3}\n"]
