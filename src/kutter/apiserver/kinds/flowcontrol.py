"""Flow schemas and priority levels: defaults, and what is wrong with them.

The mandatory ones are fixed: their specifications can be changed by nobody.
"""

from __future__ import annotations

import math
from typing import Any

from kutter.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_supported,
    required,
)
from kutter.apiserver.fairness.defaults import EXEMPT, MANDATORY_LEVELS, MANDATORY_SCHEMAS
from kutter.apiserver.kinds.standard import SpecKind, setdefault, spec_of
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text

Errors = list[FieldError]

_METHODS = ["ByNamespace", "ByUser"]
_VERBS = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
]
_SUBJECTS = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}
_PRECEDENCE_MAX = 10_000
_QUEUES_MAX = 10_000_000
_HASH_BITS = 60
_FIXED_SCHEMAS = {tree["metadata"]["name"]: tree["spec"] for tree in MANDATORY_SCHEMAS}
_FIXED_LEVELS = {tree["metadata"]["name"]: tree["spec"] for tree in MANDATORY_LEVELS}


class FlowSchemaKind(SpecKind):
    def default(self, tree: Tree) -> None:
        spec = spec_of(tree)
        if not spec.get("matchingPrecedence"):
            spec["matchingPrecedence"] = 1000

    def check(self, tree: Tree) -> list[FieldError]:
        spec, name = tree.get("spec") or {}, (tree.get("metadata") or {}).get("name", "")
        errors: Errors = []
        precedence = spec.get("matchingPrecedence") or 0
        here = "spec.matchingPrecedence"
        if precedence <= 0:
            errors.append(invalid(here, precedence, "must be a positive value"))
        if precedence > _PRECEDENCE_MAX:
            errors.append(invalid(here, precedence, f"must not be greater than {_PRECEDENCE_MAX}"))
        if precedence == 1 and name != EXEMPT:
            detail = "only the schema named 'exempt' may have matchingPrecedence 1"
            errors.append(invalid(here, precedence, detail))
        method = spec.get("distinguisherMethod")
        if method is not None and method.get("type") not in _METHODS:
            path = "spec.distinguisherMethod.type"
            # The whole method is what upstream shows here, as its Go struct.
            shown = {"Type": method.get("type") or ""}
            errors.append(not_supported(path, shown, _METHODS))
        level = (spec.get("priorityLevelConfiguration") or {}).get("name") or ""
        path = "spec.priorityLevelConfiguration.name"
        if not level:
            errors.append(required(path, "must reference a priority level"))
        else:
            errors += [invalid(path, level, detail) for detail in text.dns_subdomain(level)]
        for i, rule in enumerate(spec.get("rules") or ()):
            errors += _check_rule(rule or {}, f"spec.rules[{i}]")
        return errors + _check_fixed(spec, name, _FIXED_SCHEMAS.get(name))

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        return _check_conditions(new)


def _check_fixed(spec: Tree, name: str, fixed: Tree | None) -> Errors:
    if fixed is None or spec == fixed:
        return []
    return [invalid("spec", spec, f"spec of '{name}' must equal the fixed value")]


def _check_conditions(tree: Tree) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for i, condition in enumerate((tree.get("status") or {}).get("conditions") or ()):
        path, kind = f"status.conditions[{i}].type", condition.get("type") or ""
        if kind in seen:
            errors.append(duplicate(path, kind))
        seen.add(kind)
        if not kind:
            errors.append(required(path))
    return errors


def _check_rule(rule: Tree, path: str) -> Errors:
    errors: Errors = []
    subjects = rule.get("subjects") or ()
    if not subjects:
        errors.append(required(f"{path}.subjects", "subjects must contain at least one value"))
    for i, subject in enumerate(subjects):
        errors += _check_subject(subject or {}, f"{path}.subjects[{i}]")
    resources, urls = rule.get("resourceRules") or (), rule.get("nonResourceRules") or ()
    if not resources and not urls:
        detail = "at least one of resourceRules and nonResourceRules has to be non-empty"
        errors.append(required(path, detail))
    for i, part in enumerate(resources):
        errors += _check_resources(part or {}, f"{path}.resourceRules[{i}]")
    for i, part in enumerate(urls):
        errors += _check_urls(part or {}, f"{path}.nonResourceRules[{i}]")
    return errors


