"""What protobuf costs: ``python bench/protobuf_codec.py``.

Prints the size and the microseconds (best of five) to encode and to decode one realistic pod of
about 5 KB of JSON and a list of 500 of them, beside the same with JSON, on one core.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from typing import Any

import orjson

from kutter.api.protobuf import decode_object, encode_object, list_content, message_of, wrap
from kutter.api.protobuf.encoding import encode_message


def realistic_pod() -> dict[str, Any]:
    """Three containers with probes, resources and mounts; conditions and statuses."""
    containers = [
        {
            "name": f"c{number}",
            "image": f"registry.example/team/app-{number}:v1.{number}",
            "command": ["/bin/app", "--listen", "0.0.0.0:8080"],
            "env": [
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                {"name": "LEVEL", "value": "info"},
            ],
            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
            "resources": {
                "limits": {"cpu": "500m", "memory": "256Mi"},
                "requests": {"cpu": "100m", "memory": "64Mi"},
            },
            "volumeMounts": [
                {"name": "data", "mountPath": "/data"},
                {
                    "name": "kube-api-access",
                    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                    "readOnly": True,
                },
            ],
            "livenessProbe": {
                "httpGet": {"path": "/healthz", "port": "http", "scheme": "HTTP"},
                "initialDelaySeconds": 3,
                "timeoutSeconds": 1,
                "periodSeconds": 10,
                "successThreshold": 1,
                "failureThreshold": 3,
            },
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "imagePullPolicy": "IfNotPresent",
            "securityContext": {"runAsUser": 1000, "allowPrivilegeEscalation": False},
        }
        for number in range(3)
    ]
    time = "2026-01-02T03:04:05Z"
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": "web-7c5ddbdf54-x2x4z",
            "generateName": "web-7c5ddbdf54-",
            "namespace": "default",
            "uid": "6f1c9f0e-8f0e-4d3c-9a58-6f2a5a1f3c11",
            "resourceVersion": "123456",
            "creationTimestamp": time,
            "labels": {"app": "web", "tier": "front", "pod-template-hash": "7c5ddbdf54"},
            "annotations": {"example.com/owner": "team-a", "example.com/note": "x" * 200},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": "web-7c5ddbdf54",
                    "uid": "0e2f6a0a-0b1f-4a5e-9f55-3f0a4c6d7e88",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "containers": containers,
            "volumes": [
                {"name": "data", "emptyDir": {}},
                {
                    "name": "kube-api-access",
                    "projected": {
                        "defaultMode": 420,
                        "sources": [
                            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                            {"configMap": {"name": "kube-root-ca.crt"}},
                        ],
                    },
                },
            ],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default",
            "nodeName": "node-1",
            "schedulerName": "default-scheduler",
            "tolerations": [
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
                for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
            ],
            "priority": 0,
            "enableServiceLinks": True,
        },
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": type, "status": "True", "lastTransitionTime": time}
                for type in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
            ],
            "hostIP": "10.0.0.1",
            "podIP": "10.42.0.17",
            "podIPs": [{"ip": "10.42.0.17"}],
            "startTime": time,
            "containerStatuses": [
                {
                    "name": f"c{number}",
                    "state": {"running": {"startedAt": time}},
                    "ready": True,
                    "restartCount": 0,
                    "image": f"registry.example/team/app-{number}:v1.{number}",
                    "imageID": "registry.example/team/app@sha256:" + "0123456789abcdef" * 4,
                    "containerID": "kutter://" + "fedcba9876543210" * 4,
                    "started": True,
                }
                for number in range(3)
            ],
            "qosClass": "Burstable",
        },
    }


def best_us(work: Callable[[], Any], rounds: int) -> float:
    return min(timeit.repeat(work, number=rounds, repeat=5)) / rounds * 1e6


def main() -> None:
    pod = realistic_pod()
    text, message = orjson.dumps(pod), encode_object(pod)
    assert decode_object(message)["spec"] == pod["spec"]
    print(f"pod: JSON {len(text)} bytes, protobuf {len(message)} bytes")
    print(f"  JSON      encode {best_us(lambda: orjson.dumps(pod), 2000):8.1f} us")
    print(f"  JSON      decode {best_us(lambda: orjson.loads(text), 2000):8.1f} us")
    print(f"  protobuf  encode {best_us(lambda: encode_object(pod), 500):8.1f} us")
    print(f"  protobuf  decode {best_us(lambda: decode_object(message), 500):8.1f} us")
    held = message_of("v1", "Pod")
    assert held is not None
    content = encode_message(held, pod)
    known = [content] * 500
    joined = best_us(lambda: wrap("v1", "PodList", list_content({}, known)), 20)
    anew = best_us(lambda: [encode_message(held, orjson.loads(text)) for _ in range(500)], 1)
    print(f"list of 500: messages known {joined:8.1f} us, made from JSON {anew:8.1f} us")


if __name__ == "__main__":
    main()
