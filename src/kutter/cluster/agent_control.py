"""Root's door to the agent: a socket in the run directory through which images come and go.

The agent owns the image store, so that nothing else writes to it. Requests are plain HTTP;
long work answers a stream of JSON lines: progress, then a result or an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from kutter.base.tasks import Scope, cancel_and_wait
from kutter.http.messages import Request, Response
from kutter.http.server import HttpServer
from kutter.runtime.cri import Auth, CriError, Image, ImageStore, PullProgress

Report = Callable[[dict[str, Any]], None]
Work = Callable[[Report], Awaitable[dict[str, Any]]]


def image_tree(image: Image) -> dict[str, Any]:
    """An image as the command line shows it."""
    return {
        "id": image.id,
        "tags": list(image.repo_tags),
        "digests": list(image.repo_digests),
        "sizeBytes": image.size_bytes,
        "pinned": image.pinned,
    }


class AgentControl:
    """Serves ``/images`` on a unix socket only root can open."""

    def __init__(self, images: ImageStore, ready: asyncio.Event) -> None:
        self._images = images
        self._ready = ready
        self._server: HttpServer | None = None
        self._scope = Scope("agent-control")

    async def start(self, socket: Path) -> None:
        """Listen. Raises OSError."""
        socket.parent.mkdir(parents=True, exist_ok=True)
        self._server = HttpServer(self.handle)
        await self._server.listen_unix(socket, mode=0o600)

    async def close(self) -> None:
        if self._server is not None:
            await self._server.close(grace_s=1.0)
        await self._scope.close()

    async def handle(self, request: Request) -> Response:
        """GET /ready, /images; POST /images/pull, /images/import, /images/remove with JSON."""
        if (request.method, request.path) == ("GET", "/ready"):
            return _json(200 if self._ready.is_set() else 503, {"ready": self._ready.is_set()})
        if (request.method, request.path) == ("GET", "/images"):
            found = [image_tree(i) for i in await self._images.list_images()]
            return _json(200, {"images": found})
        work = self._work(request)
        if work is None:
            return _json(404, {"error": f"no such call: {request.method} {request.path}"})
        return Response(200, [("Content-Type", "application/x-ndjson")], stream=self._stream(work))

    def _work(self, request: Request) -> Work | None:
        if request.method != "POST":
            return None
        asked = orjson.loads(request.body or b"{}")
        if request.path == "/images/pull":
            return lambda report: self._pull(asked, report)
        if request.path == "/images/import":
            return lambda _: self._import(asked)
        if request.path == "/images/remove":
            return lambda _: self._remove(asked)
        return None

    async def _pull(self, asked: dict[str, Any], report: Report) -> dict[str, Any]:
        auth = None
        if asked.get("username"):
            auth = Auth(username=asked["username"], password=asked.get("password", ""))

        def progress(state: PullProgress) -> None:
            report({"fetchedBytes": state.fetched_bytes, "totalBytes": state.total_bytes})

        image = await self._images.pull(asked["reference"], auth, progress)
        return {"images": [image_tree(image)]}

    async def _import(self, asked: dict[str, Any]) -> dict[str, Any]:
        images = await self._images.import_archive(Path(asked["path"]), tag=asked.get("tag", ""))
        return {"images": [image_tree(i) for i in images]}

    async def _remove(self, asked: dict[str, Any]) -> dict[str, Any]:
        reference = asked["reference"]
        image = await self._images.image(reference)
        if image is None:
            return {"error": f"there is no image {reference}"}
        await self._images.remove_image(reference)
        return {"images": [image_tree(image)]}

    async def _stream(self, work: Work) -> AsyncIterator[bytes]:
        """Progress lines while the work goes on; it ends with the caller."""
        lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(256)

        def report(line: dict[str, Any]) -> None:
            if not lines.full():
                lines.put_nowait(line)

        async def run() -> None:
            try:
                result = await work(report)
            except (CriError, OSError, ValueError, KeyError) as error:
                result = {"error": str(error) or type(error).__name__}
            await lines.put(result)
            await lines.put(None)

        task = self._scope.start(run(), "image-work")
        try:
            while (line := await lines.get()) is not None:
                yield orjson.dumps(line) + b"\n"
        finally:
            await cancel_and_wait(task)


def _json(status: int, tree: dict[str, Any]) -> Response:
    return Response(status, [("Content-Type", "application/json")], orjson.dumps(tree))
