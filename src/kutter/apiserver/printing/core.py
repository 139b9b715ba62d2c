"""Rows of the core kinds, of discovery, access control and storage."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kutter.apiserver.printing.age import UNKNOWN, human_duration
from kutter.apiserver.printing.columns import (
    NONE,
    UNSET,
    Tree,
    age_of,
    created_at,
    labels_text,
    name_of,
    selector_text,
    with_more,
)

_ROLE_PREFIX = "node-role.kubernetes.io/"
_DEFAULT_CLASS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
_MODES = (
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
)


def name_created_cells(tree: Tree, now: datetime) -> list[Any]:
    return [name_of(tree), created_at(tree)]


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
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


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


def service_account_cells(tree: Tree, now: datetime) -> list[Any]:
    return [name_of(tree), len(tree.get("secrets") or ()), age_of(tree, now)]


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


def access_modes_text(modes: list[str] | None) -> str:
    return ",".join(short for mode, short in _MODES if mode in (modes or ()))


def _class(tree: Tree, spec: Tree) -> str:
    annotations = (tree.get("metadata") or {}).get("annotations") or {}
    beta = annotations.get("volume.beta.kubernetes.io/storage-class")
    return beta if beta is not None else spec.get("storageClassName") or ""


def persistent_volume_cells(tree: Tree, now: datetime) -> list[Any]:
    spec, status = tree.get("spec") or {}, tree.get("status") or {}
    claim = spec.get("claimRef")
    deleted = (tree.get("metadata") or {}).get("deletionTimestamp")
    return [
        name_of(tree),
        (spec.get("capacity") or {}).get("storage") or "0",
        access_modes_text(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy") or "",
        "Terminating" if deleted else status.get("phase") or "",
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _class(tree, spec),
        spec.get("volumeAttributesClassName") or UNSET,
        status.get("reason") or "",
        age_of(tree, now),
        spec.get("volumeMode") or UNSET,
    ]


def persistent_volume_claim_cells(tree: Tree, now: datetime) -> list[Any]:
    spec, status = tree.get("spec") or {}, tree.get("status") or {}
    deleted = (tree.get("metadata") or {}).get("deletionTimestamp")
    bound = bool(spec.get("volumeName"))
    return [
        name_of(tree),
        "Terminating" if deleted else status.get("phase") or "",
        spec.get("volumeName") or "",
        ((status.get("capacity") or {}).get("storage") or "0") if bound else "",
        access_modes_text(status.get("accessModes")) if bound else "",
        _class(tree, spec),
        spec.get("volumeAttributesClassName") or UNSET,
        age_of(tree, now),
        spec.get("volumeMode") or UNSET,
    ]


def storage_class_cells(tree: Tree, now: datetime) -> list[Any]:
    annotations = (tree.get("metadata") or {}).get("annotations") or {}
    name = name_of(tree)
    if any(annotations.get(key) == "true" for key in _DEFAULT_CLASS):
        name += " (default)"
    return [
        name,
        tree.get("provisioner") or "",
        tree.get("reclaimPolicy") or "Delete",
        tree.get("volumeBindingMode") or "Immediate",
        bool(tree.get("allowVolumeExpansion")),
        age_of(tree, now),
    ]


def volume_attachment_cells(tree: Tree, now: datetime) -> list[Any]:
    spec = tree.get("spec") or {}
    return [
        name_of(tree),
        spec.get("attacher") or "",
        (spec.get("source") or {}).get("persistentVolumeName") or "",
        spec.get("nodeName") or "",
        bool((tree.get("status") or {}).get("attached")),
        age_of(tree, now),
    ]


def csi_driver_cells(tree: Tree, now: datetime) -> list[Any]:
    spec = tree.get("spec") or {}
    tokens = ",".join(t.get("audience") or "" for t in spec.get("tokenRequests") or ())
    attach = spec.get("attachRequired")
    return [
        name_of(tree),
        True if attach is None else attach,
        bool(spec.get("podInfoOnMount")),
        bool(spec.get("storageCapacity")),
        tokens if spec.get("tokenRequests") else UNSET,
        bool(spec.get("requiresRepublish")),
        ",".join(spec.get("volumeLifecycleModes") or ()) or NONE,
        age_of(tree, now),
    ]


def csi_node_cells(tree: Tree, now: datetime) -> list[Any]:
    return [name_of(tree), len((tree.get("spec") or {}).get("drivers") or ()), age_of(tree, now)]


def csi_storage_capacity_cells(tree: Tree, now: datetime) -> list[Any]:
    return [name_of(tree), tree.get("storageClassName") or "", tree.get("capacity") or UNSET]


def priority_class_cells(tree: Tree, now: datetime) -> list[Any]:
    return [
        name_of(tree),
        tree.get("value") or 0,
        bool(tree.get("globalDefault")),
        age_of(tree, now),
        tree.get("preemptionPolicy") or "PreemptLowerPriority",
    ]


def ingress_cells(tree: Tree, now: datetime) -> list[Any]:
    spec = tree.get("spec") or {}
    hosts = [r["host"] for r in spec.get("rules") or () if r.get("host")]
    return [
        name_of(tree),
        spec.get("ingressClassName") or NONE,
        with_more(hosts) or "*",
        load_balancer_text(tree),
        "80, 443" if spec.get("tls") else "80",
        age_of(tree, now),
    ]


def ingress_class_cells(tree: Tree, now: datetime) -> list[Any]:
    spec = tree.get("spec") or {}
    parameters, text = spec.get("parameters"), NONE
    if parameters:
        text = parameters.get("kind") or ""
        if parameters.get("apiGroup"):
            text += f".{parameters['apiGroup']}"
        text += f"/{parameters.get('name', '')}"
    return [name_of(tree), spec.get("controller") or "", text, age_of(tree, now)]


def network_policy_cells(tree: Tree, now: datetime) -> list[Any]:
    selector = (tree.get("spec") or {}).get("podSelector")
    return [name_of(tree), selector_text(selector), age_of(tree, now)]


def service_cidr_cells(tree: Tree, now: datetime) -> list[Any]:
    ranges = (tree.get("spec") or {}).get("cidrs") or ()
    return [name_of(tree), ",".join(ranges), age_of(tree, now)]


def ip_address_cells(tree: Tree, now: datetime) -> list[Any]:
    reference = (tree.get("spec") or {}).get("parentRef") or {}
    text = "/".join(
        v
        for v in (
            f"{reference.get('resource', '')}.{reference['group']}"
            if reference.get("group")
            else reference.get("resource"),
            reference.get("namespace"),
            reference.get("name"),
        )
        if v
    )
    return [name_of(tree), text or NONE, age_of(tree, now)]


def signing_request_cells(tree: Tree, now: datetime) -> list[Any]:
    spec, status = tree.get("spec") or {}, tree.get("status") or {}
    found = {c.get("type") for c in status.get("conditions") or ()}
    word = "Denied" if "Denied" in found else "Approved" if "Approved" in found else "Pending"
    if "Failed" in found:
        word += ",Failed"
    if status.get("certificate"):
        word += ",Issued"
    seconds = spec.get("expirationSeconds")
    return [
        name_of(tree),
        age_of(tree, now),
        spec.get("signerName") or NONE,
        spec.get("username") or "",
        NONE if seconds is None else human_duration(seconds),
        word,
    ]


def runtime_class_cells(tree: Tree, now: datetime) -> list[Any]:
    return [name_of(tree), tree.get("handler") or "", age_of(tree, now)]


def webhook_cells(tree: Tree, now: datetime) -> list[Any]:
    return [name_of(tree), len(tree.get("webhooks") or ()), age_of(tree, now)]


def admission_policy_cells(tree: Tree, now: datetime) -> list[Any]:
    spec = tree.get("spec") or {}
    kind = spec.get("paramKind")
    text = f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else UNSET
    what = spec.get("validations") or spec.get("mutations") or ()
    return [name_of(tree), len(what), text, age_of(tree, now)]


def admission_binding_cells(tree: Tree, now: datetime) -> list[Any]:
    spec = tree.get("spec") or {}
    reference = spec.get("paramRef")
    text = UNSET
    if reference:
        namespace = reference.get("namespace")
        name = reference.get("name") or "*"
        text = f"{namespace}/{name}" if namespace else name
    return [name_of(tree), spec.get("policyName") or "", text, age_of(tree, now)]


def flow_schema_cells(tree: Tree, now: datetime) -> list[Any]:
    spec = tree.get("spec") or {}
    conditions = (tree.get("status") or {}).get("conditions") or ()
    dangling = next((c.get("status") for c in conditions if c.get("type") == "Dangling"), "?")
    return [
        name_of(tree),
        (spec.get("priorityLevelConfiguration") or {}).get("name") or "",
        spec.get("matchingPrecedence") or 0,
        (spec.get("distinguisherMethod") or {}).get("type") or NONE,
        age_of(tree, now),
        dangling,
    ]


def priority_level_cells(tree: Tree, now: datetime) -> list[Any]:
    spec = tree.get("spec") or {}
    limits = spec.get("limited") or spec.get("exempt") or {}
    queuing = (limits.get("limitResponse") or {}).get("queuing") or {}
    shares = limits.get("nominalConcurrencyShares")
    return [
        name_of(tree),
        spec.get("type") or "",
        NONE if shares is None else shares,
        *(queuing.get(f, NONE) for f in ("queues", "handSize", "queueLengthLimit")),
        age_of(tree, now),
    ]


def resource_claim_cells(tree: Tree, now: datetime) -> list[Any]:
    status = tree.get("status") or {}
    words = []
    if (tree.get("metadata") or {}).get("deletionTimestamp"):
        words.append("deleted")
    if status.get("allocation"):
        words.append("allocated")
        if status.get("reservedFor"):
            words.append("reserved")
    else:
        words.append("pending")
    return [name_of(tree), ",".join(words), age_of(tree, now)]


def resource_slice_cells(tree: Tree, now: datetime) -> list[Any]:
    spec = tree.get("spec") or {}
    return [
        name_of(tree),
        spec.get("nodeName") or UNSET,
        spec.get("driver") or "",
        (spec.get("pool") or {}).get("name") or "",
        age_of(tree, now),
    ]


def volume_attributes_class_cells(tree: Tree, now: datetime) -> list[Any]:
    return [name_of(tree), tree.get("driverName") or "", age_of(tree, now)]


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
