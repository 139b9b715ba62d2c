"""When two trees mean the same.

Upstream compares Go values, where an absent list and an empty one, or an absent plain boolean
and ``false``, are one and the same. Trees keep the difference, so updates are compared here.
"""

from __future__ import annotations

from typing import Any

# Fields whose Go type is no pointer: their zero value is their absence.
_ZERO_IS_ABSENT = frozenset(
    {
        "hostNetwork",
        "hostPID",
        "hostIPC",
        "stdin",
        "stdinOnce",
        "tty",
        "readOnly",
        "paused",
        "hostPort",
        "hostIP",
        "value",
        "subPath",
        "subPathExpr",
        "workingDir",
        "initialDelaySeconds",
        "minReadySeconds",
        "nodeName",
        "hostname",
        "subdomain",
        "serviceAccountName",
        "serviceAccount",
        "priorityClassName",
        "publishNotReadyAddresses",
        "host",
        "tolerations",
    }
)


def equal(a: Any, b: Any) -> bool:
    """Whether ``a`` and ``b`` mean the same; None stands for absent."""
    if a == b:
        return True
    if isinstance(a, dict) and isinstance(b, dict):
        return all(_field_equal(key, a.get(key), b.get(key)) for key in a.keys() | b.keys())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return _absent(a) and _absent(b)


def _field_equal(key: str, a: Any, b: Any) -> bool:
    if a == b:
        return True
    if key in _ZERO_IS_ABSENT and not a and not b:
        return True
    return equal(a, b)


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, dict | list) and not value)
