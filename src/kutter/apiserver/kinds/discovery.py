"""Endpoints, endpoint slices and leases: what is written often and read by few."""

from __future__ import annotations

from typing import ClassVar

from kutter.api.errors import (
    FieldError,
    duplicate,
    invalid,
    not_supported,
    required,
    too_many,
)
from kutter.apiserver.kinds.standard import Standard
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.equality import equal
from kutter.apiserver.validation.metadata import checked, immutable
from kutter.apiserver.validation.pod_containers import PROTOCOLS, validate_protocol

Errors = list[FieldError]


_MANAGED_BY = "endpoints.kubernetes.io/managed-by"


class EndpointsKind(Standard):
    rechecks_metadata: ClassVar[bool] = True
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

    def check_changed(self, new: Tree, old: Tree) -> list[FieldError]:
        # Older servers had other rules: what was there may stay.
        errors = self.check(new)
        return [] if errors and equal(new.get("subsets"), old.get("subsets")) else errors

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        if _managed(new, _MANAGED_BY) == "endpoint-controller":
            return []
        return [
            warning
            for i, subset in enumerate(new.get("subsets") or ())
            for field in ("addresses", "notReadyAddresses")
            for a, address in enumerate(subset.get(field) or ())
            for warning in text.ip_warnings(
                address.get("ip") or "", f"subsets[{i}].{field}[{a}].ip"
            )
        ]


def _managed(tree: Tree, label: str) -> str | None:
    return ((tree.get("metadata") or {}).get("labels") or {}).get(label)


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


_SLICE_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_SLICE_MANAGERS = ("endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io")
_MAX_ENDPOINTS, _MAX_ADDRESSES, _MAX_PORTS, _MAX_HINTS = 1000, 100, 20000, 8


