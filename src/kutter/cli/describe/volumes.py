"""Volumes of a pod, source by source. Pure."""

from __future__ import annotations

from typing import Any

from kutter.cli.describe.layout import Page

Tree = dict[str, Any]
# Source → title, and lines of label and key.
_SOURCES: dict[str, tuple[str, tuple[tuple[str, str, object], ...]]] = {
    "emptyDir": (
        "EmptyDir (a temporary directory that shares a pod's lifetime)",
        (("Medium", "medium", ""), ("SizeLimit", "sizeLimit", "<unset>")),
    ),
    "hostPath": (
        "HostPath (bare host directory volume)",
        (("Path", "path", ""), ("HostPathType", "type", "")),
    ),
    "configMap": (
        "ConfigMap (a volume populated by a ConfigMap)",
        (("Name", "name", ""), ("Optional", "optional", False)),
    ),
    "secret": (
        "Secret (a volume populated by a Secret)",
        (("SecretName", "secretName", ""), ("Optional", "optional", False)),
    ),
    "persistentVolumeClaim": (
        "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
        (("ClaimName", "claimName", ""), ("ReadOnly", "readOnly", False)),
    ),
    "nfs": (
        "NFS (an NFS mount that lasts the lifetime of a pod)",
        (("Server", "server", ""), ("Path", "path", ""), ("ReadOnly", "readOnly", False)),
    ),
}


def add_volumes(page: Page, volumes: list[Tree], level: int = 0) -> None:
    if not volumes:
        page.field("Volumes", "<none>", level)
        return
    page.add("Volumes:", level)
    for volume in volumes:
        page.add(f"{volume['name']}:", level + 1)
        _add_source(page, volume, level + 2)


def _add_source(page: Page, volume: Tree, level: int) -> None:
    for source, (title, lines) in _SOURCES.items():
        if source in volume:
            page.field("Type", title, level)
            for label, key, default in lines:
                value = (volume[source] or {}).get(key)
                value = default if value is None else value
                page.field(label, str(value).lower() if isinstance(value, bool) else value, level)
            return
    if "projected" in volume:
        page.field(
            "Type", "Projected (a volume that contains injected data from multiple sources)", level
        )
        for part in volume["projected"].get("sources") or ():
            _add_projection(page, part, level)
        return
    if "downwardAPI" in volume:
        page.field("Type", "DownwardAPI (a volume populated by information about the pod)", level)
        page.add("Items:", level)
        _add_downward(page, volume["downwardAPI"], level)
        return
    kind = next((key for key in volume if key != "name"), "<unknown>")
    page.field("Type", kind, level)


def _add_projection(page: Page, part: Tree, level: int) -> None:
    if "secret" in part:
        page.field("SecretName", part["secret"].get("name"), level)
        page.field("Optional", str(bool(part["secret"].get("optional"))).lower(), level)
    elif "configMap" in part:
        page.field("ConfigMapName", part["configMap"].get("name"), level)
        optional = part["configMap"].get("optional")
        page.field("Optional", "<nil>" if optional is None else str(optional).lower(), level)
    elif "serviceAccountToken" in part:
        seconds = part["serviceAccountToken"].get("expirationSeconds")
        page.field("TokenExpirationSeconds", seconds, level)
    elif "downwardAPI" in part:
        page.field("DownwardAPI", "true", level)


def _add_downward(page: Page, source: Tree, level: int) -> None:
    for item in source.get("items") or ():
        field = (item.get("fieldRef") or {}).get("fieldPath")
        if field:
            page.add(f"{field} -> {item['path']}", level + 1)
        else:
            resource = (item.get("resourceFieldRef") or {}).get("resource")
            page.add(f"{resource} -> {item['path']}", level + 1)
