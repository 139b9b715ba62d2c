"""Services: types, ports, addresses, traffic policies, and what of them may change."""

from __future__ import annotations

from typing import Any

from kutter.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_supported,
    required,
)
from kutter.apiserver.validation import text
from kutter.apiserver.validation.internal import shown
from kutter.apiserver.validation.metadata import checked, validate_labels
from kutter.apiserver.validation.pod_containers import validate_protocol
from kutter.apiserver.validation.pod_probes import validate_port

Tree = dict[str, Any]
Errors = list[FieldError]

TYPES = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]
_POLICIES = ["Cluster", "Local"]
_FAMILY_POLICIES = ["PreferDualStack", "RequireDualStack", "SingleStack"]
_DISTRIBUTIONS = ["PreferClose", "PreferSameZone", "PreferSameNode"]
_TOPOLOGY_HINTS = "service.kubernetes.io/topology-aware-hints"
_TOPOLOGY_MODE = "service.kubernetes.io/topology-mode"
_SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_LB_ONLY = "may only be used when `type` is 'LoadBalancer'"
_ONE_PER_FAMILY = "may specify no more than one IP for each IP family"


def is_headless(spec: Tree) -> bool:
    return (spec.get("clusterIPs") or []) == ["None"]


def is_externally_accessible(spec: Tree) -> bool:
    kind = spec.get("type")
    return kind in ("NodePort", "LoadBalancer") or (
        kind == "ClusterIP" and bool(spec.get("externalIPs"))
    )


def needs_health_check(spec: Tree) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def validate_service(tree: Tree) -> list[FieldError]:
    errors: Errors = []
    spec = tree.get("spec") or {}
    _topology(errors, tree)
    kind, ports = spec.get("type") or "", spec.get("ports") or []
    headless = is_headless(spec)
    if not ports and not headless and kind != "ExternalName":
        errors.append(required("spec.ports"))
    if headless and kind in ("LoadBalancer", "NodePort"):
        errors.append(
            invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")
        )
    if kind == "ExternalName":
        _external_name(errors, spec)
    _ports(errors, ports)
    if spec.get("selector"):
        errors += validate_labels(spec["selector"], "spec.selector")
    _affinity(errors, spec)
    if kind != "ExternalName":
        validate_addresses(errors, spec)
    for i, address in enumerate(spec.get("externalIPs") or ()):
        path = f"spec.externalIPs[{i}]"
        errors += checked(path, address, text.ip) or checked(path, address, text.non_special_ip)
    if kind not in TYPES:
        errors.append(not_supported("spec.type", kind, TYPES) if kind else required("spec.type"))
    _collisions(errors, ports, kind)
    _source_ranges(errors, tree, spec, kind)
    _load_balancer(errors, spec, kind)
    _traffic(errors, spec, kind)
    return errors


def _external_name(errors: Errors, spec: Tree) -> None:
    for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if spec.get(field):
            errors.append(
                forbidden_field(f"spec.{field}", "may not be set for ExternalName services")
            )
    name = (spec.get("externalName") or "").removesuffix(".")
    if name:
        errors += checked("spec.externalName", name, text.dns_subdomain)
    else:
        errors.append(required("spec.externalName"))


def _ports(errors: Errors, ports: list[Tree]) -> None:
    names: set[str] = set()
    for i, port in enumerate(ports):
        path, name = f"spec.ports[{i}]", port.get("name") or ""
        if not name:
            if len(ports) > 1:
                errors.append(required(f"{path}.name"))
        else:
            errors += checked(f"{path}.name", name, text.dns_label)
            if name in names:
                errors.append(duplicate(f"{path}.name", name))
            names.add(name)
        number, protocol = port.get("port") or 0, port.get("protocol") or ""
        errors += [invalid(f"{path}.port", number, p) for p in text.port_number(number)]
        validate_protocol(errors, protocol, f"{path}.protocol")
        validate_port(errors, port.get("targetPort"), f"{path}.targetPort")
        if port.get("appProtocol") is not None:
            errors += checked(f"{path}.appProtocol", port["appProtocol"], text.qualified_name)


