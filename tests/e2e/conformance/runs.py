"""Many short pods at once: make them all, wait until each has ended, compare what they said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.cluster import Space, Tree, pod_tree, shell, wait_until


@dataclass(frozen=True)
class Run:
    """One pod that ends by itself and the output its container ``c`` must have written."""

    script: str
    output: str
    volumes: Tree = field(default_factory=dict)
    """Volume sources by name; each is mounted at ``/<name>`` unless ``container`` says else."""
    container: Tree = field(default_factory=dict)
    spec: Tree = field(default_factory=dict)
    metadata: Tree = field(default_factory=dict)
    phase: str = "Succeeded"

    def tree(self, name: str) -> Tree:
        mounts = [{"name": volume, "mountPath": f"/{volume}"} for volume in self.volumes]
        container = shell(self.script, **{"volumeMounts": mounts, **self.container})
        spec = {
            "restartPolicy": "Never",
            "containers": [container],
            "volumes": [{"name": key, **source} for key, source in self.volumes.items()],
            **self.spec,
        }
        return pod_tree(name, spec, **self.metadata)


@dataclass(frozen=True)
class Ended:
    """What became of a run."""

    pod: Tree
    output: str

    def check(self, run: Run) -> None:
        assert self.output == run.output, (self.output, self.pod["status"])
        assert self.pod["status"]["phase"] == run.phase, self.pod["status"]


def start_runs(space: Space, runs: Mapping[str, Run]) -> None:
    for name, run in runs.items():
        space.create("pods", run.tree(name))


def wait_runs(space: Space, names: Iterable[str], *, timeout_s: float = 90) -> dict[str, Ended]:
    """Wait until every one has ended; those that have not are in the failure's text."""
    wanted = set(names)
    last: dict[str, Any] = {}

    def all_ended() -> bool:
        last.clear()
        last.update({p["metadata"]["name"]: p for p in space.pods()})
        return all(last[name]["status"].get("phase") in ("Succeeded", "Failed") for name in wanted)

    try:
        wait_until("runs ended", all_ended, timeout_s=timeout_s, every_s=0.3)
    except AssertionError:
        # Those that did not end are judged one by one by their tests.
        pass
    return {name: Ended(last[name], _output(space, name)) for name in wanted}


def _output(space: Space, name: str) -> str:
    path = f"{space.path}/pods/{name}/log?container=c"
    status, tree = space.cluster.request("GET", path)
    if status != 200:
        return f"{status}: {tree.get('message')}; {space.events(name)}"
    content = tree.get("text", b"")
    return content.decode() if isinstance(content, bytes) else str(content)
