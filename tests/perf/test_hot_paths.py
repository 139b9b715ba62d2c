"""What the hot paths were freed of, so that it does not come back: tasks, parsers, wake-ups, copies."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.apiserver_harness import Api, start_server
from tests.perf.counting import Work
from tests.perf.test_work_counts import PODS, TIMES, fill, pod
from tests.unit.http.conftest import make_pki

from kutter.apiserver.kinds import pod as pod_kind
from kutter.apiserver.server import ApiServer
from kutter.apiserver.validation import pod_spec, pod_update
from kutter.apiserver.validation.remembered import ValidSpecs
from kutter.http.connection import ServerConnection
from kutter.http.request_reader import RequestReader
from kutter.http.server import HttpServer, serve
from kutter.http.tls import ServerTls, client_context
from kutter.store.committer import Committer
from kutter.store.durable import SqliteStore

HEADERS = "\r\nHost: a\r\nUser-Agent: test\r\nAccept: application/json\r\n\r\n"


class Wire(asyncio.Transport):
    """A client's connection without sockets: what is written is kept."""

    def __init__(self) -> None:
        super().__init__({})
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        return

    def close(self) -> None:
        return


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    made = await start_server()
    yield made
    await made.stop()


@pytest.fixture
async def http(server: ApiServer) -> AsyncIterator[HttpServer]:
    made = await serve(server.handle)
    yield made
    await made.close(grace_s=0)


def connect(http: HttpServer) -> tuple[ServerConnection, Wire]:
    connection, wire = ServerConnection(http), Wire()
    connection.connection_made(wire)
    return connection, wire


def called_back(connection: ServerConnection, data: bytes) -> asyncio.Future[Work]:
    """Bytes as the loop delivers them, in a callback of no task; with the work that was."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def deliver() -> None:
        with Work() as work:
            connection.data_received(data)
        done.set_result(work)

    loop.call_soon(deliver)
    return done


async def test_a_get_makes_no_task_and_is_one_write(server: ApiServer, http: HttpServer):
    await fill(Api(server), 3)
    connection, wire = connect(http)
    made: list[object] = []
    loop = asyncio.get_running_loop()

    def count(loop: Any, coroutine: Any, **more: Any) -> asyncio.Task[Any]:
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **more)

    loop.set_task_factory(count)
    try:
        for number in range(3):
            await called_back(connection, f"GET {PODS}/p{number} HTTP/1.1{HEADERS}".encode())
    finally:
        loop.set_task_factory(None)
    assert made == []
    assert len(wire.written) == 3
    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in wire.written)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What requests' parser is given."""
    found: list[bytes] = []
    feed = RequestReader._feed

    def count(reader: RequestReader, data: bytes) -> None:
        found.append(data)
        feed(reader, data)

    monkeypatch.setattr(RequestReader, "_feed", count)
    return found


async def test_known_headers_are_not_parsed_again(
    server: ApiServer, http: HttpServer, parsed: list[bytes]
):
    await fill(Api(server), 2)
    connection, wire = connect(http)
    first, second = [
        await called_back(connection, f"GET {PODS}/p{n} HTTP/1.1{HEADERS}".encode())
        for n in range(2)
    ]
    assert len(wire.written) == 2
    assert len(parsed) == 1
    assert second.python <= 64
    assert second.python < first.python


async def test_known_headers_are_not_parsed_again_before_bodies_of_any_length(
    server: ApiServer, http: HttpServer, parsed: list[bytes]
):
    connection, wire = connect(http)
    for times, number in enumerate((1, 22, 333), 1):
        body = json.dumps(pod(f"p{number}")).encode()
        head = f"Host: a\r\nContent-Length: {len(body)}\r\nAccept: application/json\r\n\r\n"
        await called_back(connection, f"POST {PODS} HTTP/1.1\r\n{head}".encode() + body)
        async with asyncio.timeout(20):
            while len(wire.written) < times:
                await asyncio.sleep(0)
    assert all(answer.startswith(b"HTTP/1.1 201 ") for answer in wire.written)
    assert len(parsed) == 1


