"""A whole cluster with a node and real containers, on a machine of its own (needs root).

Network, mounts and processes are apart from this machine's, as in the end-to-end tests, so the
benchmark runs beside any other cluster.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.cluster import Cluster, Space, pod_tree, sleeper, wait_until
from tests.e2e.images import build_tools_image
from tests.e2e.machine import Machine
from tests.e2e.test_figures import Readiness, processes

from bench.api import Report
from bench.measure import (
    Figure,
    cpu_s,
    median_figure,
    pressure_ms,
    resident_mb,
    timer_rates,
)
from bench.target import environment
from kutter.client.client import Client
from kutter.client.http import HttpTransport
from kutter.client.kubeconfig import load_connection
from kutter.http.remotecommand_client import dial_remote_command

NEEDED = ("unshare", "nsenter", "ip", "nft", "conmon", "busybox", "curl")
IDLE_S = 20.0
# Run on the machine: connects until somebody answers, prints the moment of the first answer.
_PROBE = """
import socket, sys, time
print("go", flush=True)
for line in sys.stdin:
    host, port = line.split()
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            socket.create_connection((host, int(port)), timeout=0.02).close()
            break
        except OSError:
            time.sleep(0.0005)
    print(time.monotonic(), flush=True)
"""
_DNS = """
import socket, struct, sys, time
server, name, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
labels = b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\\0"
query = lambda n: struct.pack(">6H", n & 0xFFFF, 0x100, 1, 0, 0, 0) + labels + b"\\0\\1\\0\\1"
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(2)
client.connect((server, 53))
client.send(query(1))
answer = client.recv(2048)
assert answer[3] & 15 == 0 and answer[6:8] != b"\\0\\0", answer
for n in range(32):
    client.send(query(n))
count, end = 0, time.perf_counter() + seconds
while time.perf_counter() < end:
    client.recv(2048)
    count += 1
    client.send(query(count))
print(count / seconds)
"""


def missing() -> str:
    """Why no cluster can be started here; empty when one can."""
    if os.geteuid() != 0:
        return "needs root"
    lacking = [tool for tool in NEEDED if shutil.which(tool) is None]
    return f"this machine lacks {', '.join(lacking)}" if lacking else ""


async def bench_cluster(report: Report, *, pods: int = 40, together: int = 30) -> None:
    """Start, pods, services, names, exec, and what all of it weighs when idle."""
    reason = missing()
    if reason:
        print(f"left out: {reason}")
        return
    await asyncio.to_thread(_bench, report, pods, together)


def _bench(report: Report, pods: int, together: int) -> None:
    with tempfile.TemporaryDirectory(prefix="kutter-bench-images-") as folder:
        image = build_tools_image(Path(folder)).path
        first: dict[str, list[float]] = {"readyz": [], "node": [], "pod": []}
        machine = None
        for _ in range(3):
            if machine is not None:
                machine.close()
            machine = Machine()
            cluster = Cluster(machine)
            cluster.environment.update(
                {k: v for k, v in environment().items() if k == "PYTHONPYCACHEPREFIX"}
            )
            _start(cluster, image, first)
        assert machine is not None
        try:
            for what, name in (
                ("readyz", "kutter up: to /readyz"),
                ("node", "kutter up: to node Ready"),
                ("pod", "kutter up: to first pod Ready"),
            ):
                report(median_figure(name, first[what], "s"))
            _idle(cluster, report, "idle")
            space = Space(cluster, "default")
            _pods_one_by_one(space, report, pods)
            _pods_together(space, report, together)
            _services(space, report)
            asyncio.run(_execs(space, report))
            cluster.delete(f"{space.path}/pods/web", grace_s=0)
            wait_until("no pods", lambda: not space.pods())
            _idle(cluster, report, "idle again")
        finally:
            machine.close()


def _start(cluster: Cluster, image: Path, taken: dict[str, list[float]]) -> None:
    """From the command to a pod of the user's that is Ready; the image is imported on the way."""
    began_s = time.perf_counter()
    command = [sys.executable, "-m", "kutter", "up", "--quiet"]
    process = subprocess.Popen(cluster.machine.enter(*command), env=cluster.environment)
    _poll("/readyz", lambda: cluster.kubeconfig.exists() and _ready(cluster))
    taken["readyz"].append(time.perf_counter() - began_s)
    if process.wait(60) != 0:
        raise RuntimeError("kutter up failed")
    taken["node"].append(time.perf_counter() - began_s)
    cluster.import_image(image)
    space = Space(cluster, "default")
    account = f"{space.path}/serviceaccounts/default"
    _poll("service account", lambda: cluster.request("GET", account)[0] == 200)
    space.create_pod("first", {"containers": [sleeper()]})
    wait_until("first pod", lambda: _is_ready(space.pod("first")), every_s=0.01)
    taken["pod"].append(time.perf_counter() - began_s)
    cluster.delete(f"{space.path}/pods/first", grace_s=0)


