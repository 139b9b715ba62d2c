"""The command line against an API server in this process, listening on loopback in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tests.apiserver_harness import Api, start_server

from kutter.apiserver.printing.registry import printer_for
from kutter.cli.main import main
from kutter.http.server import HttpServer


@dataclass
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str


class CliServer:
    """A server with its loop in a thread; ``url`` is where it listens."""

    def __init__(self, *, wrap: Callable[[Any], Any] | None = None, **parts: Any) -> None:
        """``wrap`` may put a handler in front of the server's."""
        self._parts = parts
        self._wrap = wrap or (lambda handler: handler)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._started = threading.Event()
        self._stop: asyncio.Event | None = None
        self._failure: BaseException | None = None
        self.url = ""
        self.api: Api | None = None

    def start(self) -> None:
        self._thread.start()
        assert self._started.wait(20)
        if self._failure is not None:
            raise self._failure

    def _serve(self) -> None:
        try:
            self._loop.run_until_complete(self._run())
        except BaseException as error:  # handed to the starter
            self._failure = error
            self._started.set()

    async def _run(self) -> None:
        parts = {"printer_for": printer_for, **self._parts}
        server = await start_server(**parts)
        self.api = Api(server)
        listener = HttpServer(self._wrap(server.handle))
        port = await listener.listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{port}"
        for name in ("default", "kube-system"):
            await self.api.ok("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        self._stop = asyncio.Event()
        self._started.set()
        await self._stop.wait()
        await listener.close(grace_s=0.1)
        await server.stop()

    def run(self, work: Callable[[Api], Any]) -> Any:
        """Run ``work(api)``, a coroutine, in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work(self.api), self._loop).result(20)

    def make(self, path: str, *trees: dict[str, Any]) -> None:
        """Create objects by POST to ``path``."""
        for tree in trees:
            self.run(lambda api, tree=tree: api.ok("POST", path, tree))

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        return self.run(lambda api: api.ok(method, path, body))

    def stop(self) -> None:
        if self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        self._loop.close()


class Cli:
    """Runs commands in-process against a server; ``cli("get", "pods")``."""

    def __init__(self, server: CliServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(
            f"""apiVersion: v1
kind: Config
current-context: test
clusters: [{{name: test, cluster: {{server: "{server.url}"}}}}]
users: [{{name: admin, user: {{token: secret}}}}]
contexts: [{{name: test, context: {{cluster: test, user: admin}}}}]
"""
        )
        self.environ = {
            "KUBECONFIG": str(self.kubeconfig),
            "KUTTER_CACHE_DIR": str(folder / "cache"),
        }

    def __call__(self, *words: str, stdin: str = "", **environ: str) -> Outcome:
        out, err = _Capture(), _Capture()
        source = io.TextIOWrapper(io.BytesIO(stdin.encode()))
        with (
            mock.patch.dict(os.environ, {**self.environ, **environ}),
            mock.patch.object(sys, "stdin", source),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                code = main(list(words))
            except SystemExit as exit_:  # --help
                code = int(exit_.code or 0)
        return Outcome(code, out.text(), err.text())

    def ok(self, *words: str, **more: Any) -> str:
        """The output of a command that has to succeed."""
        outcome = self(*words, **more)
        assert outcome.code == 0, outcome
        return outcome.out

    def fails(self, *words: str, code: int = 1, **more: Any) -> str:
        """What a command that has to fail says."""
        outcome = self(*words, **more)
        assert outcome.code == code, outcome
        assert "Traceback" not in outcome.err
        return outcome.err


class _Capture(io.TextIOWrapper):
    """Text and bytes written, read back as text."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def text(self) -> str:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode()


@contextlib.contextmanager
def running_server(**parts: Any) -> Iterator[CliServer]:
    server = CliServer(**parts)
    server.start()
    try:
        yield server
    finally:
        server.stop()
