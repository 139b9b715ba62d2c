"""ValidatingAdmissionPolicy, MutatingAdmissionPolicy and their bindings: defaults and validation.

Expressions are compiled here as they will be when they run; texts and order are upstream's
(``pkg/apis/admissionregistration/validation``). What an update leaves as it is, is not judged anew.
"""

from __future__ import annotations

from typing import Any, ClassVar

from kutter.api.cel.library.mutation import JSON_PATCH, OBJECT
from kutter.api.cel.types import BOOL, NULL, STRING, Type, list_of, object_type
from kutter.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_supported,
    required,
)
from kutter.apiserver.admission.dynamic.conditions import check_condition_expression
from kutter.apiserver.admission.dynamic.expressions import Composition, field_errors
from kutter.apiserver.kinds.standard import SpecKind, Standard, setdefault, spec_of
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.admission_rules import (
    FAILURE_POLICIES,
    check_choice,
    check_match_resources,
)
from kutter.apiserver.validation.conditions import validate_conditions
from kutter.apiserver.validation.match_conditions import check_match_conditions
from kutter.apiserver.validation.metadata import checked, validate_label_selector

_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_REINVOCATIONS = ("IfNeeded", "Never")
_PATCH_TYPES = ("ApplyConfiguration", "JSONPatch")
_MUTATING = ("*", "CONNECT", "CREATE", "UPDATE")
_ACTIONS = ("Audit", "Deny", "Warn")
_ANNOTATIONS_LIMIT = 20
_VALUE_LIMIT_BYTES = 5 * 1024
_RESERVED_TEXT = """
true false null in as break const continue else for function if import let loop package namespace
return var void while
"""
_RESERVED = frozenset(_RESERVED_TEXT.split())
_OBJECT = object_type(OBJECT, {})
_JSON_PATCHES = list_of(JSON_PATCH)


def _default_match(match: Tree | None) -> None:
    if match is None:
        return
    setdefault(match, "matchPolicy", "Equivalent")
    setdefault(match, "namespaceSelector", {})
    setdefault(match, "objectSelector", {})
    for field in ("resourceRules", "excludeResourceRules"):
        for rule in match.get(field) or ():
            setdefault(rule, "scope", "*")


class _PolicyKind(SpecKind):
    """What both sorts of policies share."""

    patches: ClassVar[bool] = False
    allow_unconditional_update: ClassVar[bool] = False

    def default(self, tree: Tree) -> None:
        spec = spec_of(tree)
        setdefault(spec, "failurePolicy", "Fail")
        _default_match(spec.get("matchConstraints"))

    def validate_create(self, context: StrategyContext, tree: Tree) -> list[FieldError]:
        return self.check_metadata(tree) + self._check_spec(tree, None)

    def validate_update(self, context: StrategyContext, new: Tree, old: Tree) -> list[FieldError]:
        return self.check_metadata_change(new, old) + self._check_spec(new, old)

    def _check_spec(self, tree: Tree, old: Tree | None) -> list[FieldError]:
        spec: Tree = tree.get("spec") or {}
        before: Tree = (old or {}).get("spec") or {}
        errors = check_choice(spec.get("failurePolicy"), FAILURE_POLICIES, "spec.failurePolicy")
        kind = spec.get("paramKind")
        if kind is not None:
            errors += _check_param_kind(kind, "spec.paramKind")
        errors += self._check_constraints(spec.get("matchConstraints"))
        same = all(spec.get(key) == before.get(key) for key in ("paramKind", "matchConditions"))
        if old is None or not same:
            errors += check_match_conditions(
                spec.get("matchConditions") or [],
                "spec.matchConditions",
                lambda expression, path: check_condition_expression(
                    expression, path, params=kind is not None
                ),
            )
        variables = spec.get("variables") or []
        composition = Composition(
            params=kind is not None,
            patches=self.patches,
            variables=bool(variables) or self.patches,
        )
        for i, variable in enumerate(variables):
            errors += _check_variable(composition, variable, f"spec.variables[{i}]")
        return errors + self.check_body(tree, spec, composition)

    def _check_constraints(self, match: Tree | None) -> list[FieldError]:
        path = "spec.matchConstraints"
        if match is None:
            return [required(path)]
        errors = check_match_resources(match, path)
        if not match.get("resourceRules"):
            errors.append(required(f"{path}.resourceRules"))
        return errors

    def check_body(self, tree: Tree, spec: Tree, composition: Composition) -> list[FieldError]:
        """What the policy does: validations, mutations."""
        raise NotImplementedError


class ValidatingAdmissionPolicyKind(_PolicyKind):
    def check_body(self, tree: Tree, spec: Tree, composition: Composition) -> list[FieldError]:
        validations, annotations = spec.get("validations"), spec.get("auditAnnotations")
        if not validations and not annotations:
            detail = "validations or auditAnnotations must contain at least one item"
            return [required(f"spec.{f}", detail) for f in ("validations", "auditAnnotations")]
        errors: list[FieldError] = []
        for i, validation in enumerate(validations or ()):
            errors += _check_validation(composition, validation, f"spec.validations[{i}]")
        return errors + _check_annotations(composition, tree, annotations or [])

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        status: Tree = new.get("status") or {}
        path = "status.typeChecking.expressionWarnings"
        warnings = (status.get("typeChecking") or {}).get("expressionWarnings") or ()
        errors = [
            required(f"{path}[{i}].{field}")
            for i, warning in enumerate(warnings)
            for field in ("warning", "fieldRef")
            if not (warning.get(field) or "").strip()
        ]
        return errors + validate_conditions(status.get("conditions") or [], "status.conditions")


