"""sig-storage conformance: what is in the volumes of pods that read them once and end."""

from __future__ import annotations

import base64
import functools
from collections.abc import Iterator

import pytest
from tests.e2e.cluster import Cluster, Space, Tree
from tests.e2e.conformance.runs import Ended, Run, start_runs, wait_runs
from tests.e2e.conftest import make_space

_USER = {"securityContext": {"runAsUser": 1000}}
_USER_IN_GROUP = {"securityContext": {"runAsUser": 1000, "fsGroup": 1001}}
_DATA = {"data-1": "value-1\n", "data-2": "value-2\n", "data-3": "value-3\n"}
PAYLOAD_KINDS = ("config-map", "secret", "projected-config-map", "projected-secret")
_BINARY = bytes([0xDE, 0xCA, 0xFE, 0xBA, 0xD0, 0xFE, 0xFF])


def payload_source(kind: str, name: str, mode: int | None = None, **more: object) -> Tree:
    """A volume source; kind is config-map or secret, with or without ``projected-``."""
    projected, secret = kind.startswith("projected"), kind.endswith("secret")
    tree = {"secretName" if secret and not projected else "name": name, **more}
    field = "secret" if secret else "configMap"
    default = {} if mode is None else {"defaultMode": mode}
    if projected:
        return {"projected": {"sources": [{field: tree}], **default}}
    return {field: {**tree, **default}}


def _look(path: str) -> str:
    return f"stat -L -c '%a %u %g' /v/{path}; cat /v/{path}"


def _payload_runs() -> dict[str, Run]:
    """Config maps and secrets, plain and projected: each item of upstream's lists."""
    runs: dict[str, Run] = {}
    for kind in PAYLOAD_KINDS:
        source = functools.partial(payload_source, kind, "data")
        items = [{"key": "data-2", "path": "path/to/data-2"}]
        moded = [{"key": "data-2", "path": "path/to/data-2", "mode": 0o400}]
        runs |= {
            f"{kind}-default": Run(_look("data-1"), "644 0 0\nvalue-1\n", {"v": source()}),
            f"{kind}-all-keys": Run("ls /v", "data-1\ndata-2\ndata-3\n", {"v": source()}),
            f"{kind}-mode": Run(_look("data-1"), "400 0 0\nvalue-1\n", {"v": source(0o400)}),
            f"{kind}-items": Run(
                _look("path/to/data-2") + "; ls /v",
                "644 0 0\nvalue-2\npath\n",
                {"v": source(items=items)},
            ),
            f"{kind}-item-mode": Run(
                _look("path/to/data-2"), "400 0 0\nvalue-2\n", {"v": source(items=moded)}
            ),
            f"{kind}-user": Run(_look("data-1"), "644 0 0\nvalue-1\n", {"v": source()}, spec=_USER),
            f"{kind}-user-items": Run(
                _look("path/to/data-2"),
                "644 0 0\nvalue-2\n",
                {"v": source(items=items)},
                spec=_USER,
            ),
            f"{kind}-user-mode-group": Run(
                _look("data-1"),
                "440 0 1001\nvalue-1\n",
                {"v": source(0o440)},
                spec=_USER_IN_GROUP,
            ),
            f"{kind}-user-item-mode-group": Run(
                _look("path/to/data-2"),
                "440 0 1001\nvalue-2\n",
                {"v": source(items=moded)},
                spec=_USER_IN_GROUP,
            ),
            f"{kind}-twice": Run(
                "cat /v/data-1 /w/data-1", "value-1\nvalue-1\n", {"v": source(), "w": source()}
            ),
        }
    runs["config-map-binary"] = Run(
        "cat /v/text; echo; base64 /v/binary",
        f"plain\n{base64.b64encode(_BINARY).decode()}\n",
        {"v": {"configMap": {"name": "binary"}}},
    )
    runs["config-map-optional-absent"] = Run(
        "ls /v | wc -l", "0\n", {"v": {"configMap": {"name": "absent", "optional": True}}}
    )
    return runs


def _downward(*items: Tree, projected: bool = False, mode: int | None = None) -> Tree:
    default = {} if mode is None else {"defaultMode": mode}
    if projected:
        return {"projected": {"sources": [{"downwardAPI": {"items": list(items)}}], **default}}
    return {"downwardAPI": {"items": list(items), **default}}


def _field(path: str, field: str, **more: object) -> Tree:
    return {"path": path, "fieldRef": {"fieldPath": field}, **more}


def _resource(path: str, resource: str, **more: object) -> Tree:
    ref = {"containerName": "c", "resource": resource, **more}
    return {"path": path, "resourceFieldRef": ref}


