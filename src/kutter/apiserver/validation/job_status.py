"""The status of a job, whoever manages it: it ends once, in one way, with its time and counts.

Rules about a part of the status hold when the part changes: a user may change the specification
under a status, and a bad status of the past must not stop its repair. Pure; texts and order are
upstream's (``pkg/apis/batch/validation``, ``pkg/registry/batch/job``).
"""

from __future__ import annotations

from kutter.api.errors import FieldError, duplicate, invalid, required
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation.job_policies import count_indexes, read_interval
from kutter.apiserver.validation.workloads import counts

Errors = list[FieldError]

_CONDITIONS = "status.conditions"
_TERMINAL = ("Failed", "Complete", "FailureTarget")


class _State:
    """One status, read."""

    def __init__(self, job: Tree) -> None:
        self.spec: Tree = job.get("spec") or {}
        self.status: Tree = job.get("status") or {}
        self._held = {(c.get("type"), c.get("status")) for c in self.status.get("conditions") or ()}
        self.complete, self.failed = self.has("Complete"), self.has("Failed")
        self.finished = self.complete or self.failed
        self.failing, self.succeeding = self.has("FailureTarget"), self.has("SuccessCriteriaMet")

    def has(self, kind: str, status: str = "True") -> bool:
        return (kind, status) in self._held

    def get(self, field: str) -> Tree:
        """A field; its type is the caller's knowledge."""
        value: Tree = self.status.get(field)  # type: ignore[assignment]
        return value

    def count(self, field: str) -> int:
        return self.status.get(field) or 0


def validate_job_status(new: Tree, old: Tree) -> list[FieldError]:
    """What is wrong with a status that follows another."""
    errors: Errors = []
    after, before = _State(new), _State(old)
    counts(errors, after.status, "status", "active", "succeeded", "failed", "ready", "terminating")
    _uncounted(errors, after)
    _ends(errors, after, before)
    _leftovers(errors, after, before)
    _indexes(errors, after, before)
    _rest(errors, after, before)
    _steps(errors, after, before)
    return errors


def _changed(after: _State, before: _State, *fields: str) -> bool:
    return any(after.get(f) != before.get(f) for f in fields)


def _condition(detail: str) -> FieldError:
    return FieldError(_CONDITIONS, "FieldValueInvalid", f"Invalid value: {detail}")


def _uncounted(errors: Errors, after: _State) -> None:
    seen: set[str] = set()
    for field in ("succeeded", "failed"):
        for i, uid in enumerate((after.get("uncountedTerminatedPods") or {}).get(field) or ()):
            path = f"status.uncountedTerminatedPods.{field}[{i}]"
            if not uid:
                errors.append(invalid(path, uid, "must not be empty"))
            elif uid in seen:
                errors.append(duplicate(path, uid))
            seen.add(uid)


def _ends(errors: Errors, after: _State, before: _State) -> None:
    complete = after.complete != before.complete
    failed = after.failed != before.failed
    completion = complete or _changed(after, before, "completionTime")
    started, ended = after.get("startTime"), after.get("completionTime")
    if (complete or failed) and after.complete and after.failed:
        errors.append(_condition("cannot set Complete=True and Failed=true conditions"))
    if (complete or after.failing != before.failing) and after.complete and after.failing:
        errors.append(_condition("cannot set Complete=True and FailureTarget=true conditions"))
    path = "status.completionTime"
    if completion and ended is not None and not after.complete:
        detail = "cannot set completionTime when there is no Complete=True condition"
        errors.append(invalid(path, ended, detail))
    if completion and ended is None and after.complete:
        errors.append(required(path, "completionTime is required for Complete jobs"))
    # Times are canonical texts by now: they compare as such.
    moved = _changed(after, before, "startTime", "completionTime")
    if moved and started and ended and str(ended) < str(started):
        errors.append(invalid(path, ended, "must be equal to or after `startTime`"))
    failed = failed or _changed(after, before, "failedIndexes")
    if failed and after.failed and not after.failing:
        detail = "cannot set Failed=True condition without the FailureTarget=true condition"
        errors.append(_condition(detail))
    complete = complete or after.succeeding != before.succeeding
    if complete and after.complete and not after.succeeding:
        detail = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"
        errors.append(_condition(detail))


def _leftovers(errors: Errors, after: _State, before: _State) -> None:
    """What a finished job may not have, or must have."""
    if not after.finished:
        return
    finished = after.finished != before.finished
    if (finished or _changed(after, before, "active")) and after.count("active") > 0:
        detail = "active>0 is invalid for finished job"
        errors.append(invalid("status.active", after.count("active"), detail))
    idle = after.spec.get("suspend") is True and after.spec.get("completions") == 0
    started = finished or _changed(after, before, "startTime")
    if started and not idle and after.get("startTime") is None:
        errors.append(required("status.startTime", "startTime is required for finished job"))
    pods = after.get("uncountedTerminatedPods") or {}
    if (finished or _changed(after, before, "uncountedTerminatedPods")) and (
        pods.get("failed") or pods.get("succeeded")
    ):
        shown = {"Succeeded": pods.get("succeeded"), "Failed": pods.get("failed")}
        detail = "must be empty for finished job"
        errors.append(invalid("status.uncountedTerminatedPods", shown, detail))


