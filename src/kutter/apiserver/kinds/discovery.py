"""Endpoints, endpoint slices, leases and events: what is written often and read by few."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from kutter.api.errors import FieldError, duplicate, invalid, not_supported, required
from kutter.api.resources import Resource
from kutter.apiserver.kinds.standard import Standard
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.equality import equal
from kutter.apiserver.validation.metadata import IMMUTABLE, checked, immutable, validate_labels
from kutter.apiserver.validation.pod_containers import validate_protocol

Errors = list[FieldError]

EVENT_TTL_S = 3600.0


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
            errors.append(
                required("spec.strategy", "must be specified when `preferredHolder` is set")
            )
        return errors


_EVENT_REFERENCE = (
    "kind",
    "namespace",
    "name",
    "uid",
    "apiVersion",
    "resourceVersion",
    "fieldPath",
)
# Both faces' labels: the rows are the same.
_EVENT_LABELS = frozenset(
    f"{about}.{f}" for about in ("involvedObject", "regarding") for f in _EVENT_REFERENCE
) | {"reason", "reportingComponent", "reportingController", "source", "type"}
_NEW_FIELDS_IMMUTABLE = (
    "regarding",
    "reason",
    "reportingController",
    "reportingInstance",
    "action",
    "eventTime",
    "type",
)


class EventKind(Standard):
    """Both faces of an event: ``v1`` and ``events.k8s.io/v1`` share the stored rows."""

    has_status: ClassVar[bool] = False
    allow_create_on_update: ClassVar[bool] = True
    field_labels: ClassVar[frozenset[str]] = _EVENT_LABELS

    def __init__(self, resource: Resource, ttl_s: float = EVENT_TTL_S) -> None:
        super().__init__(resource)
        self._ttl_s = ttl_s
        self.is_new = bool(resource.group)

    def default(self, tree: Tree) -> None:
        if self.is_new:
            return
        # Plain structs upstream: always written.
        tree.setdefault("involvedObject", {})
        tree.setdefault("source", {})
        tree.setdefault("reportingComponent", "")
        tree.setdefault("reportingInstance", "")

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        metadata = tree.get("metadata") or {}
        about_field = "regarding" if self.is_new else "involvedObject"
        about = tree.get(about_field) or {}
        namespace, mine = about.get("namespace") or "", metadata.get("namespace") or ""
        if not namespace:
            # Events about cluster-wide objects live in the default namespace.
            if mine not in ("default", "kube-system", ""):
                errors.append(
                    invalid("involvedObject.namespace", namespace, "does not match event.namespace")
                )
        elif namespace != mine:
            errors.append(
                invalid("involvedObject.namespace", namespace, "does not match event.namespace")
            )
        if self.is_new or tree.get("eventTime"):
            errors += self._new_style(tree)
        return errors

    def _new_style(self, tree: Tree) -> list[FieldError]:
        """Events with an eventTime say who reports them, and are brief."""
        errors: Errors = []
        by, note = (
            ("reportingController", "note") if self.is_new else ("reportingComponent", "message")
        )
        if not tree.get("eventTime"):
            errors.append(required("eventTime"))
        if self.is_new and tree.get("type") not in ("Normal", "Warning"):
            errors.append(invalid("type", tree.get("type") or "", "has invalid value: "))
        reporter = tree.get(by) or ""
        if not reporter:
            errors.append(required(by))
        else:
            errors += checked(by, reporter, text.qualified_name)
        for field in ("reportingInstance", "action", "reason"):
            value = tree.get(field) or ""
            if not value:
                errors.append(required(field))
            elif len(value) > 128:
                errors.append(invalid(field, "", "can have at most 128 characters"))
        if len(tree.get(note) or "") > 1024:
            errors.append(invalid("message", "", "can have at most 1024 characters"))
        return errors

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        if not self.is_new:
            return []
        return [
            invalid(f, new.get(f), IMMUTABLE)
            for f in _NEW_FIELDS_IMMUTABLE
            if not equal(new.get(f) or None, old.get(f) or None)
        ]

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        about = tree.get("involvedObject") or tree.get("regarding") or {}
        values: dict[str, str] = {}
        for field in _EVENT_REFERENCE:
            value = str(about.get(field) or "")
            values[f"involvedObject.{field}"] = values[f"regarding.{field}"] = value
        source = tree.get("source") or tree.get("deprecatedSource") or {}
        reporting = tree.get("reportingComponent") or tree.get("reportingController") or ""
        values |= {
            "reason": tree.get("reason") or "",
            "type": tree.get("type") or "",
            "source": source.get("component") or reporting,
            "reportingComponent": reporting,
            "reportingController": reporting,
        }
        return values

    def default_garbage_collection(self, tree: Tree) -> str:
        return "none"

    def ttl_s(self, tree: Tree) -> float | None:
        return self._ttl_s