def _check_subject(subject: Tree, path: str) -> Errors:
    kind = subject.get("kind") or ""
    own = _SUBJECTS.get(kind)
    if own is None:
        return [not_supported(f"{path}.kind", kind, list(_SUBJECTS))]
    errors: Errors = []
    found = subject.get(own)
    if found is None:
        errors.append(required(f"{path}.{own}", f"{own} is required when subject kind is '{kind}'"))
    else:
        name = found.get("name") or ""
        if not name:
            errors.append(required(f"{path}.{own}.name"))
        if kind == "ServiceAccount":
            errors += _check_account(found, name, f"{path}.{own}")
    for other, field in _SUBJECTS.items():
        if field != own and subject.get(field) is not None:
            detail = f"{field} is forbidden when subject kind is not '{other}'"
            errors.append(forbidden_field(f"{path}.{field}", detail))
    return errors


def _check_account(account: Tree, name: str, path: str) -> Errors:
    errors: Errors = []
    if name and name != "*":
        errors += [invalid(f"{path}.name", name, d) for d in text.dns_subdomain(name)]
    namespace = account.get("namespace") or ""
    if not namespace:
        detail = "must specify namespace for service account"
        return [*errors, required(f"{path}.namespace", detail)]
    return errors + [
        invalid(f"{path}.namespace", namespace, detail) for detail in text.dns_label(namespace)
    ]


def _check_verbs(rule: Tree, path: str) -> Errors:
    verbs, here = rule.get("verbs") or [], f"{path}.verbs"
    if not verbs:
        return [required(here, "verbs must contain at least one value")]
    if "*" in verbs:
        return _alone(verbs, here, "verbs")
    if not set(verbs) <= set(_VERBS):
        return [not_supported(here, verbs, _VERBS)]
    return []


def _alone(values: list[Any], path: str, what: str) -> Errors:
    if "*" in values and len(values) > 1:
        return [invalid(path, values, f"if '*' is present, must not specify other {what}")]
    return []


def _check_resources(rule: Tree, path: str) -> Errors:
    errors = _check_verbs(rule, path)
    for field, one, many in (
        ("apiGroups", "api group", "api groups"),
        ("resources", "resource", "resources"),
    ):
        values = rule.get(field) or []
        if not values:
            detail = f"resource rules must supply at least one {one}"
            errors.append(required(f"{path}.{field}", detail))
        errors += _alone(values, f"{path}.{field}", many)
    namespaces, here = rule.get("namespaces") or [], f"{path}.namespaces"
    if not namespaces and not rule.get("clusterScope"):
        detail = "resource rules that are not cluster scoped must supply at least one namespace"
        return [*errors, required(here, detail)]
    if "*" in namespaces:
        return errors + _alone(namespaces, here, "namespaces")
    for i, namespace in enumerate(namespaces):
        for detail in text.dns_label(namespace):
            told = f"each member of this list must be '*' or a DNS-1123 label; {detail}"
            errors.append(invalid(f"{here}[{i}]", namespace, told))
    return errors


def _check_urls(rule: Tree, path: str) -> Errors:
    errors = _check_verbs(rule, path)
    urls, here = rule.get("nonResourceURLs") or [], f"{path}.nonResourceURLs"
    if not urls:
        return [*errors, required(here, "nonResourceURLs must contain at least one value")]
    if "*" in urls:
        return errors + _alone(urls, here, "non-resource URLs")
    for i, url in enumerate(urls):
        detail = _problem_of(url)
        if detail:
            errors.append(invalid(f"{here}[{i}]", url, detail))
    return errors


def _problem_of(url: str) -> str:
    if not url:
        return "must not be empty"
    if url == "/":
        return ""
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    if url.count("*") > 1 or ("*" in url and not url.endswith("/*")):
        return "wildcard can only do suffix matching"
    return ""


