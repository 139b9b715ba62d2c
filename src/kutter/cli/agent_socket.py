"""Talking to this machine's agent through its socket: images come and go by it."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from kutter.cli.command import CommandError

Tree = dict[str, Any]


def socket_path() -> Path:
    return Path(os.environ.get("KUTTER_RUN_DIR", "/run/kutter")) / "agent.sock"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.connect(str(self._path))
        except OSError:
            self.sock.close()
            raise


def ask_agent(method: str, path: str, body: Tree | None = None) -> Iterator[Tree]:
    """The JSON lines of an answer, as they come. Raises CommandError, also for an ``error``."""
    place = socket_path()
    connection = _UnixConnection(place)
    payload = orjson.dumps(body) if body is not None else None
    try:
        connection.request(method, path, payload, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        while line := answer.readline():
            if not line.strip():
                continue
            tree = orjson.loads(line)
            if not isinstance(tree, dict):
                raise CommandError("the agent's answer cannot be understood")
            if tree.get("error"):
                raise CommandError(str(tree["error"]))
            yield tree
    except PermissionError as error:
        raise CommandError(f"{place} may be used by root only", hint="use sudo") from error
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise CommandError(
            "the node agent does not run on this machine", hint="start it with 'sudo kutter up'"
        ) from error
    except (http.client.HTTPException, orjson.JSONDecodeError) as error:
        raise CommandError(f"the agent's answer broke off: {error!r}") from error
    finally:
        connection.close()
