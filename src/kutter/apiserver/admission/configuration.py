"""Which plugins run, and their configuration file.

Between the flags ``--enable-admission-plugins``, ``--disable-admission-plugins``,
``--admission-control-config-file`` and the registry. Formats are upstream's.
https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import orjson
import yaml
from msgspec.structs import replace

from kutter.api.types.core_v1 import ScopedResourceSelectorRequirement
from kutter.apiserver.admission.event_rate_limit import LIMIT_TYPES, EventLimit
from kutter.apiserver.admission.namespace_rules import parse_labels
from kutter.apiserver.admission.options import AdmissionOptions
from kutter.apiserver.admission.pod_security import PodSecurityOptions
from kutter.apiserver.admission.quota_charges import LimitedResource
from kutter.apiserver.configuration_file import (
    SIZE_MAX_BYTES,
    ConfigurationError,
    Part,
    parse_configuration,
)
from kutter.apiserver.pod_security.policy import (
    LevelVersion,
    Policy,
    parse_level,
    parse_version,
)


class _Plugin(Part):
    name: str
    path: str = ""
    configuration: dict[str, Any] | None = None


class _File(Part):
    plugins: list[_Plugin] = []  # noqa: RUF012  (msgspec copies empty defaults)


class _Defaults(msgspec.Struct, forbid_unknown_fields=True, rename="kebab"):
    enforce: str = "privileged"
    enforce_version: str = "latest"
    audit: str = "privileged"
    audit_version: str = "latest"
    warn: str = "privileged"
    warn_version: str = "latest"


class _Exemptions(Part):
    usernames: list[str] = []  # noqa: RUF012
    namespaces: list[str] = []  # noqa: RUF012
    runtime_classes: list[str] = []  # noqa: RUF012


class _PodSecurity(Part):
    defaults: _Defaults = msgspec.field(default_factory=_Defaults)
    exemptions: _Exemptions = msgspec.field(default_factory=_Exemptions)


class _Scope(Part):
    scope_name: str
    operator: str
    values: list[str] = []  # noqa: RUF012


class _Limited(Part):
    resource: str
    api_group: str = ""
    match_contains: list[str] = []  # noqa: RUF012
    match_scopes: list[_Scope] = []  # noqa: RUF012


class _ResourceQuota(Part):
    limited_resources: list[_Limited] = []  # noqa: RUF012


class _EventLimit(Part):
    type: str
    qps: int
    burst: int
    cache_size: int = 4096


class _EventRateLimit(Part):
    limits: list[_EventLimit] = []  # noqa: RUF012


class _Toleration(Part, omit_defaults=True):
    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class _TolerationRules(Part):
    default: list[_Toleration] = []  # noqa: RUF012
    whitelist: list[_Toleration] = []  # noqa: RUF012


def read_admission_options(enable: str, disable: str, path: str) -> AdmissionOptions:
    """From the flags' texts. Raises ConfigurationError."""
    options = AdmissionOptions(_names(enable), _names(disable))
    both = sorted(options.enable & options.disable)
    if both:
        raise ConfigurationError(
            f"[{' '.join(both)}] in enable-admission-plugins and disable-admission-plugins "
            "overlapped"
        )
    return _read_file(options, Path(path)) if path else options


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def _read_file(options: AdmissionOptions, path: Path) -> AdmissionOptions:
    found = parse_configuration(_content(path), "AdmissionConfiguration", ("v1",), _File)
    for entry in found.plugins:
        read = _READERS.get(entry.name)
        if read is None:
            known = ", ".join(sorted(_READERS))
            raise ConfigurationError(f"{path}: {entry.name} takes no configuration; {known} do")
        if entry.configuration is not None:
            content = orjson.dumps(entry.configuration)
        elif entry.path:
            content = _content(path.parent / entry.path)
        else:
            continue
        options = read(options, content)
    return options


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > SIZE_MAX_BYTES:
        raise ConfigurationError(f"{path} is larger than {SIZE_MAX_BYTES} bytes")
    return content


