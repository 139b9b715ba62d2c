"""References from a pod into itself: fieldRef and resourceFieldRef."""

from __future__ import annotations

from typing import Any

from kutter.api.errors import FieldError, invalid, not_supported, required
from kutter.apiserver.validation import quantities, text

Tree = dict[str, Any]
Errors = list[FieldError]

ENV_FIELD_PATHS = frozenset(
    {
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    }
)
CONTAINER_RESOURCES = frozenset(
    {
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.ephemeral-storage",
    }
)
# What the downward API knows at all, before it is asked whether here is the place for it.
_KNOWN_LABELS = ENV_FIELD_PATHS | {
    "metadata.annotations",
    "metadata.labels",
    "spec.restartPolicy",
    "spec.schedulerName",
    "status.phase",
}
_SUBSCRIPTABLE = ("metadata.annotations", "metadata.labels")
_SIZES = tuple(
    "1" + s for s in ("", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
)
_SIZES_TEXT = "only divisor's values " + ", ".join(_SIZES) + " are supported with the {} resource"


def validate_field_ref(errors: Errors, ref: Tree, allowed: frozenset[str], path: str) -> None:
    version, field_path = ref.get("apiVersion") or "", ref.get("fieldPath") or ""
    for field, value in (("apiVersion", version), ("fieldPath", field_path)):
        if not value:
            errors.append(required(f"{path}.{field}"))
            return
    base, subscript = _split(field_path)
    unknown = _unknown(version, field_path, base, subscript)
    if unknown:
        detail = f"error converting fieldPath: {unknown}"
        errors.append(invalid(f"{path}.fieldPath", field_path, detail))
    elif subscript is not None:
        name = subscript.lower() if base == "metadata.annotations" else subscript
        errors += [invalid(path, name, p) for p in text.qualified_name(name)]
    else:
        # What clients of old call the node.
        base = "spec.nodeName" if base == "spec.host" else base
        if base not in allowed:
            errors.append(not_supported(f"{path}.fieldPath", base, sorted(allowed)))


def _split(field_path: str) -> tuple[str, str | None]:
    """``metadata.labels['a']`` taken apart; no second part where there is no subscript."""
    base, bracket, rest = field_path.partition("['")
    if base and bracket and rest.endswith("']"):
        return base, rest[:-2]
    return field_path, None


def _unknown(version: str, field_path: str, base: str, subscript: str | None) -> str:
    if version != "v1":
        return f"unsupported pod version: {version}"
    if subscript is not None:
        if base not in _SUBSCRIPTABLE:
            return f"field label does not support subscript: {field_path}"
    elif base not in _KNOWN_LABELS and base != "spec.host":
        return f"field label not supported: {field_path}"
    return ""


def validate_resource_field_ref(
    errors: Errors, ref: Tree, allowed: frozenset[str], path: str, *, in_volume: bool
) -> None:
    resource = ref.get("resource") or ""
    if in_volume and not ref.get("containerName"):
        errors.append(required(f"{path}.containerName"))
    elif not resource:
        errors.append(required(f"{path}.resource"))
    elif resource not in allowed and not resource.startswith(
        ("requests.hugepages-", "limits.hugepages-")
    ):
        errors.append(not_supported(f"{path}.resource", resource, sorted(allowed)))
    divisor = ref.get("divisor")
    if divisor is None or quantities.amount(divisor) == 0:
        return
    written = quantities.canonical(divisor)
    what = resource.partition(".")[2]
    if what == "cpu":
        if written not in ("1m", "1"):
            errors.append(
                invalid(
                    f"{path}.divisor",
                    resource,
                    "only divisor's values 1m and 1 are supported with the cpu resource",
                )
            )
        return
    named = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}.get(what)
    if named is None and what.startswith("hugepages-"):
        named = "hugepages"
    if named and written not in _SIZES:
        errors.append(invalid(f"{path}.divisor", resource, _SIZES_TEXT.format(named)))
