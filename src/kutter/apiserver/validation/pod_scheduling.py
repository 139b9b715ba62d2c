"""What a pod says about where it wants to run: affinity, tolerations, spreading."""

from __future__ import annotations

from typing import Any

from kutter.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_supported,
    required,
)
from kutter.apiserver.validation import text
from kutter.apiserver.validation.metadata import checked, validate_label_selector

Tree = dict[str, Any]
Errors = list[FieldError]

TAINT_EFFECTS = ["NoSchedule", "PreferNoSchedule", "NoExecute"]
_POSITIVE = "must be greater than zero"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def validate_affinity(errors: Errors, affinity: Tree, path: str) -> None:
    node = affinity.get("nodeAffinity")
    if node:
        here = f"{path}.nodeAffinity"
        if node.get(_REQUIRED) is not None:
            validate_node_selector(errors, node[_REQUIRED], f"{here}.{_REQUIRED}")
        for i, term in enumerate(node.get(_PREFERRED) or ()):
            _weight(errors, term, f"{here}.{_PREFERRED}[{i}]")
            _node_term(
                errors,
                term.get("preference") or {},
                f"{here}.{_PREFERRED}[{i}].preference",
                check_values=False,
            )
    for field in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(field)
        if not rules:
            continue
        for i, term in enumerate(rules.get(_REQUIRED) or ()):
            _pod_term(errors, term, f"{path}.{field}.{_REQUIRED}[{i}]")
        for i, weighted in enumerate(rules.get(_PREFERRED) or ()):
            here = f"{path}.{field}.{_PREFERRED}[{i}]"
            _weight(errors, weighted, here)
            _pod_term(errors, weighted.get("podAffinityTerm") or {}, f"{here}.podAffinityTerm")


def _weight(errors: Errors, term: Tree, path: str) -> None:
    weight = term.get("weight") or 0
    if not 1 <= weight <= 100:
        errors.append(invalid(f"{path}.weight", weight, "must be in the range 1-100"))


def validate_node_selector(errors: Errors, selector: Tree, path: str) -> None:
    terms = selector.get("nodeSelectorTerms") or []
    if not terms:
        errors.append(
            required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")
        )
    for i, term in enumerate(terms):
        _node_term(errors, term, f"{path}.nodeSelectorTerms[{i}]", check_values=True)


def _node_term(errors: Errors, term: Tree, path: str, *, check_values: bool) -> None:
    for i, requirement in enumerate(term.get("matchExpressions") or ()):
        here = f"{path}.matchExpressions[{i}]"
        operator, values = requirement.get("operator") or "", requirement.get("values") or []
        if operator in ("In", "NotIn"):
            if not values:
                errors.append(
                    required(
                        f"{here}.values",
                        "must be specified when `operator` is 'In' or 'NotIn'",
                    )
                )
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                errors.append(
                    forbidden_field(
                        f"{here}.values",
                        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                    )
                )
        elif operator in ("Gt", "Lt"):
            if len(values) != 1:
                errors.append(
                    required(
                        f"{here}.values",
                        "must be specified single value when `operator` is 'Lt' or 'Gt'",
                    )
                )
        else:
            errors.append(invalid(f"{here}.operator", operator, "not a valid selector operator"))
        errors += checked(f"{here}.key", requirement.get("key") or "", text.qualified_name)
        if check_values:
            for v, value in enumerate(values):
                errors += checked(f"{here}.values[{v}]", value, text.label_value)
    for i, requirement in enumerate(term.get("matchFields") or ()):
        _node_field(errors, requirement, f"{path}.matchFields[{i}]")


def _node_field(errors: Errors, requirement: Tree, path: str) -> None:
    operator, values = requirement.get("operator") or "", requirement.get("values") or []
    key = requirement.get("key") or ""
    if operator not in ("In", "NotIn"):
        errors.append(invalid(f"{path}.operator", operator, "not a valid selector operator"))
    elif len(values) != 1:
        errors.append(
            required(
                f"{path}.values",
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
            )
        )
    if key != "metadata.name":
        errors.append(invalid(f"{path}.key", key, "not a valid field selector key"))
        return
    for i, value in enumerate(values):
        errors += checked(f"{path}.values[{i}]", value, text.dns_subdomain)


def _pod_term(errors: Errors, term: Tree, path: str) -> None:
    selector = term.get("labelSelector")
    errors += validate_label_selector(selector, f"{path}.labelSelector")
    errors += validate_label_selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for namespace in term.get("namespaces") or ():
        errors += checked(f"{path}.namespace", namespace, text.dns_label)
    if term.get("matchLabelKeys") or term.get("mismatchLabelKeys"):
        _label_keys(errors, term, path)
    topology = term.get("topologyKey") or ""
    if not topology:
        errors.append(required(f"{path}.topologyKey", "can not be empty"))
    errors += checked(f"{path}.topologyKey", topology, text.qualified_name)


