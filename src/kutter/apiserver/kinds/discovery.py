"""Endpoints, endpoint slices and leases: what is written often and read by few."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_supported,
    required,
)
from kutter.apiserver.kinds.standard import Standard
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.metadata import checked, immutable, validate_labels
from kutter.apiserver.validation.pod_containers import validate_protocol

Errors = list[FieldError]


class EndpointsKind(Standard):
    has_status: ClassVar[bool] = False
    allow_create_on_update: ClassVar[bool] = True

    def default(self, tree: Tree) -> None:
        for subset in tree.get("subsets") or ():
            for port in subset.get("ports") or ():
                if not port.get("protocol"):
                    port["protocol"] = "TCP"

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        for i, subset in enumerate(tree.get("subsets") or ()):
            path = f"subsets[{i}]"
            if not subset.get("addresses") and not subset.get("notReadyAddresses"):
                detail = "must specify `addresses` or `notReadyAddresses`"
                errors.append(required(path, detail))
            for field in ("addresses", "notReadyAddresses"):
                for a, address in enumerate(subset.get(field) or ()):
                    _address(errors, address, f"{path}.{field}[{a}]")
            ports = subset.get("ports") or []
            for p, port in enumerate(ports):
                _port(errors, port, f"{path}.ports[{p}]", needs_name=len(ports) > 1)
        return errors

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        return []


def _address(errors: Errors, address: Tree, path: str) -> None:
    value = address.get("ip") or ""
    errors += checked(f"{path}.ip", value, text.ip)
    if address.get("hostname"):
        errors += checked(f"{path}.hostname", address["hostname"], text.dns_label)
    if address.get("nodeName") is not None:
        errors += checked(f"{path}.nodeName", address["nodeName"], text.dns_subdomain)
    errors += checked(f"{path}.ip", value, text.non_special_ip)


def _port(errors: Errors, port: Tree, path: str, *, needs_name: bool) -> None:
    name, number = port.get("name") or "", port.get("port") or 0
    if name:
        errors += checked(f"{path}.name", name, text.dns_label)
    elif needs_name:
        errors.append(required(f"{path}.name"))
    errors += [invalid(f"{path}.port", number, p) for p in text.port_number(number)]
    validate_protocol(errors, port.get("protocol") or "", f"{path}.protocol")
    if port.get("appProtocol") is not None:
        errors += checked(f"{path}.appProtocol", port["appProtocol"], text.qualified_name)


class EndpointSliceKind(Standard):
    has_status: ClassVar[bool] = False
    generation_paths: ClassVar[tuple[str, ...]] = ("endpoints", "ports", "addressType")

    def default(self, tree: Tree) -> None:
        for port in tree.get("ports") or ():
            if port.get("name") is None:
                port["name"] = ""
            if not port.get("protocol"):
                port["protocol"] = "TCP"

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        kind = tree.get("addressType") or ""
        if not kind:
            errors.append(required("addressType"))
        elif kind not in ("IPv4", "IPv6", "FQDN"):
            errors.append(not_supported("addressType", kind, ["FQDN", "IPv4", "IPv6"]))
        endpoints, ports = tree.get("endpoints") or [], tree.get("ports") or []
        if len(endpoints) > 1000:
            errors.append(_too_many("endpoints", len(endpoints), 1000))
            return errors
        for i, endpoint in enumerate(endpoints):
            self._endpoint(errors, endpoint, kind, f"endpoints[{i}]")
        if len(ports) > 20000:
            errors.append(_too_many("ports", len(ports), 20000))
            return errors
        names: set[str] = set()
        for i, port in enumerate(ports):
            name = port.get("name") or ""
            if name in names:
                errors.append(duplicate(f"ports[{i}].name", name))
            names.add(name)
            if name:
                errors += checked(f"ports[{i}].name", name, text.dns_label)
            validate_protocol(errors, port.get("protocol") or "", f"ports[{i}].protocol")
            if port.get("appProtocol") is not None:
                errors += checked(
                    f"ports[{i}].appProtocol", port["appProtocol"], text.qualified_name
                )
        return errors

    def _endpoint(self, errors: Errors, endpoint: Tree, kind: str, path: str) -> None:
        addresses = endpoint.get("addresses") or []
        if not addresses:
            errors.append(required(f"{path}.addresses", "must contain at least 1 address"))
        elif len(addresses) > 100:
            errors.append(_too_many(f"{path}.addresses", len(addresses), 100))
        for i, address in enumerate(addresses):
            here = f"{path}.addresses[{i}]"
            if kind == "FQDN":
                errors += checked(here, address, text.dns_subdomain)
                continue
            errors += checked(here, address, text.ip)
            if not text.ip(address) and (":" in address) != (kind == "IPv6"):
                detail = f"must be an {kind} address"
                errors.append(invalid(here, address, detail))
            errors += checked(here, address, text.non_special_ip)
        if endpoint.get("nodeName") is not None:
            errors += checked(f"{path}.nodeName", endpoint["nodeName"], text.dns_subdomain)
        topology = endpoint.get("deprecatedTopology")
        if topology:
            errors += validate_labels(topology, f"{path}.deprecatedTopology")
        if endpoint.get("hostname") is not None:
            errors += checked(f"{path}.hostname", endpoint["hostname"], text.dns_label)
        zones: set[str] = set()
        for i, zone in enumerate((endpoint.get("hints") or {}).get("forZones") or ()):
            name = zone.get("name") or ""
            if name in zones:
                errors.append(duplicate(f"{path}.hints.forZones[{i}]", name))
            zones.add(name)
            errors += checked(f"{path}.hints.forZones[{i}].name", name, text.qualified_name)

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        return immutable(new.get("addressType"), old.get("addressType"), "addressType")


def _too_many(path: str, actual: int, maximum: int) -> FieldError:
    return FieldError(
        path, "FieldValueTooMany", f"Too many: {actual}: must have at most {maximum} items"
    )


class LeaseKind(Standard):
    has_status: ClassVar[bool] = False
    allow_create_on_update: ClassVar[bool] = True
    allow_unconditional_update: ClassVar[bool] = False
    # Coordinated leader election.
    disabled_fields: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("spec", "strategy"),
        ("spec", "preferredHolder"),
    )

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        duration = spec.get("leaseDurationSeconds")
        if duration is not None and duration <= 0:
            errors.append(invalid("spec.leaseDurationSeconds", duration, "must be greater than 0"))
        transitions = spec.get("leaseTransitions")
        if transitions is not None and transitions < 0:
            errors.append(
                invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0")
            )
        if spec.get("preferredHolder") and not spec.get("strategy"):
            detail = "may only be specified if `strategy` is defined"
            errors.append(forbidden_field("spec.preferredHolder", detail))
        return errors
