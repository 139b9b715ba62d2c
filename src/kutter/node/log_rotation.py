"""Rotates container logs: rename, have the runtime reopen, compress what is older.

Files are named as upstream's: ``0.log.20060102-150405``, older ones with ``.gz``; the newest
rotated file stays plain because readers may still follow it.
"""

from __future__ import annotations

import asyncio
import gzip
import shutil
from datetime import datetime
from pathlib import Path

from kutter.node.logs import log_files
from kutter.runtime.cri import Container, ContainerRuntime


async def rotate_log(
    run: Container,
    runtime: ContainerRuntime,
    *,
    maximum_bytes: int,
    maximum_files: int,
    moment: datetime,
) -> bool:
    """Rotate if the log is too large; answers whether it was. Raises CriError, OSError."""
    path = run.log_path
    try:
        if path.stat().st_size < maximum_bytes:
            return False
    except FileNotFoundError:
        return False
    older = [p for p in log_files(path) if p != path]
    keep = max(maximum_files - 2, 0)
    for extra in older[: max(len(older) - keep, 0)]:
        extra.unlink(missing_ok=True)
    for plain in older[max(len(older) - keep, 0) :]:
        if plain.suffix != ".gz":
            await asyncio.to_thread(_compress, plain)
    rotated = path.with_name(f"{path.name}.{moment:%Y%m%d-%H%M%S}")
    path.rename(rotated)
    try:
        await runtime.reopen_log(run.id)
    except BaseException:
        if not path.exists():
            rotated.rename(path)
        raise
    return True


def _compress(path: Path) -> None:
    temporary = path.with_name(path.name + ".tmp")
    with path.open("rb") as source, gzip.open(temporary, "wb") as target:
        shutil.copyfileobj(source, target)
    temporary.rename(path.with_name(path.name + ".gz"))
    path.unlink()
