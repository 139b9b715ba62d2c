"""Files to and from containers: a tar archive through exec."""

from __future__ import annotations

import os
import posixpath
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from kutter.cli.command import CommandError
from kutter.cli.remote import Attachment, capture, dialed

if TYPE_CHECKING:
    from kutter.client.kubeconfig import Connection

Tree = dict[str, Any]
_IN_MEMORY_BYTES = 8 * 1024 * 1024
_BLOCK_BYTES = 256 * 1024
_TAR_MISSING = (126, 127)


async def upload(
    connection: Connection,
    pod: Tree,
    container: str,
    source: Path,
    target: str,
    *,
    preserve: bool = True,
) -> None:
    """Copy a local file or folder into a container. Raises CommandError, ApiError."""
    name = _local_name(source)
    target = target.rstrip("/") or "/"
    code, _, _ = await capture(connection, pod, Attachment(container, ("test", "-d", target)))
    if code == 0:
        target = posixpath.join(target, name)
    folder, name = posixpath.split(target)
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as archive:
        with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as tar:
            tar.add(source, arcname=name)
        archive.seek(0)
        options = "-xmf" if preserve else "-xmof"
        command = ("tar", options, "-", "-C", folder or ".")
        await _send(connection, pod, Attachment(container, command, stdin=True), archive)


def _local_name(source: Path) -> str:
    if not source.exists():
        raise CommandError(f"{source} doesn't exist in local filesystem")
    return source.resolve().name


def _place(target: Path, name: str) -> Path:
    """A folder that is there takes the copy; anything else is the copy's own name."""
    return target / name if target.is_dir() else target


async def _send(
    connection: Connection, pod: Tree, attachment: Attachment, archive: IO[bytes]
) -> None:
    problems = b""
    async with dialed(connection, pod, attachment) as session:
        while block := archive.read(_BLOCK_BYTES):
            await session.write_stdin(block)
        await session.close_stdin()
        async for name, data in session.output():
            if name == "stderr":
                problems += data
        _check(session.exit_code or 0, problems)


async def download(
    connection: Connection, pod: Tree, container: str, source: str, target: Path
) -> None:
    """Copy a file or folder out of a container. Raises CommandError, ApiError."""
    source = source.rstrip("/") or "/"
    command = ("tar", "cf", "-", source)
    problems = b""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as archive:
        async with dialed(connection, pod, Attachment(container, command)) as session:
            async for name, data in session.output():
                if name == "stderr":
                    problems += data
                else:
                    archive.write(data)
            code = session.exit_code or 0
        _check(code, problems)
        archive.seek(0)
        extract(archive, source.lstrip("/"), _place(target, posixpath.basename(source)))


def _check(code: int, problems: bytes) -> None:
    text = problems.decode("utf-8", "replace").strip()
    if code in _TAR_MISSING:
        raise CommandError(
            f"the container has no 'tar': {text or code}", hint="cp needs tar in the container"
        )
    if code:
        raise CommandError(f"tar in the container failed: {text or f'exit code {code}'}")


def extract(archive: IO[bytes], prefix: str, target: Path) -> None:
    """Unpack what lies at ``prefix`` to ``target``; nothing lands outside of it.

    Links are left out with a warning: what a container's links point at means nothing here.
    Raises CommandError.
    """
    wrote = False
    root = Path(os.path.abspath(target))
    with tarfile.open(fileobj=archive, mode="r|") as tar:
        for member in tar:
            relative = _below(posixpath.normpath(member.name.lstrip("/")), prefix)
            if relative is None:
                raise CommandError(f"the archive holds {member.name!r}, which was not asked for")
            place = root / relative if relative else root
            if member.isdir():
                place.mkdir(parents=True, exist_ok=True)
            elif member.isfile():
                place.parent.mkdir(parents=True, exist_ok=True)
                content = tar.extractfile(member)
                assert content is not None, "files have content"
                with place.open("wb") as file:
                    shutil.copyfileobj(content, file, _BLOCK_BYTES)
                place.chmod(member.mode & 0o777)
            else:
                print(f'warning: skipping link or device: "{member.name}"', file=sys.stderr)
            wrote = True
    if not wrote:
        raise CommandError(f"{prefix} no such file or directory")


def _below(name: str, prefix: str) -> str | None:
    """``name`` relative to ``prefix``; None for names that are not below it."""
    prefix = posixpath.normpath(prefix) if prefix else "."
    if prefix == ".":
        relative = name
    elif name == prefix:
        return ""
    elif name.startswith(prefix + "/"):
        relative = name[len(prefix) + 1 :]
    else:
        return None
    return None if relative.split("/", 1)[0] == ".." else ("" if relative == "." else relative)