class MutatingAdmissionPolicyKind(_PolicyKind):
    has_status: ClassVar[bool] = False
    patches = True

    def _check_constraints(self, match: Tree | None) -> list[FieldError]:
        path = "spec.matchConstraints"
        return super()._check_constraints(match) + _check_mutable(match, path)

    def check_body(self, tree: Tree, spec: Tree, composition: Composition) -> list[FieldError]:
        errors: list[FieldError] = []
        mutations = spec.get("mutations") or []
        if not mutations:
            errors.append(required("spec.mutations", "mutations must contain at least one item"))
        for i, mutation in enumerate(mutations):
            errors += _check_mutation(composition, mutation, f"spec.mutations[{i}]")
        path = "spec.reinvocationPolicy"
        return errors + check_choice(spec.get("reinvocationPolicy"), _REINVOCATIONS, path)


def _check_mutable(match: Tree | None, path: str) -> list[FieldError]:
    """What is deleted cannot be changed."""
    return [
        not_supported(f"{path}.resourceRules.operations", operation, list(_MUTATING))
        for rule in (match or {}).get("resourceRules") or ()
        for operation in rule.get("operations") or ()
        if operation not in _MUTATING
    ]


class _BindingKind(Standard):
    allow_unconditional_update: ClassVar[bool] = False
    has_status: ClassVar[bool] = False
    generation_paths: ClassVar[tuple[str, ...]] = ("spec",)

    def default(self, tree: Tree) -> None:
        _default_match(spec_of(tree).get("matchResources"))

    def check(self, tree: Tree) -> list[FieldError]:
        spec: Tree = tree.get("spec") or {}
        errors: list[FieldError] = []
        if spec.get("policyName"):
            errors += checked("spec.policyName", spec["policyName"], text.dns_subdomain)
        else:
            errors.append(required("spec.policyName"))
        errors += _check_param_ref(spec.get("paramRef"), "spec.paramRef")
        return errors + check_match_resources(spec.get("matchResources"), "spec.matchResources")


class ValidatingAdmissionPolicyBindingKind(_BindingKind):
    def check(self, tree: Tree) -> list[FieldError]:
        actions = (tree.get("spec") or {}).get("validationActions") or []
        return super().check(tree) + _check_actions(actions, "spec.validationActions")


class MutatingAdmissionPolicyBindingKind(_BindingKind):
    def check(self, tree: Tree) -> list[FieldError]:
        match = (tree.get("spec") or {}).get("matchResources")
        return super().check(tree) + _check_mutable(match, "spec.matchResources")


# -- parts ---------------------------------------------------------------------


