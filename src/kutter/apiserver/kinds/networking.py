"""Ingresses and their classes, network policies, service ranges and addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, ClassVar

from kutter.api.errors import FieldError, forbidden_field, invalid, not_supported, required
from kutter.apiserver.kinds.standard import SpecKind, Standard, setdefault, spec_of
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.metadata import checked, immutable, validate_label_selector
from kutter.apiserver.validation.pod_containers import PROTOCOLS
from kutter.apiserver.validation.pod_probes import validate_port

Errors = list[FieldError]

_PATH_TYPES = ["Exact", "ImplementationSpecific", "Prefix"]


# How the class was named before there was a field for it.
_CLASS = "kubernetes.io/ingress.class"


class IngressKind(SpecKind):
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
                invalid("spec", rules, "either `defaultBackend` or `rules` must be specified")
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
                errors.append(
                    invalid(f"{path}.host", host, "must be a DNS name, not an IP address")
                )
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
            _backend(errors, entry.get("backend") or {}, f"{here}.backend")


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
        for field in ("kind", "name"):
            if not resource.get(field):
                errors.append(required(f"{path}.resource.{field}"))
    elif service is not None:
        if not service.get("name"):
            errors.append(required(f"{path}.service.name"))
        else:
            errors += checked(f"{path}.service.name", service["name"], text.dns_label_1035)
        port = service.get("port") or {}
        if port.get("name") and port.get("number"):
            errors.append(
                invalid(f"{path}.service.port", "", "cannot set both port name & port number")
            )
        elif port.get("name"):
            errors += checked(f"{path}.service.port.name", port["name"], text.port_name)
        elif port.get("number"):
            number = port["number"]
            errors += [
                invalid(f"{path}.service.port.number", number, p) for p in text.port_number(number)
            ]
        else:
            errors.append(required(f"{path}.service.port", "port name or number is required"))
    else:
        errors.append(required(path, "resource or service backend is required"))


class IngressClassKind(SpecKind):
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
        host, slash, rest = controller.partition("/")
        if not controller:
            errors.append(required("spec.controller"))
        elif not slash or not host or not rest:
            detail = 'must be a domain-prefixed path (such as "acme.io/foo")'
            errors.append(invalid("spec.controller", controller, detail))
        else:
            errors += [invalid("spec.controller", host, p) for p in text.dns_subdomain(host)]
        parameters = spec.get("parameters")
        if parameters is not None:
            for field in ("kind", "name"):
                if not parameters.get(field):
                    errors.append(required(f"spec.parameters.{field}", f"{field} is required"))
            scope, namespace = parameters.get("scope"), parameters.get("namespace")
            if scope not in ("Cluster", "Namespace"):
                errors.append(
                    not_supported("spec.parameters.scope", scope, ["Cluster", "Namespace"])
                )
            elif scope == "Namespace" and not namespace:
                detail = "`parameters.scope` is set to 'Namespace'"
                errors.append(required("spec.parameters.namespace", detail))
            elif scope == "Cluster" and namespace is not None:
                detail = "`parameters.scope` is set to 'Cluster'"
                errors.append(forbidden_field("spec.parameters.namespace", detail))
        return errors

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        after, before = new.get("spec") or {}, old.get("spec") or {}
        return immutable(after.get("controller"), before.get("controller"), "spec.controller")


class NetworkPolicyKind(SpecKind):
    has_status: ClassVar[bool] = False

    def default(self, tree: Tree) -> None:
        spec = spec_of(tree)
        setdefault(spec, "podSelector", {})
        for field in ("ingress", "egress"):
            for rule in spec.get(field) or ():
                for port in rule.get("ports") or ():
                    if not port.get("protocol"):
                        port["protocol"] = "TCP"
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
                errors.append(not_supported(path, kind, ["Egress", "Ingress"]))
        return errors

    def _port(self, errors: Errors, port: Tree, path: str) -> None:
        protocol, number, end = port.get("protocol"), port.get("port"), port.get("endPort")
        if protocol is not None and protocol not in PROTOCOLS:
            errors.append(not_supported(f"{path}.protocol", protocol, PROTOCOLS))
        if number is not None:
            validate_port(errors, number, f"{path}.port")
            if isinstance(number, int) and end is not None and end < number:
                errors.append(
                    invalid(f"{path}.endPort", number, "must be greater than or equal to `port`")
                )
            elif isinstance(number, str) and end is not None:
                errors.append(
                    invalid(
                        f"{path}.endPort",
                        end,
                        "may not be specified when `port` is non-numeric",
                    )
                )
        elif end is not None:
            errors.append(
                invalid(f"{path}.endPort", end, "may not be specified when `port` is not specified")
            )

    def _peer(self, errors: Errors, peer: Tree, path: str) -> None:
        found = 0
        for field in ("podSelector", "namespaceSelector"):
            if peer.get(field) is not None:
                found += 1
                errors += validate_label_selector(peer[field], f"{path}.{field}")
        block = peer.get("ipBlock")
        if block is not None:
            if found:
                detail = "may not specify both ipBlock and another peer"
                errors.append(forbidden_field(path, detail))
            found += 1
            _ip_block(errors, block, f"{path}.ipBlock")
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
    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        ranges = (tree.get("spec") or {}).get("cidrs") or []
        if not ranges:
            errors.append(required("spec.cidrs", "at least one CIDR required"))
        elif len(ranges) > 2:
            errors.append(
                FieldError(
                    "spec.cidrs",
                    "FieldValueTooMany",
                    f"Too many: {len(ranges)}: must have at most 2 items",
                )
            )
        for i, value in enumerate(ranges):
            errors += checked(f"spec.cidrs[{i}]", value, text.strict_cidr)
        if len(ranges) == 2 and len({":" in r for r in ranges}) == 1:
            detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and "
            errors.append(invalid("spec.cidrs", ranges, detail + "2001:db8::/64"))
        return errors

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        after, before = new.get("spec") or {}, old.get("spec") or {}
        return immutable(after.get("cidrs"), before.get("cidrs"), "spec.cidrs")


def _address_name(value: str) -> text.Problems:
    parsed = text.parse_ip(value)
    if parsed is None:
        return (text.IP_TEXT,)
    return () if str(parsed) == value else (f"must be in canonical form ({parsed})",)


class IPAddressKind(SpecKind):
    has_status: ClassVar[bool] = False
    name_check: ClassVar[text.Check] = staticmethod(_address_name)
    field_labels: ClassVar[frozenset[str]] = frozenset({"spec.parentRef.name"})

    def check(self, tree: Tree) -> list[FieldError]:
        reference = (tree.get("spec") or {}).get("parentRef")
        if reference is None:
            return [required("spec.parentRef")]
        return [
            required(f"spec.parentRef.{f}") for f in ("resource", "name") if not reference.get(f)
        ]

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        after, before = new.get("spec") or {}, old.get("spec") or {}
        return immutable(after.get("parentRef"), before.get("parentRef"), "spec.parentRef")

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
