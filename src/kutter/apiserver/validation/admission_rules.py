"""Rules and selectors as webhook configurations and admission policies state them.

Texts and order are upstream's (``pkg/apis/admissionregistration/validation``).
"""

from __future__ import annotations

from kutter.api.errors import FieldError, duplicate, invalid, not_supported, required
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.metadata import checked, validate_label_selector

OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
FAILURE_POLICIES = ("Fail", "Ignore")
MATCH_POLICIES = ("Equivalent", "Exact")
_SCOPES = ("*", "Cluster", "Namespaced")


def check_rule(rule: Tree, path: str) -> list[FieldError]:
    """One ``RuleWithOperations``."""
    errors: list[FieldError] = []
    operations = rule.get("operations") or []
    if not operations:
        errors.append(required(f"{path}.operations"))
    if len(operations) > 1 and "*" in operations:
        detail = "if '*' is present, must not specify other operations"
        errors.append(invalid(f"{path}.operations", operations, detail))
    for i, operation in enumerate(operations):
        if operation not in OPERATIONS:
            errors.append(not_supported(f"{path}.operations[{i}]", operation, list(OPERATIONS)))
    errors += _check_listed(rule, "apiGroups", "API groups", path)
    errors += _check_listed(rule, "apiVersions", "API versions", path)
    errors += [
        required(f"{path}.apiVersions[{i}]")
        for i, version in enumerate(rule.get("apiVersions") or ())
        if not version
    ]
    errors += _check_resources(rule.get("resources") or [], f"{path}.resources")
    scope = rule.get("scope")
    if scope is not None and scope not in _SCOPES:
        errors.append(not_supported(f"{path}.scope", scope, list(_SCOPES)))
    return errors


def _check_listed(rule: Tree, field: str, noun: str, path: str) -> list[FieldError]:
    values = rule.get(field) or []
    if not values:
        return [required(f"{path}.{field}")]
    if len(values) > 1 and "*" in values:
        detail = f"if '*' is present, must not specify other {noun}"
        return [invalid(f"{path}.{field}", values, detail)]
    return []


def _check_resources(resources: list[str], path: str) -> list[FieldError]:
    errors: list[FieldError] = [] if resources else [required(path)]
    whole_resources: set[str] = set()
    whole_parts: set[str] = set()
    plain = False
    for i, full in enumerate(resources):
        here = f"{path}[{i}]"
        if not full:
            errors.append(required(here))
            continue
        resource, slash, part = full.partition("/")
        if not slash:
            plain = full != "*"
            continue
        if resource in whole_resources:
            detail = f"if '{resource}/*' is present, must not specify {full}"
            errors.append(invalid(here, full, detail))
        if part in whole_parts:
            detail = f"if '*/{part}' is present, must not specify {full}"
            errors.append(invalid(here, full, detail))
        if part == "*":
            whole_resources.add(resource)
        if resource == "*":
            whole_parts.add(part)
    if len(resources) > 1 and "*/*" in resources:
        detail = "if '*/*' is present, must not specify other resources"
        errors.append(invalid(path, resources, detail))
    if "*" in resources and plain:
        detail = "if '*' is present, must not specify other resources without subresources"
        errors.append(invalid(path, resources, detail))
    return errors


def check_named_rule(rule: Tree, path: str) -> list[FieldError]:
    """One ``NamedRuleWithOperations``."""
    errors: list[FieldError] = []
    seen: set[str] = set()
    for i, name in enumerate(rule.get("resourceNames") or ()):
        here = f"{path}.resourceNames[{i}]"
        errors += checked(here, name, text.path_segment)
        if name in seen:
            errors.append(duplicate(here, name))
        seen.add(name)
    return errors + check_rule(rule, path)


def check_match_resources(match: Tree | None, path: str) -> list[FieldError]:
    """``matchConstraints`` and ``matchResources``, which have their defaults by now."""
    if match is None:
        return []
    errors = check_choice(match.get("matchPolicy"), MATCH_POLICIES, f"{path}.matchPolicy")
    for field in ("namespaceSelector", "objectSelector"):
        selector = match.get(field)
        if selector is None:
            errors.append(required(f"{path}.{field}"))
        else:
            errors += validate_label_selector(selector, f"{path}.{field}")
    for field in ("resourceRules", "excludeResourceRules"):
        for i, rule in enumerate(match.get(field) or ()):
            errors += check_named_rule(rule, f"{path}.{field}[{i}]")
    return errors


def check_choice(value: str | None, choices: tuple[str, ...], path: str) -> list[FieldError]:
    """A required field with few values."""
    if value is None:
        return [required(path)]
    return [] if value in choices else [not_supported(path, value, list(choices))]
