"""Security contexts of pod and container as the runtime takes them. Pure.

https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
"""

from __future__ import annotations

from kutter.api.types.core_v1 import (
    Pod,
    PodSecurityContext,
    SeccompProfile,
)
from kutter.api.types.core_v1 import (
    SecurityContext as ContainerSecurity,
)
from kutter.node.facts import AnyContainerSpec
from kutter.runtime.cri import Image, NamespaceMode, SecurityContext

_NO_POD = PodSecurityContext()
_NO_CONTAINER = ContainerSecurity()


class UnsafeUserError(Exception):
    """``runAsNonRoot`` forbids the user the container would run as."""


def effective_user(pod: Pod, spec: AnyContainerSpec) -> int | None:
    """The user asked for by container or pod."""
    own = spec.security_context
    if own is not None and own.run_as_user is not None:
        return own.run_as_user
    whole = pod.spec.security_context
    return whole.run_as_user if whole is not None else None


def check_non_root(pod: Pod, spec: AnyContainerSpec, image: Image) -> None:
    """Raise UnsafeUserError when the container must not run as root but would."""
    own = spec.security_context or _NO_CONTAINER
    whole = pod.spec.security_context or _NO_POD
    wanted = own.run_as_non_root if own.run_as_non_root is not None else whole.run_as_non_root
    if not wanted:
        return
    where = f'(pod: "{pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})", '
    where += f"container: {spec.name})"
    user = effective_user(pod, spec)
    if user is not None:
        if user == 0:
            raise UnsafeUserError(f"container's runAsUser breaks non-root policy {where}")
        return
    if image.uid == 0 or (image.uid is None and not image.username):
        raise UnsafeUserError(f"container has runAsNonRoot and image will run as root {where}")
    if image.uid is None:
        raise UnsafeUserError(
            f"container has runAsNonRoot and image has non-numeric user ({image.username}), "
            f"cannot verify user is non-root {where}"
        )


def seccomp_profile(pod: Pod, spec: AnyContainerSpec, *, privileged: bool, default: str) -> str:
    """The runtime's word for the seccomp profile in force."""
    own = spec.security_context or _NO_CONTAINER
    whole = pod.spec.security_context or _NO_POD
    profile: SeccompProfile | None = own.seccomp_profile or whole.seccomp_profile
    if privileged:
        return "unconfined"
    if profile is None:
        return default
    if profile.type == "RuntimeDefault":
        return "runtime/default"
    if profile.type == "Localhost":
        return f"localhost/{profile.localhost_profile or ''}"
    return "unconfined"


def namespaces(pod: Pod) -> tuple[NamespaceMode, NamespaceMode, NamespaceMode]:
    """(network, pid, ipc)."""
    spec = pod.spec
    network = NamespaceMode.NODE if spec.host_network else NamespaceMode.POD
    ipc = NamespaceMode.NODE if spec.host_ipc else NamespaceMode.POD
    if spec.host_pid:
        pid = NamespaceMode.NODE
    else:
        pid = NamespaceMode.POD if spec.share_process_namespace else NamespaceMode.CONTAINER
    return network, pid, ipc


def compute_security(
    pod: Pod,
    spec: AnyContainerSpec,
    *,
    supplemental_volumes: tuple[int, ...] = (),
    seccomp_default: str = "runtime/default",
    target_container: str = "",
) -> SecurityContext:
    """What one container may do."""
    own = spec.security_context or _NO_CONTAINER
    whole = pod.spec.security_context or _NO_POD
    privileged = bool(own.privileged)
    capabilities = own.capabilities
    group = own.run_as_group if own.run_as_group is not None else whole.run_as_group
    groups = dict.fromkeys(whole.supplemental_groups)
    if whole.fs_group is not None:
        groups[whole.fs_group] = None
    groups.update(dict.fromkeys(supplemental_volumes))
    escalation = own.allow_privilege_escalation
    apparmor = own.app_armor_profile or whole.app_armor_profile
    unmasked = privileged or own.proc_mount == "Unmasked"
    network, pid, ipc = namespaces(pod)
    return SecurityContext(
        privileged=privileged,
        run_as_user=effective_user(pod, spec),
        run_as_group=group,
        supplemental_groups=tuple(groups),
        supplemental_groups_policy=whole.supplemental_groups_policy or "Merge",
        readonly_rootfs=bool(own.read_only_root_filesystem),
        no_new_privs=escalation is False and not privileged,
        capabilities_add=tuple(capabilities.add) if capabilities else (),
        capabilities_drop=tuple(capabilities.drop) if capabilities else (),
        seccomp=seccomp_profile(pod, spec, privileged=privileged, default=seccomp_default),
        apparmor=_apparmor(apparmor),
        masked_paths=() if unmasked else None,
        readonly_paths=() if unmasked else None,
        network=network,
        pid=pid,
        ipc=ipc,
        target_container=target_container,
    )


def _apparmor(profile: object) -> str:
    kind = getattr(profile, "type", "")
    if kind == "Localhost":
        return f"localhost/{getattr(profile, 'localhost_profile', '') or ''}"
    return {"RuntimeDefault": "runtime/default", "Unconfined": "unconfined"}.get(kind, "")