def _collisions(errors: Errors, ports: list[Tree], kind: str) -> None:
    node_ports = [(p.get("protocol") or "", p.get("nodePort") or 0) for p in ports]
    if kind == "ClusterIP":
        detail = "may not be used when `type` is 'ClusterIP'"
        errors += [
            forbidden_field(f"spec.ports[{i}].nodePort", detail)
            for i, (_, node_port) in enumerate(node_ports)
            if node_port
        ]
    for i, (protocol, node_port) in enumerate(node_ports):
        if node_port and (protocol, node_port) in node_ports[:i]:
            errors.append(duplicate(f"spec.ports[{i}].nodePort", node_port))
    numbers = [(p.get("protocol") or "", p.get("port") or 0) for p in ports]
    for i, (protocol, number) in enumerate(numbers):
        if (protocol, number) in numbers[:i]:
            key = {"protocol": protocol, "port": number}
            errors.append(duplicate(f"spec.ports[{i}]", shown("ServicePort", key)))


def _topology(errors: Errors, tree: Tree) -> None:
    annotations = (tree.get("metadata") or {}).get("annotations") or {}
    hints, mode = annotations.get(_TOPOLOGY_HINTS), annotations.get(_TOPOLOGY_MODE)
    if hints is not None and mode is not None and hints != mode:
        detail = f"must match annotations[{_TOPOLOGY_HINTS}] when both are specified"
        errors.append(invalid(f"metadata.annotations[{_TOPOLOGY_MODE}]", mode, detail))


def _affinity(errors: Errors, spec: Tree) -> None:
    affinity, config = spec.get("sessionAffinity") or "", spec.get("sessionAffinityConfig")
    if affinity not in ("ClientIP", "None"):
        path = "spec.sessionAffinity"
        errors.append(
            not_supported(path, affinity, ["ClientIP", "None"]) if affinity else required(path)
        )
    path, when = "spec.sessionAffinityConfig", "when session affinity type is ClientIP"
    if affinity == "ClientIP":
        client = (config or {}).get("clientIP")
        if config is None:
            errors.append(required(path, when))
        elif client is None:
            errors.append(required(f"{path}.clientIP", when))
        elif client.get("timeoutSeconds") is None:
            errors.append(required(f"{path}.clientIP.timeoutSeconds", when))
        elif not 0 < client["timeoutSeconds"] <= 86400:
            errors.append(
                invalid(
                    f"{path}.clientIP.timeoutSeconds",
                    client["timeoutSeconds"],
                    "must be greater than 0 and less than 86400",
                )
            )
    elif affinity == "None" and config is not None:
        errors.append(forbidden_field(path, "must not be set when session affinity is None"))


def validate_addresses(errors: Errors, spec: Tree) -> None:
    address, listed = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    path = "spec.clusterIPs"
    if address:
        if not listed:
            errors.append(required(path))
        elif listed[0] != address:
            errors.append(invalid(path, listed, "first value must match `clusterIP`"))
    elif listed:
        errors.append(invalid(path, listed, "must be empty when `clusterIP` is not specified"))
    families = spec.get("ipFamilies") or []
    for i, family in enumerate(families):
        here = f"spec.ipFamilies[{i}]"
        if family not in ("IPv4", "IPv6"):
            errors.append(not_supported(here, family, ["IPv4", "IPv6"]))
        if family in families[:i]:
            errors.append(duplicate(here, family))
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in _FAMILY_POLICIES:
        errors.append(not_supported("spec.ipFamilyPolicy", policy, _FAMILY_POLICIES))
    before = len(errors)
    for i, value in enumerate(listed):
        if i == 0 and value == "None":
            if len(listed) > 1:
                errors.append(invalid(path, listed, "'None' must be the first and only value"))
            continue
        errors += checked(f"{path}[{i}]", value, text.ip)
    bad = len(errors) > before
    if len(listed) > 2:
        errors.append(invalid(path, listed, "may only hold up to 2 values"))
    if bad:
        return
    if len(listed) > 1 and len({":" in a for a in listed}) < 2:
        errors.append(invalid(path, listed, _ONE_PER_FAMILY))
    if is_headless(spec):
        return
    for i, (value, family) in enumerate(zip(listed, families, strict=False)):
        found = "IPv6" if ":" in value else "IPv4"
        if family in ("IPv4", "IPv6") and found != family:
            errors.append(
                invalid(
                    f"{path}[{i}]",
                    value,
                    f"expected an {family} value as indicated by `ipFamilies[{i}]`",
                )
            )


