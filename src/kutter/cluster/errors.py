"""What can go wrong for whoever starts or stops a cluster."""

from __future__ import annotations


class StartError(Exception):
    """The cluster could not be started or stopped; ``hint`` says what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
