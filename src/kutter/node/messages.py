"""Termination messages of ended containers, read once each.

https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kutter.node.container_config import MESSAGE_FILE, MESSAGE_POLICY
from kutter.node.logs import tail_text
from kutter.runtime.cri import Container, ContainerState

MESSAGE_LIMIT = 4096
LOG_LIMIT = 2048
LOG_LINES = 80
KEEP_LIMIT = 256


class TerminationMessages:
    """``known`` maps container ids to their message (``""``: none)."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def read(self, runs: Iterable[Container]) -> None:
        """Read the messages of containers that ended. Small local files: done in place."""
        for run in runs:
            if run.state is not ContainerState.EXITED or run.id in self.known:
                continue
            if len(self.known) >= KEEP_LIMIT:
                self.known.pop(next(iter(self.known)))
            self.known[run.id] = self._read(run)

    @staticmethod
    def _read(run: Container) -> str:
        path = run.annotations.get(MESSAGE_FILE)
        text = ""
        if path:
            try:
                with Path(path).open("rb") as file:
                    text = file.read(MESSAGE_LIMIT).decode(errors="replace")
            except OSError:
                text = ""
        fallback = run.annotations.get(MESSAGE_POLICY) == "FallbackToLogsOnError"
        if not text and fallback and run.exit_code != 0:
            text = tail_text(run.log_path, LOG_LINES, LOG_LIMIT)
        return text
