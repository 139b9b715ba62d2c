"""Killed in the middle of work, started again, taken down: nothing is lost, nothing is left."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.cluster import (
    Cluster,
    Space,
    container_status,
    is_ready,
    sleeper,
    wait_until,
)
from tests.e2e.machine import Traces

pytestmark = pytest.mark.timeout(180)


class Writer:
    """Creates ConfigMaps one after the other and remembers which were acknowledged."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.acknowledged: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        number = 0
        while not self._stop.is_set():
            name = f"written-{number}"
            number += 1
            try:
                status, _ = self._cluster.request(
                    "POST",
                    "/api/v1/namespaces/default/configmaps",
                    {"metadata": {"name": name}, "data": {"number": str(number)}},
                )
            except (OSError, http.client.HTTPException):
                self._stop.wait(0.02)
                continue
            if status == 201:
                self.acknowledged.append(name)

    def end(self) -> list[str]:
        self._stop.set()
        self._thread.join()
        return self.acknowledged


def deployment(image: str) -> dict[str, object]:
    return {
        "metadata": {"name": "rolled"},
        "spec": {
            "replicas": 4,
            "selector": {"matchLabels": {"app": "rolled"}},
            "template": {
                "metadata": {"labels": {"app": "rolled"}},
                "spec": {
                    "terminationGracePeriodSeconds": 2,
                    "containers": [
                        {
                            "name": "web",
                            "image": image,
                            "readinessProbe": {
                                "httpGet": {"port": 80},
                                "periodSeconds": 1,
                                "initialDelaySeconds": 1,
                            },
                        }
                    ],
                },
            },
        },
    }


def lives(space: Space) -> dict[str, tuple[str, int, str]]:
    """Container id, restarts and the first process's start of every running pod."""
    found = {}
    for pod in space.pods():
        if pod["status"].get("phase") == "Running" and is_ready(pod):
            status = container_status(pod)
            started = status["state"]["running"]["startedAt"]
            found[pod["metadata"]["name"]] = (
                status["containerID"],
                status["restartCount"],
                started,
            )
    return found


def monitors(cluster: Cluster) -> dict[str, str]:
    """Process and start of each container's first process, from the machine's own table."""
    table = cluster.machine.run("ps", "-e", "-o", "pid=,lstart=,args=").stdout
    return {
        line.split()[0]: " ".join(line.split()[1:6])
        for line in table.splitlines()
        if "sleep 3600" in line and "conmon" not in line
    }


def compare(before: Traces, look: Callable[[], Traces]) -> None:
    """Nothing more than before; the kernel may take a moment for the last of it."""
    deadline = time.monotonic() + 30
    while left := before.difference(look()):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.05)


def start(cluster: Cluster, archives: list[Path]) -> Space:
    cluster.up()
    for archive in archives:
        cluster.import_image(archive)
    space = Space(cluster, "default")
    wait_until(
        "service account",
        lambda: cluster.request("GET", f"{space.path}/serviceaccounts/default")[0] == 200,
    )
    return space


def test_killed_in_a_rollout_nothing_is_lost(own_cluster: Cluster, archives: list[Path]) -> None:
    cluster = own_cluster
    before = cluster.machine.traces([cluster.state, cluster.run_dir, cluster.logs])
    space = start(cluster, archives)
    for name in ("stands-a", "stands-b"):
        space.create_pod(name, {"containers": [sleeper()]})
    for name in ("stands-a", "stands-b"):
        space.wait_ready(name)
    space.create("deployments", deployment("nginx:1.7.9"), "apis/apps/v1")
    cluster.kubectl("rollout", "status", "deployment/rolled", "--timeout=60s")
    standing = {k: v for k, v in lives(space).items() if k.startswith("stands")}
    processes = monitors(cluster)
    assert len(standing) == 2
    assert len(processes) >= 2

    writer = Writer(cluster)
    cluster.kubectl("set", "image", "deployment/rolled", "web=nginx:1.10.4")

    def half_way() -> bool:
        images = [p["spec"]["containers"][0]["image"] for p in space.pods("app=rolled")]
        return "nginx:1.7.9" in images and "nginx:1.10.4" in images and len(images) >= 5

    wait_until("the rollout is under way", half_way)
    cluster.kill("server", "agent")
    in_the_dark = monitors(cluster)
    assert in_the_dark == processes, "containers live on without server and agent"
    cluster.up()
    acknowledged = writer.end()

    kept = {
        item["metadata"]["name"]
        for item in cluster.get("/api/v1/namespaces/default/configmaps")["items"]
    }
    assert len(acknowledged) > 5
    assert set(acknowledged) <= kept, f"lost: {sorted(set(acknowledged) - kept)}"
    cluster.kubectl("rollout", "status", "deployment/rolled", "--timeout=60s")
    rolled = space.pods("app=rolled")
    images = {
        p["spec"]["containers"][0]["image"]
        for p in rolled
        if "deletionTimestamp" not in p["metadata"]
    }
    assert images == {"nginx:1.10.4"}
    assert {container_status(p).get("restartCount") for p in rolled} == {0}
    assert {k: v for k, v in lives(space).items() if k.startswith("stands")} == standing
    assert monitors(cluster) == processes

    # Down keeps the state and nothing else; up brings everything back; purge forgets it.
    cluster.down()
    compare(before, lambda: cluster.machine.traces([cluster.run_dir]))
    cluster.up()
    for name in ("stands-a", "stands-b"):
        space.wait_ready(name)
    cluster.kubectl("rollout", "status", "deployment/rolled", "--timeout=60s")
    cluster.down("--purge")
    compare(before, lambda: cluster.machine.traces([cluster.state, cluster.run_dir, cluster.logs]))


