"""Doubtful things a pod may hold: nothing is wrong with them, and its writer is told.

Texts and their order are upstream's (``pkg/api/pod/warnings.go``). A pod pays for what it has:
everything here is looked at only where it is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kutter.api import quantity
from kutter.apiserver.validation import quantities, text
from kutter.apiserver.validation.pod_annotations import APP_ARMOR, SECCOMP_CONTAINER, SECCOMP_POD

Tree = dict[str, Any]
Texts = list[str]

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
NODE_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": (
        'deprecated since v1.17; use "topology.kubernetes.io/region" instead'
    ),
    "failure-domain.beta.kubernetes.io/zone": (
        'deprecated since v1.17; use "topology.kubernetes.io/zone" instead'
    ),
    "beta.kubernetes.io/instance-type": (
        'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead'
    ),
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": (
        "deprecated since v1.22; use Taints and Tolerations instead"
    ),
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}
_SYSCTLS = 'non-functional in v1.11+; use the "sysctls" field instead'
_ANNOTATIONS = (
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        'non-functional in v1.16+; use the "priorityClassName" field instead',
    ),
    ("security.alpha.kubernetes.io/sysctls", _SYSCTLS),
    ("security.alpha.kubernetes.io/unsafe-sysctls", _SYSCTLS),
)
_VOLUMES = {
    "photonPersistentDisk": ("", "deprecated in v1.11, non-functional in v1.16+"),
    "gitRepo": ("", "deprecated in v1.11, and disabled by default in v1.33+"),
    "scaleIO": ("", "deprecated in v1.16, non-functional in v1.22+"),
    "flocker": ("", "deprecated in v1.22, non-functional in v1.25+"),
    "storageos": ("storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    "quobyte": ("", "deprecated in v1.22, non-functional in v1.25+"),
    "glusterfs": ("", "deprecated in v1.25, non-functional in v1.26+"),
    "cephfs": ("", "deprecated in v1.28, non-functional in v1.31+"),
    "rbd": ("", "deprecated in v1.28, non-functional in v1.31+"),
}
_NO_PODS = "a null labelSelector results in matching no pod"
_FRACTION = 'fractional byte value "{}" is invalid, must be an integer'
_PROFILE = 'non-functional in v1.27+; use the "seccompProfile" field instead'
APP_ARMOR_TEXT = 'deprecated since v1.30; use the "appArmorProfile" field instead'
_INT64_MAX = 2**63 - 1
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


def pod_warnings(pod: Tree, path: str = "") -> Texts:
    """``pod`` is a pod, or a template of one at ``path``."""
    spec = pod.get("spec") or {}
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    start = f"{path}." if path else ""
    here = f"{start}spec"
    texts: Texts = []
    for key in spec.get("nodeSelector") or ():
        if key in NODE_LABELS:
            texts.append(f"{here}.nodeSelector[{key}]: {NODE_LABELS[key]}")
    affinity = spec.get("affinity") or {}
    if affinity.get("nodeAffinity"):
        _node_affinity(texts, affinity["nodeAffinity"], f"{here}.affinity.nodeAffinity")
    for i, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        place = f"{here}.topologySpreadConstraints[{i}]"
        key = constraint.get("topologyKey") or ""
        if key in NODE_LABELS:
            texts.append(f"{place}.topologyKey: {key} is {NODE_LABELS[key]}")
        if constraint.get("labelSelector") is None:
            texts.append(f"{place}.labelSelector: {_NO_PODS}")
    if annotations:
        for name, detail in _ANNOTATIONS:
            if name in annotations:
                texts.append(f"{start}metadata.annotations[{name}]: {detail}")
    volumes = spec.get("volumes")
    if volumes:
        _volumes(texts, volumes, f"{here}.volumes")
        _overlaps(texts, volumes)
    if spec.get("hostAliases") or spec.get("imagePullSecrets"):
        _repeated(texts, spec, here)
    if spec.get("overhead"):
        _fractions(texts, spec["overhead"], f"{here}.overhead")
    if annotations:
        whole = (spec.get("securityContext") or {}).get("seccompProfile")
        if SECCOMP_POD in annotations and whole is None:
            texts.append(f"{start}metadata.annotations[{SECCOMP_POD}]: {_PROFILE}")
    ports = 0
    for kind in _CONTAINERS:
        for i, container in enumerate(spec.get(kind) or ()):
            if annotations:
                _profiles(texts, container, annotations, spec, path)
            resources = container.get("resources")
            if resources:
                _container_fractions(texts, resources, f"{here}.{kind}[{i}].resources")
            env = container.get("env")
            if env and len(env) > 1:
                _hidden(texts, env, f"{here}.{kind}[{i}].env")
            own = container.get("ports")
            if own:
                ports += 2 if "hostIP" in own[0] else len(own)
    if ports > 1:
        _ports(texts, spec, here)
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        detail = "must be >= 0; negative values are invalid and will be treated as 1"
        texts.append(f"{here}.terminationGracePeriodSeconds: {detail}")
    for field in ("podAffinity", "podAntiAffinity"):
        if affinity.get(field):
            _pod_affinity(texts, affinity[field], f"{here}.affinity.{field}")
    for i, server in enumerate((spec.get("dnsConfig") or {}).get("nameservers") or ()):
        texts += text.ip_warnings(server, f"{here}.dnsConfig.nameservers[{i}]")
    for i, alias in enumerate(spec.get("hostAliases") or ()):
        texts += text.ip_warnings(alias.get("ip") or "", f"{here}.hostAliases[{i}].ip")
    return texts


def _containers(spec: Tree, path: str) -> Iterator[tuple[Tree, str]]:
    for field in _CONTAINERS:
        for i, container in enumerate(spec.get(field) or ()):
            yield container, f"{path}.{field}[{i}]"


def _node_affinity(texts: Texts, affinity: Tree, path: str) -> None:
    terms = (affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ()
    for i, term in enumerate(terms):
        node_term_warnings(
            texts, term, f"{path}.{_REQUIRED}.nodeSelectorTerms[{i}]", checks_values=False
        )
    for i, weighted in enumerate(affinity.get(_PREFERRED) or ()):
        here = f"{path}.{_PREFERRED}[{i}].preference"
        node_term_warnings(texts, weighted.get("preference") or {}, here, checks_values=True)


def node_term_warnings(texts: Texts, term: Tree, path: str, *, checks_values: bool) -> None:
    """Labels of the past in one term of a node selector."""
    for i, expression in enumerate(term.get("matchExpressions") or ()):
        here, key = f"{path}.matchExpressions[{i}]", expression.get("key") or ""
        if key in NODE_LABELS:
            texts.append(f"{here}.key: {key} is {NODE_LABELS[key]}")
        for v, value in enumerate(expression.get("values") or () if checks_values else ()):
            for problem in text.label_value(value):
                texts.append(f"{here}.values[{v}]: {value} is invalid, {problem}")


def _pod_affinity(texts: Texts, affinity: Tree, path: str) -> None:
    for i, term in enumerate(affinity.get(_REQUIRED) or ()):
        if term.get("labelSelector") is None:
            texts.append(f"{path}.{_REQUIRED}[{i}].labelSelector: {_NO_PODS}")
    for i, weighted in enumerate(affinity.get(_PREFERRED) or ()):
        if (weighted.get("podAffinityTerm") or {}).get("labelSelector") is None:
            here = f"{path}.{_PREFERRED}[{i}].podAffinityTerm.labelSelector"
            texts.append(f"{here}: {_NO_PODS}")


def _volumes(texts: Texts, volumes: list[Tree], path: str) -> None:
    for i, volume in enumerate(volumes):
        for field in volume:
            if field in _VOLUMES and volume[field] is not None:
                shown, detail = _VOLUMES[field]
                texts.append(f"{path}[{i}].{shown or field}: {detail}")
        template = "ephemeral" in volume and (volume["ephemeral"] or {}).get("volumeClaimTemplate")
        if template:
            here = f"{path}[{i}].ephemeral.volumeClaimTemplate.spec"
            texts += claim_warnings(template.get("spec") or {}, here)


def claim_warnings(spec: Tree, path: str) -> Texts:
    """A claim's specification, also in a template of one."""
    texts: Texts = []
    for field in ("requests", "limits"):
        amounts = (spec.get("resources") or {}).get(field)
        _fraction(texts, amounts, "storage", f"{path}.resources.{field}")
    return texts


