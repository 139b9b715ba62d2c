"""The node's log folder over HTTP: ``/logs/`` of the agent, behind ``nodes/log``.

Nothing outside the folder is shown: a link may lead about inside it, not out of it.
https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/
"""

from __future__ import annotations

import asyncio
import html
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

from kutter.http.messages import Response

_CHUNK_BYTES = 256 * 1024


async def answer_log_file(root: Path, parts: list[str]) -> Response | None:
    """A file of the folder, or what is in a folder of it; None when there is no such thing."""
    return await asyncio.to_thread(_answer, root, parts)


def _answer(root: Path, parts: list[str]) -> Response | None:
    top = root.resolve()
    path = top.joinpath(*[part for part in parts if part]).resolve()
    if not path.is_relative_to(top):
        return None
    if path.is_dir():
        return Response(200, [("content-type", "text/html; charset=utf-8")], _listing(path))
    if not path.is_file():
        return None
    return Response(200, [("content-type", "text/plain; charset=utf-8")], stream=_read(path))


def _listing(folder: Path) -> bytes:
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in folder.iterdir())
    lines = [f'<a href="{quote(name)}">{html.escape(name)}</a>\n' for name in names]
    return f"<!doctype html>\n<pre>\n{''.join(lines)}</pre>\n".encode(errors="surrogateescape")


async def _read(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield chunk