def _indexes(errors: Errors, after: _State, before: _State) -> None:
    spec = after.spec
    completions, per_index = spec.get("completions"), spec.get("backoffLimitPerIndex")
    done: str = str(after.get("completedIndexes") or "")
    lost = after.status.get("failedIndexes")
    done_changed = done != str(before.get("completedIndexes") or "")
    lost_changed = _changed(after, before, "failedIndexes")
    if done_changed and completions is not None:
        _parsed(errors, "completedIndexes", done, completions)
    if lost_changed and completions is not None and per_index is not None and lost is not None:
        _parsed(errors, "failedIndexes", lost, completions)
    if done_changed and done and spec.get("completionMode") != "Indexed":
        detail = "cannot set non-empty completedIndexes when non-indexed completion mode"
        errors.append(invalid("status.completedIndexes", done, detail))
    path = "status.failedIndexes"
    if lost_changed and per_index is None and lost is not None:
        detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        errors.append(invalid(path, lost, detail))
    if (lost_changed or done_changed) and completions is not None and lost is not None:
        overlap = _overlap(done, lost, completions)
        if overlap is not None:
            detail = f"failedIndexes and completedIndexes overlap at index: {overlap}"
            errors.append(invalid(path, lost, detail))


def _parsed(errors: Errors, field: str, text: str, completions: int) -> None:
    try:
        count_indexes(text, completions)
    except ValueError as error:
        errors.append(invalid(f"status.{field}", text, f"error parsing {field}: {error}"))


def _overlap(done: str, lost: str, completions: int) -> int | None:
    """The first index in both, intervals that are none passed over."""
    if not done or not lost:
        return None
    ones, others = _intervals(done, completions), _intervals(lost, completions)
    i = j = 0
    while i < len(ones) and j < len(others):
        (low, high), (first, last) = ones[i], others[j]
        if low <= last and first <= high:
            return max(low, first)
        if low <= first:
            i += 1
        else:
            j += 1
    return None


def _intervals(text: str, completions: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for part in text.split(","):
        try:
            found.append(read_interval(part, completions))
        except ValueError:
            continue  # the check of the format tells it
    return found


def _rest(errors: Errors, after: _State, before: _State) -> None:
    terminating, ready = after.count("terminating"), after.count("ready")
    ended = after.finished != before.finished
    if (ended or _changed(after, before, "terminating")) and terminating > 0 and after.finished:
        detail = "terminating>0 is invalid for finished job"
        errors.append(invalid("status.terminating", terminating, detail))
    counted = after.status.get("ready") is not None and _changed(after, before, "ready", "active")
    if counted and ready > after.count("active"):
        detail = "cannot set more ready pods than active"
        errors.append(invalid("status.ready", ready, detail))
    if after.succeeding and after.failed:
        errors.append(_condition("cannot set SuccessCriteriaMet=True and Failed=true conditions"))
    if after.succeeding and after.failing:
        detail = "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"
        errors.append(_condition(detail))
    if after.spec.get("successPolicy") is not None and after.complete and not after.succeeding:
        detail = (
            "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"
        )
        errors.append(_condition(detail))


def _steps(errors: Errors, after: _State, before: _State) -> None:
    """What may not be taken back."""
    for kind in _TERMINAL:
        if before.has(kind) and not after.has(kind):
            errors.append(_condition(f"cannot disable the terminal {kind}=True condition"))
    spec = after.spec
    scalable = spec.get("completionMode") == "Indexed" and (
        spec.get("completions") == spec.get("parallelism")
    )
    for field, guarded in (("failed", True), ("succeeded", not scalable)):
        if guarded and after.count(field) < before.count(field):
            detail = f"cannot decrease the {field} counter"
            errors.append(invalid(f"status.{field}", after.count(field), detail))
    _times(errors, after, before)
    if before.succeeding and not after.succeeding:
        errors.append(_condition("cannot disable the SuccessCriteriaMet=True condition"))
    if before.complete and not before.succeeding and after.succeeding:
        detail = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"
        errors.append(_condition(detail))


def _times(errors: Errors, after: _State, before: _State) -> None:
    ended, was = after.get("completionTime"), before.get("completionTime")
    if ended is not None and was is not None and ended != was:
        errors.append(invalid("status.completionTime", ended, "field is immutable"))
    resuming = before.has("Suspended") and after.has("Suspended", "False")
    if before.get("startTime") is None or not _changed(after, before, "startTime"):
        return
    if not resuming and not after.spec.get("suspend"):
        detail = "field is immutable for unsuspended job once set"
        errors.append(invalid("status.startTime", after.get("startTime"), detail))
