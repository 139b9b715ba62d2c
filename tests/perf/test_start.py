"""What a server reads in until it answers ``/readyz``: nearly all of what a start costs.

Counts, not clocks: a module is a fifth of a millisecond, a dataclass half of one.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# Runs the server as its command does. Where it would go on to read in the rest, /readyz is asked
# for from a thread until it says yes, what there is by then is told, and the process ends.
_PROGRAM = """
import asyncio, json, os, socket, ssl, sys, time

from kutter.cluster import control_plane


def told(port):
    plain = ssl.create_default_context()
    plain.check_hostname, plain.verify_mode = False, ssl.CERT_NONE
    until = time.monotonic() + 30
    while True:
        with plain.wrap_socket(socket.create_connection(("127.0.0.1", port), 20)) as secured:
            secured.sendall(b"GET /readyz?verbose HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
            answer = b""
            while piece := secured.recv(65536):
                answer += piece
        if b" 200 " in answer[:20]:
            break
        if time.monotonic() > until:
            print(answer.decode(), file=sys.stderr)
            os._exit(1)
    dataclasses = {
        f"{value.__module__}.{value.__qualname__}"
        for module in list(sys.modules.values())
        for value in list(vars(module).values())
        if isinstance(value, type) and "__dataclass_fields__" in vars(value)
    }
    print(json.dumps({"modules": sorted(sys.modules), "dataclasses": sorted(dataclasses)}))
    sys.stdout.flush()
    os._exit(0)


async def tell(*modules):
    await asyncio.to_thread(told, int(sys.argv[2]))


control_plane._read_in = tell
from kutter.cli.main import main

main(["server", *sys.argv[1:2], f"--api-port={sys.argv[2]}", *sys.argv[3:]])
"""


@pytest.fixture(scope="module")
def read_in(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("start")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    places = [f"--{name}-dir={folder / name}" for name in ("state", "run", "log")]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, places[0], str(port), *places[1:]],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_server_is_ready_before_most_of_it_is_read_in(read_in: dict[str, Any]):
    ours = [name for name in read_in["modules"] if name.partition(".")[0] == "kutter"]
    assert 100 < len(ours) <= 350, len(ours)


def test_what_few_requests_need_is_read_in_later(read_in: dict[str, Any]):
    early = set(read_in["modules"]) & {
        "html",
        "http.client",
        "importlib.metadata",
        "importlib.resources",
        "jwt",
        "numpy",
        "shutil",
        "tempfile",
        "urllib.request",
        "yaml",
        "zoneinfo",
        "kutter.api.cel.checker",
        "kutter.apiserver.admission.dynamic.evaluation",
        "kutter.apiserver.audit.auditor",
        "kutter.apiserver.kinds.pod",
        "kutter.apiserver.openapi",
        "kutter.cluster.identity",
        "kutter.controllers.registry",
        "kutter.http.websocket",
        "kutter.scheduler.scheduler",
    }
    assert early == set()


def test_methods_of_few_classes_are_compiled_at_each_start(read_in: dict[str, Any]):
    ours = [name for name in read_in["dataclasses"] if name.startswith("kutter.")]
    assert 0 < len(ours) <= 10, ours
