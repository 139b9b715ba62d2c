"""From a service to an address behind it.

Chosen: a ready endpoint is connected to directly, as upstream's endpoint resolver does, never the
cluster address: the server may run where no service rules are (in a test, in a process of its
own), and each new call may meet another endpoint. ExternalName services are their name. What was
found is kept until the service or one of its slices changes.
"""

from __future__ import annotations

from typing import NamedTuple

from kutter.apiserver.ports import Change, Reader, Tree
from kutter.base.rng import Rng

_SERVICES = "services"
_SLICES = "endpointslices.discovery.k8s.io"
_OWNER = "kubernetes.io/service-name"
_KEPT = 1024


class Target(NamedTuple):
    """Where to connect."""

    host: str
    port: int


class NoTargetError(OSError):
    """A service that leads nowhere, in upstream's words."""


class ServiceTargets:
    """The addresses behind services, by namespace, name and port."""

    def __init__(self, reader: Reader, rng: Rng) -> None:
        self._reader = reader
        self._rng = rng
        self._kept: dict[tuple[str, str, int], list[Target]] = {}
        self._follows = False

    def resolve(self, namespace: str, name: str, port: int) -> Target:
        """One of the targets, at random. Raises NoTargetError."""
        if not self._follows:
            self._follows = True
            self._reader.on_change(_SERVICES, self._changed)
            self._reader.on_change(_SLICES, self._changed)
        key = (namespace, name, port)
        found = self._kept.get(key)
        if found is None:
            found = self._look(namespace, name, port)
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[key] = found
        return found[self._rng.choice_index(len(found))]

    def _changed(self, changes: list[Change]) -> None:
        if not self._kept:
            return
        for change in changes:
            space, tails = change.current.namespace, [change.current.tail]
            if change.previous is not None:
                tails.append(change.previous.tail)
            for key in list(self._kept):
                # A slice names its service in a label; a service has the name itself.
                mark = f'"{key[1]}"'.encode()
                if key[0] == space and any(mark in tail for tail in tails):
                    del self._kept[key]

    def _look(self, namespace: str, name: str, port: int) -> list[Target]:
        service = self._reader.get(_SERVICES, namespace, name)
        if service is None:
            raise NoTargetError(f'service "{name}" not found')
        spec: Tree = service.get("spec") or {}
        kind = spec.get("type") or "ClusterIP"
        if kind == "ExternalName":
            return [Target(str(spec.get("externalName") or ""), port)]
        for candidate in spec.get("ports") or ():
            if candidate.get("port") == port:
                targets = self._endpoints(namespace, name, str(candidate.get("name") or ""), spec)
                if targets:
                    return targets
                raise NoTargetError(f'no endpoints available for service "{name}"')
        raise NoTargetError(f'no service port {port} found for service "{name}"')

    def _endpoints(self, namespace: str, name: str, port_name: str, spec: Tree) -> list[Target]:
        """The ready ones, of the service's first address family if it has any there."""
        by_family: dict[str, list[Target]] = {}
        for tree in self._reader.list(_SLICES, namespace):
            labels = tree["metadata"].get("labels") or {}
            if labels.get(_OWNER) != name:
                continue
            numbers = [
                p["port"]
                for p in tree.get("ports") or ()
                if (p.get("name") or "") == port_name and p.get("port")
            ]
            found = by_family.setdefault(tree.get("addressType") or "", [])
            for endpoint in tree.get("endpoints") or ():
                ready = (endpoint.get("conditions") or {}).get("ready")
                if ready is False or not endpoint.get("addresses"):
                    continue
                found += [Target(endpoint["addresses"][0], number) for number in numbers]
        first = (spec.get("ipFamilies") or [""])[0]
        if by_family.get(first):
            return by_family[first]
        return [target for targets in by_family.values() for target in targets]
