"""Structured logs: a constant message and keys. One line of ``key=value`` on stderr.

Levels: *debug* for a developer, *info* for what a component did, *warning* for what an
operator may want to look at, *error* for what failed and will be retried or reported.
Secrets never go into a key.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

_ROOT = "kutter"


class Logger:
    """``logger.info("pod started", pod=key)``; keys are rendered in the order given."""

    __slots__ = ("_keys", "_logger")

    def __init__(self, logger: logging.Logger, keys: dict[str, Any] | None = None) -> None:
        self._logger = logger
        self._keys = keys or {}

    def bind(self, **keys: Any) -> Logger:
        """A logger that adds ``keys`` to every line."""
        return Logger(self._logger, {**self._keys, **keys})

    def debug(self, message: str, **keys: Any) -> None:
        self._emit(logging.DEBUG, message, keys)

    def info(self, message: str, **keys: Any) -> None:
        self._emit(logging.INFO, message, keys)

    def warning(self, message: str, **keys: Any) -> None:
        self._emit(logging.WARNING, message, keys)

    def error(self, message: str, **keys: Any) -> None:
        self._emit(logging.ERROR, message, keys)

    def _emit(self, level: int, message: str, keys: dict[str, Any]) -> None:
        if not self._logger.isEnabledFor(level):
            return
        error = keys.pop("exc_info", None)
        pairs = " ".join(f"{k}={_render(v)}" for k, v in {**self._keys, **keys}.items())
        self._logger.log(level, "%s %s", message, pairs, exc_info=error)


def _render(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return repr(text) if " " in text or not text else text


def get_logger(component: str) -> Logger:
    """The logger of one component."""
    return Logger(logging.getLogger(f"{_ROOT}.{component}"))


def configure_logging(*, verbose: bool = False, stream: Any = None) -> None:
    """Send the logs of this process to ``stream`` (default: stderr)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        logging.Formatter("%(asctime)s.%(msecs)03d %(levelname).1s %(name)s %(message)s", "%FT%T")
    )
    root = logging.getLogger(_ROOT)
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    root.propagate = False
