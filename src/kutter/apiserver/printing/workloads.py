"""Rows of the apps, batch, autoscaling and policy kinds."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kutter.apiserver.printing.age import UNKNOWN, age, human_duration, parse_time
from kutter.apiserver.printing.columns import (
    NONE,
    UNSET,
    Tree,
    age_of,
    bool_text,
    container_cells,
    labels_text,
    name_of,
    reference_text,
    selector_text,
)
from kutter.apiserver.validation import quantities


def _parts(tree: Tree) -> tuple[Tree, Tree]:
    return tree.get("spec") or {}, tree.get("status") or {}


def _template(spec: Tree) -> tuple[str, str]:
    return container_cells((spec.get("template") or {}).get("spec"))


def deployment_cells(tree: Tree, now: datetime) -> list[Any]:
    spec, status = _parts(tree)
    return [
        name_of(tree),
        f"{status.get('readyReplicas') or 0}/{spec.get('replicas') or 0}",
        status.get("updatedReplicas") or 0,
        status.get("availableReplicas") or 0,
        age_of(tree, now),
        *_template(spec),
        selector_text(spec.get("selector")),
    ]


def replica_set_cells(tree: Tree, now: datetime) -> list[Any]:
    spec, status = _parts(tree)
    selector = spec.get("selector")
    plain = tree.get("kind") == "ReplicationController"
    return [
        name_of(tree),
        spec.get("replicas") or 0,
        status.get("replicas") or 0,
        status.get("readyReplicas") or 0,
        age_of(tree, now),
        *_template(spec),
        labels_text(selector) if plain else selector_text(selector),
    ]


def daemon_set_cells(tree: Tree, now: datetime) -> list[Any]:
    spec, status = _parts(tree)
    pod = (spec.get("template") or {}).get("spec") or {}
    return [
        name_of(tree),
        status.get("desiredNumberScheduled") or 0,
        status.get("currentNumberScheduled") or 0,
        status.get("numberReady") or 0,
        status.get("updatedNumberScheduled") or 0,
        status.get("numberAvailable") or 0,
        labels_text(pod.get("nodeSelector")),
        age_of(tree, now),
        *_template(spec),
        selector_text(spec.get("selector")),
    ]


def stateful_set_cells(tree: Tree, now: datetime) -> list[Any]:
    spec, status = _parts(tree)
    ready = f"{status.get('readyReplicas') or 0}/{spec.get('replicas') or 0}"
    return [name_of(tree), ready, age_of(tree, now), *_template(spec)]


def controller_revision_cells(tree: Tree, now: datetime) -> list[Any]:
    owners = (tree.get("metadata") or {}).get("ownerReferences") or ()
    owner = next((o for o in owners if o.get("controller")), None)
    text = NONE
    if owner is not None:
        group = (owner.get("apiVersion") or "").rpartition("/")[0]
        text = reference_text(owner.get("kind") or "", group, owner.get("name") or "")
    return [name_of(tree), text, tree.get("revision") or 0, age_of(tree, now)]


_JOB_WORDS = (
    ("Complete", "Complete"),
    ("Failed", "Failed"),
    ("", "Terminating"),
    ("Suspended", "Suspended"),
    ("FailureTarget", "FailureTarget"),
    ("SuccessCriteriaMet", "SuccessCriteriaMet"),
)


def job_cells(tree: Tree, now: datetime) -> list[Any]:
    spec, status = _parts(tree)
    succeeded = status.get("succeeded") or 0
    if spec.get("completions") is not None:
        completions = f"{succeeded}/{spec['completions']}"
    elif (spec.get("parallelism") or 0) > 1:
        completions = f"{succeeded}/1 of {spec['parallelism']}"
    else:
        completions = f"{succeeded}/1"
    start, end = parse_time(status.get("startTime")), parse_time(status.get("completionTime"))
    duration = "" if start is None else human_duration(((end or now) - start).total_seconds())
    true = {c.get("type") for c in status.get("conditions") or () if c.get("status") == "True"}
    deleted = bool((tree.get("metadata") or {}).get("deletionTimestamp"))
    word = next(
        (shown for kind, shown in _JOB_WORDS if (kind in true if kind else deleted)), "Running"
    )
    return [
        name_of(tree),
        word,
        completions,
        duration,
        age_of(tree, now),
        *_template(spec),
        selector_text(spec.get("selector")),
    ]


def cron_job_cells(tree: Tree, now: datetime) -> list[Any]:
    spec, status = _parts(tree)
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    last = status.get("lastScheduleTime")
    return [
        name_of(tree),
        spec.get("schedule") or "",
        spec.get("timeZone") or NONE,
        bool_text(spec.get("suspend")),
        len(status.get("active") or ()),
        age(last, now) if last else NONE,
        age_of(tree, now),
        *_template(job),
        selector_text(job.get("selector")),
    ]


def pod_disruption_budget_cells(tree: Tree, now: datetime) -> list[Any]:
    spec, status = _parts(tree)
    return [
        name_of(tree),
        *(
            str(spec[f]) if spec.get(f) is not None else "N/A"
            for f in ("minAvailable", "maxUnavailable")
        ),
        status.get("disruptionsAllowed") or 0,
        age_of(tree, now),
    ]


def horizontal_pod_autoscaler_cells(tree: Tree, now: datetime) -> list[Any]:
    spec, status = _parts(tree)
    reference = spec.get("scaleTargetRef") or {}
    low = spec.get("minReplicas")
    return [
        name_of(tree),
        f"{reference.get('kind', '')}/{reference.get('name', '')}",
        _metrics(spec, status),
        UNSET if low is None else str(low),
        spec.get("maxReplicas") or 0,
        status.get("currentReplicas") or 0,
        age_of(tree, now),
    ]


def _metrics(spec: Tree, status: Tree) -> str:
    if "targetCPUUtilizationPercentage" in spec:  # autoscaling/v1
        now = status.get("currentCPUUtilizationPercentage")
        current = UNKNOWN if now is None else f"{now}%"
        return f"cpu: {current}/{spec['targetCPUUtilizationPercentage']}%"
    metrics, found = spec.get("metrics") or [], status.get("currentMetrics") or []
    if not metrics:
        return NONE
    texts = [
        _metric(metric, found[i] if i < len(found) else {}) for i, metric in enumerate(metrics)
    ]
    shown = ", ".join(texts[:2])
    return f"{shown} + {len(texts) - 2} more..." if len(texts) > 2 else shown


def _metric(metric: Tree, found: Tree) -> str:
    fields = {
        "External": "external",
        "Pods": "pods",
        "Object": "object",
        "Resource": "resource",
        "ContainerResource": "containerResource",
    }
    field = fields.get(metric.get("type") or "")
    if field is None:
        return "<unknown type>"
    source = metric.get(field) or {}
    target, current = source.get("target") or {}, (found.get(field) or {}).get("current") or {}

    def amount(tree: Tree, key: str) -> str:
        value = tree.get(key)
        return UNKNOWN if value is None else quantities.canonical(value)

    average = target.get("averageValue") is not None
    key = "averageValue" if average or field == "pods" else "value"
    if field in ("resource", "containerResource"):
        name = source.get("name") or ""
        if average:
            return f"{name}: {amount(current, key)}/{amount(target, key)}"
        used, wanted = current.get("averageUtilization"), target.get("averageUtilization")
        left = UNKNOWN if used is None else f"{used}%"
        return f"{name}: {left}/{'<auto>' if wanted is None else f'{wanted}%'}"
    text = f"{amount(current, key)}/{amount(target, key)}"
    return f"{text} (avg)" if average and field != "pods" else text


def scale_cells(tree: Tree, now: datetime) -> list[Any]:
    spec, status = _parts(tree)
    return [
        name_of(tree),
        spec.get("replicas") or 0,
        status.get("replicas") or 0,
        age_of(tree, now),
    ]
