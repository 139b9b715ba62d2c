"""References from a pod into itself: fieldRef and resourceFieldRef."""

from __future__ import annotations

import re
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
    "spec.hostNetwork",
    "status.phase",
    "status.nominatedNodeName",
}
_SUBSCRIPT = re.compile(r"(.*)\['(.+)'\]")
_SIZES = tuple(
    "1" + s for s in ("", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
)
_SIZES_TEXT = "only divisor's values " + ", ".join(_SIZES) + " are supported with the {} resource"


def validate_field_ref(errors: Errors, ref: Tree, allowed: frozenset[str], path: str) -> None:
    if not ref.get("apiVersion"):
        errors.append(required(f"{path}.apiVersion"))
        return
    field_path = ref.get("fieldPath") or ""
    if not field_path:
        errors.append(required(f"{path}.fieldPath"))
        return
    match = _SUBSCRIPT.fullmatch(field_path)
    base = match[1] if match else field_path
    if ref["apiVersion"] != "v1":
        detail = f"unsupported pod version: {ref['apiVersion']}"
        errors.append(
            invalid(f"{path}.fieldPath", field_path, f"error converting fieldPath: {detail}")
        )
        return
    if base not in _KNOWN_LABELS:
        errors.append(
            invalid(
                f"{path}.fieldPath",
                field_path,
                f"error converting fieldPath: field label not supported: {field_path}",
            )
        )
        return
    if match:
        if base == "metadata.annotations":
            errors += [
                invalid(path, match[2].lower(), p) for p in text.qualified_name(match[2].lower())
            ]
        elif base == "metadata.labels":
            errors += [invalid(path, match[2], p) for p in text.qualified_name(match[2])]
        else:
            errors.append(invalid(path, base, "does not support subscript"))
    elif base not in allowed:
        errors.append(not_supported(f"{path}.fieldPath", base, sorted(allowed)))


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
