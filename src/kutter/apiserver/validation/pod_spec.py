"""A pod's specification as a whole, in a pod or in a template of one."""

from __future__ import annotations

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
from kutter.apiserver.validation import pod_annotations, text
from kutter.apiserver.validation.internal import shown
from kutter.apiserver.validation.metadata import (
    WHOLE,
    checked,
    validate_annotations,
    validate_labels,
    validate_metadata,
)
from kutter.apiserver.validation.pod_annotations import (
    validate_agreement,
    validate_pod_annotations,
)
from kutter.apiserver.validation.pod_containers import (
    ContainerRules,
    validate_containers,
    validate_ephemeral_containers,
    validate_image_padding,
    validate_init_containers,
)
from kutter.apiserver.validation.pod_env import validate_env_files
from kutter.apiserver.validation.pod_resources import (
    validate_pod_resources,
    validate_requirements,
)
from kutter.apiserver.validation.pod_scheduling import (
    validate_affinity,
    validate_tolerations,
    validate_topology_spread,
)
from kutter.apiserver.validation.pod_security import (
    validate_host_processes,
    validate_host_users,
    validate_os,
    validate_pod_context,
)
from kutter.apiserver.validation.pod_volumes import validate_volumes
from kutter.apiserver.validation.remembered import Recent, ValidSpecs, key_of

Tree = dict[str, Any]
Errors = list[FieldError]

MIRROR_ANNOTATION = pod_annotations.MIRROR
_HOST_NAME_LIMIT = 64
_INT32_MAX = 2**31 - 1
_RESTART = ["Always", "OnFailure", "Never"]
_DNS = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]
_PREEMPTION = ["PreemptLowerPriority", "Never"]


_valid = ValidSpecs()
recent = Recent()


def validate_pod(pod: Tree, *, common: Errors | None = None) -> list[FieldError]:
    """A pod's metadata and specification: what holds on create and on every update.

    ``common``: as in :func:`validate_metadata`.
    """
    metadata, spec = pod.get("metadata") or {}, pod.get("spec") or {}
    errors = validate_pod_metadata(pod, common=common)
    is_mirror = MIRROR_ANNOTATION in (metadata.get("annotations") or ())
    key = None if is_mirror else key_of(spec)
    recent.keep(spec, key)
    if key is not None and key in _valid:
        return errors
    found: Errors = []
    name = metadata.get("name") or ""
    validate_pod_spec(found, spec, "spec", pod_name=name, in_pod=True, is_mirror=is_mirror)
    if not spec.get("serviceAccountName"):
        _no_tokens(found, spec)
    for field in ("containers", "initContainers"):
        for i, container in enumerate(spec.get(field) or ()):
            validate_image_padding(found, container, f"spec.{field}[{i}]")
    if not found and key is not None:
        _valid.add(key)
    return errors + found


def validate_pod_metadata(pod: Tree, *, common: Errors | None = None) -> list[FieldError]:
    """A pod's metadata: what holds whatever the specification was before."""
    metadata = pod.get("metadata") or {}
    errors = validate_metadata(metadata, namespaced=True, common=common)
    annotations = metadata.get("annotations")
    if annotations:
        spec = pod.get("spec") or {}
        validate_pod_annotations(errors, annotations, spec, "metadata.annotations")
    return errors


