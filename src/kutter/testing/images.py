"""Builds container images as archives, in Python alone: no daemon, no registry, no root.

``build_image(path, "app:1", {"bin/app": Path("app")}, entrypoint=("/bin/app",))`` writes an OCI
layout (or ``docker save``) tar that any runtime imports. The same input gives the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_MTIME = 1_700_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a layer; ``kind`` as in tarfile (``REGTYPE``, ``DIRTYPE``, ``SYMTYPE``, ...)."""

    content: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    device: tuple[int, int] = (0, 0)
    mtime: int = _MTIME
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


def make_folder(mode: int = 0o755, uid: int = 0, gid: int = 0) -> Entry:
    """A folder."""
    return Entry(kind=tarfile.DIRTYPE, mode=mode, uid=uid, gid=gid)


def make_link(target: str) -> Entry:
    """A symbolic link."""
    return Entry(kind=tarfile.SYMTYPE, link=target, mode=0o777)


def make_hard_link(target: str) -> Entry:
    """A hard link to another path of the image."""
    return Entry(kind=tarfile.LNKTYPE, link=target)


# A path is read and keeps its execute bit; text and bytes become a plain file.
FileLike = Entry | Path | bytes | str


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """What was written. ``id`` is the config's digest."""

    path: Path
    name: str
    id: str
    manifest_digest: str
    layer_digests: tuple[str, ...]
    diff_ids: tuple[str, ...]


def _entry(value: FileLike) -> Entry:
    if isinstance(value, Entry):
        return value
    if isinstance(value, Path):
        executable = value.stat().st_mode & 0o111
        return Entry(content=value.read_bytes(), mode=0o755 if executable else 0o644)
    return Entry(content=value.encode() if isinstance(value, str) else value)


def build_layer(files: Mapping[str, FileLike], *, parents: bool = True) -> bytes:
    """One layer as an uncompressed tar, in the order given; ``parents`` adds missing folders."""
    buffer = io.BytesIO()
    known: set[str] = set()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, value in files.items():
            if parents and ".." not in name and not name.startswith("/"):
                parts = name.split("/")[:-1]
                for depth in range(1, len(parts) + 1):
                    parent = "/".join(parts[:depth])
                    if parent not in known and parent not in files:
                        _add(archive, parent, make_folder())
                    known.add(parent)
            known.add(name)
            _add(archive, name, _entry(value))
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, entry: Entry) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.uid, info.gid = entry.kind, entry.mode, entry.uid, entry.gid
    info.mtime, info.linkname = entry.mtime, entry.link
    info.devmajor, info.devminor = entry.device
    info.size = len(entry.content)
    for key, value in entry.xattrs.items():
        info.pax_headers = {
            **info.pax_headers,
            f"SCHILY.xattr.{key}": value.decode("utf-8", "surrogateescape"),
        }
    archive.addfile(info, io.BytesIO(entry.content))


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _compress(content: bytes, how: str) -> tuple[bytes, str]:
    if how == "gzip":
        return gzip.compress(content, 1, mtime=0), "+gzip"
    if how == "zstd":
        import zstandard

        return zstandard.ZstdCompressor().compress(content), "+zstd"
    assert how == "none", how
    return content, ""


def build_image(
    path: Path,
    name: str,
    files: Mapping[str, FileLike] | None = None,
    *,
    entrypoint: Sequence[str] = (),
    cmd: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    user: str = "",
    working_dir: str = "",
    layers: Sequence[Mapping[str, FileLike] | bytes] = (),
    labels: Mapping[str, str] | None = None,
    exposed_ports: Sequence[str] = (),
    volumes: Sequence[str] = (),
    stop_signal: str = "",
    compression: str = "gzip",
    layout: str = "oci",
    architecture: str = "",
) -> BuiltImage:
    """Write an image archive to ``path``.

    ``layers`` are the lower layers, bottom first, as files or as :func:`build_layer` made them;
    ``files``, if any, becomes the topmost.
    ``compression`` of layers: gzip, zstd or none. ``layout``: oci or docker (``docker save``).
    """
    contents: list[Mapping[str, FileLike] | bytes] = [*layers, *([files] if files else [])]
    tars = [each if isinstance(each, bytes) else build_layer(each) for each in contents]
    diff_ids = tuple(_digest(tar) for tar in tars)
    process: dict[str, Any] = {
        "Entrypoint": list(entrypoint) or None,
        "Cmd": list(cmd) or None,
        "Env": [f"{key}={value}" for key, value in (env or {}).items()]
        or ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "User": user,
        "WorkingDir": working_dir,
        "Labels": dict(labels or {}) or None,
        "ExposedPorts": {port: {} for port in exposed_ports} or None,
        "Volumes": {volume: {} for volume in volumes} or None,
        "StopSignal": stop_signal,
    }
    config = json.dumps(
        {
            "architecture": architecture or _ARCHITECTURES.get(platform.machine(), "amd64"),
            "os": "linux",
            "config": {key: value for key, value in process.items() if value},
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
            "history": [{"created_by": "kutter.testing"} for _ in tars],
        }
    ).encode()
    if layout == "docker":
        return _write_docker(path, name, config, tars, diff_ids)
    assert layout == "oci", layout
    return _write_oci(path, name, config, [_compress(tar, compression) for tar in tars], diff_ids)