async def test_watchers_that_keep_up_are_written_to_without_being_woken(
    server: ApiServer, http: HttpServer
):
    api = Api(server)
    await fill(api, 1)
    merge = {"content-type": "application/merge-patch+json"}
    # The first patch reads in what patching needs.
    await api.ok("PATCH", f"{PODS}/p0", {"metadata": {"labels": {"a": "a"}}}, headers=merge)
    watching = []
    for _ in range(41):
        connection, wire = connect(http)
        target = f"GET {PODS}?watch=true&resourceVersion=0 HTTP/1.1{HEADERS}".encode()
        await called_back(connection, target)
        watching.append((connection, wire))
    async with asyncio.timeout(20):
        while not all(len(wire.written) >= 2 for _, wire in watching):
            await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)
    before = [len(wire.written) for _, wire in watching]
    with Work() as work:
        await api.ok("PATCH", f"{PODS}/p0", {"metadata": {"labels": {"a": "b"}}}, headers=merge)
        # Nothing ran but the patch, and all have it.
        after = [len(wire.written) for _, wire in watching]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1] * 41
    # A look at the selection, the push, its write: not a task's turn each.
    assert work.python <= 700 + 41 * 6
    for connection, _ in watching:
        connection.connection_lost(None)


def lines_of(written: list[bytes]) -> list[bytes]:
    """The events in what a watch was sent: each ends with a newline, as do chunks."""
    return [line for data in written for line in data.split(b"\n") if line.startswith(b'{"type":')]