def _read_pod_security(options: AdmissionOptions, content: bytes) -> AdmissionOptions:
    found = parse_configuration(
        content,
        "PodSecurityConfiguration",
        ("v1",),
        _PodSecurity,
        group="pod-security.admission.config.k8s.io",
    )
    modes: dict[str, LevelVersion] = {}
    for mode in ("enforce", "audit", "warn"):
        level, version = getattr(found.defaults, mode), getattr(found.defaults, f"{mode}_version")
        minor = parse_version(version)
        if parse_level(level) is None:
            raise ConfigurationError(
                f"PodSecurityConfiguration: defaults.{mode} is {level!r}, must be one of "
                "privileged, baseline, restricted"
            )
        if minor is None:
            raise ConfigurationError(
                f"PodSecurityConfiguration: defaults.{mode}-version is {version!r}, "
                'must be "latest" or "v1.x"'
            )
        modes[mode] = LevelVersion(level, minor)
    exempt = found.exemptions
    return replace(
        options,
        pod_security=PodSecurityOptions(
            Policy(**modes),
            frozenset(exempt.usernames),
            frozenset(exempt.namespaces),
            frozenset(exempt.runtime_classes),
        ),
    )


def _read_quota(options: AdmissionOptions, content: bytes) -> AdmissionOptions:
    found = parse_configuration(content, "ResourceQuotaConfiguration", ("v1",), _ResourceQuota)
    limited = tuple(
        LimitedResource(
            rule.resource,
            rule.api_group,
            tuple(rule.match_contains),
            tuple(
                ScopedResourceSelectorRequirement(
                    scope_name=s.scope_name, operator=s.operator, values=tuple(s.values)
                )
                for s in rule.match_scopes
            ),
        )
        for rule in found.limited_resources
    )
    return replace(options, limited=limited)


def _read_event_limits(options: AdmissionOptions, content: bytes) -> AdmissionOptions:
    found = parse_configuration(
        content,
        "Configuration",
        ("v1alpha1",),
        _EventRateLimit,
        group="eventratelimit.admission.k8s.io",
    )
    for rule in found.limits:
        if rule.type not in LIMIT_TYPES:
            raise ConfigurationError(
                f"EventRateLimit: limits.type is {rule.type!r}, must be one of "
                f"{', '.join(LIMIT_TYPES)}"
            )
        if rule.qps < 1 or rule.burst < rule.qps or rule.cache_size < 1:
            raise ConfigurationError(
                "EventRateLimit: qps, burst and cacheSize are positive, burst not below qps"
            )
    limits = tuple(EventLimit(r.type, r.qps, r.burst, r.cache_size) for r in found.limits)
    return replace(options, event_limits=limits)


def _read_node_selectors(options: AdmissionOptions, content: bytes) -> AdmissionOptions:
    """Of a form of its own, older than kinds and versions of configurations."""
    try:
        found = yaml.safe_load(content) or {}
        selectors = found.get("podNodeSelectorPluginConfig") or {}
        for namespace, text in selectors.items():
            if not isinstance(namespace, str) or not isinstance(text, str):
                raise ConfigurationError(
                    "PodNodeSelector: podNodeSelectorPluginConfig maps namespaces to texts"
                )
            parse_labels(text)
    except (yaml.YAMLError, AttributeError, UnicodeDecodeError, ValueError) as error:
        raise ConfigurationError(f"PodNodeSelector: {error}") from error
    return replace(options, node_selectors=selectors)


def _read_tolerations(options: AdmissionOptions, content: bytes) -> AdmissionOptions:
    found = parse_configuration(
        content,
        "Configuration",
        ("v1alpha1",),
        _TolerationRules,
        group="podtolerationrestriction.admission.k8s.io",
    )
    default, allowed = (
        tuple(msgspec.to_builtins(one) for one in listed)
        for listed in (found.default, found.whitelist)
    )
    return replace(options, tolerations=default, allowed_tolerations=allowed)


_Read = Callable[[AdmissionOptions, bytes], AdmissionOptions]
_READERS: dict[str, _Read] = {
    "PodSecurity": _read_pod_security,
    "ResourceQuota": _read_quota,
    "EventRateLimit": _read_event_limits,
    "PodNodeSelector": _read_node_selectors,
    "PodTolerationRestriction": _read_tolerations,
}
