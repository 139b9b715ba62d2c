"""Unpacked image layers and the writable layer of each container, for overlayfs.

Layout: ``layers/<short>/{diff, layer.json}``, ``short`` = 16 hex digits of the chain id. A
folder without ``layer.json`` is half-made and is removed at start. A layer is used by the
images that list its chain id; whoever removes layers names the chain ids to keep.

Chain ids: https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import kutter
from kutter.base.files import write_atomic
from kutter.linux import mounts
from kutter.linux.process import run_command
from kutter.linux.syscalls import syncfs
from kutter.runtime.cri import ImagePullError
from kutter.runtime.embedded.content import compute_digest

_UNPACK_TIMEOUT_S = 1800.0
# Unpacking is CPU work in worker processes; more at once only fight for the disk.
_WORKERS = 2


def compute_chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """Chain id of each layer, bottom first."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(compute_digest(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain


def short_name(chain_id: str) -> str:
    """The folder's name of a layer."""
    return chain_id.partition(":")[2][:16]


class LayerStore:
    """Layers below one folder. Applying the same layer twice at once happens once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._known: dict[str, int] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._workers = asyncio.Semaphore(_WORKERS)

    def load(self) -> None:
        """Read what is there; remove what is half-made."""
        self._known.clear()
        for path in self.folder.iterdir():
            try:
                facts = json.loads((path / "layer.json").read_bytes())
                self._known[facts["chain_id"]] = facts["size_bytes"]
            except (OSError, ValueError, KeyError):
                shutil.rmtree(path, ignore_errors=True)

    def has(self, chain_id: str) -> bool:
        """Whether the layer is unpacked."""
        return chain_id in self._known

    def size_bytes(self, chain_id: str) -> int:
        """Unpacked size, 0 when unknown."""
        return self._known.get(chain_id, 0)

    async def apply(self, blob: Path, diff_id: str, chain_ids: Sequence[str]) -> None:
        """Unpack ``blob`` as the layer ``chain_ids[-1]`` on its parents. Raises ImagePullError."""
        chain_id = chain_ids[-1]
        lock = self._locks.setdefault(chain_id, asyncio.Lock())
        try:
            async with lock:
                if chain_id not in self._known:
                    async with self._workers:
                        await self._unpack(blob, diff_id, chain_ids)
        finally:
            if not lock.locked():
                self._locks.pop(chain_id, None)

    async def _unpack(self, blob: Path, diff_id: str, chain_ids: Sequence[str]) -> None:
        chain_id = chain_ids[-1]
        folder = self.folder / short_name(chain_id)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        diff = folder / "diff"
        diff.mkdir(parents=True, mode=0o755)
        scratch = folder / "scratch"
        command = [sys.executable, "-m", "kutter.runtime.embedded.unpack"]
        command += [f"--layers={self.folder}", f"--target={diff}", f"--scratch={scratch}"]
        command += [f"--parent={name}" for name in self.lower(chain_ids[:-1])]
        environment = {**os.environ, "PYTHONPATH": str(Path(kutter.__file__).parent.parent)}
        with blob.open("rb") as source:
            done = await run_command(
                command,
                stdin_file=source.fileno(),
                environment=environment,
                timeout_s=_UNPACK_TIMEOUT_S,
            )
        answer = _parse_answer(done.stdout, done.stderr)
        if answer.get("diff_id") != diff_id:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            reason = answer.get("error") or (
                f"diff id mismatch: want {diff_id}, got {answer.get('diff_id')}"
            )
            raise ImagePullError(f"failed to extract layer {diff_id}: {reason}")
        await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
        facts = {"chain_id": chain_id, "size_bytes": answer["size_bytes"]}
        await asyncio.to_thread(_publish, folder, json.dumps(facts).encode())
        self._known[chain_id] = answer["size_bytes"]

    def lower(self, chain_ids: Sequence[str]) -> list[str]:
        """Names relative to :attr:`folder` for an overlay's lowerdir, topmost first."""
        return [f"{short_name(chain_id)}/diff" for chain_id in reversed(chain_ids)]

    async def remove_except(self, keep: Collection[str]) -> None:
        """Remove layers no image in ``keep`` (chain ids) is made of."""
        for chain_id in [known for known in self._known if known not in keep]:
            if chain_id in self._locks:
                continue
            del self._known[chain_id]
            await asyncio.to_thread(
                shutil.rmtree, self.folder / short_name(chain_id), ignore_errors=True
            )

    def mount(self, chain_ids: Sequence[str], container: Path, target: Path) -> None:
        """Mount a container's root file system: the layers and its own writable one."""
        for folder in (container / "upper", container / "work", target):
            folder.mkdir(parents=True, exist_ok=True)
        (container / "upper").chmod(0o755)
        lower = self.lower(chain_ids)
        if not lower:  # an image without layers: overlayfs wants at least one
            lower = _make_empty(container, 1)
        mounts.mount_overlay(self.folder, lower, container / "upper", container / "work", target)

    def mount_readonly(self, chain_ids: Sequence[str], container: Path, target: Path) -> None:
        """Mount the layers alone; ``container`` has what the mount needs beside them."""
        target.mkdir(parents=True, exist_ok=True)
        lower = self.lower(chain_ids)
        # Without a writable layer overlayfs wants two.
        lower += _make_empty(container, max(0, 2 - len(lower)))
        mounts.mount_overlay(self.folder, lower, None, None, target)


def _make_empty(container: Path, count: int) -> list[str]:
    made = []
    for number in range(count):
        folder = container / f"empty{number or ''}"
        folder.mkdir(exist_ok=True)
        made.append(str(folder))
    return made


def _publish(folder: Path, facts: bytes) -> None:
    # The files must be on disk before the layer counts as whole.
    syncfs(folder)
    write_atomic(folder / "layer.json", facts, mode=0o644)


def _parse_answer(output: bytes, errors: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(output)
    except ValueError:
        return {"error": errors.decode(errors="replace").strip()[-400:] or "the worker died"}
    return answer if isinstance(answer, dict) else {"error": "the worker answered nonsense"}