@pytest.mark.parametrize("moment_s", [0.1, 0.5])
def test_agent_killed_while_pods_start_leaves_nothing(
    own_cluster: Cluster, archives: list[Path], moment_s: float
) -> None:
    cluster = own_cluster
    before = cluster.machine.traces([cluster.state, cluster.run_dir, cluster.logs])
    space = start(cluster, archives)
    for number in range(8):
        volumes = [{"name": "m", "emptyDir": {"medium": "Memory"}}]
        mounts = [{"name": "m", "mountPath": "/m"}]
        space.create_pod(
            f"p{number}", {"containers": [sleeper(volumeMounts=mounts)], "volumes": volumes}
        )
    wait_until(
        "the first pod has an address", lambda: any(p["status"].get("podIP") for p in space.pods())
    )
    time.sleep(moment_s)  # the moment of the kill is what the test is about
    cluster.kill("agent")
    cluster.down("--purge")
    compare(before, lambda: cluster.machine.traces([cluster.state, cluster.run_dir, cluster.logs]))


def test_agent_killed_while_pods_start_finishes_them(
    own_cluster: Cluster, archives: list[Path]
) -> None:
    cluster = own_cluster
    space = start(cluster, archives)
    for number in range(6):
        space.create_pod(f"p{number}", {"containers": [sleeper()]})
    for _ in range(3):
        wait_until("work under way", lambda: any(p["status"].get("podIP") for p in space.pods()))
        cluster.kill("agent")
        cluster.up()
    for number in range(6):
        pod = space.wait_ready(f"p{number}")
        assert container_status(pod)["restartCount"] == 0
    # One first process per pod: no container was started twice. Ready means started, not that
    # the shell has come to its own program yet.
    wait_until("every container sleeps", lambda: len(monitors(cluster)) == 6)
    table = cluster.machine.run("ps", "-e", "-o", "args=").stdout
    shells = [line for line in table.splitlines() if line.startswith("sh -c trap 'exit 0' TERM")]
    assert len(shells) == 6, table


def test_what_ends_is_started_again_by_itself(own_cluster: Cluster, archives: list[Path]) -> None:
    cluster = own_cluster
    before = cluster.machine.traces([cluster.state, cluster.run_dir, cluster.logs])
    space = start(cluster, archives)
    space.create_pod("stands", {"containers": [sleeper()]})
    space.wait_ready("stands")
    standing, processes = lives(space), monitors(cluster)

    for names in (("server",), ("agent",), ("server", "agent")):
        ended = {name: cluster.pid(name) for name in names}
        cluster.kill(*names)
        wait_until("they run again", lambda e=ended: all(cluster.pid(n) != e[n] for n in e))
        wait_until("the agent is ready", lambda: _agent_is_ready(cluster))
        wait_until("the server answers", lambda: _is_ready(cluster))
    assert monitors(cluster) == processes, "no container was touched"
    assert lives(space) == standing
    space.create_pod("later", {"containers": [sleeper()]})
    space.wait_ready("later")

    # Without the supervisor 'up' brings a new one, and starts nothing twice.
    cluster.kill("supervisor")
    running = {name: cluster.pid(name) for name in ("server", "agent")}
    cluster.up()
    assert {name: cluster.pid(name) for name in running} == running
    table = cluster.machine.run("ps", "-e", "-ww", "-o", "args=").stdout
    assert table.count("supervisor.py") == 1
    cluster.down("--purge")
    compare(before, lambda: cluster.machine.traces([cluster.state, cluster.run_dir, cluster.logs]))


def _agent_is_ready(cluster: Cluster) -> bool:
    socket = str(cluster.run_dir / "agent.sock")
    asked = ("curl", "-sS", "--unix-socket", socket, "http://agent/ready")
    return '"ready":true' in cluster.machine.run(*asked, check=False).stdout


def _is_ready(cluster: Cluster) -> bool:
    try:
        return cluster.request("GET", "/readyz")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_down_on_a_machine_that_never_had_a_cluster(own_cluster: Cluster) -> None:
    before = own_cluster.machine.traces()
    assert "not running" in own_cluster.down()
    own_cluster.down("--purge")
    compare(before, own_cluster.machine.traces)
