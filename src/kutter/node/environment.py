"""A container's environment, command and arguments from the pod. Pure, given what it refers to.

Order and expansion as upstream: service variables, ``envFrom``, ``env`` (later wins), each value
expanded with what came before; a name that is not known stays as written.
https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from kutter.api.types.core_v1 import (
    ConfigMap,
    EnvVar,
    ObjectFieldSelector,
    Pod,
    ResourceFieldSelector,
    Secret,
    Service,
)
from kutter.node.facts import AnyContainerSpec
from kutter.node.resources import parse_amount

_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)|\$")
_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.*)'\]$")


class UnresolvedError(Exception):
    """The environment cannot be made now; the text is the waiting state's message."""


@dataclass(frozen=True, slots=True)
class PodContext:
    """What the downward API and references may need, as known when a container is made.

    ``config_map`` and ``secret`` answer by name in the pod's namespace, None when absent.
    ``allocatable`` are the node's amounts, the default of limits.
    """

    pod: Pod
    config_map: Callable[[str], ConfigMap | None]
    secret: Callable[[str], Secret | None]
    pod_ips: tuple[str, ...] = ()
    host_ips: tuple[str, ...] = ()
    allocatable: Mapping[str, Fraction] = field(default_factory=dict)
    services: tuple[Service, ...] = ()


