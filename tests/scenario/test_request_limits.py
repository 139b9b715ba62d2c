"""What bounds requests and watches over real connections, and how a server under load ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import urllib3
from tests.conformance_kit import Rest, wait_until

from kutter.apiserver import watching
from kutter.testing.cluster import LocalCluster

SOURCES = Path(__file__).resolve().parents[2] / "src"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
LIMIT = 3 * 1024 * 1024


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(controllers=False, scheduler=False) as running:
        yield running


@pytest.fixture(scope="module")
def rest(cluster):
    return Rest(cluster.kubernetes_client())


def is_too_large(answer):
    assert answer.status == 413
    tree = json.loads(answer.data)
    assert (tree["kind"], tree["reason"], tree["code"]) == ("Status", "RequestEntityTooLarge", 413)
    assert tree["message"] == f"Request entity too large: limit is {LIMIT}"


def test_a_body_too_large_is_refused_whole_or_in_pieces(cluster, rest):
    is_too_large(rest.call("POST", CONFIG_MAPS, b" " * (LIMIT + 1)))
    pki = cluster._certificates.folder
    with connect(cluster.url, pki / "admin.crt", pki / "admin.key") as stream:
        head = f"POST {CONFIG_MAPS} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        stream.sendall(head.encode())
        try:
            for _ in range(LIMIT // 65536 + 2):
                stream.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
        except OSError:
            pass  # answered before all of it was sent
        head, _, body = read_all(stream).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert json.loads(body)["message"] == f"Request entity too large: limit is {LIMIT}"


def read_all(stream):
    found = b""
    try:
        while data := stream.recv(65536):
            found += data
    except OSError:
        pass  # reset after the answer, because of what was still on its way
    return found


def test_long_selectors_are_read_and_endless_ones_are_not(rest):
    names = ",".join(f"name-{number:06}" for number in range(20_000))
    assert rest.answer("GET", CONFIG_MAPS, query={"labelSelector": f"a in ({names})"}).status == 200
    head = b"GET /" + b"x" * (2 << 20) + b" HTTP/1.1\r\nHost: h\r\n\r\n"
    with connect(rest._host) as stream:
        try:
            stream.sendall(head)
        except OSError:
            pass  # answered before all of it was sent
        assert stream.recv(4096).startswith(b"HTTP/1.1 431 ")


def connect(url, certificate=None, key=None):
    host, _, port = url.removeprefix("https://").partition(":")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate, key)
    raw = socket.create_connection((host, int(port)), timeout=30)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    return context.wrap_socket(raw)


def test_a_watcher_that_does_not_read_is_cut_off_and_others_are_not(cluster, rest, monkeypatch):
    monkeypatch.setattr(watching, "BUFFER_LIMIT_BYTES", 1 << 20)
    pki = cluster._certificates.folder
    target = f"{CONFIG_MAPS}?watch=1&resourceVersion={rest.get(CONFIG_MAPS)['metadata']['resourceVersion']}"
    slow = connect(cluster.url, pki / "admin.crt", pki / "admin.key")
    slow.sendall(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    api = cluster.plane.api
    before = api.watchers_of("", "configmaps")
    wait_until(lambda: api.watchers_of("", "configmaps") > before or (slow.recv(1) and True), 30)
    wait_until(lambda: api.watchers_of("", "configmaps") >= 1, 30)
    seen = []

    def read(watch):
        for kind, tree in watch._events:
            seen.append((kind, tree["metadata"]["name"]))
            if tree["metadata"]["name"] == "last":
                return

    with rest.watch(CONFIG_MAPS) as quick:
        reader = threading.Thread(target=read, args=(quick,))
        reader.start()
        wait_until(lambda: api.watchers_of("", "configmaps") == 2, 30)
        text = "x" * 900_000
        sent = 0
        deadline = time.monotonic() + 50
        while api.watchers_of("", "configmaps") > 1:
            assert time.monotonic() < deadline, f"still there after {sent} changes"
            name = f"big-{sent % 5}"
            body = {"metadata": {"name": name}, "data": {"x": text, "n": str(sent)}}
            if sent < 5:
                rest.post(CONFIG_MAPS, body)
            else:
                rest.put(f"{CONFIG_MAPS}/{name}", body)
            sent += 1
        rest.post(CONFIG_MAPS, {"metadata": {"name": "last"}})
        reader.join(30)
        assert not reader.is_alive()
    # Everything, in order, for whoever kept up.
    assert len(seen) == sent + 1
    # The slow one's connection is gone, not left with what it will not read.
    slow.settimeout(30)
    with pytest.raises((ConnectionError, ssl.SSLError, EOFError)):
        while slow.recv(1 << 20):
            pass
        raise EOFError
    slow.close()


# -- a process under load ----------------------------------------------------------------


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Server:
    """``kutter server`` of its own folder and port."""

    def __init__(self, folder, *flags):
        self.folder, self.flags = folder, flags
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        command = [sys.executable, "-m", "kutter", "server", f"--api-port={self.port}"]
        command += [f"--{name}-dir={self.folder / name}" for name in ("state", "run", "log")]
        command += ["--address=127.0.0.1", *self.flags]
        environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(command, env=environment, stderr=log, stdout=log)
        wait_until(lambda: self.ready() == 200, 50)

    def pool(self, **more):
        pki = self.folder / "state" / "pki"
        return urllib3.PoolManager(
            cert_reqs="CERT_NONE",
            cert_file=str(pki / "super-admin.crt"),
            key_file=str(pki / "super-admin.key"),
            retries=False,
            timeout=30,
            **more,
        )

    def ready(self):
        assert self.process.poll() is None, (self.folder / "server.log").read_text()
        try:
            return self.pool().request("GET", self.url + "/readyz").status
        except (urllib3.exceptions.HTTPError, OSError):
            return 0

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path, "--shutdown-delay-duration=5s")
    made.start()
    yield made
    made.kill()


class Load:
    """Writers and watchers until the server is gone; ``acknowledged`` is what it promised."""

    def __init__(self, server):
        self.server = server
        self.acknowledged, self.broken, self.ended, self.refused = set(), [], [], 0
        self.watching = 0
        self.threads = [threading.Thread(target=self.write, args=(n,)) for n in range(4)]
        self.threads += [threading.Thread(target=self.watch) for _ in range(3)]
        for thread in self.threads:
            thread.start()

    def write(self, number):
        pool = self.server.pool()
        for count in range(100_000):
            if number % 2:
                pool = self.server.pool()  # a new connection each time
            name = f"c-{number}-{count}"
            body = json.dumps({"metadata": {"name": name}, "data": {"x": "y" * 500}})
            headers = {"content-type": "application/json"}
            try:
                answer = pool.request(
                    "POST", self.server.url + CONFIG_MAPS, body=body, headers=headers
                )
            except (urllib3.exceptions.IncompleteRead, urllib3.exceptions.DecodeError) as error:
                self.broken.append(repr(error))  # an answer begun and not ended
                return
            except (urllib3.exceptions.HTTPError, OSError):
                self.refused += 1
                return
            if answer.status != 201 or json.loads(answer.data)["metadata"]["name"] != name:
                self.broken.append((answer.status, answer.data[:200]))
                return
            self.acknowledged.add(name)

    def watch(self):
        target = self.server.url + CONFIG_MAPS + "?watch=1"
        response = self.server.pool().request("GET", target, preload_content=False)
        self.watching += 1
        rest = b""
        try:
            for chunk in response.stream(65536):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    json.loads(line)
        except Exception as error:
            self.broken.append(f"watch: {error!r}")
        else:
            self.ended.append(rest)

    def join(self):
        for thread in self.threads:
            thread.join(40)
            assert not thread.is_alive()


@pytest.mark.timeout(180)
def test_a_server_under_load_ends_without_breaking_a_promise(server):
    load = Load(server)
    try:
        wait_until(lambda: len(load.acknowledged) > 50 and load.watching == 3, 50)
        server.process.send_signal(signal.SIGTERM)
        # Not ready, but alive and serving, until the delay is over.
        wait_until(lambda: server.ready() == 500, 20)
        pool = server.pool()
        assert pool.request("GET", server.url + "/livez").status == 200
        told = pool.request("GET", server.url + "/readyz?verbose").data.decode()
        assert "[-]shutdown failed: reason withheld" in told
        known = len(load.acknowledged)
        wait_until(lambda: len(load.acknowledged) > known, 20)
        assert server.process.wait(40) == 0, (server.folder / "server.log").read_text()
    finally:
        server.kill()
        load.join()
    assert load.broken == []
    assert load.refused == 4
    # Watches end between two events, with the end of their answer.
    assert load.ended == [b""] * 3
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)
    log = (server.folder / "server.log").read_text()
    assert "Traceback" not in log
    server.start()
    listed = server.pool().request("GET", server.url + CONFIG_MAPS)
    stored = {item["metadata"]["name"] for item in json.loads(listed.data)["items"]}
    assert load.acknowledged - stored == set()
