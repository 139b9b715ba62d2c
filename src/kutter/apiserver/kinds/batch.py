"""Jobs and cron jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from kutter.api.errors import (
    FieldError,
    forbidden_field,
    invalid,
    not_supported,
    required,
)
from kutter.api.names import check_dns_label
from kutter.apiserver.kinds.pod_defaults import default_pod_spec
from kutter.apiserver.kinds.standard import SpecKind, setdefault, spec_of
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation.cron import schedule_problem, time_zone_problem
from kutter.apiserver.validation.equality import equal
from kutter.apiserver.validation.job_policies import (
    validate_failed_indexes,
    validate_failure_policy,
    validate_manager,
    validate_success_policy,
)
from kutter.apiserver.validation.metadata import immutable, validate_label_selector
from kutter.apiserver.validation.pod_spec import validate_pod_template
from kutter.apiserver.validation.workloads import MISMATCH, counts, selector_matches

Errors = list[FieldError]

_UID = "batch.kubernetes.io/controller-uid"
_NAME = "batch.kubernetes.io/job-name"
_LEGACY_UID = "controller-uid"
_LEGACY_NAME = "job-name"
_INDEXED_MAX_PARALLELISM = 100_000
# What may still be decided about where pods of a suspended job run.
_SCHEDULING = ("nodeSelector", "affinity", "tolerations", "schedulingGates")


class JobKind(SpecKind):
    field_labels: ClassVar[frozenset[str]] = frozenset({"status.successful"})

    def default(self, tree: Tree) -> None:
        spec = spec_of(tree)
        template = setdefault(spec, "template", {})
        default_pod_spec(setdefault(template, "spec", {}))
        if spec.get("completions") is None and spec.get("parallelism") is None:
            spec["completions"] = 1
            spec["parallelism"] = 1
        setdefault(spec, "parallelism", 1)
        per_index = spec.get("backoffLimitPerIndex") is not None
        setdefault(spec, "backoffLimit", 2**31 - 1 if per_index else 6)
        labels = (template.get("metadata") or {}).get("labels")
        metadata = tree.setdefault("metadata", {})
        if labels and not metadata.get("labels"):
            metadata["labels"] = dict(labels)
        setdefault(spec, "completionMode", "NonIndexed")
        setdefault(spec, "suspend", False)
        setdefault(spec, "manualSelector", False)
        policy = spec.get("podFailurePolicy")
        for rule in (policy or {}).get("rules") or ():
            for pattern in rule.get("onPodConditions") or ():
                if not pattern.get("status"):
                    pattern["status"] = "True"
        if spec.get("podReplacementPolicy") is None:
            spec["podReplacementPolicy"] = "Failed" if policy else "TerminatingOrFailed"

    def validate_create(self, context: StrategyContext, tree: Tree) -> list[FieldError]:
        # The selector holds the uid, which exists only now.
        generate_selector(tree)
        # Upstream defaults again when it reads the object back: the labels follow the template.
        self.default(tree)
        return super().validate_create(context, tree)

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        validate_job_spec(errors, spec, "spec")
        selector = spec.get("selector")
        if selector is None:
            errors.append(required("spec.selector"))
        else:
            errors += validate_label_selector(selector, "spec.selector")
        if not spec.get("manualSelector"):
            _generated_selector(errors, tree, spec)
        labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
        if not selector_matches(selector, labels):
            errors.append(invalid("spec.template.metadata.labels", labels, MISMATCH))
        _indexed_host_names(errors, tree, spec)
        return errors

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        after, before = new.get("spec") or {}, old.get("spec") or {}
        errors = _completions(after, before)
        errors += immutable(after.get("selector"), before.get("selector"), "spec.selector")
        started = (old.get("status") or {}).get("startTime") is not None
        may_move = bool(before.get("suspend")) and not started
        errors += _template(after, before, may_move)
        for field in (
            "completionMode",
            "podFailurePolicy",
            "backoffLimitPerIndex",
            "managedBy",
            "successPolicy",
        ):
            errors += immutable(after.get(field), before.get(field), f"spec.{field}")
        return errors

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        status = new.get("status") or {}
        counts(errors, status, "status", "active", "succeeded", "failed", "ready", "terminating")
        done = {c.get("type"): c.get("status") for c in status.get("conditions") or ()}
        if done.get("Complete") == "True" and done.get("Failed") == "True":
            errors.append(
                invalid(
                    "status.conditions",
                    status.get("conditions"),
                    "cannot set Complete=True and Failed=true conditions",
                )
            )
        return errors

    def default_garbage_collection(self, tree: Tree) -> str:
        return "orphan"

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        return {"status.successful": str((tree.get("status") or {}).get("succeeded") or 0)}


def _indexed_host_names(errors: Errors, tree: Tree, spec: Tree) -> None:
    """The host name of an indexed job's last pod must be a label of DNS."""
    name, completions = (tree.get("metadata") or {}).get("name") or "", spec.get("completions")
    if spec.get("completionMode") != "Indexed" or not completions or completions < 0:
        return
    longest = f"{name}-{completions - 1}"
    if check_dns_label(longest):
        text = f"will not able to create pod with invalid DNS label: {longest}"
        errors.append(invalid("metadata.name", name, text))


