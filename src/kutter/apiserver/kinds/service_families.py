"""Address families of services: settled before anything else is looked at, as upstream does.

Upstream: ``initIPFamilyFields`` of ``pkg/registry/core/service/storage``.
"""

from __future__ import annotations

from kutter.api.errors import FieldError, invalid
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation.services import is_headless, validate_addresses

_POLICY = "spec.ipFamilyPolicy"
_SEVERAL = "must be 'RequireDualStack' or 'PreferDualStack' when multiple {} are specified"
_RELEASE = "must be 'SingleStack' to release the secondary {}"


def settle_families(spec: Tree, before: Tree | None, known: list[str]) -> list[FieldError]:
    """Fill in ``ipFamilies`` and ``ipFamilyPolicy``; ``known`` are the cluster's families."""
    if spec.get("type") == "ExternalName" or _stays_dual(spec, before):
        return []
    open_ = is_headless(spec) and not spec.get("selector")
    policy = spec.get("ipFamilyPolicy")
    if policy is None:
        policy = (before or {}).get("ipFamilyPolicy")
    if policy is None:
        policy = "RequireDualStack" if open_ else "SingleStack"
    spec["ipFamilyPolicy"] = policy
    errors: list[FieldError] = []
    validate_addresses(errors, spec)
    if errors:
        return errors
    if before is not None:
        _step(errors, spec, before, policy)
    families: list[str] = list(spec.get("ipFamilies") or ())
    if policy == "SingleStack":
        if len(spec.get("clusterIPs") or ()) == 2:
            errors.append(invalid(_POLICY, policy, _SEVERAL.format("cluster IPs")))
        if len(families) == 2:
            errors.append(invalid(_POLICY, policy, _SEVERAL.format("IP families")))
    _infer(errors, spec, families, known)
    if not errors and not open_:
        _on_cluster(errors, families, policy, known)
    if errors:
        return errors
    families = families or known[:1]
    if policy != "SingleStack" and len(families) == 1 and (open_ or len(known) == 2):
        families.append("IPv4" if families[0] == "IPv6" else "IPv6")
    spec["ipFamilies"] = families
    return []


def _stays_dual(spec: Tree, before: Tree | None) -> bool:
    """A service that prefers two families is not changed when the cluster's change."""
    return (
        before is not None
        and spec.get("ipFamilyPolicy") == before.get("ipFamilyPolicy") == "PreferDualStack"
        and all((spec.get(f) or []) == (before.get(f) or []) for f in ("clusterIPs", "ipFamilies"))
    )


def _step(errors: list[FieldError], spec: Tree, before: Tree, policy: str) -> None:
    for field, what in (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")):
        new, old = spec.get(field) or [], before.get(field) or []
        if policy == "SingleStack":
            if new == old and len(new) > 1:
                spec[field] = new[:1]
        elif len(old) == 2 and len(new) == 1:
            errors.append(invalid(_POLICY, policy, _RELEASE.format(what)))


def _infer(errors: list[FieldError], spec: Tree, families: list[str], known: list[str]) -> None:
    addresses = spec.get("clusterIPs") or []
    for i, address in enumerate(addresses):
        if address == "None":
            break
        if i < len(families):
            continue
        family = "IPv6" if ":" in address else "IPv4"
        if family in known:
            families.append(family)
        else:
            detail = f"{family} is not configured on this cluster"
            errors.append(invalid(f"spec.clusterIPs[{i}]", addresses, detail))


def _on_cluster(
    errors: list[FieldError], families: list[str], policy: str, known: list[str]
) -> None:
    if policy == "RequireDualStack" and len(known) < 2:
        detail = "this cluster is not configured for dual-stack services"
        errors.append(invalid(_POLICY, policy, detail))
    for i, family in enumerate(families):
        if family not in known:
            errors.append(
                invalid(f"spec.ipFamilies[{i}]", family, "not configured on this cluster")
            )