def _fractions(texts: Texts, amounts: Tree | None, path: str) -> None:
    for name in ("memory", "ephemeral-storage"):
        _fraction(texts, amounts, name, path)


def _container_fractions(texts: Texts, resources: Tree, path: str) -> None:
    limits, requests = resources.get("limits"), resources.get("requests")
    for name in ("memory", "ephemeral-storage"):
        if limits and name in limits:
            _fraction(texts, limits, name, f"{path}.limits")
        if requests and name in requests:
            _fraction(texts, requests, name, f"{path}.requests")


def _fraction(texts: Texts, amounts: Tree | None, name: str, path: str) -> None:
    value = (amounts or {}).get(name)
    # Most amounts are written in whole bytes.
    if value is None or (isinstance(value, str) and value.endswith("i")):
        return
    if min(quantity.parse(value).milli, _INT64_MAX) % 1000:
        texts.append(f"{path}[{name}]: {_FRACTION.format(quantities.canonical(value))}")


def _repeated(texts: Texts, spec: Tree, path: str) -> None:
    addresses: set[str] = set()
    for i, alias in enumerate(spec.get("hostAliases") or ()):
        address = alias.get("ip") or ""
        if address in addresses:
            texts.append(f'{path}.hostAliases[{i}].ip: duplicate ip "{address}"')
        addresses.add(address)
    secrets = [s.get("name") or "" for s in spec.get("imagePullSecrets") or ()]
    for i, name in enumerate(secrets):
        if name in secrets[:i]:
            texts.append(f'{path}.imagePullSecrets[{i}].name: duplicate name "{name}"')
    for i, name in enumerate(secrets):
        if not name:
            texts.append(f'{path}.imagePullSecrets[{i}].name: invalid empty name ""')


