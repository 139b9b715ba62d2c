"""Labels of Kubernetes' own name spaces that a node may set on itself.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
"""

from __future__ import annotations

from collections.abc import Mapping

_RESTRICTED = "node-restriction.kubernetes.io"
_ALLOWED = frozenset(
    {
        "kubernetes.io/hostname",
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.kubernetes.io/region",
        "failure-domain.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    }
)
_ALLOWED_NAMESPACES = ("kubelet.kubernetes.io", "node.kubernetes.io")


def forbidden_labels(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Labels that differ and that a node may not change, sorted."""
    changed = {key for key in {*old, *new} if old.get(key) != new.get(key)}
    return sorted(key for key in changed if not _may_set(key))


def _may_set(label: str) -> bool:
    namespace, slash, _ = label.partition("/")
    if not slash or not _is_within(namespace, ("kubernetes.io", "k8s.io")):
        return True
    if _is_within(namespace, (_RESTRICTED,)):
        return False
    return label in _ALLOWED or _is_within(namespace, _ALLOWED_NAMESPACES)


def _is_within(namespace: str, domains: tuple[str, ...]) -> bool:
    return any(namespace == d or namespace.endswith(f".{d}") for d in domains)
