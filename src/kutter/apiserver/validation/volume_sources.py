"""Sources of volumes that are somebody else's disks: what of each pods have to say.

Paths and texts are upstream's (``pkg/apis/core/validation``), its slips included
(``persistentDisk``, ``initiatorname``), because clients see them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from kutter.api.errors import FieldError, invalid, not_supported, required, too_long
from kutter.apiserver.validation import text

Tree = dict[str, Any]
Errors = list[FieldError]
Check = Callable[[Errors, Tree, str], None]

_PARTITION = text.inclusive_range(1, 255)
_BYTE = text.inclusive_range(0, 255)
_ISCSI_NAMES = (
    # Upstream looks for these anywhere in the text, up to its end.
    ("iqn", re.compile(r"iqn\.\d{4}-\d{2}\.([0-9A-Za-z.-]+)(:[^,;*&$|\s]+)\Z", re.ASCII).search),
    ("eui", re.compile(r"\Aeui.[0-9A-Za-z]{16}\Z").search),
    ("naa", re.compile(r"\Anaa.[0-9A-Za-z]{32}\Z").search),
)
_REGISTRY = "must be a host:port pair or multiple pairs separated by commas"
_CACHING = ["None", "ReadOnly", "ReadWrite"]
_DISK_KINDS = ["Dedicated", "Managed", "Shared"]
_MANAGED_URI = (
    "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/"
    "{disk-id}"
)
_BLOB_URI = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"


def needs(*fields: str) -> Check:
    """A source whose only rule is that some texts are not empty."""

    def check(errors: Errors, source: Tree, path: str) -> None:
        for field in fields:
            if not source.get(field):
                errors.append(required(f"{path}.{field}"))

    return check


def partitioned(field: str) -> Check:
    """A disk named by ``field`` that may be one of its partitions."""

    def check(errors: Errors, source: Tree, path: str) -> None:
        if not source.get(field):
            errors.append(required(f"{path}.{field}"))
        partition = source.get("partition") or 0
        if not 0 <= partition <= 255:
            errors.append(invalid(f"{path}.partition", partition, _PARTITION))

    return check


def nfs(errors: Errors, source: Tree, path: str) -> None:
    where = source.get("path") or ""
    for field in ("server", "path"):
        if not source.get(field):
            errors.append(required(f"{path}.{field}"))
    if not where.startswith("/"):
        errors.append(invalid(f"{path}.path", where, "must be an absolute path"))


def iscsi(errors: Errors, source: Tree, path: str) -> None:
    if not source.get("targetPortal"):
        errors.append(required(f"{path}.targetPortal"))
    if source.get("iqn"):
        _iscsi_name(errors, source["iqn"], f"{path}.iqn")
    else:
        errors.append(required(f"{path}.iqn"))
    lun = source.get("lun") or 0
    if not 0 <= lun <= 255:
        errors.append(invalid(f"{path}.lun", lun, _BYTE))
    authenticates = source.get("chapAuthDiscovery") or source.get("chapAuthSession")
    if authenticates and source.get("secretRef") is None:
        errors.append(required(f"{path}.secretRef"))
    if source.get("initiatorName") is not None:
        _iscsi_name(errors, source["initiatorName"], f"{path}.initiatorname")


def _iscsi_name(errors: Errors, name: str, path: str) -> None:
    for start, is_valid in _ISCSI_NAMES:
        if name.startswith(start):
            if not is_valid(name):
                errors.append(invalid(path, name, "must be valid format"))
            return
    errors.append(invalid(path, name, "must be valid format starting with iqn, eui, or naa"))


def is_iscsi_name(name: str) -> bool:
    """Whether it is in one of the formats."""
    return any(name.startswith(start) and is_valid(name) for start, is_valid in _ISCSI_NAMES)


def flocker(errors: Errors, source: Tree, path: str) -> None:
    name, uid = source.get("datasetName") or "", source.get("datasetUUID") or ""
    if not name and not uid:
        errors.append(required(path, "one of datasetName and datasetUUID is required"))
    if name and uid:
        detail = "datasetName and datasetUUID can not be specified simultaneously"
        errors.append(invalid(path, "resource", detail))
    if "/" in name:
        errors.append(invalid(f"{path}.datasetName", name, "must not contain '/'"))


def cinder(errors: Errors, source: Tree, path: str) -> None:
    if not source.get("volumeID"):
        errors.append(required(f"{path}.volumeID"))
    _secret_ref(errors, source, path)


def _secret_ref(errors: Errors, source: Tree, path: str) -> None:
    reference = source.get("secretRef")
    if reference is not None and not reference.get("name"):
        errors.append(required(f"{path}.secretRef.name"))


def quobyte(errors: Errors, source: Tree, path: str) -> None:
    registry = source.get("registry") or ""
    if not registry:
        errors.append(required(f"{path}.registry", _REGISTRY))
    elif len((source.get("tenant") or "").encode()) > 64:
        detail = "must be a UUID and may not exceed a length of 64 characters"
        errors.append(required(f"{path}.tenant", detail))
    else:
        for pair in registry.split(","):
            if not _is_host_port(pair):
                errors.append(invalid(f"{path}.registry", registry, _REGISTRY))
    if not source.get("volume"):
        errors.append(required(f"{path}.volume"))


def _is_host_port(pair: str) -> bool:
    host, colon, _ = pair.rpartition(":")
    if not colon:
        return False
    if host.startswith("["):
        return host.endswith("]") and not set("[]") & set(host[1:-1])
    return not set(":[]") & set(host)


def fibre_channel(errors: Errors, source: Tree, path: str) -> None:
    targets, ids, lun = source.get("targetWWNs"), source.get("wwids"), source.get("lun")
    if not targets and not ids:
        detail = "must specify either targetWWNs or wwids, but not both"
        errors.append(required(f"{path}.targetWWNs", detail))
    if targets and ids:
        detail = "targetWWNs and wwids can not be specified simultaneously"
        errors.append(invalid(f"{path}.targetWWNs", targets, detail))
    if targets:
        if lun is None:
            errors.append(required(f"{path}.lun", "lun is required if targetWWNs is specified"))
        elif not 0 <= lun <= 255:
            errors.append(invalid(f"{path}.lun", lun, _BYTE))


def flex(errors: Errors, source: Tree, path: str) -> None:
    if not source.get("driver"):
        errors.append(required(f"{path}.driver"))
    for key in source.get("options") or ():
        owner = "." + key.partition("/")[0].lower()
        if owner.endswith((".kubernetes.io", ".k8s.io")):
            detail = "kubernetes.io and k8s.io namespaces are reserved"
            errors.append(invalid(f"{path}.options[{key}]", key, detail))


def azure_disk(errors: Errors, source: Tree, path: str) -> None:
    needs("diskName", "diskURI")(errors, source, path)
    caching, kind, uri = source.get("cachingMode"), source.get("kind"), source.get("diskURI") or ""
    if caching is not None and caching not in _CACHING:
        errors.append(not_supported(f"{path}.cachingMode", caching, _CACHING))
    if kind is None:
        return
    if kind not in _DISK_KINDS:
        errors.append(not_supported(f"{path}.kind", kind, _DISK_KINDS))
    if kind == "Managed":
        if not uri.startswith("/subscriptions/"):
            errors.append(not_supported(f"{path}.diskURI", uri, [_MANAGED_URI]))
    elif not uri.startswith("https://"):
        errors.append(not_supported(f"{path}.diskURI", uri, [_BLOB_URI]))


def storage_os(errors: Errors, source: Tree, path: str) -> None:
    name, namespace = source.get("volumeName") or "", source.get("volumeNamespace") or ""
    if name:
        errors += [invalid(f"{path}.volumeName", name, p) for p in text.dns_label(name)]
    else:
        errors.append(required(f"{path}.volumeName"))
    if namespace:
        problems = text.dns_label(namespace)
        errors += [invalid(f"{path}.volumeNamespace", namespace, p) for p in problems]
    _secret_ref(errors, source, path)


def csi(errors: Errors, source: Tree, path: str) -> None:
    csi_driver_name(errors, source.get("driver") or "", f"{path}.driver")
    reference = source.get("nodePublishSecretRef")
    if reference is None:
        return
    name = reference.get("name") or ""
    if name:
        errors += [invalid(f"{path}.name", name, p) for p in text.dns_subdomain(name)]
    else:
        errors.append(required(f"{path}.nodePublishSecretRef.name"))


def csi_driver_name(errors: Errors, name: str, path: str) -> None:
    if not name:
        errors.append(required(path))
        return
    if len(name.encode()) > 63:
        errors.append(too_long(path, 63))
    errors += [invalid(path, name, p) for p in text.dns_subdomain(name.lower())]


CHECKS: dict[str, Check] = {
    "gcePersistentDisk": partitioned("pdName"),
    "awsElasticBlockStore": partitioned("volumeID"),
    "nfs": nfs,
    "iscsi": iscsi,
    "glusterfs": needs("endpoints", "path"),
    "flocker": flocker,
    "rbd": needs("monitors", "image"),
    "cinder": cinder,
    "cephfs": needs("monitors"),
    "quobyte": quobyte,
    "fc": fibre_channel,
    "flexVolume": flex,
    "azureFile": needs("secretName", "shareName"),
    "vsphereVolume": needs("volumePath"),
    "photonPersistentDisk": needs("pdID"),
    "portworxVolume": needs("volumeID"),
    "azureDisk": azure_disk,
    "storageos": storage_os,
    "scaleIO": needs("gateway", "system", "volumeName"),
    "csi": csi,
}
