"""Security contexts of pods and containers, and what the operating system allows of them."""

from __future__ import annotations

import json
import re
from typing import Any

from kutter.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_supported,
    required,
    too_long,
)
from kutter.api.quoting import Quoted
from kutter.apiserver.validation import text
from kutter.apiserver.validation.internal import shown
from kutter.apiserver.validation.paths import local_descending_path

Tree = dict[str, Any]
Errors = list[FieldError]

_SYSCTL = r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_sysctl_re = re.compile(_SYSCTL)
_PROFILES = ["Localhost", "RuntimeDefault", "Unconfined"]
_IPC_SYSCTLS = frozenset(
    {
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
    }
)
_WINDOWS = "cannot be set for a windows pod"
_DOMAIN_LIMIT, _USER_LIMIT = 256, 104
_control_characters = re.compile("[\x00-\x1f\x7f]").search
_net_bios = re.compile(r'[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}').fullmatch
_DNS_PART = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_dns_domain = re.compile(rf"{_DNS_PART}(?:\.{_DNS_PART})*").fullmatch
_forbidden_in_user = re.compile(r'["/\\:;|=,+*?<>@\[\]]').search


def _identifiers(errors: Errors, context: Tree, path: str, fields: tuple[str, ...]) -> None:
    for field in fields:
        value = context.get(field)
        if value is not None and not 0 <= value <= text.MAX_ID:
            errors += [invalid(f"{path}.{field}", value, p) for p in text.posix_id(value)]


def validate_pod_context(errors: Errors, spec: Tree, path: str) -> None:
    """``spec.securityContext``."""
    context = spec.get("securityContext") or {}
    if not context and not spec.get("hostPID"):
        return
    _identifiers(errors, context, path, ("fsGroup", "runAsUser", "runAsGroup"))
    for i, group in enumerate(context.get("supplementalGroups") or ()):
        problems = text.posix_id(group)
        errors += [invalid(f"{path}.supplementalGroups[{i}]", group, p) for p in problems]
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        errors.append(
            invalid(
                f"{path}.shareProcessNamespace",
                True,
                "ShareProcessNamespace and HostPID cannot both be enabled",
            )
        )
    if context.get("sysctls"):
        _sysctls(errors, context["sysctls"], spec, f"{path}.sysctls")
    _one_of(errors, context, path, "fsGroupChangePolicy", ["Always", "OnRootMismatch"])
    _seccomp(errors, context.get("seccompProfile"), f"{path}.seccompProfile")
    _windows_options(errors, context.get("windowsOptions"), f"{path}.windowsOptions")
    _app_armor(errors, context.get("appArmorProfile"), f"{path}.appArmorProfile")
    _one_of(errors, context, path, "supplementalGroupsPolicy", ["Merge", "Strict"])
    _one_of(errors, context, path, "seLinuxChangePolicy", ["Recursive"])


def _one_of(errors: Errors, tree: Tree, path: str, field: str, allowed: list[str]) -> None:
    value = tree.get(field)
    if value is not None and value not in allowed:
        errors.append(not_supported(f"{path}.{field}", value, allowed))


def _sysctls(errors: Errors, sysctls: list[Tree], spec: Tree, path: str) -> None:
    seen: set[str] = set()
    for i, sysctl in enumerate(sysctls):
        here, name = f"{path}[{i}].name", sysctl.get("name") or ""
        if not name:
            errors.append(required(here))
        elif len(name) > 253 or not _sysctl_re.fullmatch(name):
            errors.append(
                invalid(
                    here,
                    name,
                    f"must have at most 253 characters and match regex ^{_SYSCTL}$",
                )
            )
        elif name in seen:
            errors.append(duplicate(here, name))
        dotted = name.replace("/", ".")
        if spec.get("hostNetwork") and dotted.startswith("net."):
            errors.append(invalid(here, name, "may not be specified when 'hostNetwork' is true"))
        elif spec.get("hostIPC") and (dotted in _IPC_SYSCTLS or dotted.startswith("fs.mqueue.")):
            errors.append(invalid(here, name, "may not be specified when 'hostIPC' is true"))
        seen.add(name)


def _seccomp(errors: Errors, profile: Tree | None, path: str) -> None:
    if profile is None:
        return
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    if not kind:
        errors.append(required(f"{path}.type", "type is required when seccompProfile is set"))
    elif kind not in _PROFILES:
        errors.append(not_supported(f"{path}.type", kind, _PROFILES))
    if kind == "Localhost":
        if local is None:
            errors.append(
                required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost")
            )
        else:
            local_descending_path(errors, local, f"{path}.localhostProfile")
    elif local is not None:
        errors.append(
            invalid(
                f"{path}.localhostProfile",
                shown("SeccompProfile", profile),
                "can only be set when seccomp type is Localhost",
            )
        )