def _source_ranges(errors: Errors, tree: Tree, spec: Tree, kind: str) -> None:
    ranges = spec.get("loadBalancerSourceRanges") or []
    written = ((tree.get("metadata") or {}).get("annotations") or {}).get(_SOURCE_RANGES)
    if ranges:
        path = "spec.LoadBalancerSourceRanges"
        if kind != "LoadBalancer":
            errors.append(forbidden_field(path, _LB_ONLY))
        for i, value in enumerate(ranges):
            errors += checked(f"{path}[{i}]", value.strip(), text.cidr)
    elif written is not None:
        path = f"metadata.annotations[{_SOURCE_RANGES}]"
        if kind != "LoadBalancer":
            errors.append(forbidden_field(path, _LB_ONLY))
        for value in written.split(",") if written.strip() else ():
            errors += checked(path, value.strip(), text.cidr)


def _load_balancer(errors: Errors, spec: Tree, kind: str) -> None:
    allocate, field = spec.get("allocateLoadBalancerNodePorts"), "allocateLoadBalancerNodePorts"
    if kind == "LoadBalancer" and allocate is None:
        errors.append(required(field))
    elif kind != "LoadBalancer" and allocate is not None:
        errors.append(forbidden_field(f"spec.{field}", _LB_ONLY))
    _balancer_class(errors, spec, kind)


def _balancer_class(errors: Errors, spec: Tree, kind: str) -> None:
    path, found = "spec.loadBalancerClass", spec.get("loadBalancerClass")
    if found is None:
        return
    if kind == "LoadBalancer":
        errors += checked(path, found, text.qualified_name)
    else:
        errors.append(forbidden_field(path, _LB_ONLY))


def _traffic(errors: Errors, spec: Tree, kind: str) -> None:
    external, path = spec.get("externalTrafficPolicy") or "", "spec.externalTrafficPolicy"
    if not is_externally_accessible(spec):
        if external:
            errors.append(
                invalid(path, external, "may only be set for externally-accessible services")
            )
    elif external not in _POLICIES:
        errors.append(not_supported(path, external, _POLICIES) if external else required(path))
    port, path = spec.get("healthCheckNodePort") or 0, "spec.healthCheckNodePort"
    if not needs_health_check(spec):
        if port:
            errors.append(
                invalid(
                    path,
                    port,
                    "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is "
                    "'Local'",
                )
            )
    elif port:
        # Absent is fine here: it is allocated after validation.
        errors += [invalid(path, port, p) for p in text.port_number(port)]
    internal, path = spec.get("internalTrafficPolicy"), "spec.internalTrafficPolicy"
    if internal is None:
        if kind in ("NodePort", "LoadBalancer", "ClusterIP"):
            errors.append(required(path))
    elif internal not in _POLICIES:
        errors.append(not_supported(path, internal, _POLICIES))
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in _DISTRIBUTIONS:
        errors.append(not_supported("spec.trafficDistribution", distribution, _DISTRIBUTIONS))


def service_warnings(tree: Tree) -> list[str]:
    """What is deprecated or has no effect."""
    found: list[str] = []
    spec = tree.get("spec") or {}
    if _TOPOLOGY_HINTS in ((tree.get("metadata") or {}).get("annotations") or {}):
        found.append(
            f"annotation {_TOPOLOGY_HINTS} is deprecated, please use {_TOPOLOGY_MODE} instead"
        )
    kind, headless = spec.get("type"), spec.get("clusterIP") == "None"
    headless = headless and kind == "ClusterIP"
    external, balancer = spec.get("externalIPs") or [], spec.get("loadBalancerIP") or ""
    if spec.get("clusterIP") not in (None, "", "None"):
        for i, address in enumerate(spec.get("clusterIPs") or ()):
            found += text.ip_warnings(address, f"spec.clusterIPs[{i}]")
    if headless:
        ignored = {
            "loadBalancerIP": bool(balancer),
            "externalIPs": bool(external),
            "SessionAffinity": spec.get("sessionAffinity") != "None",
        }
        found += [
            f"spec.{f} is ignored for headless services" for f, set_ in ignored.items() if set_
        ]
    for i, address in enumerate(external):
        found += text.ip_warnings(address, f"spec.externalIPs[{i}]")
    if external and not headless and kind != "ExternalName":
        found.append(
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
        )
    if balancer:
        found += text.ip_warnings(balancer, "spec.loadBalancerIP")
    for i, value in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        found += text.cidr_warnings(value, f"spec.loadBalancerSourceRanges[{i}]")
    if kind == "ExternalName" and external:
        found.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    if kind != "ExternalName" and spec.get("externalName"):
        found.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    if spec.get("trafficDistribution") == "PreferClose":
        found.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    return found


