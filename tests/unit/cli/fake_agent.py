"""A node agent's streaming side in front of an API server; commands run on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path

import orjson

from kutter.http.messages import Handler, Request, Response
from kutter.http.portforward import answer_port_forward
from kutter.http.remotecommand import RemoteCommandSession, answer_remote_command

_pod_path = re.compile(r"/api/v1/namespaces/([^/]+)/pods/([^/]+)/(log|exec|attach|portforward)")
_summary_path = re.compile(r"/api/v1/nodes/([^/]+)/proxy/stats/summary")


class FakeAgent:
    """``root`` is the containers' working folder; ``asked`` the requests seen."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[Request] = []
        self.summary: dict[str, object] = {}
        self.port = 0

    def wrap(self, handler: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            if match := _pod_path.fullmatch(request.path):
                self.asked.append(request)
                return self._answer(request, match[2], match[3])
            if _summary_path.fullmatch(request.path):
                return Response(200, [("Content-Type", "application/json")],
                                orjson.dumps(self.summary))  # fmt: skip
            return await handler(request)

        return handle

    def _answer(self, request: Request, pod: str, verb: str) -> Response:
        if verb == "log":
            return Response(200, [("Content-Type", "text/plain")], stream=self._log(request, pod))
        if verb == "portforward":
            return answer_port_forward(request, self._connect)
        words = request.params("command") or ["cat"]
        streams = {name: request.param(name) == "true" for name in ("stdin", "stdout", "stderr")}

        async def run(session: RemoteCommandSession) -> int:
            return await self._run(session, words, stdin=streams["stdin"])

        return answer_remote_command(request, run, tty=request.param("tty") == "true", **streams)

    async def _log(self, request: Request, pod: str):
        lines = [f"{pod} {request.param('container')} line {n}\n".encode() for n in range(3)]
        count = int(request.param("tailLines") or 3)
        for line in lines[3 - count :]:
            yield line
            await asyncio.sleep(0)

    async def _connect(self, port: int):
        from kutter.cli.forwarding import LocalStream

        if port == 81:
            raise ConnectionRefusedError("connection refused")
        return LocalStream(*await asyncio.open_connection("127.0.0.1", self.port))

    async def _run(self, session: RemoteCommandSession, words: list[str], *, stdin: bool) -> int:
        process = await asyncio.create_subprocess_exec(
            *words, cwd=self.root,
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

        async def feed() -> None:
            with contextlib.suppress(ConnectionError, BrokenPipeError):
                while data := await session.read_stdin():
                    process.stdin.write(data)
                    await process.stdin.drain()
            process.stdin.close()

        async def carry(stream, write) -> None:
            while data := await stream.read(65536):
                await write(data)

        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(feed()) if stdin else None
            out = group.create_task(carry(process.stdout, session.write_stdout))
            err = group.create_task(carry(process.stderr, session.write_stderr))
            await asyncio.wait([out, err])
            code = await process.wait()
            if feeding is not None:
                feeding.cancel()
        return code