async def test_a_watcher_is_written_to_once_for_a_commit(tmp_path: Path):
    """Not once for each change in it: most of what a change costs a watcher is the system call."""
    store = await SqliteStore.open(tmp_path / "store.sqlite")
    server = await start_server(store)
    http = await serve(server.handle)
    try:
        api = Api(server)
        watching = []
        for _ in range(3):
            connection, wire = connect(http)
            target = f"GET {PODS}?watch=true HTTP/1.1{HEADERS}".encode()
            await called_back(connection, target)
            watching.append((connection, wire))
        await fill(api, 1)
        for _ in range(5):
            await asyncio.sleep(0)
        before = [len(wire.written) for _, wire in watching]
        commits: list[int] = []
        store.subscribe("/registry/", lambda events, _: commits.append(len(events)))
        async with asyncio.TaskGroup() as group:
            for index in range(1, 161):
                group.create_task(api.ok("POST", PODS, pod(f"p{index}")))
        assert sum(commits) == 160
        assert len(commits) <= 10
        # A piece is of 64 KB: forty pods.
        wanted = sum(1 + count // 40 for count in commits)
        for (connection, wire), then in zip(watching, before, strict=True):
            sent = wire.written[then:]
            assert len(sent) <= wanted
            told = [json.loads(line)["object"] for line in lines_of(sent)]
            versions = [int(tree["metadata"]["resourceVersion"]) for tree in told]
            assert versions == sorted(versions)
            names = {tree["metadata"]["name"] for tree in told}
            assert len(told) == 160
            assert names == {f"p{index}" for index in range(1, 161)}
            connection.connection_lost(None)
    finally:
        await http.close(grace_s=0)
        await server.stop()
        await store.close()


async def test_an_equal_large_list_is_not_put_together_again(server: ApiServer):
    api = Api(server)
    await fill(api, 200)
    first = await api.call("GET", PODS)
    with Work() as work:
        second = await api.call("GET", PODS)
    assert second.body is first.body
    assert work.encodes == 0
    assert work.python <= 100


async def test_the_pods_of_a_template_are_validated_once(server: ApiServer, monkeypatch: Any):
    monkeypatch.setattr(pod_spec, "_valid", ValidSpecs())
    seen = []
    validate = pod_spec.validate_pod_spec

    def count(errors: Any, spec: Any, *rest: Any, **more: Any) -> None:
        seen.append(spec)
        validate(errors, spec, *rest, **more)

    monkeypatch.setattr(pod_spec, "validate_pod_spec", count)
    api = Api(server)
    await fill(api, TIMES)
    merge = {"content-type": "application/merge-patch+json"}
    for index in range(TIMES):
        body = {"metadata": {"labels": {"a": "b"}}}
        await api.ok("PATCH", f"{PODS}/p{index}", body, headers=merge)
    assert len(seen) == 1


async def test_a_patch_looks_at_no_specification_it_leaves_alone(
    server: ApiServer, monkeypatch: Any
):
    looked: list[str] = []

    def note(module: Any, name: str) -> None:
        plain = getattr(module, name)

        def count(*some: Any, **more: Any) -> Any:
            looked.append(name)
            return plain(*some, **more)

        monkeypatch.setattr(module, name, count)

    api = Api(server)
    await fill(api, TIMES)
    monkeypatch.setattr(pod_update, "_kept", ValidSpecs())
    note(pod_kind, "default_pod_spec")
    note(pod_update, "_specification")
    for media in ("merge-patch", "strategic-merge-patch"):
        for index in range(TIMES):
            body = {"metadata": {"labels": {"a": media}}}
            sent = {"content-type": f"application/{media}+json"}
            await api.ok("PATCH", f"{PODS}/p{index}", body, headers=sent)
    # Seen once; then it is shared and, once found valid as such, not validated.
    assert looked == ["default_pod_spec", "_specification", "_specification"]


async def test_a_pods_requests_for_its_node_look_at_no_other_pod(server: ApiServer):
    api = Api(server)
    costs = []
    for have, more in ((0, 30), (30, 470)):
        for index in range(have, have + more):
            tree = pod(f"p{index}")
            tree["spec"]["nodeName"] = f"n{index}"
            await api.ok("POST", PODS, tree)
        mine = f"{PODS}?fieldSelector=spec.nodeName%3Dn7"
        await api.ok("GET", mine)
        with Work() as work:
            assert len((await api.ok("GET", mine))["items"]) == 1
        costs.append(work.python + work.c)
    few, many = costs
    assert many <= few * 1.02


async def test_a_commit_is_a_handful_of_statements_and_a_deletion_one_commit(tmp_path: Path):
    class Counting(SqliteStore):
        class writes_by(Committer):  # noqa: N801
            statements = 0
            commits = 0
            last = ""

            def _commit(self, writer: Any, batch: Any) -> Exception | None:
                self.commits += 1
                writer.set_trace_callback(self._count)
                return super()._commit(writer, batch)

            def _count(self, statement: str) -> None:
                # What a trigger does within a statement is told as that statement once more.
                if statement != self.last:
                    self.statements += 1
                self.last = statement

    store = await Counting.open(tmp_path / "store.sqlite")
    try:
        await store.put("/registry/a/first", b"x")
        counted: Any = store._committer
        counted.statements = counted.commits = 0
        await asyncio.gather(*(store.put(f"/registry/a/{i}", b"x") for i in range(512)))
        # However the writes fell into commits: never a statement for each.
        assert counted.commits <= 3
        assert counted.statements <= counted.commits * 8
        counted.statements = counted.commits = 0
        await store.delete("/registry/a/first", last=b"y")
        assert counted.commits == 1
    finally:
        await store.close()


@pytest.mark.parametrize("between", [0, 30])
async def test_a_change_is_stored_without_reading_what_was_before(tmp_path: Path, between: int):
    """Also when it is long ago, as it is for most objects of a large cluster."""
    store = await SqliteStore.open(tmp_path / "store.sqlite", history_events=10)
    try:
        record = await store.put("/registry/a/1", b"x")
        for number in range(between):
            await store.put(f"/registry/b/{number}", b"x")
        asked: list[str] = []
        store._reader.set_trace_callback(asked.append)
        await store.put("/registry/a/1", b"y", expected=record.mod_revision)
        await store.delete("/registry/a/1", last=b"z")
        assert asked == []
        store._reader.set_trace_callback(None)
        before = store.revision - 3
        found = await store.range("/registry/a/", "/registry/a0", revision=before)
        assert found.records == [record]
    finally:
        await store.close()


async def test_a_get_over_tls_is_one_read_and_one_write(server: ApiServer, tmp_path: Path):
    await fill(Api(server), 1)
    pki = make_pki(tmp_path / "pki")
    pki.issue("localhost", file="server")
    tls = ServerTls(pki.path("server.crt"), pki.path("server.key"))
    made = await serve(server.handle, tls=tls)
    context = client_context(ca_file=pki.path("ca.crt"))
    raw = await asyncio.to_thread(socket.create_connection, ("127.0.0.1", made.port), 20)
    client = await asyncio.to_thread(context.wrap_socket, raw, server_hostname="localhost")
    request = f"GET {PODS}/p0 HTTP/1.1{HEADERS}".encode()
    counted: Counter[str] = Counter()

    def count(frame: Any, event: str, argument: Any) -> None:
        owner = getattr(argument, "__self__", None)
        if event == "c_call" and getattr(owner, "family", None) == socket.AF_INET:
            counted[argument.__name__] += 1

    def ask() -> bytes:
        client.sendall(request)
        return client.recv(65536)

    try:
        for _ in range(2):  # handshake, headers
            await asyncio.to_thread(ask)
        sys.setprofile(count)
        for _ in range(TIMES):
            assert (await asyncio.to_thread(ask)).startswith(b"HTTP/1.1 200 ")
        sys.setprofile(None)
    finally:
        sys.setprofile(None)
        client.close()
        await made.close(grace_s=0)
    assert counted == {"recv_into": TIMES, "send": TIMES}
