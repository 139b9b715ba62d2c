"""Volumes of a pod: names, exactly one source each, and the sources themselves.

Paths and texts are upstream's (``pkg/apis/core/validation``), its slips included
(``downwarAPI``, ``persistentDisk``), because clients see them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kutter.api.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid,
    not_supported,
    required,
)
from kutter.apiserver.validation import quantities, text
from kutter.apiserver.validation.downward import (
    CONTAINER_RESOURCES,
    validate_field_ref,
    validate_resource_field_ref,
)

Tree = dict[str, Any]
Errors = list[FieldError]

VOLUME_FIELD_PATHS = frozenset(
    {
        "metadata.name",
        "metadata.namespace",
        "metadata.labels",
        "metadata.annotations",
        "metadata.uid",
    }
)
_HOST_PATH_TYPES = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
_FILE_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
_MORE_THAN_ONE = "may not specify more than 1 volume type"


def validate_volumes(
    errors: Errors, volumes: list[Tree], path: str, pod_name: str = ""
) -> dict[str, Tree]:
    """Check all volumes; answers with the valid ones by name (what mounts may refer to)."""
    known: dict[str, Tree] = {}
    created_claims = (
        {f"{pod_name}-{v.get('name', '')}" for v in volumes if v.get("ephemeral") is not None}
        if pod_name
        else set()
    )
    for i, volume in enumerate(volumes):
        here = f"{path}[{i}]"
        name = volume.get("name") or ""
        before = len(errors)
        _source(errors, volume, here, name, pod_name)
        if not name:
            errors.append(required(f"{here}.name"))
        else:
            problems = text.dns_label(name)
            if problems:
                errors += [invalid(f"{here}.name", name, p) for p in problems]
        if name in known:
            errors.append(duplicate(f"{here}.name", name))
        if len(errors) == before:
            known[name] = volume
        claim = volume.get("persistentVolumeClaim")
        if claim is not None and claim.get("claimName") in created_claims:
            errors.append(
                invalid(
                    f"{here}.persistentVolumeClaim.claimName",
                    claim.get("claimName"),
                    "must not reference a PVC that gets created for an ephemeral volume",
                )
            )
    return known


def _source(errors: Errors, volume: Tree, path: str, name: str, pod_name: str) -> None:
    found = False
    for field, source in volume.items():
        check = _SOURCES.get(field)
        if check is None or source is None:
            continue
        if found:
            shown = _SHOWN.get(field, field)
            errors.append(forbidden_field(f"{path}.{shown}", _MORE_THAN_ONE))
            continue
        found = True
        check(errors, source, f"{path}.{_PATHS.get(field, field)}")
        if field == "ephemeral" and pod_name and name:
            claim = f"{pod_name}-{name}"
            for problem in text.dns_subdomain(claim):
                errors.append(invalid(f"{path}.name", name, f'PVC name "{claim}": {problem}'))
    if not found:
        errors.append(required(path, "must specify a volume type"))


def _needs(*fields: str) -> Callable[[Errors, Tree, str], None]:
    """A source whose only rule is that some texts are not empty."""

    def check(errors: Errors, source: Tree, path: str) -> None:
        for field in fields:
            if not source.get(field):
                errors.append(required(f"{path}.{field}"))

    return check


def _empty_dir(errors: Errors, source: Tree, path: str) -> None:
    limit = source.get("sizeLimit")
    if limit is not None and quantities.amount(limit) < 0:
        errors.append(
            forbidden_field(
                f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity"
            )
        )


def host_path(errors: Errors, source: Tree, path: str) -> None:
    where = source.get("path") or ""
    if not where:
        errors.append(required(f"{path}.path"))
        return
    no_backsteps(errors, where, f"{path}.path")
    kind = source.get("type")
    if kind is not None and kind not in _HOST_PATH_TYPES:
        errors.append(not_supported(f"{path}.type", kind, list(_HOST_PATH_TYPES)))


def _git_repo(errors: Errors, source: Tree, path: str) -> None:
    if not source.get("repository"):
        errors.append(required(f"{path}.repository"))
    local_descending_path(errors, source.get("directory") or "", f"{path}.directory")


def _iscsi(errors: Errors, source: Tree, path: str) -> None:
    if not source.get("targetPortal"):
        errors.append(required(f"{path}.targetPortal"))
    iqn = source.get("iqn") or ""
    if not iqn:
        errors.append(required(f"{path}.iqn"))
    elif not iqn.startswith(("iqn", "eui", "naa")):
        errors.append(
            invalid(f"{path}.iqn", iqn, "must be valid format starting with iqn, eui, or naa")
        )
    lun = source.get("lun") or 0
    if not 0 <= lun <= 255:
        errors.append(invalid(f"{path}.lun", lun, text.inclusive_range(0, 255)))


def _nfs(errors: Errors, source: Tree, path: str) -> None:
    if not source.get("server"):
        errors.append(required(f"{path}.server"))
    where = source.get("path") or ""
    if not where:
        errors.append(required(f"{path}.path"))
    elif not where.startswith("/"):
        errors.append(invalid(f"{path}.path", where, "must be an absolute path"))


def _fc(errors: Errors, source: Tree, path: str) -> None:
    if not source.get("targetWWNs") and not source.get("wwids"):
        errors.append(
            required(f"{path}.targetWWNs", "must specify either targetWWNs or wwids, but not both")
        )


def _claim(errors: Errors, source: Tree, path: str) -> None:
    if not source.get("claimName"):
        errors.append(required(f"{path}.claimName"))


def _file_mode(errors: Errors, mode: Any, path: str) -> None:
    if mode is not None and not 0 <= mode <= 0o777:
        errors.append(invalid(path, mode, _FILE_MODE))


def _items(errors: Errors, items: list[Tree] | None, path: str) -> None:
    for i, item in enumerate(items or ()):
        here = f"{path}.items[{i}]"
        if not item.get("key"):
            errors.append(required(f"{here}.key"))
        where = item.get("path") or ""
        if not where:
            errors.append(required(f"{here}.path"))
        local_non_reserved_path(errors, where, f"{here}.path")
        _file_mode(errors, item.get("mode"), f"{here}.mode")


def _secret(errors: Errors, source: Tree, path: str) -> None:
    if not source.get("secretName"):
        errors.append(required(f"{path}.secretName"))
    _file_mode(errors, source.get("defaultMode"), f"{path}.defaultMode")
    _items(errors, source.get("items"), path)


def _config_map(errors: Errors, source: Tree, path: str) -> None:
    if not source.get("name"):
        errors.append(required(f"{path}.name"))
    _file_mode(errors, source.get("defaultMode"), f"{path}.defaultMode")
    _items(errors, source.get("items"), path)


def _downward_items(errors: Errors, items: list[Tree] | None, path: str) -> None:
    for i, item in enumerate(items or ()):
        here = f"{path}.items[{i}]" if not path.endswith("]") else path
        where = item.get("path") or ""
        if not where:
            errors.append(required(f"{path}.path"))
        local_non_reserved_path(errors, where, f"{path}.path")
        field_ref, resource_ref = item.get("fieldRef"), item.get("resourceFieldRef")
        if field_ref is not None:
            validate_field_ref(errors, field_ref, VOLUME_FIELD_PATHS, f"{path}.fieldRef")
            if resource_ref is not None:
                errors.append(
                    invalid(
                        path,
                        "resource",
                        "fieldRef and resourceFieldRef can not be specified simultaneously",
                    )
                )
        elif resource_ref is not None:
            validate_resource_field_ref(
                errors,
                resource_ref,
                CONTAINER_RESOURCES,
                f"{path}.resourceFieldRef",
                in_volume=True,
            )
        else:
            errors.append(required(path, "one of fieldRef and resourceFieldRef is required"))
        _file_mode(errors, item.get("mode"), f"{here}.mode")


def _downward(errors: Errors, source: Tree, path: str) -> None:
    _file_mode(errors, source.get("defaultMode"), f"{path}.defaultMode")
    _downward_items(errors, source.get("items"), path)


def _projected(errors: Errors, source: Tree, path: str) -> None:
    _file_mode(errors, source.get("defaultMode"), f"{path}.defaultMode")
    paths: set[str] = set()
    for i, part in enumerate(source.get("sources") or ()):
        here = f"{path}.sources[{i}]"
        count = 0
        for field in (
            "secret",
            "configMap",
            "downwardAPI",
            "serviceAccountToken",
            "clusterTrustBundle",
            "podCertificate",
        ):
            inner = part.get(field)
            if inner is None:
                continue
            count += 1
            if count > 1:
                errors.append(forbidden_field(f"{here}.{field}", _MORE_THAN_ONE))
                continue
            _projection(errors, field, inner, f"{here}.{field}", paths)
        if count == 0:
            errors.append(required(here, "must specify one of the volume types"))


def _projection(errors: Errors, field: str, inner: Tree, path: str, paths: set[str]) -> None:
    places: list[str] = []
    if field in ("secret", "configMap"):
        if not inner.get("name"):
            errors.append(required(f"{path}.name"))
        _items(errors, inner.get("items"), path)
        places = [item.get("path") or "" for item in inner.get("items") or ()]
    elif field == "downwardAPI":
        _downward_items(errors, inner.get("items"), path)
        places = [item.get("path") or "" for item in inner.get("items") or ()]
    elif field == "serviceAccountToken":
        seconds = inner.get("expirationSeconds")
        if seconds is not None and seconds < 600:
            errors.append(
                invalid(
                    f"{path}.expirationSeconds",
                    seconds,
                    "may not specify a duration less than 10 minutes",
                )
            )
        if seconds is not None and seconds > 1 << 32:
            errors.append(
                invalid(
                    f"{path}.expirationSeconds",
                    seconds,
                    "may not specify a duration larger than 2^32 seconds",
                )
            )
        where = inner.get("path") or ""
        if not where:
            errors.append(required(f"{path}.path"))
        else:
            local_non_reserved_path(errors, where, f"{path}.path")
            places = [where]
    elif field == "clusterTrustBundle":
        if (inner.get("name") is None) == (inner.get("signerName") is None):
            errors.append(
                required(path, "either name or signerName must be specified")
                if inner.get("name") is None
                else invalid(path, inner, "only one of name and signerName may be used")
            )
        local_non_reserved_path(errors, inner.get("path") or "", f"{path}.path")
        places = [inner.get("path") or ""]
    for place in places:
        if not place:
            continue
        if place in paths:
            errors.append(invalid(path, place, "conflicting duplicate paths"))
        paths.add(place)


def _csi(errors: Errors, source: Tree, path: str) -> None:
    csi_driver_name(errors, source.get("driver") or "", f"{path}.driver")
    reference = source.get("nodePublishSecretRef")
    if reference is not None and not reference.get("name"):
        errors.append(required(f"{path}.nodePublishSecretRef.name"))


def csi_driver_name(errors: Errors, name: str, path: str) -> None:
    if not name:
        errors.append(required(path))
    if len(name) > 63:
        errors.append(
            FieldError(path, "FieldValueTooLong", "Too long: may not be more than 63 bytes")
        )
    for problem in text.dns_subdomain(name.lower()):
        errors.append(invalid(path, name, problem))


def _ephemeral(errors: Errors, source: Tree, path: str) -> None:
    template = source.get("volumeClaimTemplate")
    if template is None:
        errors.append(required(f"{path}.volumeClaimTemplate"))
        return
    from kutter.apiserver.validation.volumes import validate_claim_spec

    errors += validate_claim_spec(template.get("spec") or {}, f"{path}.volumeClaimTemplate.spec")


def _image(errors: Errors, source: Tree, path: str) -> None:
    if not source.get("reference"):
        errors.append(required(f"{path}.reference"))
    policy = source.get("pullPolicy")
    if policy and policy not in ("Always", "IfNotPresent", "Never"):
        errors.append(
            not_supported(f"{path}.pullPolicy", policy, ["Always", "IfNotPresent", "Never"])
        )


_SOURCES: dict[str, Callable[[Errors, Tree, str], None]] = {
    "emptyDir": _empty_dir,
    "hostPath": host_path,
    "gitRepo": _git_repo,
    "gcePersistentDisk": _needs("pdName"),
    "awsElasticBlockStore": _needs("volumeID"),
    "secret": _secret,
    "nfs": _nfs,
    "iscsi": _iscsi,
    "glusterfs": _needs("endpoints", "path"),
    "flocker": _needs(),
    "persistentVolumeClaim": _claim,
    "rbd": _needs("monitors", "image"),
    "cinder": _needs("volumeID"),
    "cephfs": _needs("monitors"),
    "quobyte": _needs("registry", "volume"),
    "downwardAPI": _downward,
    "fc": _fc,
    "flexVolume": _needs("driver"),
    "configMap": _config_map,
    "azureFile": _needs("secretName", "shareName"),
    "vsphereVolume": _needs("volumePath"),
    "photonPersistentDisk": _needs("pdID"),
    "portworxVolume": _needs("volumeID"),
    "azureDisk": _needs("diskName", "diskURI"),
    "storageos": _needs(),
    "projected": _projected,
    "scaleIO": _needs("gateway", "system", "volumeName"),
    "csi": _csi,
    "ephemeral": _ephemeral,
    "image": _image,
}
_PATHS = {"gcePersistentDisk": "persistentDisk"}
_SHOWN = {"downwardAPI": "downwarAPI", "cephfs": "cephFS"}


def no_backsteps(errors: Errors, where: str, path: str) -> None:
    if ".." in where.split("/"):
        errors.append(invalid(path, where, "must not contain '..'"))


def local_descending_path(errors: Errors, where: str, path: str) -> None:
    if where.startswith("/"):
        errors.append(invalid(path, where, "must be a relative path"))
    no_backsteps(errors, where, path)


def local_non_reserved_path(errors: Errors, where: str, path: str) -> None:
    local_descending_path(errors, where, path)
    # A lone ``..`` has been reported as a backstep already.
    if where.startswith("..") and not where.startswith("../") and where != "..":
        errors.append(invalid(path, where, "must not start with '..'"))