def _profiles(texts: Texts, container: Tree, annotations: Tree, spec: Tree, path: str) -> None:
    """Security profiles of old; what pods say with them is told where it is turned into fields."""
    start = f"{path}." if path else ""
    context, name = container.get("securityContext") or {}, container.get("name") or ""
    key = f"{SECCOMP_CONTAINER}{name}"
    if key in annotations and context.get("seccompProfile") is None:
        texts.append(f"{start}metadata.annotations[{key}]: {_PROFILE}")
    key = f"{APP_ARMOR}{name}"
    if path and key in annotations and context.get("appArmorProfile") is None:
        whole = (spec.get("securityContext") or {}).get("appArmorProfile")
        if whole is None or whole != app_armor_profile(annotations[key]):
            texts.append(f"{start}metadata.annotations[{key}]: {APP_ARMOR_TEXT}")


def app_armor_profile(annotation: str) -> Tree | None:
    """The field an annotation stands for, if any."""
    local = annotation.removeprefix("localhost/")
    if annotation == "unconfined":
        return {"type": "Unconfined"}
    if annotation == "runtime/default":
        return {"type": "RuntimeDefault"}
    if local != annotation and local:
        return {"type": "Localhost", "localhostProfile": local}
    return None


def _hidden(texts: Texts, env: list[Tree], path: str) -> None:
    names: set[str] = set()
    for i, variable in enumerate(env):
        name = variable.get("name") or ""
        if name not in names:
            names.add(name)
            continue
        reference, value = f"$({name})", variable.get("value") or ""
        if variable.get("valueFrom") is not None or value == reference or reference not in value:
            texts.append(
                f'{path}[{i}]: hides previous definition of "{name}", which may be dropped when '
                "using apply"
            )


