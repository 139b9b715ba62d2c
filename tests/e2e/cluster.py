"""A cluster started by ``kutter up`` on a machine of its own, and the ways tests talk to it."""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from tests.e2e.machine import Machine

SOURCES = Path(__file__).resolve().parents[2] / "src"
CLIENTS = {"kubectl": ["kubectl"], "kutter": [sys.executable, "-m", "kutter"]}
T = TypeVar("T")
Tree = dict[str, Any]


def wait_until(
    what: str, condition: Callable[[], T | None], *, timeout_s: float = 30, every_s: float = 0.05
) -> T:
    """Ask until the answer is neither None nor False; the last answer is in the failure."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = condition()
        if answer is not None and answer is not False:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(every_s)


class Cluster:
    """``up`` and ``down`` it; nothing of it is outside its machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        home = machine.home
        self.state, self.run_dir, self.logs = home / "state", home / "run", home / "log"
        self.kubeconfig = self.state / "admin.kubeconfig"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("KUTTER_", "KUBE"))},
            "PYTHONPATH": str(SOURCES),
            "KUTTER_STATE_DIR": str(self.state),
            "KUTTER_RUN_DIR": str(self.run_dir),
            "KUTTER_LOG_DIR": str(self.logs),
            "KUTTER_CGROUP_ROOT": machine.cgroup_root,
            "KUBECONFIG": str(self.kubeconfig),
            "HOME": str(home),
        }

    # Processes

    def kutter(
        self, *arguments: str, check: bool = True, timeout_s: float = 90, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``kutter`` on the machine."""
        return self.machine.run(
            sys.executable,
            *("-m", "kutter", *arguments),
            check=check,
            input=input,
            environment=self.environment,
            timeout_s=timeout_s,
        )

    def up(self) -> str:
        return self.kutter("up", "--wait", "180", timeout_s=240).stderr

    def down(self, *flags: str) -> str:
        return self.kutter("down", *flags).stdout

    def pid(self, component: str) -> int:
        """The machine's own number for ``server`` or ``agent``."""
        return int((self.run_dir / f"{component}.pid").read_text().split()[0])

    def kill(self, *components: str) -> None:
        """``kill -9``."""
        self.machine.run("kill", "-9", *(str(self.pid(name)) for name in components))

    def client(
        self,
        program: str,
        *arguments: str,
        check: bool = True,
        input: str | None = None,
        timeout_s: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run a client, ``kubectl`` or ``kutter``, from the machine's neighbourhood."""
        done = subprocess.run(
            [*CLIENTS[program], *arguments],
            capture_output=True,
            text=True,
            check=False,
            input=input,
            env=self.client_environment(program),
            timeout=timeout_s,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"{program} {' '.join(arguments)}: exit code {done.returncode}\n"
                f"{done.stdout}\n{done.stderr}"
            )
        return done

    def client_environment(self, program: str) -> dict[str, str]:
        """Kutter must do without anything else: no program is found on its path."""
        if program == "kubectl":
            return self.environment
        return {**self.environment, "PATH": "/nowhere"}

    def kubectl(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Upstream's kubectl."""
        return self.client("kubectl", *arguments, **options)

    def start_client(self, program: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """One that runs on; the caller ends it."""
        return subprocess.Popen(
            [*CLIENTS[program], *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.client_environment(program),
            **options,
        )

    def curl(self, url: str, *, check: bool = True) -> str:
        """Ask from the machine itself, where cluster addresses are known."""
        return self.machine.run("curl", "-sS", "--max-time", "5", url, check=check).stdout

    def import_image(self, archive: Path) -> None:
        """Through root's door to the agent."""
        answer = self.machine.run(
            *("curl", "-sS", "--unix-socket", str(self.run_dir / "agent.sock")),
            *("-X", "POST", "-d", json.dumps({"path": str(archive)})),
            "http://agent/images/import",
        ).stdout
        assert "images" in json.loads(answer.splitlines()[-1]), answer

    # The API

    def connection(self, *, timeout_s: float = 30) -> http.client.HTTPSConnection:
        """As the administrator."""
        entry = yaml.safe_load(self.kubeconfig.read_text())
        user = entry["users"][0]["user"]
        authority = entry["clusters"][0]["cluster"]["certificate-authority-data"]
        context = ssl.create_default_context(cadata=base64.b64decode(authority).decode())
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(base64.b64decode(user["client-certificate-data"]) + b"\n")
            pair.write(base64.b64decode(user["client-key-data"]))
            pair.flush()
            context.load_cert_chain(pair.name)
        return http.client.HTTPSConnection(
            self.machine.address, 6443, context=context, timeout=timeout_s
        )

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Tree]:
        connection = self.connection()
        try:
            content = None if body is None else json.dumps(body)
            connection.request(
                method, path, content, {"Content-Type": "application/json", **headers}
            )
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text.startswith(b"{") else {"text": text}
        finally:
            connection.close()

    def get(self, path: str) -> Tree:
        status, tree = self.request("GET", path)
        assert status == 200, tree
        return tree

    def create(self, path: str, body: Tree) -> Tree:
        status, tree = self.request("POST", path, body)
        assert status in (200, 201), tree
        return tree

    def patch(self, path: str, body: Any, kind: str = "merge-patch") -> Tree:
        content_type = {"Content-Type": f"application/{kind}+json"}
        status, tree = self.request("PATCH", path, body, **content_type)
        assert status == 200, tree
        return tree

    def delete(self, path: str, grace_s: int | None = None) -> Tree:
        body = None if grace_s is None else {"gracePeriodSeconds": grace_s}
        status, tree = self.request("DELETE", path, body)
        assert status in (200, 202), tree
        return tree

    def log_tails(self, lines: int = 60) -> str:
        """The ends of the server's and the agent's log."""
        parts = []
        for name in ("server", "agent"):
            log = self.logs / f"{name}.log"
            if log.exists():
                text = log.read_text(errors="replace").splitlines()[-lines:]
                parts.append(f"--- {name}.log\n" + "\n".join(text))
        return "\n".join(parts)


class Space:
    """One namespace of a cluster and its pods; ``program`` is the client used on it."""

    def __init__(self, cluster: Cluster, name: str, program: str = "kubectl") -> None:
        self.cluster, self.name, self.program = cluster, name, program
        self.path = f"/api/v1/namespaces/{name}"

    def make(self) -> Space:
        self.cluster.create("/api/v1/namespaces", {"metadata": {"name": self.name}})
        path = f"{self.path}/serviceaccounts/default"
        wait_until("service account default", lambda: self.cluster.request("GET", path)[0] == 200)
        return self

    def remove(self) -> None:
        self.cluster.delete(self.path)

    def run(self, verb: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """The client's verb on this namespace."""
        return self.cluster.client(self.program, verb, "-n", self.name, *arguments, **options)

    def start(self, verb: str, *arguments: str) -> subprocess.Popen[str]:
        return self.cluster.start_client(self.program, verb, "-n", self.name, *arguments)

    def kubectl(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.cluster.kubectl("-n", self.name, *arguments, **options)

    def create(self, plural: str, tree: Tree, group: str = "api/v1") -> Tree:
        return self.cluster.create(f"/{group}/namespaces/{self.name}/{plural}", tree)

    def create_pod(self, name: str, spec: Tree, **metadata: Any) -> Tree:
        return self.create("pods", pod_tree(name, spec, **metadata))

    def pod(self, name: str) -> Tree:
        return self.cluster.get(f"{self.path}/pods/{name}")

    def find_pod(self, name: str) -> Tree | None:
        status, tree = self.cluster.request("GET", f"{self.path}/pods/{name}")
        return tree if status == 200 else None

    def pods(self, selector: str = "") -> list[Tree]:
        items: list[Tree] = self.cluster.get(f"{self.path}/pods?labelSelector={selector}")["items"]
        return items

    def wait_pod(
        self, name: str, condition: Callable[[Tree], Any], *, timeout_s: float = 30
    ) -> Tree:
        """Wait for the pod to be so; the pod and its events are in the failure."""
        last: list[Tree | None] = [None]

        def look() -> Tree | None:
            last[0] = self.find_pod(name)
            return last[0] if last[0] is not None and condition(last[0]) else None

        try:
            return wait_until(f"pod {self.name}/{name}", look, timeout_s=timeout_s)
        except AssertionError as error:
            status = json.dumps((last[0] or {}).get("status"), indent=1)
            events = "\n".join(self.events(name))
            raise AssertionError(f"{error}\nstatus: {status}\nevents:\n{events}") from None

    def wait_ready(self, name: str, **options: Any) -> Tree:
        return self.wait_pod(name, is_ready, **options)

    def wait_phase(self, name: str, phase: str, **options: Any) -> Tree:
        return self.wait_pod(name, lambda pod: pod["status"].get("phase") == phase, **options)

    def wait_gone(self, name: str, *, timeout_s: float = 30) -> None:
        wait_until(f"{name} gone", lambda: self.find_pod(name) is None, timeout_s=timeout_s)

    def events(self, name: str) -> list[str]:
        path = f"{self.path}/events?fieldSelector=involvedObject.name={name}"
        return [
            f"{e['type']} {e['reason']}: {e['message']} (x{e.get('count', 1)})"
            for e in self.cluster.get(path)["items"]
        ]

    def exec(self, pod: str, *command: str, **options: Any) -> str:
        """Standard output of a command in the pod's first container."""
        return str(self.run("exec", pod, "--", *command, **options).stdout)

    def logs(self, pod: str, **query: str) -> str:
        text = "&".join(f"{k}={v}" for k, v in query.items())
        status, tree = self.cluster.request("GET", f"{self.path}/pods/{pod}/log?{text}")
        assert status == 200, tree
        content = tree.get("text", b"")
        return content.decode() if isinstance(content, bytes) else json.dumps(tree)


def is_ready(pod: Tree) -> bool:
    return any(
        c["type"] == "Ready" and c["status"] == "True"
        for c in pod.get("status", {}).get("conditions", [])
    )


def container_status(pod: Tree, index: int = 0, kind: str = "containerStatuses") -> Tree:
    statuses = pod["status"].get(kind) or []
    return statuses[index] if index < len(statuses) else {}


def pod_tree(name: str, spec: Tree, **metadata: Any) -> Tree:
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, **metadata},
        "spec": {"terminationGracePeriodSeconds": 1, **spec},
    }


def shell(script: str, **fields: Any) -> Tree:
    """A container of the tools image that runs a script."""
    return {
        "name": "c",
        "image": "tools:1",
        "command": ["sh", "-c", script],
        **fields,
    }


def sleeper(**fields: Any) -> Tree:
    """A container that ends on TERM."""
    return shell("trap 'exit 0' TERM; while true; do sleep 3600 & wait; done", **fields)