def _write_oci(
    path: Path,
    name: str,
    config: bytes,
    layers: list[tuple[bytes, str]],
    diff_ids: tuple[str, ...],
) -> BuiltImage:
    kind = "application/vnd.oci.image."
    blobs = {_digest(blob): blob for blob, _ in layers}
    blobs[_digest(config)] = config
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": kind + "manifest.v1+json",
            "config": {
                "mediaType": kind + "config.v1+json",
                "digest": _digest(config),
                "size": len(config),
            },
            "layers": [
                {
                    "mediaType": f"{kind}layer.v1.tar{suffix}",
                    "digest": _digest(blob),
                    "size": len(blob),
                }
                for blob, suffix in layers
            ],
        }
    ).encode()
    blobs[_digest(manifest)] = manifest
    index = {
        "schemaVersion": 2,
        "manifests": [
            {
                "mediaType": kind + "manifest.v1+json",
                "digest": _digest(manifest),
                "size": len(manifest),
                "annotations": {"org.opencontainers.image.ref.name": name} if name else {},
            }
        ],
    }
    members = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
    members |= {f"blobs/{key.replace(':', '/')}": blob for key, blob in blobs.items()}
    members["index.json"] = json.dumps(index).encode()
    _write_tar(path, members)
    return BuiltImage(
        path,
        name,
        _digest(config),
        _digest(manifest),
        tuple(_digest(blob) for blob, _ in layers),
        diff_ids,
    )


def _write_docker(
    path: Path, name: str, config: bytes, tars: list[bytes], diff_ids: tuple[str, ...]
) -> BuiltImage:
    config_name = _digest(config).partition(":")[2] + ".json"
    names = [f"{diff_id.partition(':')[2]}/layer.tar" for diff_id in diff_ids]
    manifest = [{"Config": config_name, "RepoTags": [name] if name else None, "Layers": names}]
    members = dict(zip(names, tars, strict=True))
    members[config_name] = config
    members["manifest.json"] = json.dumps(manifest).encode()
    _write_tar(path, members)
    return BuiltImage(path, name, _digest(config), "", diff_ids, diff_ids)


def _write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), _MTIME
            archive.addfile(info, io.BytesIO(content))


def list_busybox_files() -> dict[str, FileLike]:
    """Busybox (Debian ``busybox-static``) with a link for each of its commands, and accounts.

    Raises FileNotFoundError when the distribution package is not installed.
    """
    found = shutil.which("busybox")
    if found is None:
        raise FileNotFoundError("busybox is not installed (package busybox-static)")
    listing = subprocess.run([found, "--list"], capture_output=True, text=True, check=True)
    files: dict[str, FileLike] = {
        "bin/busybox": Entry(content=Path(found).read_bytes(), mode=0o755),
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        "etc/group": "root:x:0:\nnogroup:x:65534:\n",
        "root": make_folder(0o700),
        "tmp": make_folder(0o1777),
        "var": make_folder(),
        "home": make_folder(),
    }
    for command in listing.stdout.split():
        if command != "busybox":
            files[f"bin/{command}"] = make_link("/bin/busybox")
    return files


def build_busybox_image(
    path: Path,
    name: str = "busybox:latest",
    files: Mapping[str, FileLike] | None = None,
    **options: Any,
) -> BuiltImage:
    """An image with a shell and the usual commands; ``files`` come on top in their own layer.

    Further options are those of :func:`build_image`; the command is ``sh`` unless given.
    """
    if not options.get("entrypoint"):
        options.setdefault("cmd", ("sh",))
    layers = [list_busybox_files(), *options.pop("layers", ())]
    return build_image(path, name, files, layers=layers, **options)
