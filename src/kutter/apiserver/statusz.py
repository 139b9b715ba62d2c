"""``/statusz``: what this server is and since when, for whoever looks after it.

As upstream: a text for people, and a ``Statusz`` (``config.k8s.io/v1alpha1``) for who asks for one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kutter.apiserver.answers import json_answer
from kutter.apiserver.discovery import version_info
from kutter.apiserver.negotiation import asks_for
from kutter.http.messages import Request, Response

if TYPE_CHECKING:
    from kutter.apiserver.server import ApiServer

_PATHS = ("/healthz", "/livez", "/metrics", "/readyz", "/statusz", "/version")
_WARNING = (
    "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility "
    "guarantees and is for debugging purposes only."
)


class Statusz:
    """Answers from the moment it is made, which counts as the server's start."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._started = server.clock.now()

    def answer(self, request: Request, path: str) -> Response | None:
        """The answer to ``/statusz``, None for other paths."""
        if path != "/statusz" or request.method != "GET":
            return None
        up_s = int((self._server.clock.now() - self._started).total_seconds())
        version = version_info()
        binary = version["gitVersion"].removeprefix("v")
        emulated = f"{version['emulationMajor']}.{version['emulationMinor']}"
        if asks_for(request.headers.get("accept", ""), "config.k8s.io", "v1alpha1", "Statusz"):
            return json_answer(
                {
                    "kind": "Statusz",
                    "apiVersion": "config.k8s.io/v1alpha1",
                    "metadata": {"name": "apiserver"},
                    "startTime": self._started.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "uptimeSeconds": up_s,
                    "goVersion": version["goVersion"],
                    "binaryVersion": binary,
                    "emulationVersion": emulated,
                    "paths": list(_PATHS),
                }
            )
        minutes, seconds = divmod(up_s, 60)
        hours, minutes = divmod(minutes, 60)
        lines = [
            "",
            "apiserver statusz",
            _WARNING,
            "",
            f"Started  {_dated(self._started)}",
            f"Up  {hours} hr {minutes:02d} min {seconds:02d} sec",
            f"Go version  {version['goVersion']}",
            f"Binary version  {binary}",
            f"Emulation version  {emulated}",
            f"Paths  {' '.join(_PATHS)}",
            "",
        ]
        return Response(
            200, [("Content-Type", "text/plain; charset=utf-8")], "\n".join(lines).encode()
        )


def _dated(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%a %b %e %H:%M:%S UTC %Y")
