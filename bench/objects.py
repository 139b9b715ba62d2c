"""The objects the load is made of."""

from __future__ import annotations

import json
from typing import Any

from bench.target import NAMESPACE

PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
CONFIG_MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"


def pod_tree(name: str, *, scheduler: str = "nobody", labels: dict[str, str] | None = None) -> Any:
    """A pod as a Deployment would make it; with ``scheduler`` nobody it stays unscheduled."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"app": "web", "tier": "front", **(labels or {})},
            "annotations": {"example.com/purpose": "load"},
        },
        "spec": {
            "schedulerName": scheduler,
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "web",
                    "image": "registry.example/web:1.2.3",
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "env": [{"name": "MODE", "value": "fast"}, {"name": "PORT", "value": "8080"}],
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "32Mi"},
                        "limits": {"memory": "64Mi"},
                    },
                    "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
                }
            ],
        },
    }


def pod_body(name: str, **options: Any) -> bytes:
    return json.dumps(pod_tree(name, **options)).encode()


def node_tree(name: str) -> Any:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}


def node_status(name: str) -> Any:
    """What a kubelet reports: room and health."""
    room = {"cpu": "32", "memory": "256Gi", "pods": "250"}
    healthy = {
        "Ready": "True",
        "MemoryPressure": "False",
        "DiskPressure": "False",
        "PIDPressure": "False",
    }
    return {
        "status": {
            "capacity": room,
            "allocatable": room,
            "addresses": [{"type": "Hostname", "address": name}],
            "conditions": [{"type": k, "status": v, "reason": "Bench"} for k, v in healthy.items()],
        }
    }
