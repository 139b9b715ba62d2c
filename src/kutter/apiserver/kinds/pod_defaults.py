"""Defaults of a pod's specification (``pkg/apis/core/v1/defaults.go``).

Everything here works in place, is idempotent and touches absent fields only. A template of a
pod gets ``default_pod_spec``; a pod ``default_pod`` besides.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from kutter.apiserver.kinds.standard import setdefault
from kutter.apiserver.validation import quantities
from kutter.apiserver.validation.pod_resources import aggregate, is_huge_page

Tree = dict[str, Any]

_MODE = 420  # 0644
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE_NUMBERS = (
    ("timeoutSeconds", 1),
    ("periodSeconds", 10),
    ("successThreshold", 1),
    ("failureThreshold", 3),
)
_POD_LEVEL = ("cpu", "memory")
_VOLUME_MODES = ("secret", "configMap", "downwardAPI", "projected")


def default_pod(spec: Tree) -> None:
    """What pods get and templates do not."""
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        spec["terminationGracePeriodSeconds"] = 1
    for field in ("containers", "initContainers"):
        for container in spec.get(field) or ():
            resources = container.get("resources")
            if resources and resources.get("limits"):
                requests = setdefault(resources, "requests", {})
                for name, value in resources["limits"].items():
                    requests.setdefault(name, value)
    if spec.get("resources"):
        _pod_level(spec["resources"], spec)
    if spec.get("enableServiceLinks") is None:
        spec["enableServiceLinks"] = True
    if spec.get("hostNetwork"):
        for field in ("containers", "initContainers"):
            for container in spec.get(field) or ():
                for port in container.get("ports") or ():
                    if not port.get("hostPort"):
                        port["hostPort"] = port.get("containerPort")


def _pod_level(resources: Tree, spec: Tree) -> None:
    """The whole pod's requests and limits: what its containers ask for, else one by the other."""
    if resources.get("limits") or resources.get("requests"):
        asked = {n: q for n, q in aggregate(spec, "limits").items() if is_huge_page(n)}
        limits = dict(resources.get("limits") or {})
        for name, amount in asked.items():
            if name not in limits and name not in (resources.get("requests") or {}):
                limits[name] = str(amount)
        if limits:
            resources["limits"] = limits
    if not resources.get("limits"):
        return
    requests = dict(resources.get("requests") or {})
    for name, amount in aggregate(spec, "requests").items():
        if name not in requests and name in _POD_LEVEL:
            requests[name] = str(amount)
    for name, limit in resources["limits"].items():
        if name not in requests and (name in _POD_LEVEL or is_huge_page(name)):
            requests[name] = limit
    if requests:
        resources["requests"] = requests


def default_pod_spec(spec: Tree) -> None:
    if not spec.get("dnsPolicy"):
        spec["dnsPolicy"] = "ClusterFirst"
    if not spec.get("restartPolicy"):
        spec["restartPolicy"] = "Always"
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    if spec.get("terminationGracePeriodSeconds") is None:
        spec["terminationGracePeriodSeconds"] = 30
    if not spec.get("schedulerName"):
        spec["schedulerName"] = "default-scheduler"
    mirror_service_account(spec)
    # Upstream has the field and switches it off.
    spec.pop("schedulingGroup", None)
    for volume in spec.get("volumes") or ():
        _volume(volume)
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            _container(container)
    for field in ("overhead",):
        quantities.canonicalize_list(spec.get(field))
    _requirements(spec.get("resources"))


def mirror_service_account(spec: Tree) -> None:
    """The deprecated ``serviceAccount`` always repeats ``serviceAccountName``."""
    name = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if name:
        spec["serviceAccountName"] = spec["serviceAccount"] = name


