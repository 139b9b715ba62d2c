"""Names and amounts of resources: requests and limits, quotas, nodes."""

from __future__ import annotations

from typing import Any

from kutter.api import quantity
from kutter.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_supported,
    required,
)
from kutter.api.quantity import Quantity
from kutter.apiserver.validation import quantities, text
from kutter.apiserver.validation.metadata import NEGATIVE

Tree = dict[str, Any]
Errors = list[FieldError]

CONTAINER = frozenset({"cpu", "memory", "ephemeral-storage"})
_QUOTA = frozenset(
    {
        "cpu",
        "memory",
        "ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "persistentvolumeclaims",
        "configmaps",
        "services.nodeports",
        "services.loadbalancers",
    }
)
_STANDARD = _QUOTA | {"storage"}
_INTEGER = frozenset(
    {
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    }
)
_POD_LEVEL = ("cpu", "memory")


def is_huge_page(name: str) -> bool:
    return name.startswith("hugepages-")


def is_native(name: str) -> bool:
    return "/" not in name or "kubernetes.io/" in name


def is_extended(name: str) -> bool:
    if is_native(name) or name.startswith("requests."):
        return False
    return not text.qualified_name("requests." + name)


def is_overcommit_allowed(name: str) -> bool:
    return is_native(name) and not is_huge_page(name)


def validate_name(errors: Errors, name: str, path: str) -> bool:
    """A resource name anywhere; answers whether it may be looked at further."""
    problems = text.qualified_name(name)
    if problems:
        errors += [invalid(path, name, p) for p in problems]
        return False
    if "/" not in name and not _is_standard(name):
        errors.append(invalid(path, name, "must be a standard resource type or fully qualified"))
        return False
    return True


def _is_standard(name: str) -> bool:
    return name in _STANDARD or is_huge_page(name) or name.startswith("requests.hugepages-")


def validate_container_name(errors: Errors, name: str, path: str) -> None:
    if name in CONTAINER:
        return
    validate_name(errors, name, path)
    if "/" not in name:
        if not is_huge_page(name):
            errors.append(invalid(path, name, "must be a standard resource for containers"))
    elif not is_native(name) and not is_extended(name):
        errors.append(invalid(path, name, "doesn't follow extended resource name standard"))


def _validate_pod_level_name(errors: Errors, name: str, path: str) -> None:
    if not validate_name(errors, name, path):
        return
    if name not in _POD_LEVEL and not is_huge_page(name):
        errors.append(not_supported(path, name, ["cpu", "hugepages-", "memory"]))


def is_for_quotas(name: str) -> bool:
    return name in _QUOTA or is_huge_page(name) or name.startswith("requests.hugepages-")


def validate_quota_name(errors: Errors, name: str, path: str) -> None:
    validate_name(errors, name, path)
    if "/" not in name and not is_for_quotas(name):
        errors.append(invalid(path, name, "must be a standard resource for quota"))


def validate_amount(errors: Errors, name: str, value: Any, path: str) -> None:
    nanos = quantities.amount(value)
    if nanos < 0:
        errors.append(invalid(path, quantities.canonical(value), NEGATIVE))
    if (name in _INTEGER or is_extended(name)) and nanos % quantities.NANO:
        errors.append(invalid(path, quantities.canonical(value), "must be an integer"))


def validate_requirements(
    errors: Errors, resources: Tree, path: str, claims: set[str], *, pod_level: bool = False
) -> None:
    """The ``resources`` of a container, or of a whole pod."""
    check = _validate_pod_level_name if pod_level else validate_container_name
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    huge = False
    for name, value in limits.items():
        here = f"{path}.limits[{name}]"
        check(errors, name, here)
        validate_amount(errors, name, value, here)
        if is_huge_page(name):
            huge = True
            _huge_page_amount(errors, name, value, here)
    for name, value in requests.items():
        here = f"{path}.requests[{name}]"
        check(errors, name, here)
        validate_amount(errors, name, value, here)
        limit = limits.get(name)
        if limit is not None:
            asked, allowed = quantities.amount(value), quantities.amount(limit)
            if asked != allowed:
                written, top = quantities.canonical(value), quantities.canonical(limit)
                if not is_overcommit_allowed(name):
                    errors.append(
                        invalid(
                            f"{path}.requests", written, f"must be equal to {name} limit of {top}"
                        )
                    )
                elif asked > allowed:
                    errors.append(
                        invalid(
                            f"{path}.requests",
                            written,
                            f"must be less than or equal to {name} limit of {top}",
                        )
                    )
        elif not is_overcommit_allowed(name):
            errors.append(
                required(f"{path}.limits", "Limit must be set for non overcommitable resources")
            )
        if is_huge_page(name):
            huge = True
            _huge_page_amount(errors, name, value, here)
    if huge and not any(n in _POD_LEVEL for n in (*limits, *requests)):
        errors.append(forbidden_field(path, "HugePages require cpu or memory"))
    if resources.get("claims"):
        _claims(errors, resources["claims"], claims, f"{path}.claims")


