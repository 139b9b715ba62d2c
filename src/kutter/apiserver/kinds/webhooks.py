"""MutatingWebhookConfiguration and ValidatingWebhookConfiguration: defaults and validation.

Upstream: ``pkg/apis/admissionregistration``; what older servers let through stays changeable.
"""

from __future__ import annotations

from typing import ClassVar

from kutter.api.errors import FieldError, duplicate, invalid, not_supported, required
from kutter.apiserver.admission.dynamic.conditions import check_condition_expression
from kutter.apiserver.kinds.standard import Standard, setdefault
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.admission_rules import (
    FAILURE_POLICIES,
    MATCH_POLICIES,
    check_choice,
    check_rule,
)
from kutter.apiserver.validation.match_conditions import check_match_conditions
from kutter.apiserver.validation.metadata import validate_label_selector
from kutter.apiserver.webhooks.client_config import validate_client_config

_REVIEWS = ("v1", "v1beta1")
_NO_EFFECTS = ("None", "NoneOnDryRun")
_EFFECTS = ("None", "NoneOnDryRun", "Some", "Unknown")
_REINVOCATIONS = ("IfNeeded", "Never")


class WebhookConfigurationKind(Standard):
    allow_unconditional_update: ClassVar[bool] = False
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

    def validate_create(self, context: StrategyContext, tree: Tree) -> list[FieldError]:
        return self.check_metadata(tree) + _check_webhooks(tree, None)

    def validate_update(self, context: StrategyContext, new: Tree, old: Tree) -> list[FieldError]:
        return self.check_metadata_change(new, old) + _check_webhooks(new, old)


class _Leniency:
    """What an update may keep because the stored configuration has it already."""

    def __init__(self, new: Tree, old: Tree | None) -> None:
        before: list[Tree] = (old or {}).get("webhooks") or []
        names = [webhook.get("name") for webhook in before]
        self.effects = any(w.get("sideEffects") not in _NO_EFFECTS for w in before)
        self.reviews = any(
            versions and not set(versions) & set(_REVIEWS)
            for versions in (w.get("admissionReviewVersions") for w in before)
        )
        self.names = len(set(names)) < len(names)
        self.selectors = any(
            validate_label_selector(w.get(field), "")
            for w in before
            for field in ("namespaceSelector", "objectSelector")
        )
        now, then = _conditions(new.get("webhooks") or []), _conditions(before)
        self.conditions = old is not None and now == then


def _conditions(webhooks: list[Tree]) -> list[list[Tree]]:
    return [webhook.get("matchConditions") or [] for webhook in webhooks]


def _check_webhooks(tree: Tree, old: Tree | None) -> list[FieldError]:
    errors: list[FieldError] = []
    lenient = _Leniency(tree, old)
    seen: set[str] = set()
    for i, webhook in enumerate(tree.get("webhooks") or ()):
        path, name = f"webhooks[{i}]", webhook.get("name") or ""
        errors += _check_webhook(webhook, path, lenient)
        versions = webhook.get("admissionReviewVersions") or []
        errors += _check_reviews(versions, f"{path}.admissionReviewVersions", lenient.reviews)
        if name in seen and not lenient.names:
            errors.append(duplicate(f"{path}.name", name))
        if name:
            seen.add(name)
    return errors


def _check_webhook(webhook: Tree, path: str, lenient: _Leniency) -> list[FieldError]:
    errors = _check_name(webhook.get("name") or "", f"{path}.name")
    for i, rule in enumerate(webhook.get("rules") or ()):
        errors += check_rule(rule, f"{path}.rules[{i}]")
    for field, choices in (("failurePolicy", FAILURE_POLICIES), ("matchPolicy", MATCH_POLICIES)):
        errors += check_choice(webhook.get(field), choices, f"{path}.{field}")
    allowed = _EFFECTS if lenient.effects else _NO_EFFECTS
    effects, here = webhook.get("sideEffects"), f"{path}.sideEffects"
    if effects is None:
        errors.append(required(here, f"must specify one of {', '.join(allowed)}"))
    elif effects not in allowed:
        errors.append(not_supported(here, effects, list(allowed)))
    timeout = webhook.get("timeoutSeconds")
    if timeout is not None and not 1 <= timeout <= 30:
        detail = "the timeout value must be between 1 and 30 seconds"
        errors.append(invalid(f"{path}.timeoutSeconds", timeout, detail))
    for field in ("namespaceSelector", "objectSelector"):
        errors += validate_label_selector(
            webhook.get(field), f"{path}.{field}", check_values=not lenient.selectors
        )
    again = webhook.get("reinvocationPolicy")
    if again is not None and again not in _REINVOCATIONS:
        errors.append(not_supported(f"{path}.reinvocationPolicy", again, list(_REINVOCATIONS)))
    errors += validate_client_config(
        webhook.get("clientConfig") or {}, f"{path}.clientConfig", check_bundle=False
    )
    if not lenient.conditions:
        conditions = webhook.get("matchConditions") or []
        errors += check_match_conditions(
            conditions, f"{path}.matchConditions", check_condition_expression
        )
    return errors


def _check_name(name: str, path: str) -> list[FieldError]:
    if not name:
        return [required(path)]
    problems = text.dns_subdomain(name)
    if problems:
        return [invalid(path, name, ",".join(problems))]
    if name.count(".") < 2:
        detail = "should be a domain with at least three segments separated by dots"
        return [invalid(path, name, detail)]
    return []


def _check_reviews(versions: list[str], path: str, lenient: bool) -> list[FieldError]:
    listed = ", ".join(_REVIEWS)
    if not versions:
        return [required(path, f"must specify one of {listed}")]
    errors: list[FieldError] = []
    for i, version in enumerate(versions):
        here = f"{path}[{i}]"
        if version in versions[:i]:
            errors.append(invalid(here, version, "duplicate version"))
            continue
        errors += [invalid(here, version, problem) for problem in text.dns_label_1035(version)]
    if not lenient and not set(versions) & set(_REVIEWS):
        errors.append(invalid(path, versions, f"must include at least one of {listed}"))
    return errors