def expand(text: str, known: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by its value; ``$$`` is one dollar; unknown names stay."""
    if "$" not in text:
        return text

    def replace(match: re.Match[str]) -> str:
        whole = match.group(0)
        if whole == "$$":
            return "$"
        if match.group(1) is None:
            return whole
        return known.get(match.group(1), whole)

    return _REFERENCE.sub(replace, text)


def expand_strict(text: str, known: Mapping[str, str]) -> str:
    """As :func:`expand`, but unknown names are an error (``subPathExpr``)."""
    for match in _REFERENCE.finditer(text):
        name = match.group(1)
        if name is not None and name not in known:
            raise UnresolvedError(f"missing value for {name}")
    return expand(text, known)


def render_map(values: Mapping[str, str]) -> str:
    """Labels or annotations as the downward API writes them."""
    return "\n".join(f"{key}={go_quote(values[key])}" for key in sorted(values))


def go_quote(text: str) -> str:
    """A string literal as Go's ``%q`` writes it."""
    out = ['"']
    for char in text:
        code = ord(char)
        if char in '"\\':
            out.append("\\" + char)
        elif char in "\a\b\f\n\r\t\v":
            out.append("\\" + "abfnrtv"["\a\b\f\n\r\t\v".index(char)])
        elif code < 32 or code == 127:
            out.append(f"\\x{code:02x}")
        elif char.isprintable():
            out.append(char)
        else:
            out.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return "".join([*out, '"'])


def field_value(context: PodContext, selector: ObjectFieldSelector) -> str:
    """The value of a ``fieldRef``. Raises UnresolvedError."""
    pod, path = context.pod, selector.field_path
    meta, spec = pod.metadata, pod.spec
    match = _SUBSCRIPT.match(path)
    if match:
        values = meta.labels if match.group(1) == "labels" else meta.annotations
        return values.get(match.group(2), "")
    ips = (spec.host_network and context.host_ips) or context.pod_ips
    simple: dict[str, str] = {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "spec.nodeName": spec.node_name,
        "spec.serviceAccountName": spec.service_account_name,
        "status.hostIP": context.host_ips[0] if context.host_ips else "",
        "status.hostIPs": ",".join(context.host_ips),
        "status.podIP": ips[0] if ips else "",
        "status.podIPs": ",".join(ips),
    }
    if path in simple:
        return simple[path]
    if path == "metadata.labels":
        return render_map(meta.labels)
    if path == "metadata.annotations":
        return render_map(meta.annotations)
    raise UnresolvedError(f"unsupported fieldPath: {path}")


def resource_value(
    context: PodContext, selector: ResourceFieldSelector, spec: AnyContainerSpec | None
) -> str:
    """The value of a ``resourceFieldRef``, divided and rounded up. Raises UnresolvedError."""
    if selector.container_name:
        named = [*context.pod.spec.containers, *context.pod.spec.init_containers]
        spec = next((c for c in named if c.name == selector.container_name), None)
    if spec is None:
        raise UnresolvedError(f"container {selector.container_name} not found")
    kind, _, name = selector.resource.partition(".")
    amounts = getattr(spec.resources, kind, None)
    if amounts is None or not name:
        raise UnresolvedError(f"unsupported container resource : {selector.resource}")
    if name in amounts:
        amount = parse_amount(amounts[name])
    elif kind == "limits" and name in context.allocatable:
        amount = context.allocatable[name]
    else:
        amount = Fraction(0)
    divisor = parse_amount(selector.divisor or "0") or Fraction(1)
    return str(math.ceil(amount / divisor))


def decode_secret(text: str) -> bytes:
    """A secret's value; what is not base64 counts as empty, the API lets none through."""
    try:
        return base64.b64decode(text)
    except (ValueError, binascii.Error):
        return b""


def _key_value(context: PodContext, var: EnvVar, spec: AnyContainerSpec) -> str | None:
    """The value of a ``valueFrom``; None when it is optional and absent."""
    source = var.value_from
    assert source is not None
    namespace = context.pod.metadata.namespace
    if source.field_ref is not None:
        return field_value(context, source.field_ref)
    if source.resource_field_ref is not None:
        return resource_value(context, source.resource_field_ref, spec)
    if source.config_map_key_ref is not None:
        ref = source.config_map_key_ref
        config = context.config_map(ref.name)
        if config is None:
            if ref.optional:
                return None
            raise UnresolvedError(f'configmap "{ref.name}" not found')
        if ref.key not in config.data:
            if ref.optional:
                return None
            raise UnresolvedError(
                f"couldn't find key {ref.key} in ConfigMap {namespace}/{ref.name}"
            )
        return config.data[ref.key]
    if source.secret_key_ref is not None:
        secret_ref = source.secret_key_ref
        secret = context.secret(secret_ref.name)
        if secret is None:
            if secret_ref.optional:
                return None
            raise UnresolvedError(f'secret "{secret_ref.name}" not found')
        if secret_ref.key not in secret.data:
            if secret_ref.optional:
                return None
            raise UnresolvedError(
                f"couldn't find key {secret_ref.key} in Secret {namespace}/{secret_ref.name}"
            )
        return decode_secret(secret.data[secret_ref.key]).decode(errors="replace")
    return ""


def _from_sources(context: PodContext, spec: AnyContainerSpec) -> dict[str, str]:
    found: dict[str, str] = {}
    for source in spec.env_from:
        if source.config_map_ref is not None:
            config = context.config_map(source.config_map_ref.name)
            if config is None:
                if source.config_map_ref.optional:
                    continue
                raise UnresolvedError(f'configmap "{source.config_map_ref.name}" not found')
            found.update({source.prefix + k: v for k, v in config.data.items()})
        elif source.secret_ref is not None:
            secret = context.secret(source.secret_ref.name)
            if secret is None:
                if source.secret_ref.optional:
                    continue
                raise UnresolvedError(f'secret "{source.secret_ref.name}" not found')
            for key, value in secret.data.items():
                found[source.prefix + key] = decode_secret(value).decode(errors="replace")
    return found


def service_variables(
    services: Iterable[Service], namespace: str, *, links: bool
) -> dict[str, str]:
    """The variables that tell of services; always those of ``default/kubernetes``.

    https://kubernetes.io/docs/tutorials/services/connect-applications-service/
    """
    found: dict[str, str] = {}
    chosen: dict[str, Service] = {}
    for service in services:
        meta = service.metadata
        if service.spec.cluster_ip in ("", "None") or not service.spec.ports:
            continue
        if meta.namespace == "default" and meta.name == "kubernetes":
            chosen.setdefault(meta.name, service)
        elif links and meta.namespace == namespace:
            chosen[meta.name] = service
    for name, service in chosen.items():
        prefix = name.upper().replace("-", "_")
        ip = service.spec.cluster_ip
        first = service.spec.ports[0]
        found[f"{prefix}_SERVICE_HOST"] = ip
        found[f"{prefix}_SERVICE_PORT"] = str(first.port)
        host = f"[{ip}]" if ":" in ip else ip
        for port in service.spec.ports:
            if port.name:
                suffix = port.name.upper().replace("-", "_")
                found[f"{prefix}_SERVICE_PORT_{suffix}"] = str(port.port)
        for index, port in enumerate(service.spec.ports):
            protocol = port.protocol or "TCP"
            url = f"{protocol.lower()}://{host}:{port.port}"
            if index == 0:
                found[f"{prefix}_PORT"] = url
            stem = f"{prefix}_PORT_{port.port}_{protocol.upper()}"
            found[stem] = url
            found[f"{stem}_PROTO"] = protocol.lower()
            found[f"{stem}_PORT"] = str(port.port)
            found[f"{stem}_ADDR"] = ip
    return found


def compute_environment(context: PodContext, spec: AnyContainerSpec) -> dict[str, str]:
    """All variables of one container. Raises UnresolvedError."""
    pod = context.pod
    links = pod.spec.enable_service_links is not False
    services = service_variables(context.services, pod.metadata.namespace, links=links)
    result = _from_sources(context, spec)
    known = dict(result)
    for var in spec.env:
        if var.value_from is None:
            scope = {**services, **known}
            value = expand(var.value, scope)
        else:
            found = _key_value(context, var, spec)
            if found is None:
                continue
            value = found
        known[var.name] = result[var.name] = value
    for name, value in services.items():
        result.setdefault(name, value)
    return result


def compute_command(
    spec: AnyContainerSpec, environment: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(command, args) with variables expanded."""
    command = tuple(expand(part, environment) for part in spec.command)
    return command, tuple(expand(part, environment) for part in spec.args)