def _poll(what: str, condition: Callable[[], bool]) -> None:
    wait_until(what, condition, timeout_s=60, every_s=0.01)


def _ready(cluster: Cluster) -> bool:
    try:
        return cluster.request("GET", "/readyz")[0] == 200
    except OSError:
        return False


def _is_ready(pod: dict[str, Any]) -> bool:
    return any(
        c["type"] == "Ready" and c["status"] == "True"
        for c in pod.get("status", {}).get("conditions", [])
    )


def _pods_one_by_one(space: Space, report: Report, count: int) -> None:
    follower = Readiness(space)
    follower.start()
    connection = space.cluster.connection()
    taken = []
    waited: list[dict[str, float]] = []
    for number in range(count):
        name, before = f"p{number}", pressure_ms()
        body = json.dumps(pod_tree(name, {"containers": [sleeper()]}))
        started_s = time.monotonic()
        connection.request("POST", f"{space.path}/pods", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 201:
            raise RuntimeError(f"pod refused: {answer.status}")
        wait_until(name, lambda name=name: name in follower.at_s, every_s=0.002)
        taken.append((follower.at_s[name] - started_s) * 1000)
        waited.append({what: ms - before[what] for what, ms in pressure_ms().items()})
        space.cluster.delete(f"{space.path}/pods/{name}", grace_s=0)
        time.sleep(0.1)  # the next begins when this one is mostly tidied away
    space.create_pod("end", {"containers": [sleeper()]})
    follower.join()
    space.cluster.delete(f"{space.path}/pods/end", grace_s=0)
    wait_until("no pods", lambda: not space.pods())
    ordered = sorted(taken)
    p99 = ordered[min(count - 1, int(0.99 * count))]
    what = "pod created to Ready, one at a time"
    report(median_figure(what, taken, "ms", p50_ms=statistics.median(taken), p99_ms=p99))
    report(Figure(f"{what}, p99", p99, "ms", runs=count))
    slowest = taken.index(max(taken))
    for resource, ms in waited[slowest].items():
        # Of the whole machine, neighbours' too: a slow pod that waited for nothing is our doing.
        report(Figure(f"waiting for {resource} on the machine during the slowest", ms, "ms"))


def _pods_together(space: Space, report: Report, count: int) -> None:
    last, every = [], []
    for run in range(3):
        follower = Readiness(space)
        follower.start()
        connection = space.cluster.connection()
        started_s = time.monotonic()
        for number in range(count):
            body = json.dumps(pod_tree(f"t{run}-{number}", {"containers": [sleeper()]}))
            header = {"Content-Type": "application/json"}
            connection.request("POST", f"{space.path}/pods", body, header)
            connection.getresponse().read()
        wait_until("all Ready", lambda f=follower: len(f.at_s) >= count, timeout_s=90)
        last.append(max(follower.at_s.values()) - started_s)
        every += [(at_s - started_s) * 1000 for at_s in follower.at_s.values()]
        space.create_pod("end", {"containers": [sleeper()]})
        follower.join()
        for pod in space.pods():
            space.cluster.delete(f"{space.path}/pods/{pod['metadata']['name']}", grace_s=0)
        wait_until("no pods", lambda: not space.pods(), timeout_s=60)
    every.sort()
    p99 = every[int(0.99 * len(every))]
    what = f"{count} pods at once, until all Ready"
    report(median_figure(what, last, "s", p50_ms=every[len(every) // 2], p99_ms=p99))


def _services(space: Space, report: Report) -> None:
    """From the answer to POST of a service until its address answers; then names of it."""
    listen = "while true; do nc -l -p 8080 </dev/null >/dev/null; done"
    container = {**sleeper(), "command": ["sh", "-c", f"httpd -p 8080; {listen}"]}
    space.create_pod("web", {"containers": [container]}, labels={"app": "web"})
    space.wait_ready("web")
    probe = subprocess.Popen(
        space.cluster.machine.enter(sys.executable, "-c", _PROBE),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert probe.stdin is not None
    assert probe.stdout is not None
    probe.stdout.readline()
    taken = []
    for number in range(20):
        spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
        started_s = time.monotonic()
        made = space.create("services", {"metadata": {"name": f"s{number}"}, "spec": spec})
        probe.stdin.write(f"{made['spec']['clusterIP']} 80\n")
        probe.stdin.flush()
        taken.append((float(probe.stdout.readline()) - started_s) * 1000)
    probe.stdin.close()
    probe.wait(10)
    report(
        median_figure(
            "service created until it answers",
            taken,
            "ms",
            p50_ms=statistics.median(taken),
            p99_ms=max(taken),
        )
    )
    name = "s0.default.svc.cluster.local"
    rates = []
    for _ in range(3):
        done = space.cluster.machine.run(sys.executable, "-c", _DNS, "10.43.0.10", name, "2")
        rates.append(float(done.stdout))
    report(median_figure("DNS queries", rates, "queries/s"))
    for number in range(20):
        space.cluster.delete(f"{space.path}/services/s{number}")


async def _execs(space: Space, report: Report) -> None:
    """``true`` in a running container: dial, run, read the end and the exit code."""
    transport = HttpTransport(load_connection(space.cluster.kubeconfig))
    client = Client(transport)
    query = [("command", "true"), ("stdout", "true"), ("stderr", "true")]
    path = f"{space.path}/pods/web/exec"
    taken = []
    for _ in range(21):
        started_s = time.perf_counter()
        session = await dial_remote_command(
            lambda headers: transport.upgrade(path, query=query, headers=headers)
        )
        async for _ in session.output():
            continue
        if session.exit_code != 0:
            raise RuntimeError(f"exec ended with {session.exit_code}")
        taken.append((time.perf_counter() - started_s) * 1000)
    await client.close()
    taken = taken[1:]
    p50 = statistics.median(taken)
    report(median_figure("exec round trip", taken, "ms", p50_ms=p50, p99_ms=max(taken)))


def _idle(cluster: Cluster, report: Report, when: str) -> None:
    time.sleep(12)  # what an ended pod leaves to be tidied is not idling
    pids = list(processes(cluster))
    before_s = cpu_s(pids)
    time.sleep(IDLE_S)
    spent = (cpu_s(pids) - before_s) / IDLE_S * 100
    report(Figure(f"memory of server and agent, {when}", resident_mb(pids), "MB"))
    report(Figure(f"CPU of server and agent, {when}", spent, "% of a core"))
    rates = timer_rates(pids, IDLE_S / 2)
    if rates is None:
        print("left out: timers of the busiest process (no strace)")
    else:
        report(Figure(f"timers of their busiest process, {when}", max(rates.values()), "1/s"))
