"""Rows of the core kinds, of discovery and access control."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kutter.apiserver.printing.age import UNKNOWN
from kutter.apiserver.printing.columns import (
    NONE,
    UNSET,
    Tree,
    age_of,
    labels_text,
    name_of,
    with_more,
)

_ROLE_PREFIX = "node-role.kubernetes.io/"
UNKNOWN_STATUS = "Unknown"


def name_age_cells(tree: Tree, now: datetime) -> list[Any]:
    return [name_of(tree), age_of(tree, now)]


def node_cells(tree: Tree, now: datetime) -> list[Any]:
    spec, status = tree.get("spec") or {}, tree.get("status") or {}
    ready = [c for c in status.get("conditions") or () if c.get("type") == "Ready"]
    words = ["Ready" if c.get("status") == "True" else "NotReady" for c in ready] or ["Unknown"]
    if spec.get("unschedulable"):
        words.append("SchedulingDisabled")
    info = status.get("nodeInfo") or {}
    found: dict[str, str] = {}
    for address in status.get("addresses") or ():
        found.setdefault(address.get("type") or "", address.get("address") or "")
    return [
        name_of(tree),
        ",".join(words),
        _roles((tree.get("metadata") or {}).get("labels") or {}),
        age_of(tree, now),
        info.get("kubeletVersion") or "",
        found.get("InternalIP", NONE),
        found.get("ExternalIP", NONE),
        info.get("osImage") or UNKNOWN,
        _kernel(info),
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _kernel(info: Tree) -> str:
    version, architecture = info.get("kernelVersion") or UNKNOWN, info.get("architecture")
    return f"{version} ({architecture})" if architecture else version


def _roles(labels: Tree) -> str:
    roles = {
        key.removeprefix(_ROLE_PREFIX)
        for key in labels
        if key.startswith(_ROLE_PREFIX) and key != _ROLE_PREFIX
    }
    if labels.get("kubernetes.io/role"):
        roles.add(labels["kubernetes.io/role"])
    return ",".join(sorted(roles)) or NONE


def namespace_cells(tree: Tree, now: datetime) -> list[Any]:
    return [name_of(tree), (tree.get("status") or {}).get("phase") or "", age_of(tree, now)]


def config_map_cells(tree: Tree, now: datetime) -> list[Any]:
    size = len(tree.get("data") or ()) + len(tree.get("binaryData") or ())
    return [name_of(tree), size, age_of(tree, now)]


def secret_cells(tree: Tree, now: datetime) -> list[Any]:
    return [name_of(tree), tree.get("type") or "", len(tree.get("data") or ()), age_of(tree, now)]


def service_cells(tree: Tree, now: datetime) -> list[Any]:
    spec = tree.get("spec") or {}
    listed = spec.get("clusterIPs") or []
    return [
        name_of(tree),
        spec.get("type") or "",
        (listed[0] if listed else spec.get("clusterIP")) or NONE,
        _external(tree, spec),
        ",".join(_port(p) for p in spec.get("ports") or ()) or NONE,
        age_of(tree, now),
        labels_text(spec.get("selector")),
    ]


def _port(port: Tree) -> str:
    number, node = port.get("port"), port.get("nodePort")
    return f"{number}:{node}/{port.get('protocol')}" if node else f"{number}/{port.get('protocol')}"


def load_balancer_text(tree: Tree) -> str:
    entries = ((tree.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    found = {e.get("ip") or e.get("hostname") or "" for e in entries} - {""}
    return ",".join(sorted(found))


def _external(tree: Tree, spec: Tree) -> str:
    external = spec.get("externalIPs") or []
    match spec.get("type"):
        case "ExternalName":
            return spec.get("externalName") or ""
        case "LoadBalancer":
            balanced = load_balancer_text(tree)
            return ",".join([balanced] * bool(balanced) + external) or "<pending>"
        case "ClusterIP" | "NodePort":
            return ",".join(external) or NONE
    return UNKNOWN


def endpoints_cells(tree: Tree, now: datetime) -> list[Any]:
    listed: list[str] = []
    for subset in tree.get("subsets") or ():
        addresses = [a.get("ip") or "" for a in subset.get("addresses") or ()]
        ports = subset.get("ports")
        if not ports:
            listed += addresses
        for port in ports or ():
            listed += [_host_port(a, port.get("port")) for a in addresses]
    return [name_of(tree), with_more(listed) or NONE, age_of(tree, now)]


def _host_port(address: str, port: int | None) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def endpoint_slice_cells(tree: Tree, now: datetime) -> list[Any]:
    ports = ["*" if p.get("port") is None else str(p["port"]) for p in tree.get("ports") or ()]
    addresses = [a for e in tree.get("endpoints") or () for a in e.get("addresses") or ()]
    return [
        name_of(tree),
        tree.get("addressType") or "",
        with_more(ports) or UNSET,
        with_more(addresses) or UNSET,
        age_of(tree, now),
    ]


def lease_cells(tree: Tree, now: datetime) -> list[Any]:
    return [name_of(tree), (tree.get("spec") or {}).get("holderIdentity") or "", age_of(tree, now)]


def lease_candidate_cells(tree: Tree, now: datetime) -> list[Any]:
    spec = tree.get("spec") or {}
    fields = ("leaseName", "binaryVersion", "emulationVersion")
    return [name_of(tree), *(spec.get(field) or "" for field in fields), age_of(tree, now)]


def resource_quota_cells(tree: Tree, now: datetime) -> list[Any]:
    status = tree.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    texts: tuple[list[str], list[str]] = ([], [])
    for name in sorted(hard):
        text = f"{name}: {used.get(name, '0')}/{hard[name]}"
        texts[name.startswith("limits")].append(text)
    return [name_of(tree), ", ".join(texts[0]), ", ".join(texts[1]), age_of(tree, now)]


def binding_cells(tree: Tree, now: datetime) -> list[Any]:
    reference = tree.get("roleRef") or {}
    by_kind: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in tree.get("subjects") or ():
        name, kind = subject.get("name") or "", subject.get("kind") or ""
        if kind == "ServiceAccount":
            name = f"{subject.get('namespace', '')}/{name}"
        by_kind.setdefault(kind, []).append(name)
    return [
        name_of(tree),
        f"{reference.get('kind', '')}/{reference.get('name', '')}",
        age_of(tree, now),
        *(", ".join(by_kind[kind]) for kind in ("User", "Group", "ServiceAccount")),
    ]


def priority_class_cells(tree: Tree, now: datetime) -> list[Any]:
    return [
        name_of(tree),
        tree.get("value") or 0,
        bool(tree.get("globalDefault")),
        age_of(tree, now),
        tree.get("preemptionPolicy") or "PreemptLowerPriority",
    ]


def api_service_cells(tree: Tree, now: datetime) -> list[Any]:
    service = (tree.get("spec") or {}).get("service")
    place = f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"
    word = UNKNOWN_STATUS
    for condition in (tree.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Available":
            word = condition.get("status") or ""
            if word != "True" and condition.get("reason"):
                word += f" ({condition['reason']})"
            break
    return [name_of(tree), place, word, age_of(tree, now)]


def component_status_cells(tree: Tree, now: datetime) -> list[Any]:
    for condition in tree.get("conditions") or ():
        if condition.get("type") == "Healthy":
            word = "Healthy" if condition.get("status") == "True" else "Unhealthy"
            return [
                name_of(tree),
                word,
                condition.get("message") or "",
                condition.get("error") or "",
            ]
    return [name_of(tree), "Unknown", "", ""]
