"""What a new user does on the first day: the three manifests, unchanged, then daily work."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.cluster import CLIENTS, Cluster, Space, Tree, container_status, is_ready, wait_until
from tests.e2e.conftest import make_space
from tests.e2e.load import HttpLoad

MANIFESTS = Path(__file__).parent / "manifests"
# Asked of nginx by whoever rolls it without a lost request: say when you serve, and serve on
# until the network has heard that you leave.
CAREFUL = {
    "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1},
    "lifecycle": {"preStop": {"exec": {"command": ["sleep", "1"]}}},
}


@pytest.fixture(scope="module", params=["kubectl", "kutter"])
def space(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Space]:
    """The manifests' objects run here; once made with upstream's client, once with ours alone."""
    made = make_space(cluster, request.param)
    made.program = request.param
    for name in ("nginx-deployment", "nginx-pod", "nginx-service"):
        made.run("create", "-f", str(MANIFESTS / f"{name}.yaml"))
    made.run("rollout", "status", "deployment/nginx-deployment", "--timeout=30s")
    made.wait_ready("nginx")
    yield made
    made.remove()
    # Both rounds' services want port 8000 of the one machine's address.
    path = f"/api/v1/namespaces/{made.name}"
    wait_until("the namespace is gone", lambda: cluster.request("GET", path)[0] == 404)


def deployment_pods(space: Space) -> list[Tree]:
    return [
        p
        for p in space.pods("app=nginx")
        if "pod-template-hash" in p["metadata"]["labels"]
        and "deletionTimestamp" not in p["metadata"]
    ]


def service(space: Space) -> Tree:
    return space.cluster.get(f"{space.path}/services/nginx-service")


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode().strip())


def test_old_manifest_is_accepted_with_a_warning(space: Space) -> None:
    path = str(MANIFESTS / "nginx-deployment.yaml")
    words = ("create", "-n", "default", "--dry-run=server", "-f", path)
    done = space.cluster.client(space.program, *words)
    assert "Warning: apps/v1beta2 Deployment is deprecated" in done.stderr


def test_three_pods_run_with_addresses(space: Space) -> None:
    pods = deployment_pods(space)
    assert len(pods) == 3
    assert {p["status"]["phase"] for p in pods} == {"Running"}
    addresses = {p["status"]["podIP"] for p in pods}
    assert len(addresses) == 3
    for address in addresses:
        assert space.cluster.curl(f"http://{address}/") == "nginx:1.7.9\n"
    lines = space.run("get", "pods", "-l", "app=nginx").stdout.splitlines()
    assert lines[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert all(line.split()[1:4] == ["1/1", "Running", "0"] for line in lines[1:])
    shown = space.run("describe", "pod", "nginx").stdout
    assert re.search(r"Normal\s+Started", shown)


def test_service_answers_at_every_address(space: Space) -> None:
    found = service(space)
    machine = space.cluster.machine
    port = found["spec"]["ports"][0]["nodePort"]
    balancer = found["status"]["loadBalancer"]["ingress"][0]["ip"]
    assert space.cluster.curl(f"http://{found['spec']['clusterIP']}:8000/") == "nginx:1.7.9\n"
    for url in (
        f"http://{machine.address}:{port}/",
        f"http://127.0.0.1:{port}/",
        f"http://{balancer}:8000/",
    ):
        assert space.cluster.curl(url) == "nginx:1.7.9\n", url
    # ... and from another machine of the neighbourhood.
    assert page(f"http://{machine.address}:{port}/") == "nginx:1.7.9"
    assert page(f"http://{balancer}:8000/") == "nginx:1.7.9"


def test_deleted_pod_is_replaced(space: Space) -> None:
    before = {p["metadata"]["name"] for p in deployment_pods(space)}
    gone = min(before)
    done = space.run("delete", "pod", gone)
    assert f'pod "{gone}" deleted' in done.stdout

    def replaced() -> bool:
        pods = deployment_pods(space)
        names = {p["metadata"]["name"] for p in pods}
        return len(names - before) == 1 and gone not in names and all(is_ready(p) for p in pods)

    wait_until("a replacement runs", replaced)


@pytest.mark.parametrize("careful", [False, True], ids=["plain", "careful"])
def test_rolling_update_and_undo_lose_no_request(space: Space, careful: bool) -> None:
    cluster = space.cluster
    target = "deployment/nginx-deployment"
    path = f"/apis/apps/v1/namespaces/{space.name}/deployments/nginx-deployment"
    if careful:
        container = {"name": "nginx", **CAREFUL}
        body = {"spec": {"template": {"spec": {"containers": [container]}}}}
        cluster.patch(path, body, "strategic-merge-patch")
        space.run("rollout", "status", target, "--timeout=60s")
    # Only the Deployment's pods answer, so that what is replaced carries all of the load.
    lone = space.find_pod("nginx")
    if lone is not None:
        space.run("delete", "pod", "nginx")
    port = service(space)["spec"]["ports"][0]["nodePort"]
    with HttpLoad(cluster.machine.address, port) as load:
        wait_until("load", lambda: load.bodies["nginx:1.7.9"] > 20)
        space.run("set", "image", target, "nginx=nginx:1.10.4")
        space.run("rollout", "status", target, "--timeout=60s")
        wait_until("the new version answers", lambda: load.bodies["nginx:1.10.4"] > 20)
        wait_until("old pods are gone", lambda: len(space.pods("app=nginx")) == 3)
        assert {p["spec"]["containers"][0]["image"] for p in deployment_pods(space)} == {
            "nginx:1.10.4"
        }
        history = space.run("rollout", "history", target).stdout
        assert len(re.findall(r"^\d+ ", history, re.MULTILINE)) >= 2
        space.run("rollout", "undo", target)
        space.run("rollout", "status", target, "--timeout=60s")
        wait_until("old pods are gone", lambda: len(space.pods("app=nginx")) == 3)
    assert {p["spec"]["containers"][0]["image"] for p in deployment_pods(space)} == {"nginx:1.7.9"}
    assert load.failures == [], f"{len(load.failures)} of {load.bodies.total()} requests failed"


@pytest.fixture(scope="module")
def web(space: Space) -> Iterator[str]:
    """One pod of our own to work on."""
    space.run("run", "web", "--image=nginx:1.7.9", "--labels=app=web", "--port=80")
    space.wait_ready("web")
    yield "web"
    space.run("delete", "pod", "web", "--now")


def test_logs(space: Space, web: str) -> None:
    address = space.pod(web)["status"]["podIP"]
    assert space.run("logs", web).stdout.startswith("started nginx:1.7.9\n")
    follower = space.start("logs", "-f", web, "--tail=1")
    try:
        assert follower.stdout is not None
        seen = ""
        deadline = time.monotonic() + 20
        while "followed-page" not in seen and time.monotonic() < deadline:
            space.cluster.curl(f"http://{address}/followed-page")
            if select.select([follower.stdout], [], [], 1)[0]:
                seen += os.read(follower.stdout.fileno(), 65536).decode()
        assert "followed-page" in seen
    finally:
        follower.kill()
        follower.communicate()
    assert len(space.run("logs", web, "--tail=1").stdout.splitlines()) == 1
    stamped = space.run("logs", web, "--timestamps").stdout.splitlines()[0]
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d) started", stamped)
    assert len(space.run("logs", web, "--limit-bytes=1").stdout) == 1
    for since in ("1h", "24h"):
        assert space.run("logs", web, f"--since={since}").stdout.startswith("started")
    # Every line gets older than a second some time.
    wait_until("quiet log", lambda: not space.run("logs", web, "--since=1s").stdout)


def test_previous_logs_after_a_restart(space: Space) -> None:
    # The first life says so and ends; the second finds the mark and stays.
    script = "if [ -e /mark/x ]; then echo second; exec sleep 3600; fi; touch /mark/x; echo first; exit 3"
    space.create_pod(
        "twice",
        {
            "containers": [
                {
                    "name": "c",
                    "image": "tools:1",
                    "command": ["sh", "-c", script],
                    "volumeMounts": [{"name": "m", "mountPath": "/mark"}],
                }
            ],
            "volumes": [{"name": "m", "emptyDir": {}}],
        },
    )
    pod = space.wait_pod(
        "twice", lambda p: container_status(p).get("restartCount") == 1 and is_ready(p)
    )
    assert container_status(pod)["lastState"]["terminated"]["exitCode"] == 3
    assert space.run("logs", "twice").stdout == "second\n"
    assert space.run("logs", "twice", "--previous").stdout == "first\n"


def test_exec(space: Space, web: str) -> None:
    assert space.exec(web, "cat", "/www/index.html") == "nginx:1.7.9\n"
    assert space.run("exec", web, "--", "sh", "-c", "exit 7", check=False).returncode == 7
    done = space.run("exec", "-i", web, "--", "tr", "a-z", "A-Z", input="over stdin")
    assert done.stdout == "OVER STDIN"
    done = space.run("exec", web, "--", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    missing = space.run("exec", web, "--", "no-such-command", check=False)
    assert missing.returncode != 0
    assert "no-such-command" in missing.stderr


def test_exec_with_a_terminal(space: Space, web: str) -> None:
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        [*CLIENTS[space.program], "exec", "-n", space.name, "-it", web, "--", "sh"],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        env=space.cluster.client_environment(space.program),
        start_new_session=True,
    )
    os.close(inner)
    seen = b""

    def read_until(word: bytes) -> None:
        nonlocal seen
        deadline = time.monotonic() + 20
        while word not in seen and time.monotonic() < deadline:
            if select.select([outer], [], [], 0.5)[0]:
                try:
                    seen += os.read(outer, 65536)
                except OSError:  # the other side is closed
                    break
        assert word in seen, seen

    try:
        read_until(b"# ")
        os.write(outer, b"tty; echo $((40 + 2))\n")
        read_until(b"42")
        assert b"/dev/pts/" in seen
        os.write(outer, b"exit 5\n")
        assert process.wait(20) == 5
    finally:
        process.kill()
        process.wait()
        os.close(outer)


def test_copy_both_ways(space: Space, web: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("from outside\n")
    (tmp_path / "folder" / "big").write_bytes(os.urandom(3 << 20))
    space.run("cp", str(tmp_path / "folder"), f"{web}:/tmp/folder")
    assert space.exec(web, "cat", "/tmp/folder/a.txt") == "from outside\n"
    space.run("cp", f"{web}:/tmp/folder", str(tmp_path / "back"))
    for name in ("a.txt", "big"):
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "folder" / name).read_bytes()


@pytest.mark.parametrize("target", ["pod/web", "service/nginx-service"])
def test_port_forward(space: Space, web: str, target: str) -> None:
    remote = "80" if target.startswith("pod") else "8000"
    process = space.start("port-forward", target, f":{remote}")
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.search(r"Forwarding from 127\.0\.0\.1:(\d+) -> 80", line)
        assert match, line
        for _ in range(5):
            assert page(f"http://127.0.0.1:{match[1]}/") == "nginx:1.7.9"
    finally:
        process.kill()
        process.communicate()


def test_attach_reads_what_the_process_writes(space: Space) -> None:
    script = "while read line; do echo got $line; done; echo end"
    space.create_pod(
        "attached",
        {
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "c",
                    "image": "tools:1",
                    "command": ["sh", "-c", script],
                    "stdin": True,
                    "stdinOnce": True,
                }
            ],
        },
    )
    space.wait_ready("attached")
    done = space.run("attach", "-i", "attached", input="one\ntwo\n")
    assert "got one\ngot two\n" in done.stdout
    space.wait_phase("attached", "Succeeded")


def test_scale_label_annotate_expose_and_top_commands(space: Space) -> None:
    run: Any = space.run
    run("create", "deployment", "small", "--image=nginx:1.7.9", "--replicas=1")
    run("expose", "deployment", "small", "--port=80")
    run("scale", "deployment", "small", "--replicas=2")
    run("rollout", "status", "deployment/small", "--timeout=30s")
    run("label", "deployment", "small", "team=blue")
    run("annotate", "deployment", "small", "note=kept")
    assert run("get", "deployment", "-l", "team=blue", "-o", "name").stdout == (
        "deployment.apps/small\n"
    )
    path = "{.spec.replicas} {.metadata.annotations.note}"
    assert run("get", "deployment", "small", "-o", f"jsonpath={path}").stdout == "2 kept"
    run("rollout", "restart", "deployment/small")
    run("rollout", "status", "deployment/small", "--timeout=30s")
    run("delete", "deployment,service", "small")
    run("wait", "--for=delete", "pod", "-l", "app=small", "--timeout=30s")
