"""Ingresses and their classes, network policies, service ranges and addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, ClassVar

from kutter.api.errors import FieldError, forbidden_field, invalid, not_supported, required
from kutter.api.schema.loader import type_node
from kutter.api.schema.wire import render
from kutter.apiserver.kinds.standard import SpecKind, Standard, setdefault, spec_of
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.equality import equal
from kutter.apiserver.validation.job_policies import validate_domain_path
from kutter.apiserver.validation.metadata import (
    IMMUTABLE,
    checked,
    immutable,
    validate_label_selector,
)
from kutter.apiserver.validation.pod_probes import validate_port

Errors = list[FieldError]

_PROTOCOLS = ["TCP", "UDP", "SCTP"]
_PATH_TYPES = ["Exact", "ImplementationSpecific", "Prefix"]


_NOT_AN_ADDRESS = "must be a DNS name, not an IP address"
# How the class was named before there was a field for it.
_CLASS = "kubernetes.io/ingress.class"


class IngressKind(SpecKind):
    rechecks_metadata: ClassVar[bool] = True

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        tree["status"] = {"loadBalancer": {}}

    def validate_create(self, context: StrategyContext, tree: Tree) -> list[FieldError]:
        errors = super().validate_create(context, tree)
        named = ((tree.get("metadata") or {}).get("annotations") or {}).get(_CLASS)
        chosen = (tree.get("spec") or {}).get("ingressClassName")
        if named is not None and chosen is not None and named != chosen:
            detail = "must match `ingressClassName` when both are specified"
            errors.append(invalid(f"annotations.{_CLASS}", named, detail))
        return errors

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        rules, backend = spec.get("rules") or [], spec.get("defaultBackend")
        if not rules and backend is None:
            errors.append(
                invalid("spec", None, "either `defaultBackend` or `rules` must be specified")
            )
        if backend is not None:
            _backend(errors, backend, "spec.defaultBackend")
        for i, rule in enumerate(rules):
            self._rule(errors, rule, f"spec.rules[{i}]")
        for i, entry in enumerate(spec.get("tls") or ()):
            for h, host in enumerate(entry.get("hosts") or ()):
                errors += _host(host, f"spec.tls[{i}].hosts[{h}]")
            if entry.get("secretName"):
                path = f"spec.tls[{i}].secretName"
                errors += checked(path, entry["secretName"], text.dns_subdomain)
        if spec.get("ingressClassName") is not None:
            errors += checked("spec.ingressClassName", spec["ingressClassName"], text.dns_subdomain)
        return errors

    def _rule(self, errors: Errors, rule: Tree, path: str) -> None:
        host = rule.get("host") or ""
        if host:
            if text.parse_ip(host) is not None:
                errors.append(invalid(f"{path}.host", host, _NOT_AN_ADDRESS))
            errors += _host(host, f"{path}.host")
        http = rule.get("http")
        if http is None:
            return
        paths = http.get("paths") or []
        if not paths:
            errors.append(required(f"{path}.http.paths"))
        for i, entry in enumerate(paths):
            here = f"{path}.http.paths[{i}]"
            kind, value = entry.get("pathType"), entry.get("path") or ""
            if kind is None:
                errors.append(required(f"{here}.pathType", "pathType must be specified"))
            elif kind not in _PATH_TYPES:
                errors.append(not_supported(f"{here}.pathType", kind, _PATH_TYPES))
            if kind in ("Exact", "Prefix"):
                _strict_path(errors, value, f"{here}.path")
            elif value and not value.startswith("/"):
                errors.append(invalid(f"{here}.path", value, "must be an absolute path"))
            # A path without a type ends upstream's look at it.
            if kind is not None:
                _backend(errors, entry.get("backend") or {}, f"{here}.backend")

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        errors: Errors = []
        balancer = (new.get("status") or {}).get("loadBalancer") or {}
        for i, entry in enumerate(balancer.get("ingress") or ()):
            path = f"status.loadBalancer.ingress[{i}]"
            address, host = entry.get("ip") or "", entry.get("hostname") or ""
            if address:
                errors += checked(f"{path}.ip", address, text.ip)
            if host:
                errors += checked(f"{path}.hostname", host, text.dns_subdomain)
            if text.parse_ip(host) is not None:
                errors.append(invalid(f"{path}.hostname", host, _NOT_AN_ADDRESS))
        return errors

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        annotations = (new.get("metadata") or {}).get("annotations") or {}
        if old is not None or _CLASS not in annotations:
            return []
        return [
            f"annotation \"{_CLASS}\" is deprecated, please use 'spec.ingressClassName' instead"
        ]


def _host(host: str, path: str) -> list[FieldError]:
    return checked(path, host, text.wildcard_subdomain if "*" in host else text.dns_subdomain)


def _strict_path(errors: Errors, value: str, path: str) -> None:
    if not value.startswith("/"):
        errors.append(invalid(path, value, "must be an absolute path"))
        return
    for sequence in ("//", "/./", "/../", "%2f", "%2F"):
        if sequence in value:
            errors.append(invalid(path, value, f"must not contain '{sequence}'"))
    for suffix in ("/..", "/."):
        if value.endswith(suffix):
            errors.append(invalid(path, value, f"cannot end with '{suffix}'"))


def _backend(errors: Errors, backend: Tree, path: str) -> None:
    service, resource = backend.get("service"), backend.get("resource")
    if resource is not None and service is not None:
        errors.append(invalid(path, "", "cannot set both resource and service backends"))
    elif resource is not None:
        _local_reference(errors, resource, f"{path}.resource")
    elif service is not None:
        if not service.get("name"):
            errors.append(required(f"{path}.service.name"))
        else:
            errors += checked(f"{path}.service.name", service["name"], text.dns_label)
        port = service.get("port") or {}
        if port.get("name") and port.get("number"):
            errors.append(invalid(path, "", "cannot set both port name & port number"))
        elif port.get("name"):
            errors += checked(f"{path}.service.port.name", port["name"], text.port_name)
        elif port.get("number"):
            number = port["number"]
            errors += [
                invalid(f"{path}.service.port.number", number, p) for p in text.port_number(number)
            ]
        else:
            errors.append(required(path, "port name or number is required"))
    else:
        errors.append(invalid(path, "", "resource or service backend is required"))


def _local_reference(errors: Errors, reference: Tree, path: str) -> None:
    if reference.get("apiGroup") is not None:
        errors += checked(f"{path}.apiGroup", reference["apiGroup"], text.dns_subdomain)
    for field in ("kind", "name"):
        value, here = reference.get(field) or "", f"{path}.{field}"
        errors += checked(here, value, text.path_segment) if value else [required(here)]


class IngressClassKind(SpecKind):
    rechecks_metadata: ClassVar[bool] = True
    has_status: ClassVar[bool] = False

    def default(self, tree: Tree) -> None:
        parameters = spec_of(tree).get("parameters")
        if parameters is not None and parameters.get("scope") is None:
            parameters["scope"] = "Cluster"

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        controller = spec.get("controller") or ""
        if len(controller) > 250:
            errors.append(
                FieldError(
                    "spec.controller",
                    "FieldValueTooLong",
                    "Too long: may not be more than 250 bytes",
                )
            )
        validate_domain_path(errors, controller, "spec.controller")
        parameters = spec.get("parameters")
        if parameters is not None:
            self._parameters(errors, parameters, "spec.parameters")
        return errors

    def _parameters(self, errors: Errors, parameters: Tree, path: str) -> None:
        _local_reference(errors, parameters, path)
        scope, namespace = parameters.get("scope"), parameters.get("namespace")
        here = f"{path}.namespace"
        if scope not in ("Cluster", "Namespace"):
            errors.append(not_supported(f"{path}.scope", scope, ["Cluster", "Namespace"]))
        elif scope == "Cluster" and namespace is not None:
            errors.append(forbidden_field(here, "`parameters.scope` is set to 'Cluster'"))
        elif scope == "Namespace" and namespace is None:
            errors.append(required(here, "`parameters.scope` is set to 'Namespace'"))
        elif scope == "Namespace":
            errors += checked(here, namespace or "", text.dns_label)

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        after, before = ((t.get("spec") or {}).get("controller") or "" for t in (new, old))
        return immutable(after, before, "spec.controller")


class NetworkPolicyKind(SpecKind):
    has_status: ClassVar[bool] = False

    def default(self, tree: Tree) -> None:
        spec = spec_of(tree)
        setdefault(spec, "podSelector", {})
        for field in ("ingress", "egress"):
            for rule in spec.get(field) or ():
                for port in rule.get("ports") or ():
                    setdefault(port, "protocol", "TCP")
        if not spec.get("policyTypes"):
            spec["policyTypes"] = ["Ingress"] + (["Egress"] if spec.get("egress") else [])

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        errors += validate_label_selector(spec.get("podSelector"), "spec.podSelector")
        for field, peers in (("ingress", "from"), ("egress", "to")):
            for i, rule in enumerate(spec.get(field) or ()):
                path = f"spec.{field}[{i}]"
                for p, port in enumerate(rule.get("ports") or ()):
                    self._port(errors, port, f"{path}.ports[{p}]")
                for p, peer in enumerate(rule.get(peers) or ()):
                    self._peer(errors, peer, f"{path}.{peers}[{p}]")
        kinds = spec.get("policyTypes") or []
        if len(kinds) > 2:
            errors.append(
                invalid("spec.policyTypes", kinds, "may not specify more than two policyTypes")
            )
            return errors
        for i, kind in enumerate(kinds):
            if kind not in ("Ingress", "Egress"):
                path = f"spec.policyTypes[{i}]"
                errors.append(not_supported(path, kind, ["Ingress", "Egress"]))
        return errors

    def _port(self, errors: Errors, port: Tree, path: str) -> None:
        protocol, number, end = port.get("protocol"), port.get("port"), port.get("endPort")
        if protocol is not None and protocol not in _PROTOCOLS:
            errors.append(not_supported(f"{path}.protocol", protocol, _PROTOCOLS))
        here = f"{path}.endPort"
        if number is None:
            if end is not None:
                detail = "may not be specified when `port` is not specified"
                errors.append(invalid(here, end, detail))
        elif isinstance(number, int):
            validate_port(errors, number, f"{path}.port")
            if end is not None and end < number:
                errors.append(invalid(here, number, "must be greater than or equal to `port`"))
            if end is not None:
                errors += [invalid(here, end, p) for p in text.port_number(end)]
        else:
            if end is not None:
                detail = "may not be specified when `port` is non-numeric"
                errors.append(invalid(here, end, detail))
            validate_port(errors, number, f"{path}.port")

    def _peer(self, errors: Errors, peer: Tree, path: str) -> None:
        found = 0
        for field in ("podSelector", "namespaceSelector"):
            if peer.get(field) is not None:
                found += 1
                errors += validate_label_selector(peer[field], f"{path}.{field}")
        block = peer.get("ipBlock")
        if block is not None:
            _ip_block(errors, block, f"{path}.ipBlock")
            if found:
                detail = "may not specify both ipBlock and another peer"
                errors.append(forbidden_field(path, detail))
            found += 1
        if not found:
            errors.append(required(path, "must specify a peer"))


def _ip_block(errors: Errors, block: Tree, path: str) -> None:
    whole = block.get("cidr") or ""
    if not whole:
        errors.append(required(f"{path}.cidr"))
        return
    problems = checked(f"{path}.cidr", whole, text.cidr)
    errors += problems
    if problems:
        return
    network = ipaddress.ip_network(whole, strict=False)
    for i, part in enumerate(block.get("except") or ()):
        here = f"{path}.except[{i}]"
        wrong = checked(here, part, text.cidr)
        errors += wrong
        if wrong:
            continue
        inner: Any = ipaddress.ip_network(part, strict=False)
        if (
            inner.version != network.version
            or not inner.subnet_of(network)
            or inner.prefixlen == network.prefixlen
        ):
            errors.append(invalid(here, part, "must be a strict subset of `cidr`"))


class ServiceCIDRKind(SpecKind):
    generation_paths: ClassVar[tuple[str, ...]] = ()

    def check(self, tree: Tree) -> list[FieldError]:
        spec = tree.get("spec") or {}
        ranges, path = spec.get("cidrs") or [], "spec.cidrs"
        if not ranges:
            return [required(path, "at least one CIDR required")]
        if len(ranges) > 2:
            return [invalid(path, {"CIDRs": ranges}, "may only hold up to 2 values")]
        errors: Errors = []
        for i, value in enumerate(ranges):
            errors += checked(f"{path}[{i}]", value, text.strict_cidr)
        families = [_family(value) for value in ranges]
        if len(ranges) == 2 and families[0] and families[0] == families[1]:
            detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and "
            errors.append(invalid(path, ranges, detail + "2001:db8::/64"))
        return errors

    def check_changed(self, new: Tree, old: Tree) -> list[FieldError]:
        # A second family may come later; otherwise ranges stay as they are.
        after, before = ((t.get("spec") or {}).get("cidrs") or [] for t in (new, old))
        return self.check(new) if (len(before), len(after)) == (1, 2) else []

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        after, before = ((t.get("spec") or {}).get("cidrs") for t in (new, old))
        ranges, known = after or [], before or []
        if len(ranges) == len(known) or (len(known), len(ranges)) == (1, 2):
            return [
                invalid(f"spec.cidrs[{i}]", one, IMMUTABLE)
                for i, (one, other) in enumerate(zip(ranges, known, strict=False))
                if one != other
            ]
        return [invalid("spec.cidrs", after, IMMUTABLE)]


def _family(value: str) -> int:
    """4 or 6; 0 for what is no range."""
    address, slash, length = value.rpartition("/")
    parsed = text.parse_ip(address)
    if parsed is None or not slash or not length.isdecimal():
        return 0
    return parsed.version if int(length) <= parsed.max_prefixlen else 0


def _address_name(value: str) -> text.Problems:
    problems = text.ip(value)
    if problems:
        return problems
    usual = str(ipaddress.ip_address(value))
    return () if usual == value else (f'must be in canonical form ("{usual}")',)


class IPAddressKind(SpecKind):
    generation_paths: ClassVar[tuple[str, ...]] = ()
    rechecks_metadata: ClassVar[bool] = True
    change_last: ClassVar[bool] = True
    has_status: ClassVar[bool] = False
    name_check: ClassVar[text.Check] = staticmethod(_address_name)
    field_labels: ClassVar[frozenset[str]] = frozenset({"spec.parentRef.name"})

    def check(self, tree: Tree) -> list[FieldError]:
        reference, path = (tree.get("spec") or {}).get("parentRef"), "spec.parentRef"
        if reference is None:
            return [required(path)]
        errors: Errors = []
        if reference.get("group"):
            errors += checked(f"{path}.group", reference["group"], text.dns_subdomain)
        for field in ("resource", "name"):
            value, here = reference.get(field) or "", f"{path}.{field}"
            errors += checked(here, value, text.path_segment) if value else [required(here)]
        if reference.get("namespace"):
            errors += checked(f"{path}.namespace", reference["namespace"], text.path_segment)
        return errors

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        after, before = ((t.get("spec") or {}).get("parentRef") for t in (new, old))
        if equal(after, before):
            return []
        node = type_node("networking.k8s.io/v1", "ParentReference")
        shown = None if after is None else render(after, node, internal=True)
        return [invalid("spec.parentRef", shown, IMMUTABLE)]

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        reference = (tree.get("spec") or {}).get("parentRef") or {}
        return {"spec.parentRef.name": reference.get("name") or ""}


__all__ = [
    "IPAddressKind",
    "IngressClassKind",
    "IngressKind",
    "NetworkPolicyKind",
    "ServiceCIDRKind",
    "Standard",
]