def _check_param_kind(kind: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    api_version, name = kind.get("apiVersion") or "", kind.get("kind") or ""
    here = f"{path}.apiVersion"
    if not api_version:
        errors.append(required(here))
    elif api_version.count("/") > 1:
        detail = f"unexpected GroupVersion string: {api_version}"
        errors.append(invalid(here, api_version, detail))
    else:
        group, _, version = api_version.rpartition("/")
        problems = text.dns_subdomain(group) if group else ()
        if problems:
            errors.append(invalid(here, group, ",".join(problems)))
        if not version:
            errors.append(invalid(here, api_version, "version must be specified"))
        elif problems := text.dns_label_1035(version):
            errors.append(invalid(here, version, ",".join(problems)))
    if not name:
        errors.append(required(f"{path}.kind"))
    elif problems := text.dns_label_1035(name.lower()):
        detail = f"may have mixed case, but should otherwise match: {','.join(problems)}"
        errors.append(invalid(f"{path}.kind", name, detail))
    return errors


def _check_expression(
    composition: Composition, expression: str, path: str, *expected: Type, authorizer: bool = True
) -> list[FieldError]:
    return field_errors(composition.compile(expression, *expected, authorizer=authorizer), path)


def _check_variable(composition: Composition, variable: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    name, expression = variable.get("name") or "", variable.get("expression") or ""
    if not name.strip():
        errors.append(required(f"{path}.name", "name is not specified"))
    elif not (name.isascii() and name.isidentifier()) or name in _RESERVED:
        errors.append(invalid(f"{path}.name", name, "must be a valid CEL identifier"))
    if not expression.strip():
        errors.append(required(f"{path}.expression", "expression is not specified"))
    else:
        made = composition.add_variable(name, expression)
        errors += field_errors(made, f"{path}.expression")
    return errors


def _check_validation(composition: Composition, validation: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    expression = validation.get("expression") or ""
    if not expression.strip():
        errors.append(required(f"{path}.expression", "expression is not specified"))
    else:
        errors += _check_expression(composition, expression, f"{path}.expression", BOOL)
    worded = validation.get("messageExpression") or ""
    if worded and not worded.strip():
        detail = "must be non-empty if specified"
        errors.append(invalid(f"{path}.messageExpression", worded, detail))
    elif worded:
        errors += _check_expression(
            composition, worded, f"{path}.messageExpression", STRING, authorizer=False
        )
    message = validation.get("message") or ""
    if message and not message.strip():
        errors.append(invalid(f"{path}.message", message, "must be non-empty if specified"))
    elif "\n" in message.strip() or "\r" in message.strip():
        errors.append(invalid(f"{path}.message", message, "must not contain line breaks"))
    reason = validation.get("reason")
    if reason is not None and reason not in _REASONS:
        errors.append(not_supported(f"{path}.reason", reason, list(_REASONS)))
    return errors


def _check_annotations(
    composition: Composition, tree: Tree, annotations: list[Tree]
) -> list[FieldError]:
    errors: list[FieldError] = []
    path = "spec.auditAnnotations"
    if len(annotations) > _ANNOTATIONS_LIMIT:
        detail = f"must not have more than {_ANNOTATIONS_LIMIT} auditAnnotations"
        errors.append(invalid(path, annotations, detail))
    policy = (tree.get("metadata") or {}).get("name") or ""
    seen: set[str] = set()
    for i, annotation in enumerate(annotations):
        here, key = f"{path}[{i}]", annotation.get("key") or ""
        if policy:
            errors += checked(f"{here}.key", f"{policy}/{key}", text.qualified_name)
        else:
            errors.append(invalid(f"{here}.key", key, "requires metadata.name be non-empty"))
        errors += _check_value(composition, annotation, f"{here}.valueExpression")
        if key in seen:
            errors.append(duplicate(f"{here}.key", key))
        seen.add(key)
    return errors


def _check_value(composition: Composition, annotation: Tree, path: str) -> list[FieldError]:
    expression = (annotation.get("valueExpression") or "").strip()
    if not expression:
        return [required(path, "valueExpression is not specified")]
    if len(expression.encode()) > _VALUE_LIMIT_BYTES:
        return [required(path, f"must not exceed {_VALUE_LIMIT_BYTES} bytes in length")]
    return _check_expression(composition, expression, path, STRING, NULL)


_FORMS: dict[str, tuple[str, Type, str]] = {
    "ApplyConfiguration": ("applyConfiguration", _OBJECT, "jsonPatch"),
    "JSONPatch": ("jsonPatch", _JSON_PATCHES, "applyConfiguration"),
}


def _check_mutation(composition: Composition, mutation: Tree, path: str) -> list[FieldError]:
    kind = mutation.get("patchType") or ""
    if not kind:
        return [required(f"{path}.patchType")]
    if kind not in _FORMS:
        return [not_supported(f"{path}.patchType", kind, list(_PATCH_TYPES))]
    field, expected, other = _FORMS[kind]
    errors: list[FieldError] = []
    body: Any = mutation.get(field)
    if body is None:
        errors.append(required(f"{path}.{field}", f"must be specified when patchType is {kind}"))
    elif not (body.get("expression") or "").strip():
        errors.append(required(f"{path}.{field}.expression"))
    else:
        expression = body["expression"].strip()
        errors += _check_expression(composition, expression, f"{path}.{field}.expression", expected)
    if mutation.get(other) is not None:
        detail = f"must not be specified when patchType is {kind}"
        errors.append(invalid(f"{path}.{other}", f"{{{other}}}", detail))
    return errors


def _check_param_ref(reference: Tree | None, path: str) -> list[FieldError]:
    if reference is None:
        return []
    errors: list[FieldError] = []
    name, selector = reference.get("name") or "", reference.get("selector")
    exclusive = "name and selector are mutually exclusive"
    if name:
        errors += checked(f"{path}.name", name, text.path_segment)
        if selector is not None:
            errors.append(forbidden_field(f"{path}.name", exclusive))
    if selector is not None:
        errors += validate_label_selector(selector, f"{path}.selector")
        if name:
            errors.append(forbidden_field(f"{path}.selector", exclusive))
    if not name and selector is None:
        errors.append(required(path, "one of name or selector must be specified"))
    action = reference.get("parameterNotFoundAction") or None
    return errors + check_choice(action, ("Deny", "Allow"), f"{path}.parameterNotFoundAction")


def _check_actions(actions: list[str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for i, action in enumerate(actions):
        if action not in _ACTIONS:
            errors.append(not_supported(f"{path}[{i}]", action, list(_ACTIONS)))
        if action in actions[:i]:
            errors.append(duplicate(f"{path}[{i}]", action))
    if {"Deny", "Warn"} <= set(actions):
        detail = (
            "must not contain both Deny and Warn (repeating the same validation failure "
            "information in the API response and headers serves no purpose)"
        )
        errors.append(invalid(path, actions, detail))
    if not actions:
        errors.append(required(path, "at least one validation action is required"))
    return errors
