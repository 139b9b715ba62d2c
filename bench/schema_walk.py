"""How long decoding, cleaning and reading a 5 KB pod takes, in microseconds.

PYTHONPATH=src python bench/schema_walk.py
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import orjson

from kutter.api.schema import schema_for
from kutter.api.types.base import decode
from kutter.api.types.core_v1 import Pod

ROUNDS, CALLS = 7, 500
MOMENT = "2026-01-01T00:00:00Z"


def container(name: str) -> dict[str, Any]:
    probe = {"initialDelaySeconds": 3, "periodSeconds": 10, "timeoutSeconds": 1}
    return {
        "name": name,
        "image": "registry.example/x:1",
        "ports": [{"containerPort": 80, "protocol": "TCP", "name": "http"}],
        "env": [{"name": f"VARIABLE_{i}", "value": "v" * 20} for i in range(9)],
        "resources": {
            "limits": {"cpu": "500m", "memory": "1Gi"},
            "requests": {"cpu": "250m", "memory": "64Mi"},
        },
        "volumeMounts": [
            {"name": "a", "mountPath": "/a"},
            {"name": "token", "readOnly": True, "mountPath": "/var/run/secrets"},
        ],
        "livenessProbe": {"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, **probe},
        "readinessProbe": {"exec": {"command": ["/bin/true"]}, **probe},
        "terminationMessagePath": "/dev/termination-log",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"runAsUser": 1000, "capabilities": {"drop": ["ALL"]}},
    }


def container_status(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "state": {"running": {"startedAt": MOMENT}},
        "lastState": {},
        "ready": True,
        "restartCount": 0,
        "image": "registry.example/x:1",
        "imageID": "sha256:" + "0" * 64,
        "containerID": "kutter://" + "1" * 64,
        "started": True,
    }


def pod() -> dict[str, Any]:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "1" * 36}
    toleration = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": "web-5d4f8c7b9-abcde",
            "namespace": "default",
            "uid": "0" * 36,
            "creationTimestamp": MOMENT,
            "labels": {"app": "web", "pod-template-hash": "5d4f8c7b9"},
            "annotations": {"example.com/note": "n" * 200},
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "spec": {
            "volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "configMap": {"name": "c"}}],
            "containers": [container("a"), container("b")],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "nodeName": "n1",
            "schedulerName": "default-scheduler",
            "tolerations": [{"key": "node.kubernetes.io/not-ready", **toleration}],
        },
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": MOMENT}
                for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
            ],
            "podIP": "10.1.0.1",
            "startTime": MOMENT,
            "containerStatuses": [container_status("a"), container_status("b")],
        },
    }


def best_us(call: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(CALLS):
            call()
        best = min(best, (time.perf_counter() - started) / CALLS)
    return best * 1e6


def main() -> None:
    schema = schema_for("", "v1", "Pod")
    assert schema is not None
    data = orjson.dumps(pod())
    schema.clean(orjson.loads(data))
    gc.disable()
    loads = best_us(lambda: orjson.loads(data))
    plain = best_us(lambda: schema.clean(orjson.loads(data))) - loads
    strict = best_us(lambda: schema.clean_strict(orjson.loads(data), source=data)) - loads
    view = best_us(lambda: decode(Pod, data))
    print(f"{len(data)} bytes: decode to a tree {loads:.1f}, clean {plain:.1f},")
    print(f"clean strictly {strict:.1f}, decode to a view {view:.1f}")


if __name__ == "__main__":
    main()
