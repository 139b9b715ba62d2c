"""Reads container logs in CRI format, ``<time> <stream> <P|F> <text>``, also rotated files.

Between files and the kubelet API's ``containerLogs``. Laws: options mean what
``kubectl logs`` documents; following ends when the container has ended and all is read.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from kutter.base.clock import parse_time

TAIL_BLOCK = 64 * 1024


class LogLine(NamedTuple):
    """One entry as written; ``partial`` lines go on in the next entry."""

    time: str
    stream: str
    partial: bool
    text: bytes


@dataclass(frozen=True, slots=True)
class LogOptions:
    """``tail`` None is everything. ``since`` is a moment; ``stream`` "" is both."""

    follow: bool = False
    tail: int | None = None
    limit_bytes: int | None = None
    since: datetime | None = None
    timestamps: bool = False
    stream: str = ""


def parse_line(raw: bytes) -> LogLine | None:
    """One line of a log file without its newline; None when it is none of ours."""
    parts = raw.split(b" ", 3)
    if len(parts) < 3 or parts[1] not in (b"stdout", b"stderr"):
        return None
    text = parts[3] if len(parts) > 3 else b""
    tags = parts[2].split(b":")
    return LogLine(parts[0].decode("ascii", "replace"), parts[1].decode(), b"P" in tags, text)


class LogFilter:
    """Turns entries into output: time window, stream, time stamps, byte limit."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._left = options.limit_bytes
        self._open = False  # the last entry written was partial

    @property
    def exhausted(self) -> bool:
        return self._left is not None and self._left <= 0

    def render(self, raw: bytes) -> bytes:
        """The output of one raw line; ``b""`` for what is filtered out."""
        line = parse_line(raw)
        if line is None or self.exhausted:
            return b""
        options = self._options
        if options.stream and line.stream != options.stream:
            return b""
        if options.since is not None and _before(line.time, options.since):
            return b""
        out = line.text if line.partial else line.text + b"\n"
        if options.timestamps and not self._open:
            out = line.time.encode() + b" " + out
        self._open = line.partial
        if self._left is not None:
            out = out[: self._left]
            self._left -= len(out)
        return out


def _before(text: str, moment: datetime) -> bool:
    try:
        # Nanoseconds are cut: datetime keeps six digits.
        head, dot, rest = text.partition(".")
        if dot:
            digits = rest.rstrip("Z").split("+")[0].split("-")[0]
            zone = rest[len(digits) :] or "Z"
            text = f"{head}.{digits[:6]}{zone}"
        return parse_time(text) < moment
    except ValueError:
        return False


def log_files(path: Path) -> list[Path]:
    """The rotated files of a log, oldest first, then the log itself."""
    if not path.parent.is_dir():
        return []
    rotated = sorted(
        p
        for p in path.parent.iterdir()
        if p.name.startswith(path.name + ".") and not p.name.endswith(".tmp")
    )
    return [*rotated, path] if path.exists() else rotated


def read_lines(path: Path) -> Iterator[bytes]:
    """The raw lines of one file, plain or gzip. Raises OSError."""
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        for line in file:
            yield line.rstrip(b"\n")


def tail_offset(path: Path, lines: int) -> int:
    """Where the last ``lines`` whole entries of a plain file begin (partials count together)."""
    size = path.stat().st_size
    if lines <= 0:
        return size
    found = 0
    with path.open("rb") as file:
        end = size
        rest = b""
        while end > 0:
            begin = max(0, end - TAIL_BLOCK)
            file.seek(begin)
            block = file.read(end - begin) + rest
            parts = block.split(b"\n")
            rest = parts[0] if begin else b""
            complete = parts[1:] if begin else parts
            offset = begin + (len(parts[0]) + 1 if begin else 0)
            starts = []
            for part in complete:
                starts.append((offset, part))
                offset += len(part) + 1
            for start, part in reversed(starts):
                if not part:
                    continue
                line = parse_line(part)
                if line is not None and not line.partial:
                    if found == lines:
                        return start + len(part) + 1
                    found += 1
            end = begin
    return 0


def tail_text(path: Path, lines: int, limit_bytes: int) -> str:
    """The end of a log as text: at most ``lines`` lines and ``limit_bytes`` bytes."""
    try:
        offset = tail_offset(path, lines)
        with path.open("rb") as file:
            file.seek(max(offset, os.fstat(file.fileno()).st_size - 4 * TAIL_BLOCK))
            raw = file.read().split(b"\n")
    except OSError:
        return ""
    render = LogFilter(LogOptions()).render
    return b"".join(render(line) for line in raw)[-limit_bytes:].decode(errors="replace")
