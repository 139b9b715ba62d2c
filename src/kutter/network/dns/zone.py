"""The cluster's zone: services → answers; pure.

Kubernetes DNS-based service discovery, version 1.1.0:
https://github.com/kubernetes/dns/blob/master/docs/specification.md . Nothing is expanded when
services change: a name is taken apart and looked up, so replacing the zone costs one pass over
the services and a query the size of its answer.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kutter.network.dns.codec import (
    AAAA,
    ANY,
    CNAME,
    NO_SUCH_NAME,
    NS,
    OK,
    PTR,
    SOA,
    SRV,
    TXT,
    A,
    Record,
    SoaData,
    SrvData,
)
from kutter.network.interface import DnsService, NetworkConfig

SCHEMA_VERSION = "1.1.0"
TTL_S = 5
_MAXIMUM_CHAIN = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What the zone says. ``follow`` is a name outside it whose records belong behind."""

    rcode: int = OK
    records: tuple[Record, ...] = ()
    extra: tuple[Record, ...] = ()
    follow: str = ""


_NOTHING_HERE = Answer()  # the name exists, records of this type do not
_NO_NAME = Answer(NO_SUCH_NAME)


class Zone:
    """An immutable view of all services."""

    def __init__(self, config: NetworkConfig, services: Iterable[DnsService] = ()) -> None:
        self.origin = config.cluster_domain.lower().strip(".")
        self._suffix = f".{self.origin}"
        self._dns_address = config.cluster_dns
        self._ranges = [
            ipaddress.ip_network(cidr) for cidr in (config.service_cidr, config.cluster_cidr)
        ]
        self._services = {(s.namespace.lower(), s.name.lower()): s for s in services}
        self._namespaces = {namespace for namespace, _ in self._services}
        self._reverse: dict[str, list[str]] = {}
        for service in self._services.values():
            for address in service.cluster_ips:
                self._reverse.setdefault(address, []).append(self._service_name(service))
            for hostname, address, _ in self._served(service):
                name = f"{hostname or _dashed(address)}.{self._service_name(service)}"
                self._reverse.setdefault(address, []).append(name)

    def soa(self) -> Record:
        """The record that goes with negative answers (RFC 2308)."""
        data = SoaData(
            f"ns.dns.{self.origin}", f"hostmaster.{self.origin}", 1, 7200, 1800, 86400, TTL_S
        )
        return Record(self.origin, SOA, TTL_S, data)

    def covers(self, name: str) -> bool:
        """Whether this zone is the authority for a (lower-case) name."""
        if name == self.origin or name.endswith(self._suffix):
            return True
        address = _reverse_address(name)
        return address is not None and any(address in cidr for cidr in self._ranges)

    def answer(self, name: str, kind: int) -> Answer:
        """The answer for a name of the zone, lower case, without the last dot."""
        records: list[Record] = []
        for _ in range(_MAXIMUM_CHAIN):
            found = self._lookup(name, kind)
            records.extend(found.records)
            alias = found.records[-1] if found.records else None
            if alias is None or alias.type != CNAME or kind in (CNAME, ANY):
                return Answer(found.rcode, tuple(records), found.extra)
            target = str(alias.data).lower()
            if not self.covers(target):
                return Answer(OK, tuple(records), follow=target)
            name = target
        return Answer(OK, tuple(records))

    def _lookup(self, name: str, kind: int) -> Answer:
        if name.endswith(".arpa"):
            return self._lookup_reverse(name, kind)
        if name == self.origin:
            return self._lookup_apex(kind)
        labels = name[: -len(self._suffix)].split(".")
        root = labels.pop()
        if root == "svc":
            return self._lookup_service(name, labels, kind)
        if root == "pod":
            return self._lookup_pod(name, labels, kind)
        if root == "dns-version" and not labels:
            return _select([Record(name, TXT, TTL_S, (SCHEMA_VERSION.encode(),))], kind)
        if root == "dns" and labels == ["ns"]:
            return _select(_addresses(name, [self._dns_address]), kind)
        if root == "dns" and not labels:
            return _NOTHING_HERE
        return _NO_NAME

    def _lookup_apex(self, kind: int) -> Answer:
        server = f"ns.dns.{self.origin}"
        records = [self.soa(), Record(self.origin, NS, TTL_S, server)]
        return _select(records, kind)

    def _lookup_reverse(self, name: str, kind: int) -> Answer:
        names = self._reverse.get(str(_reverse_address(name)))
        if not names:
            return _NO_NAME
        return _select([Record(name, PTR, TTL_S, target) for target in sorted(names)], kind)

    def _lookup_pod(self, name: str, labels: Sequence[str], kind: int) -> Answer:
        if len(labels) < 2:
            return _NOTHING_HERE
        if len(labels) > 2:
            return _NO_NAME
        for separator in ".:":
            try:
                address = ipaddress.ip_address(labels[0].replace("-", separator))
            except ValueError:
                continue
            return _select(_addresses(name, [str(address)]), kind)
        return _NO_NAME

    def _lookup_service(self, name: str, labels: list[str], kind: int) -> Answer:
        if not labels:
            return _NOTHING_HERE
        namespace = labels[-1]
        if len(labels) == 1:
            return _NOTHING_HERE if namespace in self._namespaces else _NO_NAME
        service = self._services.get((namespace, labels[-2]))
        if service is None:
            return _NO_NAME
        inner = labels[:-2]
        if service.external_name:
            if inner:
                return _NO_NAME
            target = service.external_name.rstrip(".")
            return Answer(records=(Record(name, CNAME, TTL_S, target),))
        if not inner:
            addresses = service.cluster_ips or [ip for _, ip, _ in self._served(service)]
            return _select(_addresses(name, dict.fromkeys(addresses)), kind)
        if inner[-1] in ("_tcp", "_udp", "_sctp"):
            return self._lookup_port(name, inner, service, kind)
        if len(inner) > 1:
            return _NO_NAME
        addresses = [ip for host, ip, _ in self._served(service) if _host(host, ip) == inner[0]]
        return _select(_addresses(name, addresses), kind) if addresses else _NO_NAME

    def _lookup_port(
        self, name: str, inner: Sequence[str], service: DnsService, kind: int
    ) -> Answer:
        protocol = inner[-1][1:].upper()
        ports = [p for p in service.ports if p[0] and p[1] == protocol]
        if len(inner) == 1:
            return _NOTHING_HERE if ports else _NO_NAME
        numbers = [number for label, _, number in ports if f"_{label.lower()}" == inner[0]]
        if len(inner) > 2 or not numbers:
            return _NO_NAME
        base = self._service_name(service)
        targets: dict[str, list[str]] = {}
        if service.cluster_ips:
            targets[base] = list(service.cluster_ips)
        for hostname, address, _ in self._served(service):
            targets.setdefault(f"{_host(hostname, address)}.{base}", []).append(address)
        weight = max(1, 100 // max(1, len(targets)))
        records = [
            Record(name, SRV, TTL_S, SrvData(0, weight, number, target))
            for number in numbers
            for target in targets
        ]
        if not records:
            return _NO_NAME
        chosen = _select(records, kind)
        if not chosen.records:
            return chosen
        extra = [r for target, ips in targets.items() for r in _addresses(target, ips)]
        return Answer(records=chosen.records, extra=tuple(extra))

    @staticmethod
    def _served(service: DnsService) -> list[tuple[str, str, bool]]:
        if service.cluster_ips:
            return []
        return [e for e in service.endpoints if e[2] or service.publish_not_ready]

    def _service_name(self, service: DnsService) -> str:
        return f"{service.name}.{service.namespace}.svc.{self.origin}".lower()


def _host(hostname: str, address: str) -> str:
    return hostname.lower() or _dashed(address)


def _dashed(address: str) -> str:
    return address.replace(".", "-").replace(":", "-")


def _addresses(name: str, addresses: Iterable[str]) -> list[Record]:
    return [Record(name, AAAA if ":" in ip else A, TTL_S, ip) for ip in addresses]


def _select(records: Sequence[Record], kind: int) -> Answer:
    chosen = tuple(r for r in records if kind in (r.type, ANY))
    return Answer(records=chosen) if chosen else _NOTHING_HERE


def _reverse_address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    labels = name.split(".")
    try:
        if labels[-2:] == ["in-addr", "arpa"] and len(labels) == 6:
            return ipaddress.IPv4Address(".".join(reversed(labels[:4])))
        if labels[-2:] == ["ip6", "arpa"] and len(labels) == 34:
            digits = "".join(reversed(labels[:32]))
            return ipaddress.IPv6Address(int(digits, 16))
    except ValueError:
        return None
    return None
