"""What stands is what would be found anew, draws included."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.scheduler.test_cycle import node, pod

from kutter.base.rng import Rng
from kutter.scheduler import standing
from kutter.scheduler.cycle import choose
from kutter.scheduler.snapshot import NamespaceLookup, Snapshot, describe_pod
from kutter.scheduler.standing import LIMIT, Standings

SOFT = {"key": "soft", "value": "x", "effect": "PreferNoSchedule"}
HARD = {"key": "hard", "value": "x", "effect": "NoSchedule"}
ANTI = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}
        ]
    }
}
SPREAD = [
    {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"a": "b"}},
    }
]

kinds = st.sampled_from(
    [
        {"cpu": "1"},
        {"cpu": "1"},
        {"cpu": "500m", "memory": "1Gi"},
        {},
        {"cpu": "1", "tolerations": [{"key": "hard", "operator": "Exists"}]},
        {"cpu": "1", "nodeSelector": {"zone": "a"}},
        {"ports": (80,)},
        {"affinity": ANTI, "labels": {"a": "b"}},
        {"topologySpreadConstraints": SPREAD, "labels": {"a": "b"}},
        {"cpu": "1", "labels": {"a": "b"}},
    ]
)
nodes = st.fixed_dictionaries(
    {"cpu": st.sampled_from(["2", "4"]), "pods": st.sampled_from(["2", "110"])},
    optional={
        "labels": st.just({"zone": "a"}),
        "taints": st.sampled_from([[SOFT], [HARD], [SOFT, HARD]]),
        "images": st.just(["app:1"]),
        "unschedulable": st.just(True),
    },
)
steps = st.one_of(
    st.tuples(st.just("pod"), kinds),
    st.tuples(st.just("pod"), kinds),
    st.tuples(st.just("pod"), kinds),
    st.tuples(st.just("gone"), st.integers(0, 30)),
    st.tuples(st.just("node"), st.tuples(st.integers(0, 5), nodes)),
    st.tuples(st.just("lost"), st.integers(0, 5)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(nodes, min_size=1, max_size=6), st.lists(steps, max_size=40), st.integers(0, 9))
def test_a_decision_is_the_one_choose_would_make(start: Any, history: Any, seed: int) -> None:
    snapshot, namespaces = Snapshot(), NamespaceLookup({"default": {}})
    drawn, again = Rng(seed), Rng(seed)
    standings = Standings(snapshot, namespaces, rng=drawn)
    for number, made in enumerate(start):
        snapshot.set_node(node(f"n{number}", **made))
    placed: list[str] = []
    for number, (what, detail) in enumerate(history):
        if what == "node":
            snapshot.set_node(node(f"n{detail[0]}", **detail[1]))
        elif what == "lost":
            snapshot.remove_node(f"n{detail}")
        elif what == "gone":
            if detail < len(placed):
                snapshot.remove_pod(placed[detail])
        else:
            info = describe_pod(pod(f"p{number}", **detail))
            expected = choose(info, snapshot, namespaces, rng=again)
            assert standings.choose(info) == expected
            if expected.node:
                snapshot.add_pod(info, expected.node)
                placed.append(info.uid)


def test_every_plug_in_is_known() -> None:
    # Whoever adds one says in standing.py what it looks at; until then nothing stands.
    assert standing.UNKNOWN == ()


def test_nothing_stands_beside_a_plug_in_nobody_knows(monkeypatch: Any) -> None:
    snapshot = Snapshot()
    snapshot.set_node(node("n0"))
    standings = Standings(snapshot, NamespaceLookup())
    monkeypatch.setattr(standing, "UNKNOWN", (object(),))
    assert standings.choose(describe_pod(pod("p"))).node == "n0"
    assert len(standings) == 0


def test_only_rows_that_changed_are_asked_about_again(monkeypatch: Any) -> None:
    snapshot, namespaces = Snapshot(), NamespaceLookup()
    for number in range(50):
        snapshot.set_node(node(f"n{number}"))
    standings = Standings(snapshot, namespaces, rng=Rng(1))
    asked: list[Any] = []
    look_at = standing._Standing._look_at

    def count(self: Any, rows: Any, *rest: Any) -> None:
        asked.append(rows if isinstance(rows, slice) else len(rows))
        look_at(self, rows, *rest)

    look_at_one = standing._Standing._look_at_one

    def count_one(self: Any, *rest: Any) -> None:
        asked.append("one")
        look_at_one(self, *rest)

    monkeypatch.setattr(standing._Standing, "_look_at", count)
    monkeypatch.setattr(standing._Standing, "_look_at_one", count_one)
    infos = [describe_pod(pod(f"p{number}", cpu="1")) for number in range(5)]
    for info in infos:
        snapshot.add_pod(info, standings.choose(info).node)
    for info in infos[:2]:
        snapshot.remove_pod(info.uid)
    standings.choose(infos[0])
    assert asked == [slice(0, 50), "one", "one", "one", "one", 3]


amounts = st.one_of(st.integers(0, 200), st.integers(0, 1 << 45))
rows = st.tuples(
    st.lists(amounts, min_size=5, max_size=5),
    st.lists(amounts, min_size=5, max_size=5),
    st.tuples(amounts, amounts),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(rows, min_size=1, max_size=4),
    st.dictionaries(st.sampled_from(["cpu", "memory", "pods", "x.example/y"]), amounts),
    amounts,
    amounts,
)
def test_one_row_is_found_what_many_are(given_rows: Any, requests: Any, cpu: int, memory: int):
    """To the last bit: equal scores are drawn from."""
    snapshot, namespaces = Snapshot(), NamespaceLookup()
    for number in range(len(given_rows)):
        snapshot.set_node(node(f"n{number}"))
    snapshot.column("x.example/y")
    for number, (there, requested, scored) in enumerate(given_rows):
        snapshot.allocatable[number], snapshot.requested[number] = there, requested
        snapshot.scored[number] = scored
    info = describe_pod(pod("p"))
    info.requests, info.scored_cpu, info.scored_memory = requests, cpu, memory
    many, one = (standing._Standing(info, snapshot, namespaces) for _ in range(2))
    for number in range(len(given_rows)):
        one.feasible[number], one.totals[number] = False, -7.0
    one.count = 0
    for number in range(len(given_rows)):
        one._look_at_one(number, info, snapshot)
    assert many.count == one.count
    assert many.feasible.tolist() == one.feasible.tolist()
    assert many.totals.tolist() == one.totals.tolist()


def test_what_stands_is_bounded() -> None:
    snapshot, namespaces = Snapshot(), NamespaceLookup()
    for number in range(3):
        snapshot.set_node(node(f"n{number}", cpu="400"))
    standings = Standings(snapshot, namespaces, rng=Rng(1))
    for number in range(3 * LIMIT):
        standings.choose(describe_pod(pod(f"p{number}", cpu=f"{number + 1}m")))
    assert len(standings) == LIMIT
    info = describe_pod(pod("many", cpu="1m"))
    for _ in range(5000):
        snapshot.add_pod(info, "n1")
    assert len(snapshot.touched) <= 4097
