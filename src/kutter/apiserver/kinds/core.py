"""Namespaces, nodes, config maps, secrets, service accounts, limits and quotas."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from kutter.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_supported,
    required,
    too_long,
)
from kutter.apiserver.kinds.standard import SpecKind, Standard, setdefault, spec_of
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import quantities, text
from kutter.apiserver.validation.equality import equal
from kutter.apiserver.validation.metadata import (
    IMMUTABLE,
    checked,
    immutable,
    validate_finalizer_standing,
)
from kutter.apiserver.validation.pod_resources import (
    is_overcommit_allowed,
    validate_amount,
    validate_container_name,
    validate_name,
    validate_quota_name,
)
from kutter.apiserver.validation.pod_scheduling import TAINT_EFFECTS

Errors = list[FieldError]

NAME_LABEL = "kubernetes.io/metadata.name"
_DATA_MAX_BYTES = 1 << 20
_SEALED = "field is immutable when `immutable` is set"


class NamespaceKind(Standard):
    name_check: ClassVar[text.Check] = text.dns_label
    field_labels: ClassVar[frozenset[str]] = frozenset({"status.phase", "name"})

    def default(self, tree: Tree) -> None:
        metadata = tree.setdefault("metadata", {})
        if metadata.get("name"):
            setdefault(metadata, "labels", {})[NAME_LABEL] = metadata["name"]

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        tree["status"] = {"phase": "Active"}
        finalizers = setdefault(spec_of(tree), "finalizers", [])
        if "kubernetes" not in finalizers:
            finalizers.append("kubernetes")

    def prepare_for_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        super().prepare_for_update(context, new, old)
        _restore(new, old, "spec")

    def canonicalize(self, tree: Tree) -> None:
        # A generated name came after defaulting.
        self.default(tree)

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        for finalizer in (tree.get("spec") or {}).get("finalizers") or ():
            errors += checked("spec.finalizers", finalizer, text.qualified_name)
            errors += validate_finalizer_standing(finalizer, "spec.finalizers")
        return errors

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        deleted = bool((new.get("metadata") or {}).get("deletionTimestamp"))
        phase = (new.get("status") or {}).get("phase") or ""
        if not deleted and phase != "Active":
            detail = "may only be 'Active' if `deletionTimestamp` is empty"
            return [invalid("status.Phase", phase, detail)]
        if deleted and phase != "Terminating":
            detail = "may only be 'Terminating' if `deletionTimestamp` is not empty"
            return [invalid("status.Phase", phase, detail)]
        return []

    def holds_deletion(self, tree: Tree) -> bool:
        return bool((tree.get("spec") or {}).get("finalizers"))

    def begin_delete(self, context: StrategyContext, tree: Tree) -> None:
        setdefault(tree, "status", {})["phase"] = "Terminating"

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        return {
            "status.phase": (tree.get("status") or {}).get("phase") or "",
            "name": (tree.get("metadata") or {}).get("name") or "",
        }


def _restore(new: Tree, old: Tree, field: str) -> None:
    if old.get(field) is None:
        new.pop(field, None)
    else:
        new[field] = old[field]


class NodeKind(Standard):
    field_labels: ClassVar[frozenset[str]] = frozenset({"spec.unschedulable"})

    def default(self, tree: Tree) -> None:
        spec, status = tree.setdefault("spec", {}), tree.get("status") or {}
        single, many = spec.get("podCIDR"), spec.get("podCIDRs")
        if single and not many:
            spec["podCIDRs"] = [single]
        elif many and not single:
            spec["podCIDR"] = many[0]
        for field in ("capacity", "allocatable"):
            quantities.canonicalize_list(status.get(field))
        if status.get("capacity") and status.get("allocatable") is None:
            status["allocatable"] = dict(status["capacity"])

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        # A node tells its status when it registers.
        pass_through = tree.get("status")
        if pass_through is None:
            tree["status"] = {}

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec, status = tree.get("spec") or {}, tree.get("status") or {}
        if spec.get("taints"):
            validate_taints(errors, spec["taints"], "metadata.taints")
        for field in ("capacity", "allocatable"):
            for name, value in (status.get(field) or {}).items():
                validate_amount(errors, name, value, f"status.{field}.{name}")
        ranges = spec.get("podCIDRs") or []
        for i, value in enumerate(ranges):
            errors += checked(f"spec.podCIDRs[{i}]", value, text.cidr)
        if len(ranges) > 1:
            if len({":" in r for r in ranges}) != 2 or len(ranges) > 2:
                detail = "may specify no more than one CIDR for each IP family"
                errors.append(invalid("spec.podCIDRs", ranges, detail))
            for i, value in enumerate(ranges):
                if value in ranges[:i]:
                    errors.append(duplicate(f"spec.podCIDRs[{i}]", value))
        return errors

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        after, before = new.get("spec") or {}, old.get("spec") or {}
        if before.get("podCIDRs") and before["podCIDRs"] != after.get("podCIDRs"):
            detail = 'node updates may not change podCIDR except from "" to valid'
            errors.append(forbidden_field("spec.podCIDRs", detail))
        if before.get("providerID") and before["providerID"] != after.get("providerID"):
            detail = 'node updates may not change providerID except from "" to valid'
            errors.append(forbidden_field("spec.providerID", detail))
        if (after.get("externalID") or "") != (before.get("externalID") or ""):
            errors.append(forbidden_field("spec.externalID", "may not be updated"))
        return errors

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        errors = self.check_change(new, old) + self.check(new)
        seen: list[Tree] = []
        for i, address in enumerate((new.get("status") or {}).get("addresses") or ()):
            if address in seen:
                errors.append(duplicate(f"status.addresses[{i}]", address))
            seen.append(address)
        return errors

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        unschedulable = (tree.get("spec") or {}).get("unschedulable")
        return {"spec.unschedulable": "true" if unschedulable else "false"}


def validate_taints(errors: Errors, taints: list[Tree], path: str) -> None:
    seen: set[tuple[str, str]] = set()
    for i, taint in enumerate(taints):
        here, key = f"{path}[{i}]", taint.get("key") or ""
        value, effect = taint.get("value") or "", taint.get("effect") or ""
        errors += checked(f"{here}.key", key, text.qualified_name)
        problems = text.label_value(value)
        if problems:
            errors.append(invalid(f"{here}.value", value, ";".join(problems)))
        if not effect:
            errors.append(required(f"{here}.effect"))
        elif effect not in TAINT_EFFECTS:
            errors.append(not_supported(f"{here}.effect", effect, TAINT_EFFECTS))
        if (effect, key) in seen:
            found = duplicate(here, taint)
            detail = f"{found.message}: taints must be unique by key and effect pair"
            errors.append(FieldError(here, found.reason, detail))
        seen.add((effect, key))


class ConfigMapKind(Standard):
    has_status: ClassVar[bool] = False

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        data, binary = tree.get("data") or {}, tree.get("binaryData") or {}
        size = 0
        for key, value in data.items():
            errors += checked(f"data[{key}]", key, text.config_key)
            if key in binary:
                detail = "duplicate of key present in binaryData"
                errors.append(invalid(f"data[{key}]", key, detail))
            size += len(value.encode())
        for key, value in binary.items():
            errors += checked(f"binaryData[{key}]", key, text.config_key)
            size += _decoded_size(value)
        if size > _DATA_MAX_BYTES:
            errors.append(too_long("", _DATA_MAX_BYTES))
        return errors

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        return _sealed(new, old, "data", "binaryData")


def _sealed(new: Tree, old: Tree, *fields: str) -> list[FieldError]:
    if not old.get("immutable"):
        return []
    errors = [] if new.get("immutable") else [forbidden_field("immutable", _SEALED)]
    errors += [forbidden_field(f, _SEALED) for f in fields if not equal(new.get(f), old.get(f))]
    return errors


def _decoded_size(value: str | None) -> int:
    return len(value or "") * 3 // 4 - (value or "")[-2:].count("=")


def _decoded(value: str | None) -> bytes:
    try:
        return base64.b64decode(value or "", validate=True)
    except (binascii.Error, ValueError):
        return b""


class SecretKind(Standard):
    has_status: ClassVar[bool] = False
    field_labels: ClassVar[frozenset[str]] = frozenset({"type"})

    def default(self, tree: Tree) -> None:
        if not tree.get("type"):
            tree["type"] = "Opaque"
        plain = tree.pop("stringData", None)
        if plain:
            data = setdefault(tree, "data", {})
            for key, value in plain.items():
                data[key] = base64.b64encode(value.encode()).decode()

    def prepare_for_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        # Clients that never learned of types keep what was there.
        if not new.get("type"):
            new["type"] = old.get("type")

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        data = tree.get("data") or {}
        size = 0
        for key, value in data.items():
            errors += checked(f"data[{key}]", key, text.config_key)
            size += _decoded_size(value)
        if size > _DATA_MAX_BYTES:
            errors.append(too_long("data", _DATA_MAX_BYTES))
        self._by_type(errors, tree, data)
        return errors

    def _by_type(self, errors: Errors, tree: Tree, data: Tree) -> None:
        match tree.get("type"):
            case "kubernetes.io/service-account-token":
                annotations = (tree.get("metadata") or {}).get("annotations") or {}
                key = "kubernetes.io/service-account.name"
                if not annotations.get(key):
                    errors.append(required(f"metadata.annotations[{key}]"))
            case "kubernetes.io/dockercfg":
                _json_key(errors, data, ".dockercfg")
            case "kubernetes.io/dockerconfigjson":
                _json_key(errors, data, ".dockerconfigjson")
            case "kubernetes.io/basic-auth":
                if "username" not in data and "password" not in data:
                    errors += [required("data[username]"), required("data[password]")]
            case "kubernetes.io/ssh-auth":
                if not data.get("ssh-privatekey"):
                    errors.append(required("data[ssh-privatekey]"))
            case "kubernetes.io/tls":
                errors += [
                    required(f"data[{key}]") for key in ("tls.crt", "tls.key") if key not in data
                ]

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        return immutable(new.get("type"), old.get("type"), "type") + _sealed(new, old, "data")

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        return {"type": tree.get("type") or ""}


def _json_key(errors: Errors, data: Tree, key: str) -> None:
    if key not in data:
        errors.append(required(f"data[{key}]"))
        return
    try:
        content = json.loads(_decoded(data[key]))
        problem = "" if isinstance(content, dict) else "must be a JSON object"
    except ValueError as error:
        problem = str(error)
    if problem:
        errors.append(invalid(f"data[{key}]", "<secret contents redacted>", problem))


class ServiceAccountKind(Standard):
    return_deleted_object: ClassVar[bool] = True
    has_status: ClassVar[bool] = False


_LIMIT_FIELDS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")


class LimitRangeKind(Standard):
    has_status: ClassVar[bool] = False
    allow_create_on_update: ClassVar[bool] = True

    def default(self, tree: Tree) -> None:
        for limit in spec_of(tree).get("limits") or ():
            for field in _LIMIT_FIELDS:
                quantities.canonicalize_list(limit.get(field))
            if limit.get("type") != "Container":
                continue
            # A default limit is at most the maximum; a default request follows the default.
            default = setdefault(limit, "default", {})
            for name, value in (limit.get("max") or {}).items():
                default.setdefault(name, value)
            request = setdefault(limit, "defaultRequest", {})
            for name, value in default.items():
                request.setdefault(name, value)
            for name, value in (limit.get("min") or {}).items():
                request.setdefault(name, value)

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
            fields = ("max", "min", "maxLimitRequestRatio")
        names: dict[str, None] = {}
        for field in fields:
            for name in limit.get(field) or ():
                check(errors, name, f"{path}.{field}[{name}]")
                names[name] = None
        if kind == "PersistentVolumeClaim" and not any(
            "storage" in (limit.get(f) or {}) for f in ("min", "max")
        ):
            detail = "either minimum or maximum storage value is required, but neither was provided"
            errors.append(required(f"{path}.limits", detail))
        for name in names:
            self._compare(errors, limit, name, path)

    def _compare(self, errors: Errors, limit: Tree, name: str, path: str) -> None:
        def value(field: str) -> Any:
            return (limit.get(field) or {}).get(name)

        def exceeds(a: Any, b: Any) -> bool:
            return a is not None and b is not None and quantities.amount(a) > quantities.amount(b)

        low, high, ratio = value("min"), value("max"), value("maxLimitRequestRatio")
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
        for field, a, b, shown, detail in rules:
            if exceeds(a, b):
                errors.append(invalid(f"{path}.{field}[{name}]", shown, detail.format(a, b)))
        if ratio is not None and quantities.amount(ratio) < quantities.NANO:
            errors.append(
                invalid(
                    f"{path}.maxLimitRequestRatio[{name}]", ratio, f"ratio {ratio} is less than 1"
                )
            )
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


_SCOPES = frozenset(
    {
        "Terminating",
        "NotTerminating",
        "BestEffort",
        "NotBestEffort",
        "PriorityClass",
        "CrossNamespacePodAffinity",
        "VolumeAttributesClass",
    }
)


class ResourceQuotaKind(Standard):
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
        _amounts(errors, spec.get("hard") or {}, "spec.hard")
        scopes = spec.get("scopes") or []
        for scope in scopes:
            if scope not in _SCOPES:
                errors.append(invalid("spec.scopes", scopes, "unsupported scope"))
        expressions = (spec.get("scopeSelector") or {}).get("matchExpressions") or []
        for expression in expressions:
            self._expression(errors, expression, "spec.scopeSelector.matchExpressions")
        for listed in (set(scopes), {e.get("scopeName") for e in expressions}):
            for pair in ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"}):
                if pair <= listed:
                    errors.append(invalid("spec.scopes", scopes, "conflicting scopes"))
        return errors

    def _expression(self, errors: Errors, expression: Tree, path: str) -> None:
        scope, operator = expression.get("scopeName") or "", expression.get("operator") or ""
        values = expression.get("values") or []
        if scope not in _SCOPES:
            errors.append(invalid(f"{path}.scopeName", scope, "unsupported scope"))
        if scope in _SCOPES - {"PriorityClass", "VolumeAttributesClass"} and operator != "Exists":
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


class PriorityClassKind(Standard):
    has_status: ClassVar[bool] = False
    generation_paths: ClassVar[tuple[str, ...]] = ("value", "preemptionPolicy", "globalDefault")

    def default(self, tree: Tree) -> None:
        setdefault(tree, "preemptionPolicy", "PreemptLowerPriority")

    def check(self, tree: Tree) -> list[FieldError]:
        name = (tree.get("metadata") or {}).get("name") or ""
        value = tree.get("value") or 0
        system = {"system-node-critical": 2000001000, "system-cluster-critical": 2000000000}
        if name.startswith("system-"):
            if system.get(name) != value:
                detail = (
                    "priority class names with 'system-' prefix are reserved for system use only. "
                    f"error: {name} is not a known system priority class"
                )
                return [forbidden_field("metadata.name", detail)]
            return []
        if value > 1_000_000_000:
            detail = "maximum allowed value of a user defined priority is 1000000000"
            return [forbidden_field("value", detail)]
        policy = tree.get("preemptionPolicy")
        if policy not in ("PreemptLowerPriority", "Never"):
            return [not_supported("preemptionPolicy", policy, ["PreemptLowerPriority", "Never"])]
        return []

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        if (new.get("value") or 0) != (old.get("value") or 0):
            errors.append(forbidden_field("value", "may not be changed in an update."))
        errors += immutable(
            new.get("preemptionPolicy"), old.get("preemptionPolicy"), "preemptionPolicy"
        )
        return errors


class RuntimeClassKind(Standard):
    has_status: ClassVar[bool] = False
    allow_unconditional_update: ClassVar[bool] = False

    def check(self, tree: Tree) -> list[FieldError]:
        return checked("handler", tree.get("handler") or "", text.dns_label)

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        return immutable(new.get("handler"), old.get("handler"), "handler")


__all__ = [
    "ConfigMapKind",
    "LimitRangeKind",
    "NamespaceKind",
    "NodeKind",
    "PriorityClassKind",
    "ResourceQuotaKind",
    "RuntimeClassKind",
    "SecretKind",
    "ServiceAccountKind",
    "SpecKind",
]
