"""What the runtime keeps on disk of each sandbox and container, one small JSON file each.

Laws. A record is written before the thing is made (phase ``CREATING``) and removed after it is
gone, so whatever a crash leaves has a record to find it by. Writes replace the file by
``rename`` without fsync: containers do not outlive the machine's memory anyway, and a record
that a power loss damaged only means there is something to clean up.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from kutter.runtime.cri import ContainerConfig, LinuxUser, SandboxConfig

RECORD = "state.json"


class Phase(Enum):
    """How far a sandbox or container has come."""

    CREATING = "creating"
    READY = "ready"  # sandbox: usable; container: created
    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"
    REMOVING = "removing"


@dataclass(slots=True)
class SandboxRecord:
    id: str
    config: SandboxConfig
    created_at_ns: int
    boot_id: str
    phase: Phase = Phase.CREATING
    ips: list[str] = field(default_factory=list)
    pause_pid: int = 0
    pause_ticks: int = 0


@dataclass(slots=True)
class ContainerRecord:
    id: str
    sandbox_id: str
    config: ContainerConfig
    image_id: str
    created_at_ns: int
    boot_id: str
    cgroup: str
    handler: str
    log_path: str = ""
    stop_signal: str = ""
    identity: LinuxUser | None = None
    phase: Phase = Phase.CREATING
    pid: int = 0
    pid_ticks: int = 0
    monitor_pid: int = 0
    monitor_ticks: int = 0
    started_at_ns: int = 0
    finished_at_ns: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    image_ref: str = ""


R = TypeVar("R", SandboxRecord, ContainerRecord)


def new_id() -> str:
    """64 hex digits."""
    return secrets.token_hex(32)


def _encode_path(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(type(value))


def _decode_path(kind: type, value: Any) -> Any:
    if issubclass(kind, Path):
        return Path(value)
    raise NotImplementedError(kind)


def write_record(folder: Path, record: SandboxRecord | ContainerRecord) -> None:
    """Replace the record in ``folder``."""
    content = msgspec.json.encode(record, enc_hook=_encode_path)
    target = folder / RECORD
    fresh = folder / f".{RECORD}"
    try:
        fresh.write_bytes(content)
    except FileNotFoundError:
        folder.mkdir(parents=True, mode=0o711)
        fresh.write_bytes(content)
    os.replace(fresh, target)


def read_record(folder: Path, kind: type[R]) -> R | None:
    """The record in ``folder``; None when it is missing or damaged."""
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=kind, dec_hook=_decode_path)
    except (OSError, msgspec.MsgspecError):
        return None


def read_json(path: Path) -> Any:
    """A JSON file, None when it is missing or damaged."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
