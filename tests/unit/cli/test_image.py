"""image: over a unix socket to something that answers as the agent does."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from kutter.cli.commands.image import short_id, size_text, split_tag
from kutter.http.messages import Request, Response
from kutter.http.server import HttpServer

IMAGE = {"id": "sha256:0123456789abcdef", "tags": ["web:1"], "digests": [], "sizeBytes": 1_234_567}


@pytest.fixture
def agent_socket(tmp_path):
    asked: list[tuple[str, dict]] = []

    async def handle(request: Request) -> Response:
        if request.method == "GET":
            return Response(200, body=json.dumps({"images": [IMAGE]}).encode())
        body = json.loads(request.body)
        asked.append((request.path, body))

        async def lines():
            yield b'{"fetchedBytes": 1, "totalBytes": 2}\n'
            if body.get("reference") == "bad:1":
                yield b'{"error": "no such image bad:1"}\n'
            elif body.get("reference") != "cut:1":
                yield json.dumps({"images": [IMAGE]}).encode() + b"\n"

        return Response(200, stream=lines())

    loop = asyncio.new_event_loop()
    ready, done = threading.Event(), asyncio.Event()

    async def serve():
        server = HttpServer(handle)
        await server.listen_unix(tmp_path / "agent.sock")
        ready.set()
        await done.wait()
        await server.close(grace_s=0.1)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(30)
    yield asked
    loop.call_soon_threadsafe(done.set)
    thread.join(10)
    loop.close()


def test_images(cli, agent_socket, tmp_path):
    place = {"KUTTER_RUN_DIR": str(tmp_path)}
    assert cli.ok("image", "ls", **place) == (
        "IMAGE   TAG   ID              SIZE\nweb     1     0123456789abc   1.23MB\n"
    )
    assert json.loads(cli.ok("image", "ls", "-o", "json", **place)) == [IMAGE]
    assert cli.ok("image", "pull", "web:1", **place) == "web:1 pulled (1.23MB)\n"
    archive = tmp_path / "web.tar"
    archive.write_bytes(b"")
    cli.ok("image", "import", str(archive), "--tag", "web:2", **place)
    cli.ok("image", "rm", "web:1", **place)
    assert agent_socket == [
        ("/images/pull", {"reference": "web:1"}),
        ("/images/import", {"path": str(archive), "tag": "web:2"}),
        ("/images/remove", {"reference": "web:1"}),
    ]
    assert "no such image bad:1" in cli.fails("image", "pull", "bad:1", **place)
    assert "broke off without a result" in cli.fails("image", "pull", "cut:1", **place)
    assert "no password was given" in cli.fails("image", "pull", "a", "--username=b", **place)


def test_credentials_go_to_the_agent(cli, agent_socket, tmp_path):
    words = ("image", "pull", "web:1", "--username", "me", "--password-stdin")
    cli.ok(*words, stdin="secret\n", KUTTER_RUN_DIR=str(tmp_path))
    assert agent_socket == [
        ("/images/pull", {"reference": "web:1", "username": "me", "password": "secret"})
    ]


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (999, "999B"), (1500, "1.5kB"), (2.5e9, "2.5GB")]
)
def test_sizes(size, text):
    assert size_text(int(size)) == text


def test_names():
    assert split_tag("reg:5000/a/b:1") == ("reg:5000/a/b", "1")
    assert split_tag("reg:5000/a/b") == ("reg:5000/a/b", "<none>")
    assert short_id("sha256:0123456789abcdef") == "0123456789abc"