def generate_selector(tree: Tree) -> None:
    """Label the template with the job's uid and name, and select by the uid."""
    spec, metadata = spec_of(tree), tree.get("metadata") or {}
    if spec.get("manualSelector"):
        return
    template = setdefault(spec, "template", {})
    labels = setdefault(setdefault(template, "metadata", {}), "labels", {})
    uid, name = metadata.get("uid") or "", metadata.get("name") or ""
    for key, value in ((_LEGACY_UID, uid), (_UID, uid), (_LEGACY_NAME, name), (_NAME, name)):
        labels.setdefault(key, value)
    if spec.get("selector") is None:
        spec["selector"] = {"matchLabels": {_UID: labels[_UID]}}
    else:
        setdefault(spec["selector"], "matchLabels", {}).setdefault(_UID, labels[_UID])


def _generated_selector(errors: Errors, tree: Tree, spec: Tree) -> None:
    metadata = tree.get("metadata") or {}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    for key, field in ((_UID, "uid"), (_NAME, "name")):
        wanted, found = metadata.get(field) or "", labels.get(key)
        path = f"spec.template.metadata.labels[{key}]"
        if found is None:
            errors.append(required(path, f"must be '{wanted}'"))
        elif found != wanted:
            errors.append(invalid(path, labels, f"must be '{wanted}'"))
    selector = spec.get("selector") or {}
    chosen = selector.get("matchLabels") or {}
    uid = metadata.get("uid") or ""
    generated = set(chosen) <= {_UID, _LEGACY_UID} and not selector.get("matchExpressions")
    if not generated or any(v != uid for v in chosen.values()):
        errors.append(invalid("spec.selector", selector, "`selector` not auto-generated"))


def validate_job_spec(errors: Errors, spec: Tree, path: str) -> None:
    counts(
        errors,
        spec,
        path,
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    )
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        errors.append(
            required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
        )
    if spec.get("managedBy") is not None:
        validate_manager(errors, spec["managedBy"], f"{path}.managedBy")
    mode = spec.get("completionMode")
    if mode is not None and mode not in ("Indexed", "NonIndexed"):
        errors.append(not_supported(f"{path}.completionMode", mode, ["Indexed", "NonIndexed"]))
    parallelism = spec.get("parallelism") or 0
    if mode == "Indexed":
        if spec.get("completions") is None:
            errors.append(required(f"{path}.completions", "when completion mode is Indexed"))
        if parallelism > _INDEXED_MAX_PARALLELISM:
            errors.append(
                invalid(
                    f"{path}.parallelism",
                    parallelism,
                    f"must be less than or equal to {_INDEXED_MAX_PARALLELISM} when completion "
                    "mode is Indexed",
                )
            )
        validate_failed_indexes(errors, spec, path)
    elif mode in (None, "NonIndexed"):
        for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(field) is not None:
                errors.append(
                    invalid(f"{path}.{field}", spec[field], "requires indexed completion mode")
                )
    if spec.get("podFailurePolicy") is not None:
        validate_failure_policy(errors, spec, f"{path}.podFailurePolicy")
    policy = spec.get("successPolicy")
    if policy is not None and mode != "Indexed":
        errors.append(invalid(f"{path}.successPolicy", policy, "requires indexed completion mode"))
    elif policy is not None:
        validate_success_policy(errors, spec, f"{path}.successPolicy")
    replacement = spec.get("podReplacementPolicy")
    if replacement is not None:
        guarded = spec.get("podFailurePolicy") is not None
        allowed = ["Failed"] if guarded else ["Failed", "TerminatingOrFailed"]
        if replacement not in allowed:
            errors.append(not_supported(f"{path}.podReplacementPolicy", replacement, allowed))
    validate_pod_template(errors, spec.get("template") or {}, f"{path}.template")
    restart = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy") or ""
    here = f"{path}.template.spec.restartPolicy"
    if restart in ("", "Always"):
        errors.append(required(here, 'valid values: "OnFailure", "Never"'))
    elif restart not in ("OnFailure", "Never"):
        errors.append(not_supported(here, restart, ["OnFailure", "Never"]))
    elif spec.get("podFailurePolicy") is not None and restart != "Never":
        errors.append(
            invalid(here, restart, 'only "Never" is supported when podFailurePolicy is specified')
        )