def _huge_page_amount(errors: Errors, name: str, value: Any, path: str) -> None:
    size = quantities.amount(name.removeprefix("hugepages-"))
    if size <= 0 or quantities.amount(value) % size:
        written = quantities.canonical(value)
        errors.append(
            invalid(path, written, f"{written} is not positive integer multiple of {name}")
        )


def _claims(errors: Errors, claims: list[Tree], known: set[str], path: str) -> None:
    seen: set[str] = set()
    for i, claim in enumerate(claims):
        here, name = f"{path}[{i}]", claim.get("name") or ""
        if not name:
            errors.append(required(here))
            continue
        request = claim.get("request") or ""
        key = f"{name}/{request}" if request else name
        if name in seen:
            errors.append(duplicate(here, name))
        else:
            if request:
                errors += [invalid(f"{here}.request", request, p) for p in text.dns_label(request)]
            if key in seen:
                errors.append(duplicate(here, key))
            elif not request and any(s.partition("/")[0] == name for s in seen):
                errors.append(duplicate(here, name))
            seen.add(key)
        if name not in known:
            tail = ": " + ", ".join(sorted(known)) if known else " which is empty"
            errors.append(
                FieldError(
                    here,
                    "FieldValueNotFound",
                    f'Not found: "{name}": must be one of the names in '
                    f"pod.spec.resourceClaims{tail}",
                )
            )


def validate_pod_resources(errors: Errors, spec: Tree, path: str, claims: set[str]) -> None:
    """``spec.resources`` against itself and against what the containers ask for."""
    resources = spec.get("resources")
    if resources is None:
        return
    if (spec.get("os") or {}).get("name") == "windows":
        errors.append(forbidden_field(path, "may not be set for a windows pod"))
        return
    if resources.get("claims") is not None:
        errors.append(
            forbidden_field(f"{path}.claims", "claims may not be set for Resources at pod-level")
        )
    validate_requirements(errors, resources, path, claims, pod_level=True)
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for field, given, wanted in (("requests", requests, None), ("limits", limits, is_huge_page)):
        for name, asked in aggregate(spec, field).items():
            if name not in given or (wanted is not None and not wanted(name)):
                continue
            if asked.nanos > quantities.amount(given[name]):
                errors.append(
                    invalid(
                        f"{path}.{field}[{name}]",
                        quantities.canonical(given[name]),
                        f"must be greater than or equal to aggregate container {field} of {asked}",
                    )
                )
    for i, container in enumerate(spec.get("containers") or ()):
        for name, value in ((container.get("resources") or {}).get("limits") or {}).items():
            top = limits.get(name)
            if top is not None and quantities.amount(value) > quantities.amount(top):
                errors.append(
                    invalid(
                        f"{path}.containers[{i}][{name}].limits",
                        quantities.canonical(value),
                        f"must be less than or equal to pod limits of {quantities.canonical(top)}",
                    )
                )


def aggregate(spec: Tree, field: str) -> dict[str, Quantity]:
    """What the containers ask for together at the most: sidecars run along with all others, init
    containers one by one before them.
    """
    whole: dict[str, Quantity] = {}
    for container in spec.get("containers") or ():
        _add(whole, _amounts(container, field))
    sidecars: dict[str, Quantity] = {}
    highest: dict[str, Quantity] = {}
    for container in spec.get("initContainers") or ():
        here = _amounts(container, field)
        if container.get("restartPolicy") == "Always":
            _add(whole, here)
            _add(sidecars, here)
            here = dict(sidecars)
        else:
            _add(here, sidecars)
        for name, value in here.items():
            if name not in highest or value > highest[name]:
                highest[name] = value
    for name, value in highest.items():
        if name not in whole or value > whole[name]:
            whole[name] = value
    return whole


def _amounts(container: Tree, field: str) -> dict[str, Quantity]:
    given = (container.get("resources") or {}).get(field) or {}
    return {name: quantity.parse(value) for name, value in given.items()}


def _add(target: dict[str, Quantity], more: dict[str, Quantity]) -> None:
    for name, value in more.items():
        target[name] = target[name] + value if name in target else value