def _ports(texts: Texts, spec: Tree, path: str) -> None:
    places: dict[tuple[Any, Any], list[tuple[str, str, int]]] = {}
    names: dict[str, str] = {}
    named: Texts = []
    for container, here in _containers(spec, path):
        for i, port in enumerate(container.get("ports") or ()):
            place = f"{here}.ports[{i}]"
            address, host = port.get("hostIP") or "", port.get("hostPort") or 0
            if address and not host:
                shown = (
                    f"{{Name:{port.get('name') or ''} HostPort:0 "
                    f"ContainerPort:{port.get('containerPort')} "
                    f"Protocol:{port.get('protocol')} HostIP:{address}}}"
                )
                texts.append(f"{place}: hostIP set without hostPort: {shown}")
            others = places.setdefault((port.get("containerPort"), port.get("protocol")), [])
            for other, other_address, other_host in others:
                kind = _conflict(address, host, other_address, other_host)
                if kind:
                    texts.append(f"{place}: {kind} port definition with {other}")
            others.append((place, address, host))
            name = port.get("name") or ""
            if name and name in names:
                named.append(
                    f'{place}: duplicate port name "{name}" with {names[name]}, services and '
                    f"probes that select ports by name will use {names[name]}"
                )
            elif name:
                names[name] = place
    texts += named


def _conflict(address: str, host: int, other_address: str, other_host: int) -> str:
    if (address, host) == (other_address, other_host):
        return "duplicate"
    if not host or not other_host:
        return "overlapping"
    if host == other_host and bool(address) != bool(other_address):
        return "dangerously ambiguous"
    return ""


_Named = tuple[str, str]


def _overlaps(texts: Texts, volumes: list[Tree]) -> None:
    """Files of one volume that would be written over each other."""
    for volume in volumes:
        for field in volume:
            if field == "projected" and volume[field] is not None:
                _projected(texts, volume[field], volume.get("name") or "")
            elif field in _LISTED and volume[field] and volume[field].get("items"):
                _listed(texts, volume, field)


_LISTED = {
    "configMap": ("ConfigMap", "name"),
    "secret": ("Secret", "secretName"),
    "downwardAPI": ("DownwardAPI", ""),
}


def _listed(texts: Texts, volume: Tree, field: str) -> None:
    source, (label, named) = volume[field], _LISTED[field]
    what = f'{label} "{source.get(named) or ""}"' if named else label
    start = f'volume "{volume.get("name") or ""}" ({what}): overlapping paths: '
    paths = [(item.get("path") or "", "") for item in source["items"]]
    texts += [f"{start}{found}" for found in _collisions(paths)]


def _projected(texts: Texts, source: Tree, name: str) -> None:
    paths: list[_Named] = []
    for part in source.get("sources") or ():
        kinds = [field for field, value in part.items() if value is not None]
        if not kinds:
            texts.append(f'volume "{name}" (Projected) has no sources provided')
            continue
        inner = part[kinds[0]]
        if len(kinds) > 1:
            # Refused when it is written; a stored one is looked at by its first.
            continue
        if kinds[0] == "serviceAccountToken":
            paths.append((inner.get("path") or "", kinds[0]))
        else:
            what = inner.get("name") or ""
            paths += [(i.get("path") or "", f"{kinds[0]}/{what}") for i in inner.get("items") or ()]
    start = f'volume "{name}" (Projected): overlapping paths: '
    texts += [f"{start}{found}" for found in _collisions(paths)]


def _collisions(paths: list[_Named]) -> Texts:
    if len({path.partition("/")[0] for path, _ in paths}) == len(paths):
        return []
    found: Texts = []
    before: list[_Named] = []
    for path, what in paths:
        path = path.rstrip("/")
        for other, other_what in before:
            if not path or not other:
                continue
            if f"{other}/".startswith(f"{path}/") or f"{path}/".startswith(f"{other}/"):
                found.append(f"{_shown(path, what)} with {_shown(other, other_what)}")
        before.append((path, what))
    return found


def _shown(path: str, what: str) -> str:
    kind, slash, name = what.partition("/")
    if not kind:
        return f'"{path}"'
    label = _LISTED[kind][0] if slash else "ServiceAccountToken"
    return f'"{path}" ({label} "{name}")' if name else f'"{path}" ({label})'
