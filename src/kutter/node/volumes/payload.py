"""Which files a configMap, secret, downwardAPI or projected volume holds. Pure.

https://kubernetes.io/docs/concepts/storage/volumes/ and projected-volumes/.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from kutter.api.types.core_v1 import (
    ConfigMap,
    Container,
    DownwardAPIVolumeFile,
    EphemeralContainer,
    KeyToPath,
    Pod,
    Secret,
    Volume,
)
from kutter.node.environment import (
    PodContext,
    UnresolvedError,
    decode_secret,
    field_value,
    resource_value,
)

DEFAULT_MODE = 0o644


class File(NamedTuple):
    """One file: its bytes and its mode; ``user`` owns it, None: root."""

    content: bytes
    mode: int
    user: int | None = None


Payload = dict[str, File]


class TokenNeed(NamedTuple):
    """A service account token a projected volume wants."""

    path: str
    audience: str
    expiration_s: int
    mode: int


class PayloadError(Exception):
    """The volume cannot be filled now; the text goes into the FailedMount event."""


def config_map_content(config: ConfigMap) -> dict[str, bytes]:
    """All keys of a config map as bytes."""
    content = {key: text.encode() for key, text in config.data.items()}
    content.update({key: base64.b64decode(text) for key, text in config.binary_data.items()})
    return content


def secret_content(secret: Secret) -> dict[str, bytes]:
    """All keys of a secret as bytes."""
    return {key: decode_secret(text) for key, text in secret.data.items()}


def select(
    content: Mapping[str, bytes],
    items: Iterable[KeyToPath],
    mode: int,
    *,
    optional: bool,
    what: str = "configmap",
) -> Payload:
    """The chosen keys under their paths; all keys when nothing is chosen."""
    chosen = tuple(items)
    if not chosen:
        return {key: File(data, mode) for key, data in content.items()}
    payload: Payload = {}
    for item in chosen:
        if item.key not in content:
            if optional:
                continue
            raise PayloadError(f"{what} references non-existent {what} key: {item.key}")
        payload[item.path] = File(content[item.key], mode if item.mode is None else item.mode)
    return payload


def _config_map(
    context: PodContext, name: str, items: Iterable[KeyToPath], mode: int, optional: bool
) -> Payload:
    config = context.config_map(name)
    if config is None:
        if optional:
            return {}
        raise PayloadError(f'configmap "{name}" not found')
    return select(config_map_content(config), items, mode, optional=optional)


def _secret(
    context: PodContext, name: str, items: Iterable[KeyToPath], mode: int, optional: bool
) -> Payload:
    secret = context.secret(name)
    if secret is None:
        if optional:
            return {}
        raise PayloadError(f'secret "{name}" not found')
    return select(secret_content(secret), items, mode, optional=optional, what="secret")


def _downward(context: PodContext, items: Iterable[DownwardAPIVolumeFile], mode: int) -> Payload:
    payload: Payload = {}
    for item in items:
        try:
            if item.field_ref is not None:
                text = field_value(context, item.field_ref)
            elif item.resource_field_ref is not None:
                text = resource_value(context, item.resource_field_ref, None)
            else:
                continue
        except UnresolvedError as error:
            raise PayloadError(str(error)) from error
        payload[item.path] = File(text.encode(), mode if item.mode is None else item.mode)
    return payload


def compute_payload(context: PodContext, volume: Volume, tokens: Mapping[str, bytes]) -> Payload:
    """All files of one volume. ``tokens`` holds fetched tokens by path. Raises PayloadError."""
    if volume.config_map is not None:
        source = volume.config_map
        mode = _mode(source.default_mode)
        return _config_map(context, source.name, source.items, mode, bool(source.optional))
    if volume.secret is not None:
        secret = volume.secret
        mode = _mode(secret.default_mode)
        return _secret(context, secret.secret_name, secret.items, mode, bool(secret.optional))
    if volume.downward_api is not None:
        return _downward(
            context, volume.downward_api.items, _mode(volume.downward_api.default_mode)
        )
    assert volume.projected is not None
    mode = _mode(volume.projected.default_mode)
    payload: Payload = {}
    for part in volume.projected.sources:
        if part.config_map is not None:
            ref = part.config_map
            payload |= _config_map(context, ref.name, ref.items, mode, bool(ref.optional))
        elif part.secret is not None:
            key = part.secret
            payload |= _secret(context, key.name, key.items, mode, bool(key.optional))
        elif part.downward_api is not None:
            payload |= _downward(context, part.downward_api.items, mode)
        elif part.service_account_token is not None:
            path = part.service_account_token.path
            if path not in tokens:
                raise PayloadError(f"no token for {path} yet")
            payload[path] = _token(context.pod, tokens[path], mode)
    return payload


def _token(pod: Pod, content: bytes, mode: int) -> File:
    """Tokens are private, but whoever the pod runs as must read them: its one user, or (once the
    volume is given to it) its group, or else everybody. KEP-1205.
    """
    security = pod.spec.security_context
    user = _only_user(pod)
    private = user is not None or (security is not None and security.fs_group is not None)
    return File(content, 0o600 if private else mode, user)


def _only_user(pod: Pod) -> int | None:
    """The user all containers of the pod run as, as far as the pod says so."""
    spec = pod.spec
    default = spec.security_context.run_as_user if spec.security_context is not None else None
    containers: list[Container | EphemeralContainer] = [*spec.init_containers, *spec.containers]
    containers += spec.ephemeral_containers
    users = {
        default
        if container.security_context is None or container.security_context.run_as_user is None
        else container.security_context.run_as_user
        for container in containers
    }
    return users.pop() if len(users) == 1 else None


def token_needs(volume: Volume) -> list[TokenNeed]:
    """The tokens a projected volume wants."""
    if volume.projected is None:
        return []
    mode = _mode(volume.projected.default_mode)
    return [
        TokenNeed(
            part.service_account_token.path,
            part.service_account_token.audience,
            part.service_account_token.expiration_seconds or 3600,
            mode,
        )
        for part in volume.projected.sources
        if part.service_account_token is not None
    ]


def referenced_names(volume: Volume) -> tuple[set[str], set[str]]:
    """(config maps, secrets) a volume is filled from."""
    configs: set[str] = set()
    secrets: set[str] = set()
    if volume.config_map is not None:
        configs.add(volume.config_map.name)
    if volume.secret is not None:
        secrets.add(volume.secret.secret_name)
    if volume.projected is not None:
        for part in volume.projected.sources:
            if part.config_map is not None:
                configs.add(part.config_map.name)
            if part.secret is not None:
                secrets.add(part.secret.name)
    return configs, secrets


def _mode(mode: int | None) -> int:
    return DEFAULT_MODE if mode is None else mode
