"""Refusals of the API server in kubectl's words, so that scripts that read them go on working."""

from __future__ import annotations

import sys

from kutter.api.errors import ApiError
from kutter.cli.command import CommandError


def api_error_text(error: ApiError) -> str:
    """``Error from server (NotFound): pods "x" not found``; invalid objects cause by cause."""
    if error.reason == "Invalid" and error.details:
        causes = error.details.get("causes") or ()
        lines = [f"{c.get('field', '')}: {c.get('message', '')}" for c in causes]
        name = error.details.get("name", "")
        head = f'The {error.details.get("kind", "")} "{name}" is invalid'
        if len(lines) == 1:
            return f"{head}: {lines[0]}"
        if lines:
            return "\n* ".join([f"{head}: ", *lines])
    reason = f" ({error.reason})" if error.reason else ""
    return f"Error from server{reason}: {error.message}"


class Failures:
    """Collects what went wrong with some of several objects; the rest is done all the same."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, error: ApiError | CommandError, context: str = "") -> None:
        """Say it now, fail at the end."""
        self._count += 1
        sys.stdout.flush()
        if isinstance(error, ApiError):
            text = api_error_text(error)
            if context:
                reason = f" ({error.reason})" if error.reason else ""
                text = f"Error from server{reason}: {context}: {error.message}"
        else:
            text = f"error: {error}"
        print(text, file=sys.stderr)
        if isinstance(error, CommandError) and error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)

    @property
    def exit_code(self) -> int:
        return 1 if self._count else 0