def validate_service_change(new: Tree, old: Tree) -> list[FieldError]:
    """Addresses and families stay once they are set, unless by way of ExternalName."""
    errors: Errors = []
    after, before = new.get("spec") or {}, old.get("spec") or {}
    if "ExternalName" not in (after.get("type"), before.get("type")):
        if not (is_headless(after) and is_headless(before)):
            _change_of(errors, after, before, "clusterIPs", "primary clusterIP can not be unset")
        if is_headless(after) == is_headless(before) and not is_headless(after):
            _change_of(errors, after, before, "ipFamilies", "primary ipFamily can not be unset")
    if after.get("type") == "LoadBalancer" == before.get("type"):
        cls = after.get("loadBalancerClass")
        if cls != before.get("loadBalancerClass"):
            errors.append(invalid("spec.loadBalancerClass", cls, "may not change once set"))
    _balancer_class(errors, after, after.get("type") or "")
    checks = needs_health_check(after) and needs_health_check(before)
    port, held = after.get("healthCheckNodePort") or 0, before.get("healthCheckNodePort") or 0
    if checks and port != held:
        errors.append(forbidden_field("spec.healthCheckNodePort", "field is immutable"))
    return errors


def _change_of(errors: Errors, after: Tree, before: Tree, field: str, unset: str) -> None:
    new, old = after.get(field) or [], before.get(field) or []
    path = f"spec.{field}"
    if len(new) == len(old):
        for i, value in enumerate(old):
            if value != new[i]:
                at = i if field == "clusterIPs" else 0
                errors.append(invalid(f"{path}[{at}]", new, "may not change once set"))
        return
    if not new:
        errors.append(invalid(f"{path}[0]", new, unset))
        return
    if old and new[0] != old[0]:
        errors.append(invalid(f"{path}[0]", new, "may not change once set"))
    if len(old) > len(new) == 1 and after.get("ipFamilyPolicy") != "SingleStack":
        what = "clusterIP" if field == "clusterIPs" else "ipFamily"
        errors.append(
            invalid(
                "spec.ipFamilyPolicy",
                after.get("ipFamilyPolicy"),
                f"must be set to 'SingleStack' when releasing the secondary {what}",
            )
        )


def validate_load_balancer_status(status: Tree, kind: str, path: str) -> list[FieldError]:
    errors: Errors = []
    entries = status.get("ingress") or []
    if entries and kind != "LoadBalancer":
        return [
            forbidden_field(
                f"{path}.ingress", "may only be used when `spec.type` is 'LoadBalancer'"
            )
        ]
    for i, entry in enumerate(entries):
        here, address, mode = f"{path}.ingress[{i}]", entry.get("ip") or "", entry.get("ipMode")
        if address:
            errors += checked(f"{here}.ip", address, text.ip)
        if mode is None:
            if address:
                errors.append(required(f"{here}.ipMode", "must be specified when `ip` is set"))
        elif not address:
            errors.append(
                forbidden_field(f"{here}.ipMode", "may not be specified when `ip` is not set")
            )
        elif mode not in ("Proxy", "VIP"):
            errors.append(not_supported(f"{here}.ipMode", mode, ["Proxy", "VIP"]))
        name = entry.get("hostname") or ""
        if name:
            errors += checked(f"{here}.hostname", name, text.dns_subdomain)
            if text.parse_ip(name) is not None:
                errors.append(
                    invalid(f"{here}.hostname", name, "must be a DNS name, not an IP address")
                )
    return errors
