"""Volumes of a pod: names, exactly one source each, and the sources themselves.

Paths and texts are upstream's (``pkg/apis/core/validation``), its slips included
(``downwarAPI``), because clients see them.
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
from kutter.apiserver.validation import projections, quantities, text, volume_sources
from kutter.apiserver.validation.metadata import validate_template_metadata
from kutter.apiserver.validation.paths import local_descending_path, no_backsteps

Tree = dict[str, Any]
Errors = list[FieldError]

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
_MORE_THAN_ONE = "may not specify more than 1 volume type"
_PULL_POLICIES = ["Always", "IfNotPresent", "Never"]


def validate_volumes(
    errors: Errors, volumes: list[Tree], path: str, pod_name: str = "", *, in_pod: bool = True
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
        _source(errors, volume, here, pod_name, in_pod=in_pod)
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


def _source(errors: Errors, volume: Tree, path: str, pod_name: str, *, in_pod: bool) -> None:
    given = [f for f, source in volume.items() if source is not None and f in _SOURCES]
    if not given:
        errors.append(required(path, "must specify a volume type"))
        return
    if len(given) > 1:
        given.sort(key=_ORDER.__getitem__)
    field = given[0]
    source = volume[field]
    if field == "image" and in_pod and not source.get("reference"):
        errors.append(required(f"{path}.image.reference"))
    _SOURCES[field](errors, source, f"{path}.{_PATHS.get(field, field)}")
    if field == "ephemeral" and pod_name and volume.get("name"):
        claim = f"{pod_name}-{volume['name']}"
        for problem in text.dns_subdomain(claim):
            detail = f'PVC name "{claim}": {problem}'
            errors.append(invalid(f"{path}.name", volume["name"], detail))
    if len(given) > 1 or field == "iscsi":
        _others(errors, given, volume, path)


def _others(errors: Errors, given: list[str], volume: Tree, path: str) -> None:
    """Sources after the first; an iSCSI target has a rule that holds wherever it stands."""
    for i, field in enumerate(given):
        if i:
            errors.append(forbidden_field(f"{path}.{_SHOWN.get(field, field)}", _MORE_THAN_ONE))
        if field == "iscsi" and volume["iscsi"].get("initiatorName") is not None:
            name = volume.get("name") or ""
            if len(f"{name}:{volume['iscsi'].get('targetPortal') or ''}".encode()) > 64:
                detail = (
                    "Total length of <volume name>:<iscsi.targetPortal> must be under 64 "
                    "characters if iscsi.initiatorName is specified."
                )
                errors.append(invalid(f"{path}.name", name, detail))


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


def _ephemeral(errors: Errors, source: Tree, path: str) -> None:
    template = source.get("volumeClaimTemplate")
    here = f"{path}.volumeClaimTemplate"
    if template is None:
        errors.append(required(here))
        return
    from kutter.apiserver.validation.volumes import validate_claim_spec

    errors += validate_template_metadata(template.get("metadata") or {}, f"{here}.metadata")
    errors += validate_claim_spec(template.get("spec") or {}, f"{here}.spec")


def _image(errors: Errors, source: Tree, path: str) -> None:
    policy = source.get("pullPolicy") or ""
    if policy not in _PULL_POLICIES:
        here = f"{path}.pullPolicy"
        errors.append(not_supported(here, policy, _PULL_POLICIES) if policy else required(here))


# In the order in which upstream looks for them.
_SOURCES: dict[str, Callable[[Errors, Tree, str], None]] = {
    "emptyDir": _empty_dir,
    "hostPath": host_path,
    "gitRepo": _git_repo,
    "gcePersistentDisk": volume_sources.CHECKS["gcePersistentDisk"],
    "awsElasticBlockStore": volume_sources.CHECKS["awsElasticBlockStore"],
    "secret": projections.secret,
    "nfs": volume_sources.CHECKS["nfs"],
    "iscsi": volume_sources.CHECKS["iscsi"],
    "glusterfs": volume_sources.CHECKS["glusterfs"],
    "flocker": volume_sources.CHECKS["flocker"],
    "persistentVolumeClaim": volume_sources.needs("claimName"),
    "rbd": volume_sources.CHECKS["rbd"],
    "cinder": volume_sources.CHECKS["cinder"],
    "cephfs": volume_sources.CHECKS["cephfs"],
    "quobyte": volume_sources.CHECKS["quobyte"],
    "downwardAPI": projections.downward,
    "fc": volume_sources.CHECKS["fc"],
    "flexVolume": volume_sources.CHECKS["flexVolume"],
    "configMap": projections.config_map,
    "azureFile": volume_sources.CHECKS["azureFile"],
    "vsphereVolume": volume_sources.CHECKS["vsphereVolume"],
    "photonPersistentDisk": volume_sources.CHECKS["photonPersistentDisk"],
    "portworxVolume": volume_sources.CHECKS["portworxVolume"],
    "azureDisk": volume_sources.CHECKS["azureDisk"],
    "storageos": volume_sources.CHECKS["storageos"],
    "projected": projections.projected,
    "scaleIO": volume_sources.CHECKS["scaleIO"],
    "csi": volume_sources.CHECKS["csi"],
    "ephemeral": _ephemeral,
    "image": _image,
}
_ORDER = {field: i for i, field in enumerate(_SOURCES)}
_PATHS = {"gcePersistentDisk": "persistentDisk"}
_SHOWN = {"downwardAPI": "downwarAPI", "cephfs": "cephFS"}
