"""The checks of the baseline level. Pure.

https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline
"""

from __future__ import annotations

from kutter.apiserver.pod_security.check import (
    Check,
    Finding,
    Look,
    containers,
    in_user_namespace,
    named,
    plural,
    quoted,
    security,
    setters,
)
from kutter.apiserver.ports import Tree

_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
PROFILES = ("RuntimeDefault", "Localhost")
_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
_SYSCTLS_0 = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
    }
)
_SYSCTLS_27 = _SYSCTLS_0 | {"net.ipv4.ip_local_reserved_ports"}
_SYSCTLS_29 = _SYSCTLS_27 | {
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}
_SYSCTLS_32 = _SYSCTLS_29 | {"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}
_SELINUX_0 = frozenset({"", "container_t", "container_init_t", "container_kvm_t"})
_SELINUX_31 = _SELINUX_0 | {"container_engine_t"}


def _wrong_profiles(spec: Tree, field: str) -> tuple[str, list[str]]:
    """Who sets a profile of another type than the allowed ones, and which types."""
    kinds: set[str] = set()

    def is_bad(holder: Tree) -> bool:
        kind = security(holder, field, "type")
        if kind is None or kind in PROFILES:
            return False
        kinds.add(kind)
        return True

    pod = is_bad(spec)
    who = setters(pod=pod, names=[c["name"] for c in containers(spec) if is_bad(c)])
    return who, sorted(kinds)


def _app_armor(metadata: Tree, spec: Tree) -> Finding | None:
    who, kinds = _wrong_profiles(spec, "appArmorProfile")
    annotations = sorted(
        f'{key}="{value}"'
        for key, value in (metadata.get("annotations") or {}).items()
        if key.startswith(_APP_ARMOR) and not _is_app_armor_fine(value)
    )
    found = [*kinds, *annotations]
    if not found:
        return None
    if annotations:
        word = plural("annotation", len(annotations))
        who = f"{who} and {word}" if who else word
    return Finding(
        plural("forbidden AppArmor profile", len(found)),
        f"{who} must not set AppArmor profile type to {quoted(found)}",
    )


def _is_app_armor_fine(value: str) -> bool:
    return value in ("", "runtime/default") or value.startswith("localhost/")


def _capabilities(metadata: Tree, spec: Tree) -> Finding | None:
    added: set[str] = set()
    names = []
    for container in containers(spec):
        bad = set(security(container, "capabilities", "add") or ()) - _CAPABILITIES
        if bad:
            names.append(container["name"])
            added |= bad
    if not names:
        return None
    detail = f"must not include {quoted(sorted(added))} in securityContext.capabilities.add"
    return Finding("non-default capabilities", f"{named('container', names)} {detail}")


def _host_namespaces(metadata: Tree, spec: Tree) -> Finding | None:
    shared = [f"{f}=true" for f in ("hostNetwork", "hostPID", "hostIPC") if spec.get(f)]
    return Finding("host namespaces", ", ".join(shared)) if shared else None


def _host_path_volumes(metadata: Tree, spec: Tree) -> Finding | None:
    names = [v["name"] for v in spec.get("volumes") or () if v.get("hostPath") is not None]
    return Finding("hostPath volumes", named("volume", names)) if names else None


def _host_ports(metadata: Tree, spec: Tree) -> Finding | None:
    names, ports = [], set()
    for container in containers(spec):
        own = {str(p["hostPort"]) for p in container.get("ports") or () if p.get("hostPort")}
        if own:
            names.append(container["name"])
            ports |= own
    if not names:
        return None
    use = "uses" if len(names) == 1 else "use"
    detail = f"{use} {plural('hostPort', len(ports))} {', '.join(sorted(ports))}"
    return Finding("hostPort", f"{named('container', names)} {detail}")


def _probe_hosts(metadata: Tree, spec: Tree) -> Finding | None:
    names: set[str] = set()
    hosts: set[str] = set()
    for container in containers(spec):
        hooks = container.get("lifecycle") or {}
        handlers = [
            container.get(probe) for probe in ("livenessProbe", "readinessProbe", "startupProbe")
        ]
        handlers += [hooks.get("postStart"), hooks.get("preStop")]
        own = {
            str(host)
            for handler in handlers
            for action in ("httpGet", "tcpSocket")
            if (host := ((handler or {}).get(action) or {}).get("host"))
        }
        if own:
            names.add(container["name"])
            hosts |= own
    if not names:
        return None
    use = "uses" if len(names) == 1 else "use"
    detail = f"{use} {plural('probe or lifecycle host', len(hosts))} {quoted(sorted(hosts))}"
    return Finding("probe or lifecycle host", f"{named('container', sorted(names))} {detail}")


def _privileged(metadata: Tree, spec: Tree) -> Finding | None:
    names = [c["name"] for c in containers(spec) if security(c, "privileged")]
    if not names:
        return None
    detail = f"{named('container', names)} must not set securityContext.privileged=true"
    return Finding("privileged", detail)


def proc_mount(metadata: Tree, spec: Tree) -> Finding | None:
    """Of every pod: /proc stays masked."""
    names, kinds = [], set()
    for container in containers(spec):
        kind = security(container, "procMount")
        if kind is not None and kind != "Default":
            names.append(container["name"])
            kinds.add(kind)
    if not names:
        return None
    detail = f"must not set securityContext.procMount to {quoted(sorted(kinds))}"
    return Finding("procMount", f"{named('container', names)} {detail}")


def _proc_mount_on_the_node(metadata: Tree, spec: Tree) -> Finding | None:
    return None if in_user_namespace(spec) else proc_mount(metadata, spec)


def _selinux(types: frozenset[str]) -> Look:
    def look(metadata: Tree, spec: Tree) -> Finding | None:
        kinds: set[str] = set()
        fields: set[str] = set()

        def is_bad(holder: Tree) -> bool:
            options = security(holder, "seLinuxOptions") or {}
            kind = options.get("type") or ""
            set_here = {field for field in ("user", "role") if options.get(field)}
            if kind not in types:
                kinds.add(kind)
            fields.update(set_here)
            return kind not in types or bool(set_here)

        pod = is_bad(spec)
        who = setters(pod=pod, names=[c["name"] for c in containers(spec) if is_bad(c)])
        if not who:
            return None
        data = [f"{plural('type', len(kinds))} {quoted(sorted(kinds))}"] if kinds else []
        data += [f"{field} may not be set" for field in ("user", "role") if field in fields]
        detail = f"{who} set forbidden securityContext.seLinuxOptions: {'; '.join(data)}"
        return Finding("seLinuxOptions", detail)

    return look


def _seccomp_annotations(metadata: Tree, spec: Tree) -> Finding | None:
    annotations = metadata.get("annotations") or {}
    keys = [_SECCOMP_POD, *(_SECCOMP_CONTAINER + c["name"] for c in containers(spec))]
    found = sorted(
        {
            f'{key}="{annotations[key]}"'
            for key in keys
            if key in annotations
            and annotations[key] not in ("runtime/default", "docker/default")
            and not annotations[key].startswith("localhost/")
        }
    )
    if not found:
        return None
    detail = f"forbidden {plural('annotation', len(found))} {', '.join(found)}"
    return Finding("seccompProfile", detail)


def seccomp(metadata: Tree, spec: Tree) -> Finding | None:
    """Of every pod: no profile but the runtime's or one of the node, where one is set."""
    who, kinds = _wrong_profiles(spec, "seccompProfile")
    if not who:
        return None
    detail = f"{who} must not set securityContext.seccompProfile.type to {quoted(kinds)}"
    return Finding("seccompProfile", detail)


def _sysctls(allowed: frozenset[str]) -> Look:
    def look(metadata: Tree, spec: Tree) -> Finding | None:
        listed = security(spec, "sysctls") or ()
        names = [s["name"] for s in listed if s["name"] not in allowed]
        return Finding("forbidden sysctls", ", ".join(names)) if names else None

    return look


def _host_process(metadata: Tree, spec: Tree) -> Finding | None:
    def is_bad(holder: Tree) -> bool:
        return bool(security(holder, "windowsOptions", "hostProcess"))

    who = setters(pod=is_bad(spec), names=[c["name"] for c in containers(spec) if is_bad(c)])
    if not who:
        return None
    detail = f"{who} must not set securityContext.windowsOptions.hostProcess=true"
    return Finding("hostProcess", detail)


CHECKS = (
    Check("appArmorProfile", restricted=False, forms=((0, _app_armor),)),
    Check("capabilities_baseline", restricted=False, forms=((0, _capabilities),)),
    Check("hostNamespaces", restricted=False, forms=((0, _host_namespaces),)),
    Check("hostPathVolumes", restricted=False, forms=((0, _host_path_volumes),)),
    Check("hostPorts", restricted=False, forms=((0, _host_ports),)),
    Check("hostProbesAndHostLifecycle", restricted=False, forms=((34, _probe_hosts),)),
    Check("privileged", restricted=False, forms=((0, _privileged),)),
    Check("procMount", restricted=False, forms=((0, proc_mount), (35, _proc_mount_on_the_node))),
    Check(
        "seLinuxOptions",
        restricted=False,
        forms=((0, _selinux(_SELINUX_0)), (31, _selinux(_SELINUX_31))),
    ),
    Check(
        "seccompProfile_baseline",
        restricted=False,
        forms=((0, _seccomp_annotations), (19, seccomp)),
    ),
    Check(
        "sysctls",
        restricted=False,
        forms=(
            (0, _sysctls(_SYSCTLS_0)),
            (27, _sysctls(_SYSCTLS_27)),
            (29, _sysctls(_SYSCTLS_29)),
            (32, _sysctls(_SYSCTLS_32)),
        ),
    ),
    Check("windowsHostProcess", restricted=False, forms=((0, _host_process),)),
)
