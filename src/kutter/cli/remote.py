"""Running and attaching to commands in containers: the user's side of exec and attach."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kutter.api.errors import ApiError
from kutter.base.tasks import Scope
from kutter.cli import terminal
from kutter.cli.command import CommandError
from kutter.cli.podtargets import pod_path
from kutter.client.http import HttpTransport
from kutter.http.remotecommand_client import (
    RemoteCommand,
    RemoteCommandError,
    dial_remote_command,
)

if TYPE_CHECKING:
    from kutter.client.kubeconfig import Connection

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Attachment:
    """Which streams are wanted; ``command`` is empty for attach."""

    container: str
    command: tuple[str, ...] = ()
    stdin: bool = False
    tty: bool = False
    quiet: bool = False

    def query(self) -> list[tuple[str, str]]:
        query = [("container", self.container)]
        query += [("command", word) for word in self.command]
        wanted = (
            ("stdin", self.stdin),
            ("stdout", True),
            ("stderr", not self.tty),
            ("tty", self.tty),
        )
        return query + [(name, "true") for name, want in wanted if want]


@contextlib.asynccontextmanager
async def dialed(
    connection: Connection, pod: Tree, attachment: Attachment
) -> AsyncIterator[RemoteCommand]:
    """A running session. Raises ApiError, CommandError."""
    transport = HttpTransport(connection)
    path = pod_path(pod, "exec" if attachment.command else "attach")
    query = attachment.query()
    try:
        session = await dial_remote_command(
            lambda headers: transport.upgrade(path, query=query, headers=headers)
        )
        try:
            yield session
        finally:
            await session.close()
    finally:
        await transport.close()


async def run_attached(connection: Connection, pod: Tree, attachment: Attachment) -> int:
    """Join this process's input and output to the remote command; answers its exit code."""
    try:
        async with dialed(connection, pod, attachment) as session, Scope("remote") as scope:
            raw = attachment.tty and terminal.is_terminal()
            with terminal.raw_mode() if raw else contextlib.nullcontext():
                if raw:
                    scope.start(_send_sizes(session), "sizes")
                if attachment.stdin:
                    scope.start(_send_input(session), "input")
                async for name, data in session.output():
                    out = sys.stderr if name == "stderr" else sys.stdout
                    out.buffer.write(data)
                    out.buffer.flush()
            code = session.exit_code or 0
    except RemoteCommandError as error:
        raise CommandError(str(error)) from error
    if code and not attachment.quiet and attachment.command:
        print(f"command terminated with exit code {code}", file=sys.stderr)
    return code


async def _send_input(session: RemoteCommand) -> None:
    try:
        async for data in terminal.input_chunks():
            await session.write_stdin(data)
        await session.close_stdin()
    except ConnectionError:
        return  # the command ended first; its outcome is read elsewhere


async def _send_sizes(session: RemoteCommand) -> None:
    try:
        async for columns, rows in terminal.sizes():
            await session.resize(columns, rows)
    except ConnectionError:
        return


async def capture(
    connection: Connection, pod: Tree, attachment: Attachment, given: bytes = b""
) -> tuple[int, bytes, bytes]:
    """Run to the end: exit code, stdout, stderr."""
    collected: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
    async with dialed(connection, pod, attachment) as session:
        if given:
            await session.write_stdin(given)
            await session.close_stdin()
        async for name, data in session.output():
            collected[name].append(data)
        code = session.exit_code or 0
    return code, b"".join(collected["stdout"]), b"".join(collected["stderr"])


__all__ = ["ApiError", "Attachment", "asyncio", "capture", "dialed", "run_attached"]