def validate_tolerations(errors: Errors, tolerations: list[Tree], path: str) -> None:
    for i, toleration in enumerate(tolerations):
        key, operator = toleration.get("key") or "", toleration.get("operator") or ""
        value, effect = toleration.get("value") or "", toleration.get("effect") or ""
        if key:
            problems = text.qualified_name(key)
            if problems:
                errors += [invalid(f"{path}[{i}].key", key, p) for p in problems]
        elif operator != "Exists":
            errors.append(
                invalid(
                    f"{path}[{i}].operator",
                    operator,
                    'operator must be Exists when `key` is empty, which means "match all '
                    'values and all keys"',
                )
            )
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            errors.append(
                invalid(
                    f"{path}[{i}].effect",
                    effect,
                    "effect must be 'NoExecute' when `tolerationSeconds` is set",
                )
            )
        if operator in ("Equal", ""):
            problems = text.label_value(value)
            if problems:
                errors.append(invalid(f"{path}[{i}].operator", value, ";".join(problems)))
        elif operator == "Exists":
            if value:
                errors.append(
                    invalid(
                        f"{path}[{i}].operator",
                        value,
                        "value must be empty when `operator` is 'Exists'",
                    )
                )
        else:
            # Upstream knows the comparisons, and has them switched off.
            known = ["Equal", "Exists"] + (["Lt", "Gt"] if operator in ("Lt", "Gt") else [])
            errors.append(not_supported(f"{path}[{i}].operator", operator, known))
        if effect and effect not in TAINT_EFFECTS:
            errors.append(not_supported(f"{path}[{i}].effect", effect, TAINT_EFFECTS))


def validate_topology_spread(errors: Errors, constraints: list[Tree], path: str) -> None:
    for i, constraint in enumerate(constraints):
        here = f"{path}[{i}]"
        skew, action = constraint.get("maxSkew") or 0, constraint.get("whenUnsatisfiable") or ""
        key = constraint.get("topologyKey") or ""
        if skew <= 0:
            errors.append(invalid(f"{here}.maxSkew", skew, _POSITIVE))
        if not key:
            errors.append(required(f"{here}.topologyKey", "can not be empty"))
        allowed = ["DoNotSchedule", "ScheduleAnyway"]
        if action not in allowed:
            errors.append(not_supported(f"{here}.whenUnsatisfiable", action, allowed))
        if any(
            (other.get("topologyKey") or "") == key
            and (other.get("whenUnsatisfiable") or "") == action
            for other in constraints[i + 1 :]
        ):
            errors.append(
                duplicate(f"{here}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}")
            )
        domains = constraint.get("minDomains")
        if domains is not None:
            if domains <= 0:
                errors.append(invalid(f"{here}.minDomains", domains, _POSITIVE))
            if action != "DoNotSchedule":
                errors.append(
                    invalid(
                        f"{here}.minDomains",
                        domains,
                        f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}",
                    )
                )
        for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            policy = constraint.get(field)
            if policy is not None and policy not in ("Honor", "Ignore"):
                errors.append(not_supported(f"{here}.{field}", policy, ["Honor", "Ignore"]))
        _label_keys(errors, constraint, here)
        errors += validate_label_selector(constraint.get("labelSelector"), f"{here}.labelSelector")


def _label_keys(errors: Errors, tree: Tree, path: str) -> None:
    """Keys whose values are the pod's own: the server has made requirements of them already."""
    selector = tree.get("labelSelector")
    match, mismatch = tree.get("matchLabelKeys") or [], tree.get("mismatchLabelKeys") or []
    for field, keys in (("matchLabelKeys", match), ("mismatchLabelKeys", mismatch)):
        here = f"{path}.{field}"
        if keys and selector is None:
            detail = "must not be specified when labelSelector is not set"
            errors.append(forbidden_field(here, detail))
            continue
        for i, key in enumerate(keys):
            errors += checked(f"{here}[{i}]", key, text.qualified_name)
    taken = set((selector or {}).get("matchLabels") or ())
    places = {key: i for i, key in enumerate(match)}
    for expression in (selector or {}).get("matchExpressions") or ():
        key = expression.get("key") or ""
        if key in places and key in taken:
            detail = "exists in both matchLabelKeys and labelSelector"
            errors.append(invalid(f"{path}[{places[key]}]", key, detail))
        taken.add(key)
    for i, key in enumerate(match):
        if key in mismatch:
            detail = "exists in both matchLabelKeys and mismatchLabelKeys"
            errors.append(invalid(f"{path}.matchLabelKeys[{i}]", key, detail))