def _completions(after: Tree, before: Tree) -> list[FieldError]:
    path = "spec.completions"
    new, old = after.get("completions"), before.get("completions")
    if new == old:
        return []
    if after.get("completionMode") != "Indexed" or new is None or old is None:
        return immutable(new, old, path)
    if new != after.get("parallelism") or old != before.get("parallelism"):
        return [invalid(path, new, "can only be modified in tandem with spec.parallelism")]
    return []


def _template(after: Tree, before: Tree, may_move: bool) -> list[FieldError]:
    new, old = after.get("template") or {}, before.get("template") or {}
    if may_move:
        old = _with_scheduling_of(old, new)
    return immutable(new, old, "spec.template")


def _with_scheduling_of(old: Tree, new: Tree) -> Tree:
    pod: dict[str, Any] = dict(old.get("spec") or {})
    wanted = new.get("spec") or {}
    for field in _SCHEDULING:
        if wanted.get(field) is None:
            pod.pop(field, None)
        else:
            pod[field] = wanted[field]
    metadata = dict(old.get("metadata") or {})
    for field in ("labels", "annotations"):
        changed = (new.get("metadata") or {}).get(field)
        if changed is not None:
            metadata[field] = changed
    return {**old, "spec": pod, "metadata": metadata}


class CronJobKind(SpecKind):
    def default(self, tree: Tree) -> None:
        spec = spec_of(tree)
        if not spec.get("concurrencyPolicy"):
            spec["concurrencyPolicy"] = "Allow"
        setdefault(spec, "suspend", False)
        setdefault(spec, "successfulJobsHistoryLimit", 3)
        setdefault(spec, "failedJobsHistoryLimit", 1)
        job = setdefault(setdefault(spec, "jobTemplate", {}), "spec", {})
        template = setdefault(job, "template", {})
        default_pod_spec(setdefault(template, "spec", {}))

    def check_metadata(self, tree: Tree) -> list[FieldError]:
        errors = super().check_metadata(tree)
        name = (tree.get("metadata") or {}).get("name") or ""
        if len(name) > 52:
            errors.append(invalid("metadata.name", name, "must be no more than 52 characters"))
        return errors

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        schedule, zone = spec.get("schedule") or "", spec.get("timeZone")
        if not schedule:
            errors.append(required("spec.schedule"))
        else:
            problem = schedule_problem(schedule)
            if problem:
                errors.append(invalid("spec.schedule", schedule, problem))
        if zone is not None:
            problem = time_zone_problem(zone)
            if problem:
                errors.append(invalid("spec.timeZone", zone, problem))
        counts(
            errors,
            spec,
            "spec",
            "startingDeadlineSeconds",
            "successfulJobsHistoryLimit",
            "failedJobsHistoryLimit",
        )
        policy = spec.get("concurrencyPolicy") or ""
        if policy not in ("Allow", "Forbid", "Replace"):
            here = "spec.concurrencyPolicy"
            errors.append(
                not_supported(here, policy, ["Allow", "Forbid", "Replace"])
                if policy
                else required(here)
            )
        job = (spec.get("jobTemplate") or {}).get("spec") or {}
        if job.get("manualSelector"):
            errors.append(
                not_supported("spec.jobTemplate.spec.manualSelector", True, ["nil", "false"])
            )
        validate_job_spec(errors, job, "spec.jobTemplate.spec")
        return errors

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        if equal(new, old):
            return errors
        name = (new.get("metadata") or {}).get("name") or ""
        if name != (old.get("metadata") or {}).get("name"):
            errors.append(forbidden_field("metadata.name", "field is immutable"))
        return errors
