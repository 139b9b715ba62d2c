"""Laws of defaulting and validation, over pods made up at random."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.apiserver.kinds.samples import context, resource

from kutter.api.schema import schema_for
from kutter.apiserver.kinds.registry import Kinds

_KIND = Kinds().strategy_for(resource("pods"))
_schema = schema_for("", "v1", "Pod")
assert _schema is not None
_SCHEMA = _schema
_names = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
_amounts = st.sampled_from(["1", "2", "500m", "0.5", "1Gi", "1024Mi", "1e3"])
_ports = st.lists(st.integers(1, 65535), max_size=3, unique=True).map(
    lambda numbers: [{"containerPort": n} for n in numbers]
)
_handlers = st.sampled_from(
    [
        {"exec": {"command": ["true"]}},
        {"httpGet": {"port": 80}},
        {"tcpSocket": {"port": "http"}},
        {"grpc": {"port": 9}},
    ]
)
_sources = st.sampled_from(
    [
        {},
        {"emptyDir": {}},
        {"secret": {"secretName": "s"}},
        {"configMap": {"name": "c"}},
        {"hostPath": {"path": "/x"}},
        {"projected": {"sources": [{"configMap": {"name": "c"}}]}},
        {"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"persistentVolumeClaim": {"claimName": "p"}},
        {
            "ephemeral": {
                "volumeClaimTemplate": {
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "resources": {"requests": {"storage": "1Gi"}},
                    }
                }
            }
        },
    ]
)


@st.composite
def _containers(draw: Any, name: str, volumes: list[str]) -> dict[str, Any]:
    tree: dict[str, Any] = {
        "name": name,
        "image": draw(st.sampled_from(["a", "a:1", "b/a:latest"])),
    }
    tree["ports"] = draw(_ports)
    if draw(st.booleans()):
        tree["resources"] = {"limits": {"cpu": draw(_amounts), "memory": draw(_amounts)}}
    if draw(st.booleans()):
        tree["readinessProbe"] = copy.deepcopy(draw(_handlers))
    if draw(st.booleans()):
        tree["env"] = [{"name": "A", "value": draw(st.text(max_size=5))}]
    tree["volumeMounts"] = [{"name": v, "mountPath": f"/{v}"} for v in volumes]
    return tree


@st.composite
def pods(draw: Any) -> dict[str, Any]:
    """Valid pods as clients write them."""
    volumes = draw(st.lists(_names, max_size=3, unique=True))
    names = draw(st.lists(_names, min_size=1, max_size=4, unique=True))
    containers = [draw(_containers(name, volumes)) for name in names]
    split = draw(st.integers(0, len(containers) - 1))
    spec: dict[str, Any] = {
        "initContainers": [
            {k: v for k, v in c.items() if k != "readinessProbe"} for c in containers[:split]
        ],
        "containers": containers[split:],
        "volumes": [{"name": v, **copy.deepcopy(draw(_sources))} for v in volumes],
        "restartPolicy": draw(st.sampled_from(["Always", "Never", "OnFailure"])),
    }
    if draw(st.booleans()):
        spec["nodeSelector"] = {"kubernetes.io/os": "linux"}
        spec["tolerations"] = [{"key": "a", "operator": "Exists", "effect": "NoExecute"}]
    if draw(st.booleans()):
        spec["serviceAccountName"] = draw(_names)
    metadata = {"name": draw(_names), "namespace": "default", "labels": {"app": "web"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _created(tree: dict[str, Any]) -> dict[str, Any]:
    _SCHEMA.clean_strict(tree)
    _KIND.default(tree)
    _KIND.prepare_for_create(context(), tree)
    return tree


@given(pods())
@settings(max_examples=60, deadline=None)
def test_valid_pods_are_accepted_and_stay_valid(tree: dict[str, Any]) -> None:
    tree = _created(tree)
    assert _KIND.validate_create(context(), tree) == []
    again = copy.deepcopy(tree)
    _KIND.default(again)
    assert again == tree
    assert _KIND.validate_update(context(), again, tree) == []


@given(pods())
@settings(max_examples=60, deadline=None)
def test_defaults_are_in_the_schema_and_in_canonical_form(tree: dict[str, Any]) -> None:
    tree = _created(tree)
    cleaned = copy.deepcopy(tree)
    assert _SCHEMA.clean(cleaned, report=True) == []
    _KIND.default(cleaned)
    assert cleaned["spec"] == tree["spec"]


@given(pods(), st.data())
@settings(max_examples=60, deadline=None)
def test_a_mount_of_nothing_is_always_found(tree: dict[str, Any], data: Any) -> None:
    tree = _created(tree)
    containers = tree["spec"]["containers"]
    i = data.draw(st.integers(0, len(containers) - 1))
    mounts = containers[i].setdefault("volumeMounts", [])
    mounts.append({"name": "no-such-volume", "mountPath": "/nowhere"})
    paths = {e.path for e in _KIND.validate_create(context(), tree)}
    assert f"spec.containers[{i}].volumeMounts[{len(mounts) - 1}].name" in paths
