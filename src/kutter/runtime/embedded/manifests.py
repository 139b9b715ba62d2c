"""Image manifests, indexes and configs as values; pure.

https://github.com/opencontainers/image-spec, and Docker's schema 2, which differs in media
types only. Schema 1 is refused: it has no config to verify against.
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from typing import Any

from kutter.runtime.cri import ImagePullError
from kutter.runtime.embedded.references import is_digest

MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "riscv64": "riscv64"}
MANIFEST_MAX_BYTES = 4 << 20
_LAYERS_MAX = 500


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Names a blob. ``platform`` is (os, architecture, variant)."""

    digest: str
    size_bytes: int
    media_type: str = ""
    platform: tuple[str, str, str] | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What a container inherits from its image."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""
    volumes: tuple[str, ...] = ()
    diff_ids: tuple[str, ...] = ()


def _load(content: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise ImagePullError(f"invalid {what}: {error}") from None
    if not isinstance(value, dict):
        raise ImagePullError(f"invalid {what}: not an object")
    return value


def _parse_descriptor(value: Any) -> Descriptor:
    if not isinstance(value, dict) or not is_digest(str(value.get("digest"))):
        raise ImagePullError("invalid descriptor: no digest")
    where = value.get("platform")
    notes = value.get("annotations") or {}
    name = notes.get("io.containerd.image.name") or notes.get("org.opencontainers.image.ref.name")
    size = value.get("size")
    return Descriptor(
        digest=value["digest"],
        size_bytes=size if isinstance(size, int) and size >= 0 else 0,
        media_type=str(value.get("mediaType", "")),
        platform=(
            (
                str(where.get("os", "")),
                str(where.get("architecture", "")),
                str(where.get("variant", "")),
            )
            if isinstance(where, dict)
            else None
        ),
        name=str(name or ""),
    )


def parse_index(content: bytes) -> list[Descriptor] | None:
    """The manifests of an index or manifest list; None when it is something else."""
    value = _load(content, "manifest")
    entries = value.get("manifests")
    if not isinstance(entries, list):
        return None
    return [_parse_descriptor(entry) for entry in entries]


def parse_manifest(content: bytes) -> Manifest:
    """One platform's manifest. Raises ImagePullError."""
    value = _load(content, "manifest")
    if value.get("schemaVersion") != 2 or not isinstance(value.get("layers"), list):
        raise ImagePullError("unsupported manifest: schema 2 or OCI is needed")
    if len(value["layers"]) > _LAYERS_MAX:
        raise ImagePullError("invalid manifest: too many layers")
    return Manifest(
        _parse_descriptor(value.get("config")),
        tuple(_parse_descriptor(layer) for layer in value["layers"]),
    )


def parse_config(content: bytes) -> ImageConfig:
    """An image's config. Raises ImagePullError."""
    value = _load(content, "image config")
    inner = value.get("config") or {}
    rootfs = value.get("rootfs") or {}
    diff_ids = tuple(str(entry) for entry in rootfs.get("diff_ids") or ())
    if not all(is_digest(diff_id) for diff_id in diff_ids):
        raise ImagePullError("invalid image config: diff_ids")
    return ImageConfig(
        entrypoint=tuple(inner.get("Entrypoint") or ()),
        cmd=tuple(inner.get("Cmd") or ()),
        env=tuple(inner.get("Env") or ()),
        user=str(inner.get("User") or ""),
        working_dir=str(inner.get("WorkingDir") or ""),
        stop_signal=str(inner.get("StopSignal") or ""),
        volumes=tuple(inner.get("Volumes") or ()),
        diff_ids=diff_ids,
    )


def choose_platform(
    descriptors: list[Descriptor], machine: str = platform.machine()
) -> Descriptor | None:
    """The manifest for this machine; one without a platform will do when there is no other."""
    wanted = ARCHITECTURES.get(machine, machine)
    fitting = [
        entry for entry in descriptors if entry.platform and entry.platform[:2] == ("linux", wanted)
    ]
    # Plain entries first: a variant (v8) may ask for more than the machine has.
    for entry in sorted(fitting, key=lambda each: each.platform[2] if each.platform else ""):
        return entry
    return next((entry for entry in descriptors if entry.platform is None), None)