def _app_armor(errors: Errors, profile: Tree | None, path: str) -> None:
    if profile is None:
        return
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    here = f"{path}.localhostProfile"
    if kind == "Localhost":
        if local is None or (not local.strip() and local == local.strip()):
            errors.append(required(here, "must be set when AppArmor type is Localhost"))
        elif local.strip() != local:
            errors.append(invalid(here, local, "must not be padded with whitespace"))
        if local is not None and len(local) > 4095:
            errors.append(too_long(here, 4095))
    elif kind in _PROFILES:
        if local is not None:
            errors.append(invalid(here, local, "can only be set when AppArmor type is Localhost"))
    elif not kind:
        errors.append(required(f"{path}.type", "type is required when appArmorProfile is set"))
    else:
        errors.append(not_supported(f"{path}.type", kind, _PROFILES))


def _windows_options(errors: Errors, options: Tree | None, path: str) -> None:
    if not options:
        return
    name = options.get("gmsaCredentialSpecName")
    if name is not None:
        problems = text.dns_subdomain(name)
        errors += [invalid(f"{path}.gmsaCredentialSpecName", name, p) for p in problems]
    content = options.get("gmsaCredentialSpec")
    if content == "":
        errors.append(
            invalid(
                f"{path}.gmsaCredentialSpec",
                content,
                "gmsaCredentialSpec cannot be an empty string",
            )
        )
    elif content is not None and len(content) > 64 * 1024:
        errors.append(
            invalid(
                f"{path}.gmsaCredentialSpec",
                content,
                "gmsaCredentialSpec size must be under 64 KiB",
            )
        )
    if options.get("runAsUserName") is not None:
        _windows_user(errors, options["runAsUserName"], f"{path}.runAsUserName")


def _windows_user(errors: Errors, name: str, path: str) -> None:
    if not name:
        errors.append(invalid(path, name, "runAsUserName cannot be an empty string"))
        return
    if _control_characters(name):
        # A pointer upstream, so JSON and not what Go's %q makes of it.
        told = Quoted(json.dumps(name, ensure_ascii=False))
        errors.append(invalid(path, told, "runAsUserName cannot contain control characters"))
        return
    if name.count("\\") > 1:
        errors.append(invalid(path, name, "runAsUserName cannot contain more than one backslash"))
        return
    domain, backslash, user = name.rpartition("\\")
    if len(domain.encode()) >= _DOMAIN_LIMIT:
        detail = f"runAsUserName's Domain length must be under {_DOMAIN_LIMIT} characters"
        errors.append(invalid(path, name, detail))
    if backslash and not (_net_bios(domain) or _dns_domain(domain)):
        detail = "runAsUserName's Domain doesn't match the NetBios nor the DNS format"
        errors.append(invalid(path, name, detail))
    if not user:
        errors.append(invalid(path, name, "runAsUserName's User cannot be empty"))
    elif len(user.encode()) > _USER_LIMIT:
        detail = f"runAsUserName's User length must not be longer than {_USER_LIMIT} characters"
        errors.append(invalid(path, name, detail))
    if user and not user.strip(". "):
        detail = "runAsUserName's User cannot contain only periods or spaces"
        errors.append(invalid(path, name, detail))
    if _forbidden_in_user(user):
        detail = "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]"
        errors.append(invalid(path, name, detail))


def validate_host_processes(errors: Errors, spec: Tree, path: str) -> None:
    """Windows pods run all their containers as processes of the host, or none."""
    context = spec.get("securityContext") or {}
    whole = (context.get("windowsOptions") or {}).get("hostProcess")
    containers, processes = 0, 0
    for inner, here in _each_container(spec, path):
        containers += 1
        own = (inner.get("windowsOptions") or {}).get("hostProcess")
        if whole is not None and own is not None and whole != own:
            shown = "true" if whole else "false"
            detail = f"pod hostProcess value must be identical if both are specified, was {shown}"
            errors.append(invalid(f"{here}.windowsOptions.hostProcess", own, detail))
        if own or (own is None and whole):
            processes += 1
    if not processes:
        return
    if processes != containers:
        detail = (
            "If pod contains any hostProcess containers then all containers must be HostProcess "
            "containers"
        )
        errors.append(invalid(path, "", detail))
    if not spec.get("hostNetwork"):
        detail = "hostNetwork must be true if pod contains any hostProcess containers"
        errors.append(invalid(f"{path}.hostNetwork", False, detail))