_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_IMAGE = re.compile(
    rf"(?:(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?/)?{_COMPONENT}(?:/{_COMPONENT})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)


@lru_cache(1024)
def pull_policy(image: str) -> str:
    """Always for images that may change under their name: tagged latest, or not at all.

    What is no image is left to whoever pulls it.
    """
    if _IMAGE.fullmatch(image) is None:
        return "IfNotPresent"
    name, _, digest = image.partition("@")
    _, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        tag = "" if digest else "latest"
    return "Always" if tag == "latest" else "IfNotPresent"


def _container(container: Tree) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = pull_policy(container.get("image") or "")
    if not container.get("terminationMessagePath"):
        container["terminationMessagePath"] = "/dev/termination-log"
    if not container.get("terminationMessagePolicy"):
        container["terminationMessagePolicy"] = "File"
    resources = container.get("resources")
    if resources is None:
        # Not a pointer upstream: written even when empty.
        container["resources"] = {}
    elif resources:
        _requirements(resources)
    for port in container.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
    for variable in container.get("env") or ():
        source = variable.get("valueFrom")
        if source:
            _field_refs(source)
    for field in _PROBES:
        probe = container.get(field)
        if probe is not None:
            _probe(probe)
    lifecycle = container.get("lifecycle")
    if lifecycle:
        # Upstream has the field and switches it off.
        if lifecycle.pop("stopSignal", None) is not None and not any(lifecycle.values()):
            del container["lifecycle"]
        for field in ("postStart", "preStop"):
            hook = lifecycle.get(field)
            if hook and hook.get("httpGet") is not None:
                _http_get(hook["httpGet"])


def _requirements(resources: Tree | None) -> None:
    if resources:
        quantities.canonicalize_list(resources.get("limits"))
        quantities.canonicalize_list(resources.get("requests"))


def _field_refs(source: Tree) -> None:
    in_file = source.get("fileKeyRef")
    if in_file is not None:
        setdefault(in_file, "optional", False)
    reference = source.get("fieldRef")
    if reference is not None and not reference.get("apiVersion"):
        reference["apiVersion"] = "v1"
    resource = source.get("resourceFieldRef")
    if resource is not None:
        # Written as "0" when absent: a plain Quantity upstream.
        resource["divisor"] = quantities.canonical(resource.get("divisor") or "0")


def _probe(probe: Tree) -> None:
    for field, value in _PROBE_NUMBERS:
        if not probe.get(field):
            probe[field] = value
    if probe.get("httpGet") is not None:
        _http_get(probe["httpGet"])
    if probe.get("grpc") is not None and probe["grpc"].get("service") is None:
        probe["grpc"]["service"] = ""


def _http_get(action: Tree) -> None:
    if not action.get("path"):
        action["path"] = "/"
    if not action.get("scheme"):
        action["scheme"] = "HTTP"


def _volume(volume: Tree) -> None:
    if not any(value is not None for field, value in volume.items() if field != "name"):
        volume["emptyDir"] = {}
        return
    for field in _VOLUME_MODES:
        source = volume.get(field)
        if source is not None and source.get("defaultMode") is None:
            source["defaultMode"] = _MODE
    if volume.get("hostPath") is not None and volume["hostPath"].get("type") is None:
        volume["hostPath"]["type"] = ""
    for item in (volume.get("downwardAPI") or {}).get("items") or ():
        _field_refs(item)
    for source in (volume.get("projected") or {}).get("sources") or ():
        # Upstream has these and switches them off.
        source.pop("clusterTrustBundle", None)
        source.pop("podCertificate", None)
        for item in (source.get("downwardAPI") or {}).get("items") or ():
            _field_refs(item)
        token = source.get("serviceAccountToken")
        if token is not None and token.get("expirationSeconds") is None:
            token["expirationSeconds"] = 3600
    empty = volume.get("emptyDir")
    if empty and empty.get("sizeLimit") is not None:
        empty["sizeLimit"] = quantities.canonical(empty["sizeLimit"])
    image = volume.get("image")
    if image is not None and not image.get("pullPolicy"):
        image["pullPolicy"] = pull_policy(image.get("reference") or "")
    template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
    if template is not None:
        default_claim_spec(setdefault(template, "spec", {}))
    default_legacy_volume(volume)


def default_claim_spec(spec: Tree) -> None:
    """A claim's specification: also in ephemeral volumes and StatefulSets."""
    if spec.get("volumeMode") is None:
        spec["volumeMode"] = "Filesystem"
    _requirements(spec.get("resources"))


def mirror_data_source(spec: Tree) -> None:
    """A claim's two fields for what it is filled from say the same; templates of claims do not."""
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None and reference is None:
        spec["dataSourceRef"] = dict(source)
    elif reference is not None and source is None and not reference.get("namespace"):
        spec["dataSource"] = dict(reference)


def default_legacy_volume(tree: Tree) -> None:
    """Sources pods and persistent volumes share."""
    for field, defaults in _LEGACY:
        source = tree.get(field)
        if source is not None:
            for name, value in defaults:
                if source.get(name) is None or (source[name] == "" and field in _PLAIN):
                    source[name] = value


# Sources whose fields are no pointers upstream: an empty text is as good as none.
_PLAIN = frozenset({"iscsi", "rbd", "scaleIO"})
_LEGACY: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = (
    ("iscsi", (("iscsiInterface", "default"),)),
    ("rbd", (("pool", "rbd"), ("user", "admin"), ("keyring", "/etc/ceph/keyring"))),
    (
        "azureDisk",
        (
            ("cachingMode", "ReadWrite"),
            ("kind", "Shared"),
            ("fsType", "ext4"),
            ("readOnly", False),
        ),
    ),
    ("scaleIO", (("storageMode", "ThinProvisioned"), ("fsType", "xfs"))),
)