def validate_pod_create(pod: Tree) -> list[FieldError]:
    errors = validate_pod(pod)
    spec = pod.get("spec") or {}
    if spec.get("ephemeralContainers"):
        errors.append(forbidden_field("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        errors.append(
            forbidden_field(
                "spec.nodeName", "cannot be set until all schedulingGates have been cleared"
            )
        )
    annotations = (pod.get("metadata") or {}).get("annotations")
    if annotations:
        validate_agreement(errors, annotations, spec, "spec")
    return errors


def validate_pod_template(errors: Errors, template: Tree, path: str) -> None:
    """``template`` of a workload."""
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    if metadata.get("labels"):
        errors += validate_labels(metadata["labels"], f"{path}.labels")
    validate_template_annotations(errors, template, path)
    validate_pod_spec(errors, spec, f"{path}.spec")
    annotations = metadata.get("annotations")
    if annotations:
        validate_agreement(errors, annotations, spec, f"{path}.spec")
    if spec.get("ephemeralContainers"):
        errors.append(
            forbidden_field(
                f"{path}.spec.ephemeralContainers",
                "ephemeral containers not allowed in pod template",
            )
        )


def validate_template_annotations(errors: Errors, template: Tree, path: str) -> None:
    annotations = (template.get("metadata") or {}).get("annotations")
    if annotations:
        errors += validate_annotations(annotations, f"{path}.annotations")
        validate_pod_annotations(
            errors, annotations, template.get("spec") or {}, f"{path}.annotations"
        )


def _no_tokens(errors: Errors, spec: Tree) -> None:
    for v, volume in enumerate(spec.get("volumes") or ()):
        sources = (volume.get("projected") or {}).get("sources") or ()
        for s, source in enumerate(sources):
            if source.get("serviceAccountToken") is not None:
                errors.append(
                    forbidden_field(
                        f"spec.volumes[{v}].projected.sources[{s}].serviceAccountToken",
                        "must not be specified when serviceAccountName is not set",
                    )
                )


def validate_pod_spec(
    errors: Errors,
    spec: Tree,
    path: str,
    *,
    pod_name: str = "",
    in_pod: bool = False,
    is_mirror: bool = False,
) -> None:
    if spec.get("terminationGracePeriodSeconds") is None:
        errors.append(required(f"{path}.terminationGracePeriodSeconds"))
    volumes = spec.get("volumes")
    known = (
        validate_volumes(errors, volumes, f"{path}.volumes", pod_name, in_pod=in_pod)
        if volumes
        else {}
    )
    if spec.get("resourceClaims"):
        if is_mirror:
            wrong = forbidden_field(WHOLE, "static pods do not support resource claims")
            errors += [wrong] * len(spec["resourceClaims"])
        else:
            _resource_claims(errors, spec["resourceClaims"], f"{path}.resourceClaims")
    rules = ContainerRules(spec, known)
    containers = spec.get("containers") or []
    validate_containers(errors, containers, f"{path}.containers", rules)
    if spec.get("initContainers"):
        validate_init_containers(
            errors, spec["initContainers"], containers, f"{path}.initContainers", rules
        )
    if spec.get("ephemeralContainers"):
        validate_ephemeral_containers(errors, spec, f"{path}.ephemeralContainers", rules)
    if spec.get("resources") is not None:
        validate_pod_resources(errors, spec, f"{path}.resources", rules.claims)
    if spec.get("hostNetwork"):
        _host_network(errors, containers, f"{path}.containers", in_pod)
    _choice(errors, spec, "restartPolicy", _RESTART, path)
    _choice(errors, spec, "dnsPolicy", _DNS, path)
    if spec.get("nodeSelector"):
        errors += validate_labels(spec["nodeSelector"], f"{path}.nodeSelector")
    validate_pod_context(errors, spec, f"{path}.securityContext")
    if spec.get("affinity"):
        validate_affinity(errors, spec["affinity"], f"{path}.affinity")
    if spec.get("dnsConfig") is not None or spec.get("dnsPolicy") == "None":
        _dns_config(errors, spec, f"{path}.dnsConfig")
    _gates(errors, spec, path)
    if spec.get("topologySpreadConstraints"):
        validate_topology_spread(
            errors, spec["topologySpreadConstraints"], f"{path}.topologySpreadConstraints"
        )
    validate_host_processes(errors, spec, path)
    validate_host_users(errors, spec, path)
    if spec.get("hostnameOverride") is not None:
        _host_name(errors, spec, f"{path}.hostnameOverride")
    _place(errors, spec, path)
    if spec.get("tolerations"):
        validate_tolerations(errors, spec["tolerations"], f"{path}.tolerations")
    _rest(errors, spec, path, rules)
    validate_os(errors, spec, path)
    if rules.env_files:
        validate_env_files(errors, spec, path)


def _choice(errors: Errors, spec: Tree, field: str, allowed: list[str], path: str) -> None:
    value = spec.get(field) or ""
    if value not in allowed:
        here = f"{path}.{field}"
        errors.append(not_supported(here, value, allowed) if value else required(here))


def _name(errors: Errors, spec: Tree, field: str, check: text.Check, path: str) -> None:
    value = spec.get(field)
    if value:
        problems = check(value)
        if problems:
            errors += [invalid(f"{path}.{field}", value, p) for p in problems]


def _gates(errors: Errors, spec: Tree, path: str) -> None:
    for i, gate in enumerate(spec.get("readinessGates") or ()):
        errors += checked(
            f"{path}.readinessGates[{i}].conditionType",
            gate.get("conditionType") or "",
            text.qualified_name,
        )
    gates: set[str] = set()
    for i, gate in enumerate(spec.get("schedulingGates") or ()):
        name = gate.get("name") or ""
        errors += checked(f"{path}.schedulingGates[{i}]", name, text.qualified_name)
        if name in gates:
            errors.append(duplicate(f"{path}.schedulingGates[{i}]", name))
        gates.add(name)


def _host_name(errors: Errors, spec: Tree, path: str) -> None:
    name = spec["hostnameOverride"]
    for field in ("setHostnameAsFQDN", "hostNetwork"):
        if spec.get(field):
            errors.append(forbidden_field(path, f"may not be specified when {field} is true"))
    if len(name.encode()) > _HOST_NAME_LIMIT:
        errors.append(too_long(path, _HOST_NAME_LIMIT))
    errors += checked(path, name, text.dns_subdomain)


def _place(errors: Errors, spec: Tree, path: str) -> None:
    _name(errors, spec, "serviceAccountName", text.dns_subdomain, path)
    _name(errors, spec, "nodeName", text.dns_subdomain, path)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= _INT32_MAX:
        detail = text.inclusive_range(1, _INT32_MAX)
        errors.append(invalid(f"{path}.activeDeadlineSeconds", deadline, detail))
    _name(errors, spec, "hostname", text.dns_label, path)
    _name(errors, spec, "subdomain", text.dns_label, path)


def _rest(errors: Errors, spec: Tree, path: str, rules: ContainerRules) -> None:
    for i, alias in enumerate(spec.get("hostAliases") or ()):
        here = f"{path}.hostAliases[{i}]"
        errors += checked(f"{here}.ip", alias.get("ip") or "", text.ip)
        for h, name in enumerate(alias.get("hostnames") or ()):
            errors += checked(f"{here}.hostnames[{h}]", name, text.dns_subdomain)
    _name(errors, spec, "priorityClassName", text.dns_subdomain, path)
    runtime_class = spec.get("runtimeClassName")
    if runtime_class is not None:
        errors += checked(f"{path}.runtimeClassName", runtime_class, text.dns_subdomain)
    policy = spec.get("preemptionPolicy")
    if policy is not None and policy not in _PREEMPTION:
        here = f"{path}.preemptionPolicy"
        errors.append(not_supported(here, policy, _PREEMPTION) if policy else required(here))
    if spec.get("overhead"):
        validate_requirements(
            errors, {"limits": spec["overhead"]}, f"{path}.overhead", rules.claims
        )


def _host_network(errors: Errors, containers: list[Tree], path: str, in_pod: bool) -> None:
    for c, container in enumerate(containers):
        for p, port in enumerate(container.get("ports") or ()):
            host, inner = port.get("hostPort") or 0, port.get("containerPort") or 0
            if (in_pod or host) and host != inner:
                errors.append(
                    invalid(
                        f"{path}[{c}].ports[{p}].hostPort",
                        host,
                        "must match `containerPort` when `hostNetwork` is true",
                    )
                )


def _resource_claims(errors: Errors, claims: list[Tree], path: str) -> None:
    names: set[str] = set()
    for i, claim in enumerate(claims):
        here, name = f"{path}[{i}]", claim.get("name") or ""
        if not name:
            errors.append(required(f"{here}.name"))
        elif name in names:
            errors.append(duplicate(f"{here}.name", name))
        else:
            errors += checked(f"{here}.name", name, text.dns_label)
            names.add(name)
        given = [
            f
            for f in ("resourceClaimName", "resourceClaimTemplateName")
            if claim.get(f) is not None
        ]
        if len(given) > 1:
            errors.append(
                invalid(
                    here,
                    shown("PodResourceClaim", claim),
                    "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be "
                    "specified",
                )
            )
        elif not given:
            errors.append(
                invalid(
                    here,
                    shown("PodResourceClaim", claim),
                    "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
                )
            )
        for field in given:
            errors += checked(f"{here}.{field}", claim[field], text.dns_subdomain)


def _dns_config(errors: Errors, spec: Tree, path: str) -> None:
    config = spec.get("dnsConfig")
    if spec.get("dnsPolicy") == "None":
        if config is None:
            errors.append(required(path, "must provide `dnsConfig` when `dnsPolicy` is None"))
            return
        if not config.get("nameservers"):
            errors.append(
                required(
                    f"{path}.nameservers",
                    "must provide at least one DNS nameserver when `dnsPolicy` is None",
                )
            )
            return
    if config is None:
        return
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    if len(servers) > 3:
        errors.append(
            invalid(f"{path}.nameservers", servers, "must not have more than 3 nameservers")
        )
    for i, server in enumerate(servers):
        errors += checked(f"{path}.nameservers[{i}]", server, text.ip)
    if len(searches) > 32:
        errors.append(
            invalid(f"{path}.searches", searches, "must not have more than 32 search paths")
        )
    if len(" ".join(searches)) > 2048:
        errors.append(
            invalid(
                f"{path}.searches",
                searches,
                "must not have more than 2048 characters (including spaces) in the search list",
            )
        )
    for i, search in enumerate(searches):
        if search != ".":
            bare = search.removesuffix(".")
            errors += checked(f"{path}.searches[{i}]", bare, text.dns_subdomain_underscore)
    for i, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            errors.append(required(f"{path}.options[{i}]", "must not be empty"))