def validate_container_context(
    errors: Errors, context: Tree | None, path: str, *, host_users: bool
) -> None:
    """``securityContext`` of a container."""
    if not context:
        return
    _identifiers(errors, context, path, ("runAsUser", "runAsGroup"))
    proc = context.get("procMount")
    if proc is not None:
        if proc not in ("Default", "Unmasked"):
            errors.append(not_supported(f"{path}.procMount", proc, ["Default", "Unmasked"]))
        if host_users and proc == "Unmasked":
            errors.append(
                invalid(f"{path}.procMount", proc, "`hostUsers` must be false to use `Unmasked`")
            )
    _seccomp(errors, context.get("seccompProfile"), f"{path}.seccompProfile")
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            errors.append(
                invalid(
                    path,
                    shown("SecurityContext", context),
                    "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
                )
            )
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            errors.append(
                invalid(
                    path,
                    shown("SecurityContext", context),
                    "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` "
                    "CAP_SYS_ADMIN",
                )
            )
    _windows_options(errors, context.get("windowsOptions"), f"{path}.windowsOptions")
    _app_armor(errors, context.get("appArmorProfile"), f"{path}.appArmorProfile")


def validate_host_users(errors: Errors, spec: Tree, path: str) -> None:
    if spec.get("hostUsers") is not False:
        return
    detail = "when `hostUsers` is false"
    for field, told in (
        ("hostNetwork", "hostNetwork"),
        ("hostPID", "HostPID"),
        ("hostIPC", "HostIPC"),
    ):
        if spec.get(field):
            errors.append(forbidden_field(f"{path}.{told}", detail))
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for i, container in enumerate(spec.get(field) or ()):
            if container.get("volumeDevices"):
                errors.append(forbidden_field(f"{path}.{field}[{i}].volumeDevices", detail))


def validate_os(errors: Errors, spec: Tree, path: str) -> None:
    """``spec.os`` and the fields the named system has no use for."""
    system = spec.get("os")
    if system is None:
        return
    name = system.get("name") or ""
    if not name:
        errors.append(required(f"{path}.os.name"))
    elif name not in ("linux", "windows"):
        errors.append(not_supported(f"{path}.os", name, ["linux", "windows"]))
    elif name == "linux":
        _linux_only(errors, spec, path)
    else:
        _windows_only(errors, spec, path)


def _each_container(spec: Tree, path: str) -> list[tuple[Tree, str]]:
    return [
        (container.get("securityContext") or {}, f"{path}.{field}[{i}].securityContext")
        for field in ("initContainers", "containers", "ephemeralContainers")
        for i, container in enumerate(spec.get(field) or ())
    ]


def _linux_only(errors: Errors, spec: Tree, path: str) -> None:
    contexts = [
        (spec.get("securityContext") or {}, f"{path}.securityContext"),
        *_each_container(spec, path),
    ]
    for context, here in contexts:
        if context.get("windowsOptions") is not None:
            errors.append(
                forbidden_field(
                    f"{here}.windowsOptions",
                    "windows options cannot be set for a linux pod",
                )
            )


_WINDOWS_POD = (
    "securityContext.appArmorProfile",
    "securityContext.seLinuxOptions",
    "hostUsers",
    "hostPID",
    "hostIPC",
    "securityContext.seccompProfile",
    "securityContext.fsGroup",
    "securityContext.fsGroupChangePolicy",
    "securityContext.sysctls",
    "shareProcessNamespace",
    "securityContext.runAsUser",
    "securityContext.runAsGroup",
    "securityContext.supplementalGroups",
    "securityContext.supplementalGroupsPolicy",
    "securityContext.seLinuxChangePolicy",
)
_NO_POINTERS = ("hostPID", "hostIPC", "sysctls")
_WINDOWS_CONTAINER = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
)


def _windows_only(errors: Errors, spec: Tree, path: str) -> None:
    context = spec.get("securityContext") or {}
    for where in _WINDOWS_POD:
        _, dot, field = where.rpartition(".")
        value = (context if dot else spec).get(field)
        if value if field in _NO_POINTERS else value is not None:
            errors.append(forbidden_field(f"{path}.{where}", _WINDOWS))
    for inner, here in _each_container(spec, path):
        for field in _WINDOWS_CONTAINER:
            if inner.get(field) is not None:
                errors.append(forbidden_field(f"{here}.{field}", _WINDOWS))
