"""Jobs and cron jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from kutter.api.errors import FieldError, invalid, not_supported, required
from kutter.api.names import check_dns_label
from kutter.api.schema.loader import type_node
from kutter.api.schema.wire import render
from kutter.apiserver.kinds.pod_defaults import default_pod_spec
from kutter.apiserver.kinds.pod_warnings import pod_warnings
from kutter.apiserver.kinds.standard import SpecKind, setdefault, spec_of
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation.cron import schedule_problem, time_zone_problems
from kutter.apiserver.validation.equality import equal
from kutter.apiserver.validation.job_policies import (
    validate_failed_indexes,
    validate_failure_policy,
    validate_manager,
    validate_success_policy,
)
from kutter.apiserver.validation.job_status import validate_job_status
from kutter.apiserver.validation.metadata import IMMUTABLE, immutable, validate_label_selector
from kutter.apiserver.validation.pod_spec import validate_pod_template
from kutter.apiserver.validation.workloads import (
    counts,
    mismatch,
    name_warnings,
    selector_matches,
    shown_selector,
)

Errors = list[FieldError]

_UID = "batch.kubernetes.io/controller-uid"
_NAME = "batch.kubernetes.io/job-name"
_LEGACY_UID = "controller-uid"
_LEGACY_NAME = "job-name"
_INDEXED_MAX_PARALLELISM = 100_000
# Jobs are called after it, with eleven characters more.
_NAME_MAX = 52
# What may still be decided about where pods of a suspended job run.
_SCHEDULING = ("nodeSelector", "tolerations", "schedulingGates")


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
            # The very same ones, as upstream: what is generated for the template is the job's, too.
            metadata["labels"] = labels
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
        if not spec.get("manualSelector") and spec.get("selector") is not None:
            _generated_selector(errors, tree, spec)
        self._spec(errors, spec)
        _indexed_host_names(errors, tree, spec)
        return errors

    def _spec(self, errors: Errors, spec: Tree) -> None:
        validate_job_spec(errors, spec, "spec")
        selector = spec.get("selector")
        wrong = [] if selector is None else validate_label_selector(selector, "spec.selector")
        errors += [required("spec.selector")] if selector is None else wrong
        template = spec.get("template") or {}
        labels = (template.get("metadata") or {}).get("labels") or {}
        if not wrong and (selector is None or not selector_matches(selector, labels)):
            errors.append(mismatch(template, "spec.template"))

    def validate_update(self, context: StrategyContext, new: Tree, old: Tree) -> list[FieldError]:
        # Upstream looks at the whole job first, then once more at what changed.
        errors = self.check_metadata(new) + self.check(new) + self.check_metadata_change(new, old)
        self._spec(errors, new.get("spec") or {})
        return errors + self.check_change(new, old)

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        after, before = new.get("spec") or {}, old.get("spec") or {}
        errors = _completions(after, before)
        if not equal(after.get("selector"), before.get("selector")):
            shown = shown_selector(after.get("selector"))
            errors.append(invalid("spec.selector", shown, IMMUTABLE))
        errors += _template(after, before, may_move=_rests(old))
        for field in (
            "completionMode",
            "podFailurePolicy",
            "backoffLimitPerIndex",
            "managedBy",
            "successPolicy",
        ):
            value = after.get(field)
            if not equal(value, before.get(field)):
                errors.append(invalid(f"spec.{field}", _shown(value, field), IMMUTABLE))
        return errors

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        return validate_job_status(new, old)

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        spec, before = new.get("spec") or {}, None if old is None else old.get("spec") or {}
        texts = name_warnings(new) if old is None else []
        return texts if spec == before else texts + job_warnings(spec, "spec")

    def default_garbage_collection(self, tree: Tree) -> str:
        return "orphan"

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        return {"status.successful": str((tree.get("status") or {}).get("succeeded") or 0)}


def _shown(value: Any, field: str) -> Any:
    """A field of the specification as messages show it."""
    node = type_node("batch/v1", "JobSpec").fields[field]
    return value if value is None else render(value, node, internal=True)


def _rests(job: Tree) -> bool:
    """Whether it is suspended and no pod of it runs, so that its pods may become others."""
    status = job.get("status") or {}
    held = {(c.get("type"), c.get("status")) for c in status.get("conditions") or ()}
    idle = status.get("startTime") is None or ("Suspended", "True") in held
    return bool((job.get("spec") or {}).get("suspend")) and idle and not status.get("active")


def job_warnings(spec: Tree, path: str) -> list[str]:
    texts: list[str] = []
    many = (spec.get("completions") or 0) > 100_000 and (spec.get("parallelism") or 0) > 10_000
    if spec.get("completionMode") == "Indexed" and many:
        texts.append(
            f"{path}: In Indexed Jobs with a number of completions higher than 10^5 and a "
            "parallelism higher than 10^4, Kubernetes might not be able to track "
            "completedIndexes when a big number of indexes fail"
        )
    return texts + pod_warnings(spec.get("template") or {}, f"{path}.template")


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
        spec["selector"] = {"matchLabels": {_UID: uid}}
    else:
        setdefault(spec["selector"], "matchLabels", {}).setdefault(_UID, uid)


def _generated_selector(errors: Errors, tree: Tree, spec: Tree) -> None:
    metadata = tree.get("metadata") or {}
    found = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    uid, name = metadata.get("uid") or "", metadata.get("name") or ""
    wanted = {_LEGACY_UID: uid, _LEGACY_NAME: name, _UID: uid, _NAME: name}
    for key, value in wanted.items():
        path = f"spec.template.metadata.labels[{key}]"
        if key not in found:
            errors.append(required(path, f"must be '{value}'"))
        elif found[key] != value:
            shown = dict(sorted(found.items()))
            errors.append(invalid(path, shown, f"must be '{value}'"))
    selector = spec.get("selector") or {}
    if not validate_label_selector(selector, "") and not selector_matches(selector, wanted):
        shown_text = shown_selector(selector)
        errors.append(invalid("spec.selector", shown_text, "`selector` not auto-generated"))


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
        errors.append(not_supported(f"{path}.completionMode", mode, ["NonIndexed", "Indexed"]))
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
        shown = _shown(policy, "successPolicy")
        errors.append(invalid(f"{path}.successPolicy", shown, "requires indexed completion mode"))
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
    if after.get("completionMode") != "Indexed":
        return immutable(new, old, path)
    if new == old or new is None or new == after.get("parallelism"):
        return []
    return [invalid(path, new, "can only be modified in tandem with spec.parallelism")]


def _template(after: Tree, before: Tree, *, may_move: bool) -> list[FieldError]:
    new, old = after.get("template") or {}, before.get("template") or {}
    if not may_move:
        if equal(new, old):
            return []
        node = type_node("core/v1", "PodTemplateSpec")
        return [invalid("spec.template", render(new, node, internal=True), IMMUTABLE)]
    wanted, kept = new.get("spec") or {}, _with_scheduling_of(old, new).get("spec") or {}
    kept = _with_resources_of(kept, wanted)
    if equal(wanted, kept):
        return []
    node = type_node("core/v1", "PodSpec")
    return [invalid("spec.template.spec", render(wanted, node, internal=True), IMMUTABLE)]


def _with_resources_of(old: Tree, new: Tree) -> Tree:
    """The containers of ``old`` with what those of the same name in ``new`` ask for."""
    kept = dict(old)
    for field in ("containers", "initContainers"):
        ours, theirs = old.get(field) or [], new.get(field) or []
        if ours and len(ours) == len(theirs):
            kept[field] = [
                {**one, "resources": other.get("resources")}
                if one.get("name") == other.get("name")
                else one
                for one, other in zip(ours, theirs, strict=True)
            ]
    return kept


def _with_scheduling_of(old: Tree, new: Tree) -> Tree:
    pod: dict[str, Any] = dict(old.get("spec") or {})
    wanted = new.get("spec") or {}
    for field in _SCHEDULING:
        if wanted.get(field) is None:
            pod.pop(field, None)
        else:
            pod[field] = wanted[field]
    # Of affinity only what is about nodes.
    was, wish = pod.pop("affinity", None) or {}, wanted.get("affinity")
    affinity = {k: v for k, v in was.items() if k != "nodeAffinity"}
    if wish is not None and wish.get("nodeAffinity") is not None:
        affinity["nodeAffinity"] = wish["nodeAffinity"]
    if affinity or wish is not None:
        pod["affinity"] = affinity
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

    def validate_create(self, context: StrategyContext, tree: Tree) -> list[FieldError]:
        errors = self.check_metadata(tree) + self._spec(tree.get("spec") or {}, None)
        name = (tree.get("metadata") or {}).get("name") or ""
        if len(name) > _NAME_MAX:
            detail = f"must be no more than {_NAME_MAX} characters"
            errors.append(invalid("metadata.name", name, detail))
        return errors

    def check_changed(self, new: Tree, old: Tree) -> list[FieldError]:
        return self._spec(new.get("spec") or {}, old.get("spec") or {})

    def _spec(self, spec: Tree, old: Tree | None) -> list[FieldError]:
        errors: Errors = []
        self._schedule(errors, spec, old)
        counts(errors, spec, "spec", "startingDeadlineSeconds")
        zone = spec.get("timeZone")
        if zone is not None and (old is None or zone != old.get("timeZone")):
            errors += [invalid("spec.timeZone", zone, text) for text in time_zone_problems(zone)]
        policy = spec.get("concurrencyPolicy") or ""
        if policy not in ("Allow", "Forbid", "Replace"):
            here = "spec.concurrencyPolicy"
            errors.append(
                not_supported(here, policy, ["Allow", "Forbid", "Replace"])
                if policy
                else required(here)
            )
        job, path = (spec.get("jobTemplate") or {}).get("spec") or {}, "spec.jobTemplate.spec"
        validate_job_spec(errors, job, path)
        if job.get("selector") is not None:
            shown = shown_selector(job["selector"])
            errors.append(invalid(f"{path}.selector", shown, "`selector` will be auto-generated"))
        if job.get("manualSelector"):
            errors.append(not_supported(f"{path}.manualSelector", True, ["nil", "false"]))
        counts(errors, spec, "spec", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
        return errors

    def _schedule(self, errors: Errors, spec: Tree, old: Tree | None) -> None:
        schedule, here = spec.get("schedule") or "", "spec.schedule"
        if not schedule:
            errors.append(required(here))
            return
        problem = schedule_problem(schedule)
        if problem:
            errors.append(invalid(here, schedule, problem))
        if "TZ" not in schedule:
            return
        # One that is stored may keep it.
        if old is None or "TZ" not in (old.get("schedule") or ""):
            detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            errors.append(invalid(here, schedule, detail))
        elif spec.get("timeZone") is not None:
            detail = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
            errors.append(invalid(here, schedule, detail))

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        spec, before = new.get("spec") or {}, None if old is None else old.get("spec") or {}
        texts = name_warnings(new) if old is None else []
        if spec != before:
            job = (spec.get("jobTemplate") or {}).get("spec") or {}
            texts += job_warnings(job, "spec.jobTemplate.spec")
        if old is not None and "TZ" in (spec.get("schedule") or ""):
            texts.append(
                "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see "
                "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more "
                "details"
            )
        return texts