_RESOURCES = {
    "requests": {"cpu": "250m", "memory": "32Mi"},
    "limits": {"cpu": "1250m", "memory": "64Mi"},
}


def _downward_runs() -> dict[str, Run]:
    runs: dict[str, Run] = {}
    for projected in (False, True):
        kind = "projected-downward" if projected else "downward"
        runs |= {
            f"{kind}-name": Run(
                "cat /v/podname",
                f"{kind}-name",
                {"v": _downward(_field("podname", "metadata.name"), projected=projected)},
            ),
            f"{kind}-mode": Run(
                "stat -L -c %a /v/podname",
                "400\n",
                {
                    "v": _downward(
                        _field("podname", "metadata.name"), projected=projected, mode=0o400
                    )
                },
            ),
            f"{kind}-item-mode": Run(
                "stat -L -c %a /v/podname",
                "400\n",
                {
                    "v": _downward(
                        _field("podname", "metadata.name", mode=0o400), projected=projected
                    )
                },
            ),
            f"{kind}-user-group": Run(
                "stat -L -c '%a %g' /v/podname; cat /v/podname",
                f"440 1001\n{kind}-user-group",
                {
                    "v": _downward(
                        _field("podname", "metadata.name", mode=0o440), projected=projected
                    )
                },
                spec=_USER_IN_GROUP,
            ),
            f"{kind}-resources": Run(
                "for f in cl cr ml mr mm; do cat /v/$f; echo; done",
                "2\n1\n67108864\n33554432\n32\n",
                {
                    "v": _downward(
                        _resource("cl", "limits.cpu"),
                        _resource("cr", "requests.cpu"),
                        _resource("ml", "limits.memory"),
                        _resource("mr", "requests.memory"),
                        _resource("mm", "requests.memory", divisor="1Mi"),
                        projected=projected,
                    )
                },
                {
                    "resources": _RESOURCES,
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                },
            ),
        }
    runs["projected-all"] = Run(
        "cat /v/podname; echo; cat /v/config /v/secret",
        "projected-all\nvalue-1\nvalue-1\n",
        {
            "v": {
                "projected": {
                    "sources": [
                        {"downwardAPI": {"items": [_field("podname", "metadata.name")]}},
                        {"configMap": {"name": "data", "items": [_item("data-1", "config")]}},
                        {"secret": {"name": "data", "items": [_item("data-1", "secret")]}},
                    ]
                }
            }
        },
    )
    return runs


def _item(key: str, path: str) -> Tree:
    return {"key": key, "path": path}


def _empty_dir_runs() -> dict[str, Run]:
    """Both users, three modes, two media; and the folder's own mode."""
    runs: dict[str, Run] = {}
    for medium in ("", "Memory"):
        source = {"v": {"emptyDir": {"medium": medium}}}
        word = medium.lower() or "disk"
        for user in (0, 1001):
            for mode in (0o644, 0o666, 0o777):
                runs[f"empty-{word}-{user}-{mode:o}"] = Run(
                    f"umask 0; echo mount-tester > /v/f && chmod {mode:o} /v/f; "
                    "stat -c '%a %u' /v/f; cat /v/f; awk '$2 == \"/v\" {print $3}' /proc/mounts"
                    + ("" if medium else " | grep -v tmpfs | wc -l"),
                    f"{mode:o} {user}\nmount-tester\n{'tmpfs' if medium else '1'}\n",
                    source,
                    spec={"securityContext": {"runAsUser": user}},
                )
        runs[f"empty-{word}-folder"] = Run("stat -c %a /v", "777\n", source)
    runs["empty-shared"] = Run(
        "until [ -e /v/done ]; do sleep 0.1; done; cat /v/f",
        "Hello from the busy-box sub-container\n",
        {"v": {"emptyDir": {}}},
        spec={
            "containers": [
                {
                    "name": name,
                    "image": "tools:1",
                    "command": ["sh", "-c", script],
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                }
                for name, script in (
                    ("c", "until [ -e /v/done ]; do sleep 0.1; done; cat /v/f"),
                    (
                        "other",
                        "echo Hello from the busy-box sub-container > /v/f; touch /v/done",
                    ),
                )
            ]
        },
    )
    runs["wrapper-no-conflict"] = Run(
        "cat /s/data-1 /m/data-1",
        "value-1\nvalue-1\n",
        {"s": {"secret": {"secretName": "data"}}, "m": {"configMap": {"name": "data"}}},
    )
    many = {f"v{i}": {"configMap": {"name": f"racey-{i}"}} for i in range(50)}
    for number in range(3):
        runs[f"wrapper-race-{number}"] = Run(
            "cat /v*/data-1 | sort -n | tr '\\n' ' '",
            " ".join(str(i) for i in range(50)) + " ",
            many,
        )
    return runs


