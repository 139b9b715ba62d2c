"""How fast it starts and how little it needs: printed always, held to generous bounds."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.e2e.cluster import Cluster, Space, sleeper, wait_until
from tests.e2e.conftest import FIGURES

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

IDLE_S = 30
PODS = 30


def processes(cluster: Cluster) -> dict[int, str]:
    """Our processes on the machine, containers' own left out: pid as this test sees it -> name."""
    holder = cluster.machine.pid
    wanted = os.readlink(f"/proc/{holder}/ns/pid")
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == holder:
            continue
        try:
            if os.readlink(f"/proc/{entry}/ns/pid") == wanted:
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
                found[int(entry)] = b" ".join(words[:4]).decode()
        except OSError:
            continue  # it has ended
    return found


def memory_bytes(pid: int) -> tuple[int, int]:
    """Resident, and the share of it that is this process's own (PSS)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    fields = {line.split(":")[0]: line.split()[1] for line in text.splitlines()[1:]}
    return int(fields["Rss"]) << 10, int(fields["Pss"]) << 10


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Readiness(threading.Thread):
    """Follows the pods of a namespace and notes when each was first Ready."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.at_s: dict[str, float] = {}
        self._connection = space.cluster.connection(timeout_s=200)
        self._connection.request("GET", f"{space.path}/pods?watch=1&timeoutSeconds=180")
        self._answer = self._connection.getresponse()

    def run(self) -> None:
        while line := self._answer.readline():
            event = json.loads(line)
            pod = event["object"]
            name = pod["metadata"]["name"]
            if name == "end":
                self._connection.close()
                return
            ready = any(
                c["type"] == "Ready" and c["status"] == "True"
                for c in pod["status"].get("conditions", [])
            )
            if ready and name not in self.at_s:
                self.at_s[name] = time.monotonic()


@pytest.fixture
def say(request: pytest.FixtureRequest) -> list[str]:
    """Lines shown at the end of the run whatever the verbosity."""
    return request.config.stash.setdefault(FIGURES, [])


def test_figures(own_cluster: Cluster, archives: list[Path], say: list[str]) -> None:
    cluster = own_cluster
    began_s = time.monotonic()
    command = [sys.executable, "-m", "kutter", "up", "--quiet"]
    process = subprocess.Popen(cluster.machine.enter(*command), env=cluster.environment)

    def ready() -> bool:
        if not cluster.kubeconfig.exists():
            return False
        try:
            return cluster.request("GET", "/readyz")[0] == 200
        except OSError:
            return False

    wait_until("/readyz", ready, every_s=0.01)
    readyz_s = time.monotonic() - began_s
    assert process.wait(60) == 0
    node_s = time.monotonic() - began_s
    for archive in archives:
        cluster.import_image(archive)
    space = Space(cluster, "default")
    wait_until(
        "service account",
        lambda: cluster.request("GET", f"{space.path}/serviceaccounts/default")[0] == 200,
    )
    follower = Readiness(space)
    follower.start()
    took_s = []
    for number in range(PODS + 1):
        name = f"p{number}"
        created_s = time.monotonic()
        space.create_pod(name, {"containers": [sleeper()]})
        wait_until(name, lambda name=name: name in follower.at_s, every_s=0.005)
        took_s.append(follower.at_s[name] - created_s)
        cluster.delete(f"{space.path}/pods/{name}", grace_s=0)
    space.create_pod("end", {"containers": [sleeper()]})
    follower.join()
    cluster.delete(f"{space.path}/pods/end", grace_s=0)
    first_s, rest_s = took_s[0], sorted(took_s[1:])
    wait_until("no pods", lambda: not space.pods())

    time.sleep(5)  # what an ended pod leaves to be tidied is not idling
    before = {pid: cpu_s(pid) for pid in processes(cluster)}
    time.sleep(IDLE_S)
    found = processes(cluster)
    used = {pid: cpu_s(pid) - before.get(pid, 0.0) for pid in found}
    idle_percent = 100 * sum(used.values()) / IDLE_S
    memory = {pid: memory_bytes(pid) for pid in found}
    resident = sum(m[0] for m in memory.values())
    own = sum(m[1] for m in memory.values())
    say.append(f"cold start: /readyz {readyz_s:.2f} s, node Ready {node_s:.2f} s")
    say.append(f"first pod Ready {first_s:.2f} s after its creation")
    say.append(
        f"pod create to Ready, one at a time, {PODS} pods: p50 {statistics.median(rest_s):.3f} s,"
        f" p99 {rest_s[-1]:.3f} s"
    )
    say.append(
        f"idle memory of {len(found)} processes: RSS {resident >> 20} MB, PSS {own >> 20} MB"
    )
    for pid, name in sorted(found.items()):
        say.append(
            f"  {memory[pid][0] >> 20} MB, {100 * used[pid] / IDLE_S:.2f} % CPU: {name[-60:]}"
        )
    say.append(f"idle CPU over {IDLE_S} s: {idle_percent:.2f} % of a core")
    say.append(f"load of this machine meanwhile: {os.getloadavg()[0]:.1f}")
    assert readyz_s < 10
    assert node_s < 20
    assert rest_s[len(rest_s) // 2] < 3
    assert resident < 200 << 20
    assert idle_percent < 3
