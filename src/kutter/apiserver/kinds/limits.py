"""Limit ranges and resource quotas."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from kutter.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    required,
)
from kutter.apiserver.kinds.standard import Standard, spec_of
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import quantities, text
from kutter.apiserver.validation.internal import shown
from kutter.apiserver.validation.metadata import (
    IMMUTABLE,
)
from kutter.apiserver.validation.pod_resources import (
    is_for_quotas,
    is_overcommit_allowed,
    validate_amount,
    validate_container_name,
    validate_name,
    validate_quota_name,
)

Errors = list[FieldError]


_RATIO = "maxLimitRequestRatio"
_LIMIT_FIELDS = ("max", "min", "default", "defaultRequest", _RATIO)


class LimitRangeKind(Standard):
    leaves_metadata: ClassVar[bool] = True
    has_status: ClassVar[bool] = False
    allow_create_on_update: ClassVar[bool] = True

    def default(self, tree: Tree) -> None:
        for limit in spec_of(tree).get("limits") or ():
            for field in _LIMIT_FIELDS:
                quantities.canonicalize_list(limit.get(field))
            if limit.get("type") != "Container":
                continue
            # A default limit is at most the maximum; a default request follows the default.
            default = (limit.get("max") or {}) | (limit.get("default") or {})
            request = (limit.get("min") or {}) | default | (limit.get("defaultRequest") or {})
            for field, amounts in (("default", default), ("defaultRequest", request)):
                if amounts:
                    limit[field] = amounts
                else:
                    limit.pop(field, None)

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        super().prepare_for_create(context, tree)
        metadata = tree["metadata"]
        if not metadata.get("name"):
            metadata["name"] = str(uuid.uuid4())

    def validate_update(self, context: StrategyContext, new: Tree, old: Tree) -> list[FieldError]:
        return self.validate_create(context, new)

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        seen: set[str] = set()
        for i, limit in enumerate((tree.get("spec") or {}).get("limits") or ()):
            path, kind = f"spec.limits[{i}]", limit.get("type") or ""
            problems = text.qualified_name(kind)
            errors += [invalid(f"{path}.type", kind, p) for p in problems]
            known = ("Pod", "Container", "PersistentVolumeClaim")
            if not problems and "/" not in kind and kind not in known:
                detail = "must be a standard limit type or fully qualified"
                errors.append(invalid(f"{path}.type", kind, detail))
            if kind in seen:
                errors.append(duplicate(f"{path}.type", kind))
            seen.add(kind)
            self._limit(errors, limit, kind, path)
        return errors

    def _limit(self, errors: Errors, limit: Tree, kind: str, path: str) -> None:
        check = validate_container_name if kind in ("Pod", "Container") else validate_name
        fields: tuple[str, ...] = _LIMIT_FIELDS
        if kind == "Pod":
            for field in ("default", "defaultRequest"):
                if limit.get(field):
                    detail = "may not be specified when `type` is 'Pod'"
                    errors.append(forbidden_field(f"{path}.{field}", detail))
            fields = ("max", "min", _RATIO)
        names: dict[str, None] = {}
        for field in fields:
            if field == _RATIO:
                self._storage(errors, limit, kind, path)
            for name in limit.get(field) or ():
                check(errors, name, f"{path}.{field}[{name}]")
                names[name] = None
        for name in names:
            self._compare(errors, limit, name, path)

    def _storage(self, errors: Errors, limit: Tree, kind: str, path: str) -> None:
        if kind == "PersistentVolumeClaim" and not any(
            "storage" in (limit.get(f) or {}) for f in ("min", "max")
        ):
            detail = "either minimum or maximum storage value is required, but neither was provided"
            errors.append(required(f"{path}.limits", detail))

    def _compare(self, errors: Errors, limit: Tree, name: str, path: str) -> None:
        def value(field: str) -> Any:
            return (limit.get(field) or {}).get(name)

        def exceeds(a: Any, b: Any) -> bool:
            return a is not None and b is not None and quantities.amount(a) > quantities.amount(b)

        low, high, ratio = value("min"), value("max"), value(_RATIO)
        default, request = value("default"), value("defaultRequest")
        rules = (
            ("min", low, high, low, "min value {} is greater than max value {}"),
            (
                "defaultRequest",
                low,
                request,
                request,
                "min value {} is greater than default request value {}",
            ),
            (
                "defaultRequest",
                request,
                high,
                request,
                "default request value {} is greater than max value {}",
            ),
            (
                "defaultRequest",
                request,
                default,
                request,
                "default request value {} is greater than default limit value {}",
            ),
            ("default", low, default, low, "min value {} is greater than default value {}"),
            ("default", default, high, high, "default value {} is greater than max value {}"),
        )
        for field, a, b, told, detail in rules:
            if exceeds(a, b):
                errors.append(invalid(f"{path}.{field}[{name}]", told, detail.format(a, b)))
        if ratio is not None:
            here = f"{path}.{_RATIO}[{name}]"
            if quantities.amount(ratio) < quantities.NANO:
                errors.append(invalid(here, ratio, f"ratio {ratio} is less than 1"))
            if low is not None and high is not None and quantities.amount(low):
                most = quantities.amount(high) / quantities.amount(low)
                if quantities.amount(ratio) / quantities.NANO > most:
                    detail = f"ratio {ratio} is greater than max/min = {most:f}"
                    errors.append(invalid(here, ratio, detail))
        if is_overcommit_allowed(name) or default is None or request is None:
            return
        if quantities.amount(default) != quantities.amount(request):
            errors.append(
                invalid(
                    f"{path}.defaultRequest[{name}]",
                    request,
                    f"default value {default} must equal to defaultRequest value {request} in "
                    f"{name}",
                )
            )


_PODS = frozenset({"pods"})
_COMPUTE = frozenset(
    {"cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"}
)
_CLAIMS = frozenset({"persistentvolumeclaims", "requests.storage"})
_SCOPES = {
    "Terminating": _PODS | _COMPUTE,
    "NotTerminating": _PODS | _COMPUTE,
    "BestEffort": _PODS,
    "NotBestEffort": _PODS | _COMPUTE,
    "PriorityClass": _PODS | _COMPUTE,
    "CrossNamespacePodAffinity": _PODS | _COMPUTE,
    "VolumeAttributesClass": _CLAIMS,
}
_CONFLICTS = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
_INAPPLICABLE = "unsupported scope applied to resource"


class ResourceQuotaKind(Standard):
    change_last: ClassVar[bool] = True
    return_deleted_object: ClassVar[bool] = True

    def default(self, tree: Tree) -> None:
        quantities.canonicalize_list(spec_of(tree).get("hard"))
        for field in ("hard", "used"):
            quantities.canonicalize_list((tree.get("status") or {}).get(field))

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        tree["status"] = {}

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        hard = spec.get("hard") or {}
        _amounts(errors, hard, "spec.hard")
        scopes, path = spec.get("scopes") or [], "spec.scopes"
        for scope in scopes:
            if scope not in _SCOPES:
                errors.append(invalid(path, scopes, "unsupported scope"))
            errors += [invalid(path, scopes, _INAPPLICABLE)] * _misfits(scope, hard)
        errors += [invalid(path, scopes, "conflicting scopes")] * _conflicts(scopes)
        selector, path = spec.get("scopeSelector") or {}, "spec.scopeSelector.matchExpressions"
        expressions = selector.get("matchExpressions") or []
        for expression in expressions:
            self._expression(errors, expression, path, selector, hard)
        named = [e.get("scopeName") for e in expressions]
        errors += [invalid(path, scopes or None, "conflicting scopes")] * _conflicts(named)
        return errors

    def _expression(
        self, errors: Errors, expression: Tree, path: str, selector: Tree, hard: Tree
    ) -> None:
        scope, operator = expression.get("scopeName") or "", expression.get("operator") or ""
        values = expression.get("values") or []
        if scope not in _SCOPES:
            errors.append(invalid(f"{path}.scopeName", scope, "unsupported scope"))
        elif misfits := _misfits(scope, hard):
            found = invalid(path, shown("ScopeSelector", selector), _INAPPLICABLE)
            errors += [found] * misfits
        valued = ("PriorityClass", "VolumeAttributesClass")
        if scope in _SCOPES and scope not in valued and operator != "Exists":
            detail = (
                "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, "
                "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
                "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
            )
            errors.append(invalid(f"{path}.operator", operator, detail))
        if operator in ("In", "NotIn"):
            if not values:
                detail = (
                    "must be at least one value when `operator` is 'In' or 'NotIn' for scope "
                    "selector"
                )
                errors.append(required(f"{path}.values", detail))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                detail = (
                    "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope "
                    "selector"
                )
                errors.append(invalid(f"{path}.values", values, detail))
        else:
            errors.append(invalid(f"{path}.operator", operator, "not a valid selector operator"))

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        after = (new.get("spec") or {}).get("scopes") or []
        before = (old.get("spec") or {}).get("scopes") or []
        return [] if set(after) == set(before) else [invalid("spec.scopes", after, IMMUTABLE)]

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        for field in ("hard", "used"):
            _amounts(errors, (new.get("status") or {}).get(field) or {}, f"status.{field}")
        return errors


def _amounts(errors: Errors, amounts: Tree, path: str) -> None:
    for name, value in amounts.items():
        validate_quota_name(errors, name, f"{path}[{name}]")
        validate_amount(errors, name, value, f"{path}[{name}]")


def _misfits(scope: str, hard: Tree) -> int:
    """How many of the limited resources a scope says nothing about."""
    apt = _SCOPES.get(scope)
    return 0 if apt is None else sum(is_for_quotas(n) and n not in apt for n in hard)


def _conflicts(scopes: list[str]) -> int:
    return sum(pair <= set(scopes) for pair in _CONFLICTS)