class PriorityLevelKind(SpecKind):
    def default(self, tree: Tree) -> None:
        spec = spec_of(tree)
        if spec.get("type") == "Exempt":
            exempt = setdefault(spec, "exempt", {})
            setdefault(exempt, "nominalConcurrencyShares", 0)
            setdefault(exempt, "lendablePercent", 0)
        limited = spec.get("limited")
        if limited is None:
            return
        setdefault(limited, "nominalConcurrencyShares", 30)
        setdefault(limited, "lendablePercent", 0)
        queuing = (limited.get("limitResponse") or {}).get("queuing")
        if queuing is not None:
            for field, value in (("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)):
                if not queuing.get(field):
                    queuing[field] = value

    def check(self, tree: Tree) -> list[FieldError]:
        spec, name = tree.get("spec") or {}, (tree.get("metadata") or {}).get("name", "")
        kind = spec.get("type") or ""
        errors: Errors = []
        if (name == EXEMPT) is not (kind == "Exempt"):
            detail = "must be 'Exempt' if and only if `name` is 'exempt'"
            errors.append(invalid("spec.type", kind, detail))
        if kind == "Exempt":
            if spec.get("limited") is not None:
                detail = "must be nil if the type is not Limited"
                errors.append(forbidden_field("spec.limited", detail))
            errors += _check_shares(spec.get("exempt") or {}, "spec.exempt")
        elif kind == "Limited":
            if spec.get("exempt") is not None:
                detail = "must be nil if the type is Limited"
                errors.append(forbidden_field("spec.exempt", detail))
            limited = spec.get("limited")
            if limited is None:
                errors.append(required("spec.limited", "must not be empty when type is Limited"))
            else:
                errors += _check_limited(limited, "spec.limited")
        else:
            errors.append(not_supported("spec.type", kind, ["Exempt", "Limited"]))
        fixed = _FIXED_LEVELS.get(name)
        if name == EXEMPT and fixed is not None:
            # How much of the others' seats it may count on is the administrator's.
            fixed = {**fixed, "exempt": spec.get("exempt")}
        return errors + _check_fixed(spec, name, fixed)

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        return _check_conditions(new)


def _check_shares(part: Tree, path: str) -> Errors:
    errors: Errors = []
    shares = part.get("nominalConcurrencyShares") or 0
    if shares < 0:
        here = f"{path}.nominalConcurrencyShares"
        errors.append(invalid(here, shares, "must be a non-negative integer"))
    lendable = part.get("lendablePercent") or 0
    if not 0 <= lendable <= 100:
        here = f"{path}.lendablePercent"
        errors.append(invalid(here, lendable, "must be between 0 and 100, inclusive"))
    return errors


def _check_limited(limited: Tree, path: str) -> Errors:
    errors = _check_shares(limited, path)
    borrowing = limited.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        detail = "if specified, must be a non-negative integer"
        errors.append(invalid(f"{path}.borrowingLimitPercent", borrowing, detail))
    response = limited.get("limitResponse") or {}
    here, kind, queuing = f"{path}.limitResponse", response.get("type"), response.get("queuing")
    if kind == "Reject":
        if queuing is not None:
            detail = "must be nil if limited.limitResponse.type is not Limited"
            errors.append(forbidden_field(f"{here}.queuing", detail))
    elif kind == "Queue":
        if queuing is None:
            detail = "must not be empty if limited.limitResponse.type is Limited"
            errors.append(required(f"{here}.queuing", detail))
        else:
            errors += _check_queuing(queuing, f"{here}.queuing")
    else:
        errors.append(not_supported(f"{here}.type", kind or "", ["Queue", "Reject"]))
    return errors


def _check_queuing(queuing: Tree, path: str) -> Errors:
    errors: Errors = []
    length, queues = queuing.get("queueLengthLimit") or 0, queuing.get("queues") or 0
    hand = queuing.get("handSize") or 0
    if length <= 0:
        errors.append(invalid(f"{path}.queueLengthLimit", length, "must be positive"))
    if queues <= 0:
        errors.append(invalid(f"{path}.queues", queues, "must be positive"))
    elif queues > _QUEUES_MAX:
        detail = f"must not be greater than {_QUEUES_MAX}"
        errors.append(invalid(f"{path}.queues", queues, detail))
    here = f"{path}.handSize"
    if hand <= 0:
        errors.append(invalid(here, hand, "must be positive"))
    elif hand > queues:
        detail = f"should not be greater than queues ({queues})"
        errors.append(invalid(here, hand, detail))
    elif sum(math.log2(queues - i) for i in range(min(hand, 64))) > _HASH_BITS:
        detail = (
            f"required entropy bits of deckSize {queues} and handSize {hand} should not be"
            f" greater than {_HASH_BITS}"
        )
        errors.append(invalid(here, hand, detail))
    return errors
