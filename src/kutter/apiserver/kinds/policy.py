"""Disruption budgets, autoscalers, signing requests and webhooks."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, ClassVar

from kutter.api.errors import FieldError, invalid, not_supported, required
from kutter.apiserver.kinds.standard import SpecKind, Standard, setdefault, spec_of
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import quantities, text
from kutter.apiserver.validation.metadata import checked, validate_label_selector
from kutter.apiserver.validation.workloads import at_most_whole, counts, int_or_percent
from kutter.base.clock import render_time

Errors = list[FieldError]


class PodDisruptionBudgetKind(SpecKind):
    allow_unconditional_update: ClassVar[bool] = False

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        tree["status"] = {
            "disruptionsAllowed": 0,
            "currentHealthy": 0,
            "desiredHealthy": 0,
            "expectedPods": 0,
        }

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        low, high = spec.get("minAvailable"), spec.get("maxUnavailable")
        if low is not None and high is not None:
            detail = "minAvailable and maxUnavailable cannot be both set"
            errors.append(invalid("spec", spec, detail))
        for field, value in (("minAvailable", low), ("maxUnavailable", high)):
            int_or_percent(errors, value, f"spec.{field}")
            at_most_whole(errors, value, f"spec.{field}")
        errors += validate_label_selector(spec.get("selector"), "spec.selector")
        policy = spec.get("unhealthyPodEvictionPolicy")
        if policy is not None and policy not in ("AlwaysAllow", "IfHealthyBudget"):
            path = "spec.unhealthyPodEvictionPolicy"
            errors.append(not_supported(path, policy, ["AlwaysAllow", "IfHealthyBudget"]))
        return errors

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        counts(
            errors,
            new.get("status") or {},
            "status",
            "disruptionsAllowed",
            "currentHealthy",
            "desiredHealthy",
            "expectedPods",
        )
        return errors


class HorizontalPodAutoscalerKind(SpecKind):
    """v2 as stored; v1 has the same path through it minus metrics."""

    generation_paths: ClassVar[tuple[str, ...]] = ()

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        tree["status"] = {"desiredReplicas": 0}

    def default(self, tree: Tree) -> None:
        spec = spec_of(tree)
        setdefault(spec, "minReplicas", 1)
        if self.resource.version == "v1":
            return
        if not spec.get("metrics"):
            target = {"type": "Utilization", "averageUtilization": 80}
            spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
        behavior = spec.get("behavior")
        if behavior is None:
            return
        _rules(setdefault(behavior, "scaleUp", {}), 0, _UP)
        _rules(setdefault(behavior, "scaleDown", {}), None, _DOWN)

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        low, high = spec.get("minReplicas"), spec.get("maxReplicas") or 0
        if low is not None and low < 1:
            detail = "must be greater than or equal to 1"
            errors.append(invalid("spec.minReplicas", low, detail))
        if high < 1:
            errors.append(invalid("spec.maxReplicas", high, "must be greater than 0"))
        if low is not None and high < low:
            detail = "must be greater than or equal to `minReplicas`"
            errors.append(invalid("spec.maxReplicas", high, detail))
        reference = spec.get("scaleTargetRef") or {}
        for field in ("kind", "name"):
            value, path = reference.get(field) or "", f"spec.scaleTargetRef.{field}"
            if not value:
                errors.append(required(path))
            else:
                errors += checked(path, value, text.path_segment)
        for i, metric in enumerate(spec.get("metrics") or ()):
            self._metric(errors, metric, f"spec.metrics[{i}]")
        return errors

    def _metric(self, errors: Errors, metric: Tree, path: str) -> None:
        kind = metric.get("type") or ""
        fields = {
            "Object": "object",
            "Pods": "pods",
            "Resource": "resource",
            "ContainerResource": "containerResource",
            "External": "external",
        }
        if not kind:
            errors.append(required(f"{path}.type", "must specify a metric source type"))
            return
        if kind not in fields:
            errors.append(not_supported(f"{path}.type", kind, sorted(fields)))
            return
        source = metric.get(fields[kind])
        if source is None:
            detail = "must populate information for the given metric source"
            errors.append(required(f"{path}.{fields[kind]}", detail))
            return
        target = source.get("target") or {}
        here = f"{path}.{fields[kind]}.target"
        if not target.get("type"):
            errors.append(required(f"{here}.type", "must specify a metric target type"))
        elif target["type"] not in ("Utilization", "Value", "AverageValue"):
            detail = "must be either Utilization, Value, or AverageValue"
            errors.append(invalid(f"{here}.type", target["type"], detail))
        for field in ("value", "averageValue"):
            if target.get(field) is not None and quantities.amount(target[field]) <= 0:
                errors.append(invalid(f"{here}.{field}", target[field], "must be positive"))
        percent = target.get("averageUtilization")
        if percent is not None and percent < 1:
            errors.append(invalid(f"{here}.averageUtilization", percent, "must be greater than 0"))


_UP = [
    {"type": "Pods", "value": 4, "periodSeconds": 15},
    {"type": "Percent", "value": 100, "periodSeconds": 15},
]
_DOWN = [{"type": "Percent", "value": 100, "periodSeconds": 15}]


def _rules(rules: Tree, window_s: int | None, policies: list[dict[str, Any]]) -> None:
    if window_s is not None:
        setdefault(rules, "stabilizationWindowSeconds", window_s)
    if not rules.get("selectPolicy"):
        rules["selectPolicy"] = "Max"
    if not rules.get("policies"):
        rules["policies"] = [dict(p) for p in policies]


_CSR_OWN = ("username", "uid", "groups", "extra")


class CertificateSigningRequestKind(Standard):
    field_labels: ClassVar[frozenset[str]] = frozenset({"spec.signerName"})

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        """Who asks is what the server knows, not what the request says."""
        spec = spec_of(tree)
        for field in _CSR_OWN:
            spec.pop(field, None)
        user = context.user
        spec["username"] = user.name
        if user.uid:
            spec["uid"] = user.uid
        if user.groups:
            spec["groups"] = list(user.groups)
        if user.extra:
            spec["extra"] = {k: list(v) for k, v in user.extra.items()}
        tree["status"] = {}

    def prepare_for_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        super().prepare_for_update(context, new, old)
        new["spec"] = old.get("spec")

    def prepare_for_status_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        super().prepare_for_status_update(context, new, old)
        _stamp_conditions(new, old, render_time(context.now))

    def prepare_for_part_update(
        self, context: StrategyContext, part: str, new: Tree, old: Tree
    ) -> None:
        _stamp_conditions(new, old, render_time(context.now))

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        return _check_conditions(_conditions(new))

    def validate_part_update(
        self, context: StrategyContext, part: str, new: Tree, old: Tree
    ) -> list[FieldError]:
        return self.check_metadata_change(new, old) + _check_conditions(_conditions(new))

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        try:
            pem = base64.b64decode(spec.get("request") or "", validate=True)
        except (binascii.Error, ValueError):
            pem = b""
        if b"-----BEGIN CERTIFICATE REQUEST-----" not in pem:
            detail = "PEM block type must be CERTIFICATE REQUEST"
            errors.append(invalid("spec.request", spec.get("request") or "", detail))
        usages = spec.get("usages") or []
        if not usages:
            errors.append(required("spec.usages"))
        for i, usage in enumerate(usages):
            if usage not in _USAGES:
                errors.append(not_supported(f"spec.usages[{i}]", usage, sorted(_USAGES)))
        signer = spec.get("signerName") or ""
        domain, slash, rest = signer.partition("/")
        if not signer:
            errors.append(required("spec.signerName"))
        elif not slash or "." not in domain or not rest:
            detail = (
                "must be a fully qualified domain and path of the form 'example.com/signer-name'"
            )
            errors.append(invalid("spec.signerName", signer, detail))
        seconds = spec.get("expirationSeconds")
        if seconds is not None and seconds < 600:
            detail = "may not specify a duration less than 600 seconds (10 minutes)"
            errors.append(invalid("spec.expirationSeconds", seconds, detail))
        return errors

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        return {"spec.signerName": (tree.get("spec") or {}).get("signerName") or ""}


def _conditions(tree: Tree) -> list[Tree]:
    return (tree.get("status") or {}).get("conditions") or []


def _stamp_conditions(new: Tree, old: Tree, now: str) -> None:
    """Give the times that a client left out; a status that stays keeps its time."""
    known = {c.get("type"): c for c in _conditions(old)}
    for condition in _conditions(new):
        if not condition.get("lastUpdateTime"):
            condition["lastUpdateTime"] = now
        if not condition.get("lastTransitionTime"):
            before = known.get(condition.get("type")) or {}
            same = before.get("status") == condition.get("status")
            condition["lastTransitionTime"] = (same and before.get("lastTransitionTime")) or now


_DECISIONS = frozenset({"Approved", "Denied"})


def _check_conditions(conditions: list[Tree]) -> list[FieldError]:
    errors: Errors = []
    path = "status.conditions"
    types = [c.get("type") or "" for c in conditions]
    for i, condition in enumerate(conditions):
        status = condition.get("status") or ""
        if not types[i]:
            errors.append(required(f"{path}[{i}].type"))
        if not status:
            errors.append(required(f"{path}[{i}].status"))
        elif types[i] in ("Approved", "Denied", "Failed") and status != "True":
            errors.append(not_supported(f"{path}[{i}].status", status, ["True"]))
        if {types[i]} | set(types[:i]) >= _DECISIONS and types[i] in _DECISIONS:
            detail = "Approved and Denied conditions are mutually exclusive"
            errors.append(invalid(f"{path}[{i}].type", types[i], detail))
    return errors


_USAGES = frozenset(
    {
        "signing",
        "digital signature",
        "content commitment",
        "key encipherment",
        "key agreement",
        "data encipherment",
        "cert sign",
        "crl sign",
        "encipher only",
        "decipher only",
        "any",
        "server auth",
        "client auth",
        "code signing",
        "email protection",
        "s/mime",
        "ipsec end system",
        "ipsec tunnel",
        "ipsec user",
        "timestamping",
        "ocsp signing",
        "microsoft sgc",
        "netscape sgc",
    }
)


class WebhookConfigurationKind(Standard):
    has_status: ClassVar[bool] = False
    generation_paths: ClassVar[tuple[str, ...]] = ("webhooks",)

    def default(self, tree: Tree) -> None:
        mutating = self.resource.kind.startswith("Mutating")
        for webhook in tree.get("webhooks") or ():
            setdefault(webhook, "failurePolicy", "Fail")
            setdefault(webhook, "matchPolicy", "Equivalent")
            setdefault(webhook, "namespaceSelector", {})
            setdefault(webhook, "objectSelector", {})
            setdefault(webhook, "timeoutSeconds", 10)
            if mutating:
                setdefault(webhook, "reinvocationPolicy", "Never")
            for rule in webhook.get("rules") or ():
                setdefault(rule, "scope", "*")
            service = (webhook.get("clientConfig") or {}).get("service")
            if service is not None:
                setdefault(service, "port", 443)

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        names: set[str] = set()
        for i, webhook in enumerate(tree.get("webhooks") or ()):
            path, name = f"webhooks[{i}]", webhook.get("name") or ""
            if name.count(".") < 2:
                detail = "should be a domain with at least three segments separated by dots"
                errors.append(
                    invalid(f"{path}.name", name, detail) if name else required(f"{path}.name")
                )
            if name in names:
                errors.append(
                    FieldError(f"{path}.name", "FieldValueDuplicate", f'Duplicate value: "{name}"')
                )
            names.add(name)
            config = webhook.get("clientConfig") or {}
            if (config.get("url") is None) == (config.get("service") is None):
                detail = "exactly one of url or service is required"
                errors.append(required(f"{path}.clientConfig", detail))
            if webhook.get("sideEffects") not in ("None", "NoneOnDryRun"):
                value = webhook.get("sideEffects")
                here = f"{path}.sideEffects"
                errors.append(
                    not_supported(here, value, ["None", "NoneOnDryRun"])
                    if value
                    else required(here, "must specify one of None, NoneOnDryRun")
                )
            if not webhook.get("admissionReviewVersions"):
                detail = "must specify one of v1, v1beta1"
                errors.append(required(f"{path}.admissionReviewVersions", detail))
            timeout = webhook.get("timeoutSeconds") or 0
            if not 1 <= timeout <= 30:
                detail = "the timeout value must be between 1 and 30 seconds"
                errors.append(invalid(f"{path}.timeoutSeconds", timeout, detail))
        return errors
