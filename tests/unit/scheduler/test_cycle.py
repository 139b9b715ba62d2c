"""Which node a pod gets, and why none: one table, checked against a plain reading of the rules."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kutter.api.types.base import convert
from kutter.api.types.core_v1 import Node, Pod
from kutter.base.rng import Rng
from kutter.scheduler.cycle import choose
from kutter.scheduler.snapshot import NamespaceLookup, Snapshot, describe_pod


def node(name, *, cpu="4", memory="8Gi", pods="110", labels=None, taints=(), images=(), **spec):
    return convert(
        Node,
        {
            "metadata": {
                "name": name,
                "labels": {"kubernetes.io/hostname": name, **(labels or {})},
            },
            "spec": {"taints": list(taints), **spec},
            "status": {
                "allocatable": {"cpu": cpu, "memory": memory, "pods": pods},
                "images": [{"names": [i], "sizeBytes": 900 << 20} for i in images],
            },
        },
    )


def pod(name, *, cpu="0", memory="0", labels=None, namespace="default", ports=(), **spec):
    return convert(
        Pod,
        {
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": name,
                "labels": labels or {},
            },
            "spec": {
                "containers": [
                    {
                        "name": "c",
                        "image": "app:1",
                        "resources": {"requests": {"cpu": cpu, "memory": memory}},
                        "ports": [{"hostPort": p, "containerPort": p} for p in ports],
                    }
                ],
                **spec,
            },
        },
    )


def snapshot_of(*nodes, placed=()):
    snapshot = Snapshot()
    for item in nodes:
        snapshot.set_node(item)
    for item, where in placed:
        snapshot.add_pod(describe_pod(item), where)
    return snapshot


def decide(item, snapshot):
    return choose(describe_pod(item), snapshot, NamespaceLookup({"default": {}}), rng=Rng(1))


def test_no_nodes():
    assert decide(pod("p"), snapshot_of()).message == "no nodes available to schedule pods"


def test_every_reason_is_counted():
    snapshot = snapshot_of(
        node("small", cpu="500m"),
        node("tiny", cpu="500m", memory="1Mi"),
        node("cordoned", unschedulable=True),
        node("tainted", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}]),
        node("full", pods="0"),
    )
    choice = decide(pod("p", cpu="1", memory="1Gi"), snapshot)
    assert choice.node == ""
    assert choice.message == (
        "0/5 nodes are available: 1 Insufficient memory, 1 Too many pods, "
        "1 node(s) had untolerated taint {k: v}, 1 node(s) were unschedulable, "
        "2 Insufficient cpu."
    )


@pytest.mark.parametrize(
    ("extra", "wanted"),
    [
        ({"nodeSelector": {"disk": "ssd"}}, "b"),
        ({"nodeName": "a"}, "a"),
        (
            {
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {
                                    "matchExpressions": [
                                        {"key": "gen", "operator": "Gt", "values": ["5"]}
                                    ]
                                }
                            ]
                        }
                    }
                }
            },
            "c",
        ),
        (
            {
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {
                                    "matchFields": [
                                        {
                                            "key": "metadata.name",
                                            "operator": "In",
                                            "values": ["a"],
                                        }
                                    ]
                                }
                            ]
                        }
                    }
                }
            },
            "a",
        ),
        (
            {
                "affinity": {
                    "podAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [
                            {
                                "topologyKey": "kubernetes.io/hostname",
                                "labelSelector": {"matchLabels": {"app": "db"}},
                            }
                        ]
                    }
                }
            },
            "b",
        ),
        (
            {
                "nodeSelector": {"pair": "yes"},
                "affinity": {
                    "podAntiAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [
                            {
                                "topologyKey": "kubernetes.io/hostname",
                                "labelSelector": {"matchLabels": {"app": "db"}},
                            }
                        ]
                    }
                },
            },
            "c",
        ),
    ],
)
def test_constraints_choose_the_one_node(extra, wanted):
    snapshot = snapshot_of(
        node("a", labels={"gen": "3"}),
        node("b", labels={"disk": "ssd", "pair": "yes"}),
        node("c", labels={"gen": "7", "pair": "yes"}),
        placed=[(pod("db", labels={"app": "db"}), "b")],
    )
    choice = decide(pod("p", **extra), snapshot)
    assert choice.node == wanted, choice.message


def test_existing_anti_affinity_keeps_others_away():
    guard = pod(
        "guard",
        labels={"app": "guard"},
        affinity={
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "topologyKey": "kubernetes.io/hostname",
                        "labelSelector": {"matchLabels": {"app": "web"}},
                    }
                ]
            }
        },
    )
    snapshot = snapshot_of(node("a"), placed=[(guard, "a")])
    assert (
        "existing pods anti-affinity" in decide(pod("w", labels={"app": "web"}), snapshot).message
    )
    assert decide(pod("x", labels={"app": "other"}), snapshot).node == "a"


def test_hard_topology_spread():
    constraint = {
        "maxSkew": 1,
        "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    web = {"app": "web"}
    snapshot = snapshot_of(
        node("a", labels={"zone": "1"}),
        node("b", labels={"zone": "2"}),
        node("c"),
        placed=[(pod("w1", labels=web), "a")],
    )
    assert (
        decide(pod("p", labels=web, topologySpreadConstraints=[constraint]), snapshot).node == "b"
    )


def test_host_ports_clash():
    snapshot = snapshot_of(node("a"), placed=[(pod("x", ports=[80]), "a")])
    assert "free ports" in decide(pod("y", ports=[80]), snapshot).message
    assert decide(pod("z", ports=[81]), snapshot).node == "a"


def test_emptier_node_wins():
    snapshot = snapshot_of(node("a"), node("b"), placed=[(pod("x", cpu="2", memory="2Gi"), "a")])
    assert decide(pod("p", cpu="100m"), snapshot).node == "b"


def test_prefer_no_schedule_is_avoided_and_images_attract():
    taint = [{"key": "k", "effect": "PreferNoSchedule"}]
    assert decide(pod("p"), snapshot_of(node("a", taints=taint), node("b"))).node == "b"
    snapshot = snapshot_of(node("a"), node("b", images=["docker.io/library/app:1"]))
    assert decide(pod("p"), snapshot).node == "b"


def test_removed_node_comes_back_with_its_pods():
    snapshot = snapshot_of(node("a", cpu="1"), placed=[(pod("x", cpu="1"), "a")])
    snapshot.remove_node("a")
    assert decide(pod("p", cpu="1"), snapshot).node == ""
    snapshot.set_node(node("a", cpu="1"))
    assert "Insufficient cpu" in decide(pod("p", cpu="1"), snapshot).message
    snapshot.remove_pod("x")
    assert decide(pod("p", cpu="1"), snapshot).node == "a"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 8), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 11)), max_size=20),
    st.integers(0, 8),
)
def test_fit_agrees_with_plain_counting(capacities, placed, wanted):
    """Property: the vectorised fit says what a loop would."""
    snapshot = Snapshot()
    for index, cpu in enumerate(capacities):
        snapshot.set_node(node(f"n{index}", cpu=str(cpu)))
    used = [0] * len(capacities)
    for number, (cpu, where) in enumerate(placed):
        row = where % len(capacities)
        snapshot.add_pod(describe_pod(pod(f"x{number}", cpu=str(cpu))), f"n{row}")
        used[row] += cpu
    fitting = {f"n{i}" for i, c in enumerate(capacities) if wanted == 0 or c - used[i] >= wanted}
    choice = decide(pod("p", cpu=str(wanted)), snapshot)
    assert choice.feasible == len(fitting)
    assert (choice.node in fitting) if fitting else choice.node == ""
