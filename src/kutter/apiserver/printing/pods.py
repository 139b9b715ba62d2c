"""The row of a pod: readiness, and the one word that says how it fares."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kutter.apiserver.printing.age import age, human_duration, parse_time
from kutter.apiserver.printing.columns import (
    NONE,
    Printer,
    Tree,
    age_of,
    container_cells,
    labels_text,
    name_of,
)

_POD_COLUMNS = "Name Ready Status Restarts Age IP+ Node+ Nominated_Node+ Readiness_Gates+"


class PodPrinter(Printer):
    def __init__(self) -> None:
        super().__init__(_POD_COLUMNS, pod_cells)

    def conditions(self, tree: Tree) -> list[Tree]:
        """Finished pods are marked, so that clients may hide them."""
        phase = (tree.get("status") or {}).get("phase")
        text = {
            "Succeeded": "The pod has completed successfully.",
            "Failed": "The pod failed.",
        }.get(phase or "")
        if text is None:
            return []
        return [{"type": "Completed", "status": "True", "reason": phase, "message": text}]


class _Restarts:
    """How often containers were restarted, and when last."""

    def __init__(self) -> None:
        self.count = 0
        self.last: datetime | None = None

    def add(self, status: Tree) -> None:
        self.count += status.get("restartCount") or 0
        ended = (status.get("lastState") or {}).get("terminated") or {}
        finished = parse_time(ended.get("finishedAt"))
        if finished is not None and (self.last is None or finished > self.last):
            self.last = finished

    def text(self, now: datetime) -> str:
        if not self.count or self.last is None:
            return str(self.count)
        return f"{self.count} ({human_duration((now - self.last).total_seconds())} ago)"


def pod_cells(tree: Tree, now: datetime) -> list[Any]:
    spec, status = tree.get("spec") or {}, tree.get("status") or {}
    word, ready, total, restarts = _summary(tree, spec, status)
    addresses = status.get("podIPs") or []
    gates = spec.get("readinessGates") or []
    return [
        name_of(tree),
        f"{ready}/{total}",
        word,
        restarts.text(now),
        age_of(tree, now),
        (addresses[0].get("ip") if addresses else status.get("podIP")) or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _gates_text(gates, status) if gates else NONE,
    ]


def _gates_text(gates: list[Tree], status: Tree) -> str:
    true = {c.get("type") for c in status.get("conditions") or () if c.get("status") == "True"}
    return f"{sum(g.get('conditionType') in true for g in gates)}/{len(gates)}"


def _condition(status: Tree, kind: str) -> Tree | None:
    return next((c for c in status.get("conditions") or () if c.get("type") == kind), None)


def _is_true(status: Tree, kind: str) -> bool:
    condition = _condition(status, kind)
    return condition is not None and condition.get("status") == "True"


def _summary(tree: Tree, spec: Tree, status: Tree) -> tuple[str, int, int, _Restarts]:
    word = status.get("reason") or status.get("phase") or ""
    scheduled = _condition(status, "PodScheduled")
    if scheduled is not None and scheduled.get("reason") == "SchedulingGated":
        word = "SchedulingGated"
    sidecars = {
        c.get("name")
        for c in spec.get("initContainers") or ()
        if c.get("restartPolicy") == "Always"
    }
    total = len(spec.get("containers") or ()) + len(sidecars)
    initial, sidecar_restarts = _Restarts(), _Restarts()
    starting, ready = "", 0
    for i, container in enumerate(status.get("initContainerStatuses") or ()):
        initial.add(container)
        is_sidecar = container.get("name") in sidecars
        if is_sidecar:
            sidecar_restarts.add(container)
        state = container.get("state") or {}
        ended = state.get("terminated")
        if ended is not None and not ended.get("exitCode"):
            continue
        if is_sidecar and container.get("started"):
            ready += bool(container.get("ready"))
            continue
        starting = _init_word(state, i, len(spec.get("initContainers") or ()))
        break
    restarts = initial
    if starting:
        word = starting
    if not starting or _is_true(status, "Initialized"):
        restarts = sidecar_restarts
        running, error = False, ""
        for container in reversed(status.get("containerStatuses") or ()):
            restarts.add(container)
            state = container.get("state") or {}
            waiting, ended = state.get("waiting"), state.get("terminated")
            if waiting is not None and waiting.get("reason"):
                word = waiting["reason"]
            elif ended is not None:
                word = ended.get("reason") or _exit_word(ended)
                error = word if ended.get("exitCode") else error
            elif container.get("ready") and state.get("running") is not None:
                running = True
                ready += 1
        if word == "Completed":
            if running and _is_true(status, "Ready"):
                word = "Running"
            else:
                word = error or ("NotReady" if running else word)
    if (tree.get("metadata") or {}).get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            word = "Unknown"
        elif status.get("phase") not in ("Succeeded", "Failed"):
            word = "Terminating"
    return word, ready, total, restarts


def _init_word(state: Tree, index: int, count: int) -> str:
    ended, waiting = state.get("terminated"), state.get("waiting")
    if ended is not None:
        return "Init:" + (ended.get("reason") or _exit_word(ended))
    if waiting is not None and waiting.get("reason") not in (None, "", "PodInitializing"):
        return f"Init:{waiting['reason']}"
    return f"Init:{index}/{count}"


def _exit_word(ended: Tree) -> str:
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode') or 0}"


def pod_template_cells(tree: Tree, now: datetime) -> list[Any]:
    template = tree.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels")
    return [name_of(tree), *container_cells(template.get("spec")), labels_text(labels)]


def event_cells(tree: Tree, now: datetime) -> list[Any]:
    """``v1`` and ``events.k8s.io/v1`` name the same things differently."""
    about = tree.get("involvedObject") or tree.get("regarding") or {}
    source = tree.get("source") or tree.get("deprecatedSource") or {}
    first = tree.get("firstTimestamp") or tree.get("deprecatedFirstTimestamp")
    last = tree.get("lastTimestamp") or tree.get("deprecatedLastTimestamp")
    count = tree.get("count") or tree.get("deprecatedCount") or 1
    series = tree.get("series")
    first = first or tree.get("eventTime")
    last = last or first
    if series:
        last, count = series.get("lastObservedTime") or last, series.get("count") or count
    kind, name = (about.get("kind") or "").lower(), about.get("name")
    reporter = tree.get("reportingComponent") or tree.get("reportingController") or ""
    component = source.get("component") or reporter
    host = source.get("host") or tree.get("reportingInstance") or ""
    return [
        age(last, now),
        tree.get("type") or "",
        tree.get("reason") or "",
        f"{kind}/{name}" if name else kind,
        about.get("fieldPath") or "",
        f"{component}, {host}" if host else component,
        (tree.get("message") or tree.get("note") or "").strip(),
        age(first, now),
        count,
        name_of(tree),
    ]


EVENT_COLUMNS = "Last_Seen Type Reason Object Subobject+ Source+ Message First_Seen+ Count+ Name+"
