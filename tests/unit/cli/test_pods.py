"""Commands that talk to containers, through WebSockets to a fake node agent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from tests.cli_harness import Cli, running_server
from tests.unit.cli.fake_agent import FakeAgent


def pod(name, node="n1", **metadata):
    return {
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}, **metadata},
        "spec": {
            "nodeName": node,
            "containers": [
                {"name": "app", "image": "app", "ports": [{"containerPort": 80, "name": "http"}]},
                {"name": "side", "image": "side"},
            ],
        },
    }


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    return FakeAgent(tmp_path_factory.mktemp("container"))


@pytest.fixture(scope="module")
def pod_server(agent):
    with running_server(wrap=agent.wrap) as server:
        server.make("/api/v1/nodes", {"metadata": {"name": "n1"}})
        for name in ("web-1", "web-2"):
            server.make("/api/v1/namespaces/default/pods", pod(name))
            ready = {"type": "Ready", "status": "True"}
            server.call(
                "PUT", f"/api/v1/namespaces/default/pods/{name}/status",
                pod(name) | {"status": {"phase": "Running", "conditions": [ready]}},
            )  # fmt: skip
        server.make(
            "/apis/apps/v1/namespaces/default/deployments",
            {
                "metadata": {"name": "web"},
                "spec": {
                    "selector": {"matchLabels": {"app": "web"}},
                    "template": {
                        "metadata": {"labels": {"app": "web"}},
                        "spec": {"containers": [{"name": "app", "image": "app"}]},
                    },
                },
            },
        )
        server.make(
            "/api/v1/namespaces/default/services",
            {
                "metadata": {"name": "web"},
                "spec": {
                    "selector": {"app": "web"},
                    "ports": [{"port": 8000, "targetPort": "http"}],
                },
            },
        )
        yield server


@pytest.fixture
def pods(pod_server, tmp_path):
    return Cli(pod_server, tmp_path)


def spawn(pods, *words, **more):
    environ = {**os.environ, **pods.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-m", "kutter", *words], env=environ,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more,
    )  # fmt: skip


def test_exec_keeps_streams_apart_and_passes_the_exit_code_on(pods):
    outcome = pods("exec", "web-1", "-c", "app", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (outcome.code, outcome.out) == (7, "out\n")
    assert outcome.err == "err\ncommand terminated with exit code 7\n"
    outcome = pods("exec", "deploy/web", "--", "true")
    assert (outcome.code, outcome.out) == (0, "")
    assert 'Defaulted container "app" out of: app, side' in outcome.err


def test_exec_passes_input_on_to_its_end(pods):
    process = spawn(pods, "exec", "-i", "web-1", "-c", "app", "--", "sha256sum")
    content = os.urandom(3_000_000)
    out, _ = process.communicate(content, timeout=30)
    import hashlib

    assert out.decode().split()[0] == hashlib.sha256(content).hexdigest()
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("exec", "web-1"), "at least one command"),
        (("exec", "nope", "--", "ls"), '(NotFound): pods "nope" not found'),
        (("exec", "web-1", "-c", "nope", "--", "ls"), "container nope not found in pod web-1"),
        (("exec", "web-1", "-q", "--", "/no/such/command"), "error executing command"),
        (("logs",), "say whose logs"),
        (("logs", "web-1", "--since=1h", "--since-time=x"), "at most one of"),
        (("logs", "-l", "app=nope"), "No resources found"),
        (("logs", "--of", "server"), "no log of the server"),
        (("cp", "a", "b"), "must be a remote file"),
        (("cp", "web-1:", "b"), "filepath can not be empty"),
        (("cp", "/nope", "web-1:/tmp/x"), "doesn't exist in local filesystem"),
        (("cp", "web-1:/nope", "x"), "tar in the container failed"),
        (("port-forward", "web-1"), "list of ports are required"),
        (("port-forward", "svc/web", "9"), "does not have a service port 9"),
        (("port-forward", "web-1", "0:nope"), "does not have a named port"),
        (("attach",), "must be specified"),
        (("image", "ls"), "the node agent does not run on this machine"),
    ],
)
def test_wrong_use_is_one_sentence(pods, words, says, tmp_path):
    environ = {"KUTTER_LOG_DIR": str(tmp_path), "KUTTER_RUN_DIR": str(tmp_path)}
    said = pods.fails(*words, **environ)
    assert says in said


def test_logs(pods, agent):
    outcome = pods("logs", "web-1", "--tail=2")
    assert outcome.out == "web-1 app line 1\nweb-1 app line 2\n"
    assert outcome.err == 'Defaulted container "app" out of: app, side\n'
    pods.ok("logs", "web-1", "-c", "side", "--previous", "--since=90s", "--timestamps")
    asked = dict(agent.asked[-1].query)
    assert asked == {
        "container": "side", "previous": "true", "sinceSeconds": "90", "timestamps": "true",
    }  # fmt: skip


def test_logs_of_many(pods):
    lines = pods.ok(
        "logs", "-l", "app=web", "--all-containers", "--prefix", "--tail=1"
    ).splitlines()
    assert lines == [
        f"[pod/{name}/{container}] {name} {container} line 2"
        for name in ("web-1", "web-2")
        for container in ("app", "side")
    ]
    followed = pods.ok("logs", "-f", "-l", "app=web", "--all-containers", "--prefix", "--tail=3")
    assert sorted(followed.splitlines()) == sorted(
        f"[pod/{name}/{container}] {name} {container} line {n}"
        for name in ("web-1", "web-2")
        for container in ("app", "side")
        for n in range(3)
    )
    assert "maximum allowed concurrency is 3" in pods.fails(
        "logs", "-f", "-l", "app=web", "--all-containers", "--max-log-requests=3"
    )


def test_cp_there_and_back(pods, agent, tmp_path):
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "a.txt").write_text("a")
    (tree / "deep/b.bin").write_bytes(os.urandom(300_000))
    (tree / "deep/run.sh").write_text("#!/bin/sh\n")
    (tree / "deep/run.sh").chmod(0o755)
    there = agent.root / "there"
    pods.ok("cp", str(tree), f"web-1:{there}", "-c", "app")
    assert (there / "deep/b.bin").read_bytes() == (tree / "deep/b.bin").read_bytes()
    assert (there / "deep/run.sh").stat().st_mode & 0o777 == 0o755
    pods.ok("cp", str(tree / "a.txt"), f"default/web-1:{there}")
    assert (there / "a.txt").read_text() == "a"
    (there / "link").symlink_to("/etc/passwd")
    back = tmp_path / "back"
    outcome = pods("cp", f"web-1:{there}", str(back), "-c", "app")
    assert outcome.code == 0
    assert "skipping link" in outcome.err
    assert (back / "deep/b.bin").read_bytes() == (tree / "deep/b.bin").read_bytes()
    assert not (back / "link").exists()


def test_attach_reads_what_the_process_prints(pods):
    process = spawn(pods, "attach", "-i", "web-1", "-c", "app", "-q")
    out, _ = process.communicate(b"hello\n", timeout=30)
    assert (process.returncode, out) == (0, b"hello\n")


def test_port_forward_carries_and_reports(pods, agent):
    listener = socket.create_server(("127.0.0.1", 0))
    agent.port = listener.getsockname()[1]

    def echo():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(65536):
                    connection.sendall(data.upper())

    threading.Thread(target=echo, daemon=True).start()
    process = spawn(pods, "port-forward", "svc/web", "--address=127.0.0.1", ":8000")
    try:
        first = process.stdout.readline().decode()
        assert first.startswith("Forwarding from 127.0.0.1:")
        assert first.endswith(" -> 80\n")
    except BaseException:
        process.kill()
        raise
    process.kill()
    process.communicate()
    process = spawn(pods, "port-forward", "pod/web-1", "--address=127.0.0.1", ":80", ":81")
    try:
        ports = [int(process.stdout.readline().split()[2].rpartition(b":")[2]) for _ in range(2)]
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", ports[0]), timeout=30) as client:
                client.sendall(b"hello")
                client.shutdown(socket.SHUT_WR)
                assert client.recv(100) == b"HELLO"
        with socket.create_connection(("127.0.0.1", ports[1]), timeout=30) as client:
            assert client.recv(100) == b""
        said = process.stderr.readline().decode()
        assert said.startswith(f"an error occurred forwarding {ports[1]} -> 81: ")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=45)
        assert process.returncode == 130
    finally:
        process.kill()
        listener.close()


def test_top(pods, agent):
    agent.summary = {
        "node": {"cpu": {"usageNanoCores": 250_000_000}, "memory": {"workingSetBytes": 2**28}},
        "pods": [
            {
                "podRef": {"name": "web-1", "namespace": "default"},
                "containers": [
                    {"name": "app", "cpu": {"usageNanoCores": 1_500_000},
                     "memory": {"workingSetBytes": 2**20 * 5}},
                    {"name": "side", "cpu": {"usageNanoCores": 0},
                     "memory": {"workingSetBytes": 2**20}},
                ],
            }
        ],
    }  # fmt: skip
    assert pods.ok("top", "pods") == (
        "NAME    CPU(cores)   MEMORY(bytes)\nweb-1   2m           6Mi\n"
    )
    assert "web-1   app    2m           5Mi" in pods.ok("top", "pod", "--containers")
    assert pods.ok("top", "node", "--no-headers").split() == [
        "n1", "250m", "<unknown>", "256Mi", "<unknown>",
    ]  # fmt: skip


def test_exec_with_a_terminal_puts_it_back(pods):
    import pty
    import termios

    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    environ = {**os.environ, **pods.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = ("exec", "-it", "web-1", "-c", "app", "--", "head", "-c", "3")
    process = subprocess.Popen(
        [sys.executable, "-m", "kutter", *words],
        env=environ, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        os.write(ours, b"abc")
        _, err = process.communicate(timeout=20)
        assert process.returncode == 0, err
        assert termios.tcgetattr(theirs) == before
        shown = os.read(ours, 100)
    finally:
        process.kill()
        os.close(ours)
        os.close(theirs)
    assert b"abc" in shown
