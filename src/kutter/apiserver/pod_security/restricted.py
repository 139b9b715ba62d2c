"""The checks the restricted level adds to baseline's. Pure.

https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
"""

from __future__ import annotations

from kutter.apiserver.pod_security.baseline import PROFILES, proc_mount, seccomp
from kutter.apiserver.pod_security.check import (
    Check,
    Finding,
    Look,
    containers,
    in_user_namespace,
    is_windows,
    named,
    plural,
    quoted,
    security,
    setters,
)
from kutter.apiserver.ports import Tree

_VOLUMES = (
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
)
# Volume sources by the name messages give them; in upstream's order.
_OTHER_VOLUMES = (
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
)


def _privilege_escalation(metadata: Tree, spec: Tree) -> Finding | None:
    names = [
        c["name"] for c in containers(spec) if security(c, "allowPrivilegeEscalation") is not False
    ]
    if not names:
        return None
    detail = "must set securityContext.allowPrivilegeEscalation=false"
    return Finding("allowPrivilegeEscalation != false", f"{named('container', names)} {detail}")


def _capabilities(metadata: Tree, spec: Tree) -> Finding | None:
    keeping, adding = [], []
    added: set[str] = set()
    for container in containers(spec):
        own = security(container, "capabilities") or {}
        if "ALL" not in (own.get("drop") or ()):
            keeping.append(container["name"])
        bad = set(own.get("add") or ()) - {"NET_BIND_SERVICE"}
        if bad:
            adding.append(container["name"])
            added |= bad
    details = []
    if keeping:
        text = 'must set securityContext.capabilities.drop=["ALL"]'
        details.append(f"{named('container', keeping)} {text}")
    if adding:
        text = f"must not include {quoted(sorted(added))} in securityContext.capabilities.add"
        details.append(f"{named('container', adding)} {text}")
    return Finding("unrestricted capabilities", "; ".join(details)) if details else None


def _volumes(metadata: Tree, spec: Tree) -> Finding | None:
    names, kinds = [], set()
    for volume in spec.get("volumes") or ():
        if any(volume.get(kind) is not None for kind in _VOLUMES):
            continue
        names.append(volume["name"])
        kinds.add(next((k for k in _OTHER_VOLUMES if volume.get(k) is not None), "unknown"))
    if not names:
        return None
    use = "uses" if len(names) == 1 else "use"
    detail = f"{use} {plural('restricted volume type', len(kinds))} {quoted(sorted(kinds))}"
    return Finding("restricted volume types", f"{named('volume', names)} {detail}")


def _non_root(metadata: Tree, spec: Tree) -> Finding | None:
    reason = "runAsNonRoot != true"
    of_pod = security(spec, "runAsNonRoot")
    denying = [c["name"] for c in containers(spec) if security(c, "runAsNonRoot") is False]
    who = setters(pod=of_pod is False, names=denying)
    if who:
        return Finding(reason, f"{who} must not set securityContext.runAsNonRoot=false")
    silent = [c["name"] for c in containers(spec) if security(c, "runAsNonRoot") is None]
    if of_pod or not silent:
        return None
    detail = f"pod or {named('container', silent)} must set securityContext.runAsNonRoot=true"
    return Finding(reason, detail)


def _user(metadata: Tree, spec: Tree) -> Finding | None:
    def is_root(holder: Tree) -> bool:
        return bool(security(holder, "runAsUser") == 0)

    who = setters(pod=is_root(spec), names=[c["name"] for c in containers(spec) if is_root(c)])
    return Finding("runAsUser=0", f"{who} must not set runAsUser=0") if who else None


def _seccomp(metadata: Tree, spec: Tree) -> Finding | None:
    found = seccomp(metadata, spec)
    if found is not None:
        return found
    if security(spec, "seccompProfile", "type") in PROFILES:
        return None
    silent = [c["name"] for c in containers(spec) if security(c, "seccompProfile") is None]
    if not silent:
        return None
    detail = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return Finding("seccompProfile", f"pod or {named('container', silent)} {detail}")


def _not_on_windows(look: Look) -> Look:
    """There is no such thing on Windows nodes."""
    return lambda metadata, spec: None if is_windows(spec) else look(metadata, spec)


def _not_in_user_namespaces(look: Look) -> Look:
    return lambda metadata, spec: None if in_user_namespace(spec) else look(metadata, spec)


CHECKS = (
    Check(
        "allowPrivilegeEscalation",
        restricted=True,
        forms=((8, _privilege_escalation), (25, _not_on_windows(_privilege_escalation))),
    ),
    Check(
        "capabilities_restricted",
        restricted=True,
        forms=((22, _capabilities), (25, _not_on_windows(_capabilities))),
        overrides=("capabilities_baseline",),
    ),
    Check(
        "procMount_restricted",
        restricted=True,
        forms=((35, proc_mount),),
        overrides=("procMount",),
    ),
    Check(
        "restrictedVolumes",
        restricted=True,
        forms=((0, _volumes),),
        overrides=("hostPathVolumes",),
    ),
    Check(
        "runAsNonRoot",
        restricted=True,
        forms=((0, _non_root), (35, _not_in_user_namespaces(_non_root))),
    ),
    Check(
        "runAsUser",
        restricted=True,
        forms=((23, _user), (35, _not_in_user_namespaces(_user))),
    ),
    Check(
        "seccompProfile_restricted",
        restricted=True,
        forms=((19, _seccomp), (25, _not_on_windows(_seccomp))),
        overrides=("seccompProfile_baseline",),
    ),
)
