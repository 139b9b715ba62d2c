"""The log files of this machine's server and agent."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from kutter.cli.command import CommandError
from kutter.cli.moments import pause

_LOOK_EVERY_S = 0.25
_BLOCK_BYTES = 65536


def print_component_log(component: str, *, tail: int, follow: bool) -> int:
    """Print the last ``tail`` lines (all when negative); then what is added, with ``follow``."""
    path = Path(os.environ.get("KUTTER_LOG_DIR", "/var/log/kutter")) / f"{component}.log"
    out = sys.stdout.buffer
    try:
        with path.open("rb") as file:
            file.seek(_start_of_tail(path, tail))
            while True:
                block = file.read(_BLOCK_BYTES)
                if block:
                    out.write(block)
                    out.flush()
                elif not follow:
                    return 0
                elif path.stat().st_size < file.tell():
                    file.seek(0)  # emptied or replaced by a shorter one
                else:
                    pause(_LOOK_EVERY_S)
    except FileNotFoundError as error:
        raise CommandError(
            f"there is no log of the {component} on this machine ({path})",
            hint="'kutter status' tells whether it runs and where it logs",
        ) from error
    except PermissionError as error:
        raise CommandError(f"{path} may be read by root only", hint="use sudo") from error


def _start_of_tail(path: Path, tail: int) -> int:
    if tail < 0:
        return 0
    with path.open("rb") as file:
        end = position = file.seek(0, os.SEEK_END)
        wanted = tail
        if not wanted:
            return end
        while position > 0:
            step = min(_BLOCK_BYTES, position)
            position -= step
            file.seek(position)
            block = file.read(step)
            at = len(block)
            if position + step == end and block.endswith(b"\n"):
                at -= 1
            while (at := block.rfind(b"\n", 0, at)) >= 0:
                wanted -= 1
                if wanted == 0:
                    return position + at + 1
    return 0
