"""The plan of one pod: order, restarts, the end; and laws that hold for any facts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.node.conftest import container_tree, pod_tree

from kutter.api.types.base import convert
from kutter.api.types.core_v1 import Pod
from kutter.node.facts import CrashDelay, PodFacts, ProbeFacts, Problem, Termination
from kutter.node.plan import (
    EnsureImage,
    Forget,
    KillContainer,
    MakeSandbox,
    Plan,
    Prepare,
    Release,
    StartContainer,
    StopSandbox,
    plan_pod,
)
from kutter.node.restart import should_restart
from kutter.runtime.cri import (
    Container,
    ContainerMetadata,
    ContainerState,
    Sandbox,
    SandboxMetadata,
    SandboxState,
)

NOW = 1_000_000.0
SANDBOX = Sandbox(
    "s1", SandboxMetadata("web", "u1", "default"), SandboxState.READY, 1, ("10.0.0.2",)
)


def pod(**spec: Any) -> Pod:
    tree = pod_tree(**spec)
    tree["metadata"]["uid"] = "u1"
    return convert(Pod, tree)


def run(
    name: str = "app",
    state: ContainerState = ContainerState.RUNNING,
    code: int = 0,
    attempt: int = 0,
    ended_ago_s: float = 0.0,
    sandbox: str = "s1",
) -> Container:
    finished = int((NOW - ended_ago_s) * 1e9) if state is ContainerState.EXITED else 0
    return Container(
        f"{name}-{attempt}",
        sandbox,
        ContainerMetadata(name, attempt),
        "busybox",
        "sha256:1",
        state,
        1,
        started_at_ns=1,
        finished_at_ns=finished,
        exit_code=code,
    )


def facts(the_pod: Pod, *runs: Container, **more: Any) -> PodFacts:
    by_name: dict[str, tuple[Container, ...]] = {}
    for one in sorted(runs, key=lambda r: -r.metadata.attempt):
        by_name[one.metadata.name] = (*by_name.get(one.metadata.name, ()), one)
    specs = [*the_pod.spec.containers, *the_pod.spec.init_containers]
    values: dict[str, Any] = {
        "sandbox": SANDBOX,
        "prepared": True,
        "images": {s.name: "sha256:1" for s in specs},
        "containers": by_name,
        "probes": {r.id: ProbeFacts(True, True) for r in runs},
    }
    return PodFacts(the_pod, NOW, **{**values, **more})


def kinds(plan: Plan) -> list[type]:
    return [type(step) for step in plan.steps]


EXITED, RUNNING, CREATED = ContainerState.EXITED, ContainerState.RUNNING, ContainerState.CREATED


def test_new_pod_makes_everything_at_once() -> None:
    plan = plan_pod(facts(pod(), sandbox=None, prepared=False, images={}))
    assert plan.steps == (Prepare(), MakeSandbox(0), EnsureImage("app"))


def test_started_one_after_another() -> None:
    two = pod(containers=[container_tree("a"), container_tree("b")])
    assert plan_pod(facts(two)).steps == (StartContainer("a", 0),)
    busy = facts(two, busy=frozenset({"start/a"}))
    assert plan_pod(busy).steps == ()
    # Nor is the image, which the start has taken along, asked for once more.
    assert plan_pod(facts(two, busy=frozenset({"start/a"}), images={"b": "1"})).steps == ()
    assert plan_pod(facts(two, run("a"))).steps == (StartContainer("b", 0),)


def test_nothing_to_do_when_all_runs() -> None:
    plan = plan_pod(facts(pod(), run()))
    assert plan == Plan((), "everything runs as it should")


@pytest.mark.parametrize(
    ("policy", "code", "restarts"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_restart_policy(policy: str, code: int, restarts: bool) -> None:
    plan = plan_pod(facts(pod(restartPolicy=policy), run(state=EXITED, code=code)))
    if restarts:
        assert plan.steps == (StartContainer("app", 1, restart=True),)
    else:
        assert plan.ended


def test_container_rules_win_over_policies() -> None:
    rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]
    one = pod(
        restartPolicy="Never",
        containers=[container_tree(restartPolicy="Never", restartPolicyRules=rules)],
    )
    spec = one.spec.containers[0]
    assert should_restart(one, spec, 42)
    assert not should_restart(one, spec, 1)


def test_back_off_waits_and_grows() -> None:
    delay = CrashDelay(0, 0).next(NOW - 3)
    ended = facts(pod(), run(state=EXITED, code=1, ended_ago_s=3), delays={"app": delay})
    plan = plan_pod(ended)
    assert plan.steps == ()
    assert plan.crash_loops == (("app", 10.0),)
    assert plan.requeue_at == pytest.approx(NOW + 7)
    delays = [10.0]
    for _ in range(6):
        delay = delay.next(NOW)
        delays.append(delay.delay_s)
    assert delays == [10, 20, 40, 80, 160, 300, 300]
    assert delay.next(NOW + 601).delay_s == 10


def test_init_containers_in_order_then_the_rest() -> None:
    one = pod(initContainers=[container_tree("i1"), container_tree("i2")])
    assert plan_pod(facts(one)).steps == (StartContainer("i1", 0),)
    assert plan_pod(facts(one, run("i1"))).steps == ()
    done = run("i1", EXITED)
    assert plan_pod(facts(one, done)).steps == (StartContainer("i2", 0),)
    assert plan_pod(facts(one, done, run("i2", EXITED))).steps == (StartContainer("app", 0),)


def test_failed_init_container_ends_a_pod_that_never_restarts() -> None:
    one = pod(restartPolicy="Never", initContainers=[container_tree("i1")])
    assert plan_pod(facts(one, run("i1", EXITED, 1))).ended
    again = pod(restartPolicy="OnFailure", initContainers=[container_tree("i1")])
    plan = plan_pod(facts(again, run("i1", EXITED, 1)))
    assert plan.steps == (StartContainer("i1", 1, restart=True),)


def test_sidecar_must_have_started_first() -> None:
    one = pod(initContainers=[container_tree("side", restartPolicy="Always")])
    waiting = facts(one, run("side"), probes={})
    assert plan_pod(waiting).steps == ()
    assert plan_pod(facts(one, run("side"))).steps == (StartContainer("app", 0),)


def test_failed_probe_kills() -> None:
    sick = {"app-0": ProbeFacts(True, False, "liveness", 5)}
    plan = plan_pod(facts(pod(), run(), probes=sick))
    assert plan.steps == (
        KillContainer(
            "app-0", "app", 5.0, "Container app failed liveness probe, will be restarted"
        ),
    )


def test_changed_image_kills() -> None:
    old = run()
    old = Container(
        **{
            **{f: getattr(old, f) for f in old.__slots__},
            "annotations": {"io.kubernetes.container.hash": "1"},
        }
    )
    plan = plan_pod(facts(pod(), old, spec_hashes={"app": "2"}))
    assert kinds(plan) == [KillContainer]
    assert "definition changed" in plan.steps[0].message  # type: ignore[union-attr]


def test_problem_waits_for_its_time() -> None:
    problem = {"app": Problem("ErrImagePull", "no", NOW + 5)}
    plan = plan_pod(facts(pod(), images={}, problems=problem))
    assert plan.steps == ()
    assert plan.requeue_at == NOW + 5


def test_end_stops_containers_then_sidecars_backwards_then_the_rest() -> None:
    one = pod(
        initContainers=[
            container_tree("s1", restartPolicy="Always"),
            container_tree("s2", restartPolicy="Always"),
        ]
    )
    end = Termination(7.0, delete=True)
    sides = [run("s1"), run("s2")]
    plan = plan_pod(facts(one, run(), *sides, termination=end))
    assert plan.steps == (KillContainer("app-0", "app", 7.0, "Stopping container app"),)
    gone = run(state=EXITED)
    plan = plan_pod(facts(one, gone, *sides, termination=end))
    assert [s.container for s in plan.steps] == ["s2"]  # type: ignore[union-attr]
    plan = plan_pod(facts(one, gone, sides[0], run("s2", EXITED), termination=end))
    assert [s.container for s in plan.steps] == ["s1"]  # type: ignore[union-attr]
    ended = [gone, run("s1", EXITED), run("s2", EXITED)]
    assert plan_pod(facts(one, *ended, termination=end)).steps == (StopSandbox("s1"),)
    stopped = Sandbox("s1", SANDBOX.metadata, SandboxState.NOT_READY, 1)
    plan = plan_pod(facts(one, *ended, termination=end, sandbox=stopped))
    assert plan.steps == (Release(),)
    plan = plan_pod(facts(one, *ended, termination=end, sandbox=stopped, released=True))
    assert plan.steps == (Forget(),)


def test_dead_sandbox_stops_its_containers_first() -> None:
    dead = Sandbox("s1", SANDBOX.metadata, SandboxState.NOT_READY, 1)
    assert kinds(plan_pod(facts(pod(), run(), sandbox=dead))) == [KillContainer]
    plan = plan_pod(facts(pod(), run(state=EXITED, code=137), sandbox=dead))
    assert MakeSandbox(1) in plan.steps


states = st.sampled_from([None, "created", "running", "ok", "bad"])


def _made(name: str, state: str | None) -> list[Container]:
    if state is None:
        return []
    chosen = {"created": CREATED, "running": RUNNING}.get(state, EXITED)
    return [run(name, chosen, int(state == "bad"))]


@settings(deadline=None)
@given(
    policy=st.sampled_from(["Always", "OnFailure", "Never"]),
    app=states,
    init=states,
    side=states,
    sandbox=st.sampled_from([None, SANDBOX]),
    prepared=st.booleans(),
    ending=st.booleans(),
)
def test_steps_under_way_are_never_planned_again(
    policy: str,
    app: str | None,
    init: str | None,
    side: str | None,
    sandbox: Sandbox | None,
    prepared: bool,
    ending: bool,
) -> None:
    the_pod = pod(
        restartPolicy=policy,
        initContainers=[container_tree("init"), container_tree("side", restartPolicy="Always")],
    )
    runs = [*_made("app", app), *_made("init", init), *_made("side", side)]
    more = {
        "sandbox": sandbox,
        "prepared": prepared,
        "termination": Termination(1.0) if ending else None,
    }
    first = plan_pod(facts(the_pod, *runs, **more))
    assert first == plan_pod(facts(the_pod, *runs, **more))
    assert first.why
    busy = frozenset(step.key for step in first.steps)
    second = plan_pod(facts(the_pod, *runs, busy=busy, **more))
    assert not {step.key for step in second.steps} & busy
    starts = [s for s in first.steps if isinstance(s, StartContainer)]
    assert not (ending and starts)