def _sub_path_runs() -> dict[str, Run]:
    """Sub-paths of atomically written volumes."""
    sources: dict[str, Tree] = {
        "secret": {"secret": {"secretName": "data"}},
        "config-map": {"configMap": {"name": "data"}},
        "projected": {"projected": {"sources": [{"configMap": {"name": "data"}}]}},
        "downward": _downward(_field("data-1", "metadata.annotations['text']")),
    }
    runs = {
        f"sub-path-{word}": Run(
            "cat /here",
            "value-1\n",
            {"v": source},
            {"volumeMounts": [{"name": "v", "mountPath": "/here", "subPath": "data-1"}]},
            metadata={"annotations": {"text": "value-1\n"}},
        )
        for word, source in sources.items()
    }
    runs["sub-path-existing-file"] = Run(
        "cat /etc/passwd; ls /etc/group",
        "value-1\n/etc/group\n",
        {"v": sources["config-map"]},
        {"volumeMounts": [{"name": "v", "mountPath": "/etc/passwd", "subPath": "data-1"}]},
    )
    named = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    runs["sub-path-expression"] = Run(
        "echo value > /sub/f; ls /v; cat /v/sub-path-expression/f",
        "sub-path-expression\nvalue\n",
        {"v": {"emptyDir": {}}},
        {
            "env": [named],
            "volumeMounts": [
                {"name": "v", "mountPath": "/v"},
                {"name": "v", "mountPath": "/sub", "subPathExpr": "$(POD_NAME)"},
            ],
        },
    )
    return runs


def _image_runs() -> dict[str, Run]:
    """An image as a volume: all of it, or a part named by the pod's own fields."""
    source = {"v": {"image": {"reference": "nginx:1.7.9"}}}
    named = {
        "name": "PART",
        "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['part']"}},
    }
    part = {"name": "v", "mountPath": "/part", "subPathExpr": "$(PART)"}
    return {
        "image": Run(
            "cat /v/www/index.html; touch /v/x 2>/dev/null || echo read-only",
            "nginx:1.7.9\nread-only\n",
            source,
        ),
        "image-part": Run(
            "cat /part/index.html; ls /part",
            "nginx:1.7.9\nindex.html\n",
            source,
            {"env": [named], "volumeMounts": [part]},
            metadata={"annotations": {"part": "www"}},
        ),
    }


RUNS = {
    **_payload_runs(),
    **_downward_runs(),
    **_empty_dir_runs(),
    **_sub_path_runs(),
    **_image_runs(),
}


@pytest.fixture(scope="module")
def ended(cluster: Cluster) -> Iterator[dict[str, Ended]]:
    """Every run of this module, all started together."""
    space, other = make_space(cluster, "volumes"), make_space(cluster, "volumes-other")
    config = {"metadata": {"name": "data"}, "data": _DATA}
    space.create("configmaps", config)
    space.create("secrets", {"metadata": {"name": "data"}, "stringData": _DATA})
    # One of the same name elsewhere must not matter.
    other.create("secrets", {"metadata": {"name": "data"}, "stringData": {"data-1": "foreign"}})
    binary = {"text": "plain"}, {"binary": base64.b64encode(_BINARY).decode()}
    space.create(
        "configmaps",
        {"metadata": {"name": "binary"}, "data": binary[0], "binaryData": binary[1]},
    )
    for number in range(50):
        data = {"data-1": f"{number}\n"}
        space.create("configmaps", {"metadata": {"name": f"racey-{number}"}, "data": data})
    start_runs(space, RUNS)
    yield wait_runs(space, RUNS)
    space.remove()
    other.remove()


@pytest.mark.timeout(150)
@pytest.mark.parametrize("name", RUNS)
def test_pod_reads_its_volume(name: str, ended: dict[str, Ended]) -> None:
    ended[name].check(RUNS[name])


def test_allocatable_of_the_node_is_the_default_limit(module_space: Space) -> None:
    """Without limits the files say what the node can give."""
    node = module_space.cluster.get("/api/v1/nodes")["items"][0]["status"]["allocatable"]
    volume = _downward(_resource("cpu", "limits.cpu"), _resource("memory", "limits.memory"))
    script = "cat /v/cpu; echo; cat /v/memory"
    for name, source in (("plain", volume), ("projected", _as_projected(volume))):
        start_runs(module_space, {name: Run(script, "", {"v": source})})
    for run in wait_runs(module_space, ["plain", "projected"]).values():
        cpu, memory = run.output.split()
        assert int(cpu) == int(node["cpu"])
        assert int(memory) == int(node["memory"].removesuffix("Ki")) * 1024


def _as_projected(volume: Tree) -> Tree:
    return {"projected": {"sources": [volume]}}
