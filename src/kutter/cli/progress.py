"""A bar for long transfers: on terminals only, so that scripts see nothing of it."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self


class TransferBar:
    """Shows fetched and total bytes; use as a context, call ``show``."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._progress: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                Progress,
                TextColumn,
                TransferSpeedColumn,
            )

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._progress.start()
            self._task = self._progress.add_task(self._title, total=None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, fetched_bytes: int, total_bytes: int) -> None:
        if self._progress is not None:
            self._progress.update(self._task, completed=fetched_bytes, total=total_bytes or None)
