"""Audit events in a file, one JSON text a line; full files are put aside and old ones removed.

Written at once and in order: an event is in the file when its request is answered. Bounds are the
administrator's: size of a file, number and age of those put aside.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.log import get_logger

DEFAULT_SIZE_BYTES = 100 * 1024 * 1024
_BACKUP_TIME = "%Y-%m-%dT%H-%M-%S.%f"
_MODE = 0o600
_log = get_logger("audit")


class LogFile:
    """A sink of events. ``path`` ``-`` is standard output, which is never put aside.

    ``backups`` and ``age_days`` 0: keep all of them. Raises OSError when the file cannot be opened.
    """

    name = "log"

    def __init__(
        self,
        path: str,
        *,
        size_bytes: int = DEFAULT_SIZE_BYTES,
        backups: int = 0,
        age_days: int = 0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._path = None if path == "-" else Path(path)
        self._size_bytes = size_bytes or DEFAULT_SIZE_BYTES
        self._backups = backups
        self._age = timedelta(days=age_days)
        self._clock = clock
        self._written = 0
        self._file: BinaryIO
        if self._path is None:
            self._file = sys.stdout.buffer
        else:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._open()
            self._remove_old()

    def take(self, event: bytes) -> None:
        """Write one event. Raises OSError."""
        if self._path is not None:
            if self._written and self._written + len(event) + 1 > self._size_bytes:
                self._put_aside()
            self._written += len(event) + 1
        self._file.write(event + b"\n")
        self._file.flush()

    async def run(self) -> None:
        """Nothing waits here: events are written as they come."""

    async def close(self) -> None:
        if self._path is not None:
            self._file.close()

    def _open(self) -> None:
        assert self._path is not None
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _MODE)
        self._file = os.fdopen(descriptor, "ab", buffering=1024 * 64)
        self._written = os.fstat(descriptor).st_size

    def _put_aside(self) -> None:
        assert self._path is not None
        self._file.close()
        stamp = self._clock.now().astimezone(UTC)
        while True:
            text = stamp.strftime(_BACKUP_TIME)[:-3]
            target = self._path.with_name(f"{self._path.stem}-{text}{self._path.suffix}")
            if not target.exists():
                break
            stamp += timedelta(milliseconds=1)
        self._path.rename(target)
        self._open()
        self._remove_old()

    def _remove_old(self) -> None:
        kept = self._put_aside_files()
        surplus = kept[self._backups :] if self._backups else []
        if self._age:
            oldest = self._clock.now().astimezone(UTC) - self._age
            surplus += [(when, path) for when, path in kept if when < oldest]
        for path in {path for _, path in surplus}:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                _log.warning("old audit file not removed", file=str(path), error=str(error))

    def _put_aside_files(self) -> list[tuple[datetime, Path]]:
        """Those put aside by us, newest first; other files of the folder are not ours."""
        assert self._path is not None
        stem, suffix = self._path.stem, self._path.suffix
        found = []
        for path in self._path.parent.glob(f"{_literal(stem)}-*{_literal(suffix)}"):
            text = path.name[len(stem) + 1 : len(path.name) - len(suffix)]
            try:
                when = datetime.strptime(text + "000", _BACKUP_TIME).replace(tzinfo=UTC)
            except ValueError:
                continue
            found.append((when, path))
        return sorted(found, reverse=True)


def _literal(text: str) -> str:
    from glob import escape

    return escape(text)