class EndpointSliceKind(Standard):
    leaves_metadata: ClassVar[bool] = True
    has_status: ClassVar[bool] = False
    generation_paths: ClassVar[tuple[str, ...]] = ("endpoints", "ports", "addressType")

    def counts_generation(self, new: Tree, old: Tree) -> bool:
        labels = [(tree.get("metadata") or {}).get("labels") or {} for tree in (new, old)]
        return labels[0] != labels[1] or super().counts_generation(new, old)

    def default(self, tree: Tree) -> None:
        for port in tree.get("ports") or ():
            if port.get("name") is None:
                port["name"] = ""
            if port.get("protocol") is None:
                port["protocol"] = "TCP"

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        super().prepare_for_create(context, tree)
        _drop_topology(tree)

    def prepare_for_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        super().prepare_for_update(context, new, old)
        if not equal(new.get("endpoints"), old.get("endpoints")):
            _drop_topology(new)

    def check(self, tree: Tree) -> list[FieldError]:
        errors = self._apart_from_endpoints(tree)
        self._endpoints(errors, tree)
        return errors

    def check_changed(self, new: Tree, old: Tree) -> list[FieldError]:
        errors = self._apart_from_endpoints(new)
        if not equal(new.get("endpoints"), old.get("endpoints")):
            self._endpoints(errors, new)
        return errors

    def validate_update(self, context: StrategyContext, new: Tree, old: Tree) -> list[FieldError]:
        errors = self.check_metadata(new) + self.check_changed(new, old)
        return errors + self.check_change(new, old)

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        found: list[str] = []
        if old is None and new.get("addressType") == "FQDN":
            found.append("spec.addressType: FQDN endpoints are deprecated")
        if _managed(new, _SLICE_MANAGED_BY) in _SLICE_MANAGERS:
            return found
        for i, endpoint in enumerate(new.get("endpoints") or ()):
            for a, address in enumerate(endpoint.get("addresses") or ()):
                found += text.ip_warnings(address, f"endpoints[{i}].addresses[{a}]")
        return found

    def _apart_from_endpoints(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        kind = tree.get("addressType") or ""
        if not kind:
            errors.append(required("addressType"))
        elif kind not in ("IPv4", "IPv6", "FQDN"):
            errors.append(not_supported("addressType", kind, ["FQDN", "IPv4", "IPv6"]))
        ports = tree.get("ports") or []
        if len(ports) > _MAX_PORTS:
            errors.append(too_many("ports", len(ports), _MAX_PORTS))
            return errors
        names: set[str] = set()
        for i, port in enumerate(ports):
            name = port.get("name") or ""
            if name:
                errors += checked(f"ports[{i}].name", name, text.dns_label)
            if name in names:
                errors.append(duplicate(f"ports[{i}].name", name))
            names.add(name)
            protocol, path = port.get("protocol"), f"ports[{i}].protocol"
            if protocol is None:
                errors.append(required(path))
            elif protocol not in PROTOCOLS:
                errors.append(not_supported(path, protocol, PROTOCOLS))
            if port.get("appProtocol") is not None:
                errors += checked(
                    f"ports[{i}].appProtocol", port["appProtocol"], text.qualified_name
                )
        return errors

    def _endpoints(self, errors: Errors, tree: Tree) -> None:
        endpoints, kind = tree.get("endpoints") or [], tree.get("addressType") or ""
        if len(endpoints) > _MAX_ENDPOINTS:
            errors.append(too_many("endpoints", len(endpoints), _MAX_ENDPOINTS))
            return
        for i, endpoint in enumerate(endpoints):
            self._endpoint(errors, endpoint, kind, f"endpoints[{i}]")

    def _endpoint(self, errors: Errors, endpoint: Tree, kind: str, path: str) -> None:
        addresses = endpoint.get("addresses") or []
        if not addresses:
            errors.append(required(f"{path}.addresses", "must contain at least 1 address"))
        elif len(addresses) > _MAX_ADDRESSES:
            errors.append(too_many(f"{path}.addresses", len(addresses), _MAX_ADDRESSES))
        for i, address in enumerate(addresses):
            here = f"{path}.addresses[{i}]"
            if kind == "FQDN":
                errors += checked(here, address, _full_name) if address else [required(here)]
            elif kind in ("IPv4", "IPv6"):
                wrong = checked(here, address, text.ip if kind == "IPv4" else _canonical_ip)
                errors += wrong
                if wrong:
                    continue
                if (":" in address) != (kind == "IPv6"):
                    detail = f"must be an {kind} address"
                    errors.append(invalid(f"{path}.addresses", address, detail))
                errors += checked(here, address, text.non_special_ip)
        if endpoint.get("nodeName") is not None:
            errors += checked(f"{path}.nodeName", endpoint["nodeName"], text.dns_subdomain)
        if endpoint.get("hostname") is not None:
            errors += checked(f"{path}.hostname", endpoint["hostname"], text.dns_label)
        if endpoint.get("hints"):
            _hints(errors, endpoint["hints"], f"{path}.hints")

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        return immutable(new.get("addressType") or "", old.get("addressType"), "addressType")


def _drop_topology(tree: Tree) -> None:
    """It cannot be written through v1."""
    for endpoint in tree.get("endpoints") or ():
        endpoint.pop("deprecatedTopology", None)


def _canonical_ip(value: str) -> tuple[str, ...]:
    problems = text.ip(value)
    if problems:
        return problems
    shown = str(text.parse_ip(value))
    return () if shown == value else (f'must be in canonical form ("{shown}")',)


def _full_name(value: str) -> tuple[str, ...]:
    value = value.removesuffix(".")
    return text.dns_subdomain(value) or (
        () if "." in value else ("should be a domain with at least two segments separated by dots",)
    )


def _hints(errors: Errors, hints: Tree, path: str) -> None:
    for field, check in (("forZones", text.label_value), ("forNodes", text.dns_subdomain)):
        names: set[str] = set()
        listed = hints.get(field) or []
        if len(listed) > _MAX_HINTS:
            errors.append(too_many(f"{path}.{field}", len(listed), _MAX_HINTS))
            return
        for i, hint in enumerate(listed):
            here, name = f"{path}.{field}[{i}].name", hint.get("name") or ""
            if name in names:
                errors.append(duplicate(here, name))
            names.add(name)
            errors += checked(here, name, check)
