"""Why a pod's containers do not run, or run without being ready. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from kutter.cli.describe.probes import probe_text
from kutter.cli.why.exit_codes import advice, ended_text
from kutter.cli.why.finding import (
    BROKEN,
    NOTE,
    WAITING,
    Facts,
    Finding,
    Tree,
    event_line,
    warnings_of,
)

_PULL = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull",
     "ImageInspectError", "RegistryUnavailable"}
)  # fmt: skip
_MAKING = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError",
     "PostStartHookError", "PreCreateHookError"}
)  # fmt: skip


def container_findings(facts: Facts) -> Iterator[Finding]:
    """Of init containers first: the others wait for them."""
    status = facts.tree.get("status") or {}
    spec = facts.tree.get("spec") or {}
    specs = {
        c["name"]: c for field in ("initContainers", "containers") for c in spec.get(field) or ()
    }
    for state in status.get("initContainerStatuses") or ():
        sidecar = specs.get(state["name"], {}).get("restartPolicy") == "Always"
        done = ((state.get("state") or {}).get("terminated") or {}).get("exitCode") == 0
        if done or (sidecar and state.get("started")):
            continue
        if sidecar or "running" not in (state.get("state") or {}):
            yield from _one(facts, state, specs.get(state["name"], {}), "init container")
        else:
            yield Finding(
                WAITING,
                f"It waits for its init container {state['name']} to finish.",
                (),
                (f"kutter logs {facts.name} -c {state['name']}",),
            )
        return
    for state in status.get("containerStatuses") or ():
        yield from _one(facts, state, specs.get(state["name"], {}), "container")


def _one(facts: Facts, status: Tree, spec: Tree, noun: str) -> Iterator[Finding]:
    name = status["name"]
    state = status.get("state") or {}
    waiting = state.get("waiting") or {}
    reason, message = waiting.get("reason", ""), (waiting.get("message") or "").strip()
    if reason in _PULL:
        yield _image(facts, status, spec, reason, message)
    elif reason == "CrashLoopBackOff":
        yield _crash(facts, status, noun)
    elif reason in _MAKING:
        yield Finding(
            BROKEN,
            f"The {noun} {name} cannot be started: {message or reason}",
            tuple(event_line(e) for e in warnings_of(facts.events, "Failed")[:1]),
            ("correct the pod's template",),
        )
    elif "terminated" in state:
        yield from _ended(facts, status, noun)
    elif "running" in state and not status.get("ready"):
        yield _not_ready(facts, status, spec, noun)
    elif "running" in state and status.get("restartCount"):
        yield from _restarted(facts, status, noun)


def _image(facts: Facts, status: Tree, spec: Tree, reason: str, message: str) -> Finding:
    image = spec.get("image") or status.get("image") or ""
    events = warnings_of(facts.events, "Failed", "ErrImageNeverPull", "InspectFailed")
    pulls = [e for e in events if "ull" in (e.get("message") or "")] or events
    detail = next((e.get("message") or "" for e in pulls if image in (e.get("message") or "")), "")
    evidence = [text for text in dict.fromkeys((message, detail.strip())) if text]
    steps: tuple[str, ...]
    if reason == "InvalidImageName":
        says = f'The image name "{image}" of container {status["name"]} is not valid.'
        steps = ("correct the name: [registry/]name[:tag]",)
    elif reason == "ErrImageNeverPull":
        says = f"The image {image} is not on the node, and its pull policy is Never."
        steps = (f"sudo kutter image import FILE, or set imagePullPolicy for {image}",)
    else:
        says = f"The image {image} of container {status['name']} cannot be pulled."
        steps = (
            "check name and tag; for a private registry, add an imagePullSecret",
            f"on the node: sudo kutter image pull {image}",
        )
    return Finding(BROKEN, says, tuple(evidence), steps)


def _crash(facts: Facts, status: Tree, noun: str) -> Finding:
    ended = (status.get("lastState") or {}).get("terminated") or {}
    count = status.get("restartCount", 0)
    name = status["name"]
    says = (
        f"The {noun} {name} crashes again and again: it was restarted {count} times and last ended"
        f" with {ended_text(ended)}."
    )
    evidence = []
    if ended.get("message"):
        evidence.append(f"it said: {ended['message'].strip()}")
    evidence += [event_line(e) for e in warnings_of(facts.events, "BackOff", "Unhealthy")[:2]]
    steps = [f"kutter logs {facts.name} -c {name} --previous"]
    if advice(ended):
        steps.append(advice(ended))
    return Finding(BROKEN, says, tuple(evidence), tuple(steps))


def _ended(facts: Facts, status: Tree, noun: str) -> Iterator[Finding]:
    ended = status["state"]["terminated"]
    policy = (facts.tree.get("spec") or {}).get("restartPolicy", "Always")
    if ended.get("exitCode") == 0 and policy != "Always":
        return
    steps = [f"kutter logs {facts.name} -c {status['name']}"]
    if advice(ended):
        steps.append(advice(ended))
    yield Finding(
        BROKEN if ended.get("exitCode") else WAITING,
        f"The {noun} {status['name']} ended with {ended_text(ended)}.",
        ((ended["message"].strip(),) if ended.get("message") else ()),
        tuple(steps),
    )


def _not_ready(facts: Facts, status: Tree, spec: Tree, noun: str) -> Finding:
    name = status["name"]
    failing = warnings_of(facts.events, "Unhealthy", "ProbeWarning")
    startup = spec.get("startupProbe")
    if startup and status.get("started") is False:
        kind, probe = "startup", startup
    else:
        kind, probe = "readiness", spec.get("readinessProbe")
    if not probe:
        return Finding(WAITING, f"The {noun} {name} runs and is about to become ready.")
    own = [e for e in failing if kind in (e.get("message") or "").lower()]
    evidence = [f"its probe: {probe_text(probe)}", *(event_line(e) for e in own[:2])]
    if own:
        return Finding(
            BROKEN,
            f"The {noun} {name} runs, but its {kind} probe fails.",
            tuple(evidence),
            (
                f"kutter logs {facts.name} -c {name}",
                "check port and path of the probe against what the container serves",
            ),
        )
    return Finding(
        WAITING, f"The {noun} {name} runs and its {kind} probe has not yet passed.", tuple(evidence)
    )


def _restarted(facts: Facts, status: Tree, noun: str) -> Iterator[Finding]:
    ended = (status.get("lastState") or {}).get("terminated")
    if not ended:
        return
    yield Finding(
        NOTE,
        f"The {noun} {status['name']} was restarted {status['restartCount']} times; last it ended"
        f" with {ended_text(ended)}.",
        tuple(event_line(e) for e in warnings_of(facts.events, "Unhealthy")[:1]),
        (f"kutter logs {facts.name} -c {status['name']} --previous",),
    )
