"""Reads image archives into the content store: OCI layout and ``docker save``, also compressed.

Every file of the archive becomes a blob under the digest of its bytes, in one pass; then the
archive's own index tells which of them are images. Nothing in it is trusted: names lead
nowhere, digests are computed.
"""

from __future__ import annotations

import contextlib
import json
import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from kutter.runtime.cri import ImagePullError
from kutter.runtime.embedded.content import ContentStore
from kutter.runtime.embedded.manifests import (
    INDEX_TYPES,
    Descriptor,
    Manifest,
    choose_platform,
    parse_index,
    parse_manifest,
)

_ENTRIES_MAX = 100_000
_SMALL_MAX_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """An image whose blobs are now in the content store.

    ``manifest_digest`` is empty for ``docker save`` archives, which have no manifest.
    """

    manifest: Manifest
    manifest_digest: str
    names: tuple[str, ...]


@contextlib.contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        magic = file.read(6)
        file.seek(0)
        if magic[:2] == b"\x1f\x8b":
            import gzip

            with gzip.open(file) as plain:
                yield plain  # type: ignore[misc]
        elif magic[:4] == b"\x28\xb5\x2f\xfd":
            import zstandard

            with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as data:
                yield data
        else:
            yield file


def read_archive(path: Path, content: ContentStore) -> list[ArchivedImage]:
    """Blocking. Raises ImagePullError for what is no image archive, OSError."""
    names: dict[str, str] = {}
    links: dict[str, str] = {}
    try:
        with _open(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for count, entry in enumerate(archive):
                if count > _ENTRIES_MAX:
                    raise ImagePullError("the archive has too many entries")
                name = posixpath.normpath(entry.name).lstrip("/")
                if entry.issym():
                    target = posixpath.join(posixpath.dirname(name), entry.linkname)
                    links[name] = posixpath.normpath(target)
                elif entry.islnk():
                    links[name] = posixpath.normpath(entry.linkname)
                elif entry.isfile():
                    source = archive.extractfile(entry)
                    assert source is not None, name
                    names[name] = content.write_stream(source)
                archive.members.clear()  # type: ignore[attr-defined]
    except (tarfile.TarError, EOFError, ValueError, ArithmeticError) as error:
        raise ImagePullError(f"{path.name} is no image archive: {error}") from None
    except Exception as error:
        if type(error).__module__.startswith(("zstandard", "zlib", "gzip")):
            raise ImagePullError(f"{path.name} is no image archive: {error}") from None
        raise
    for name, target in links.items():
        if target in names:
            names[name] = names[target]
    return _find_images(path, names, content)


def _find_images(path: Path, names: dict[str, str], content: ContentStore) -> list[ArchivedImage]:
    def read(name: str) -> bytes:
        digest = names.get(name)
        if digest is None:
            raise ImagePullError(f"{path.name} lacks {name}")
        if content.path(digest).stat().st_size > _SMALL_MAX_BYTES:
            raise ImagePullError(f"{path.name}: {name} is too large")
        return content.read(digest)

    tags: dict[str, list[str]] = {}
    docker: list[ArchivedImage] = []
    if "manifest.json" in names:
        for item in _load_list(read("manifest.json")):
            image = _read_docker(item, names, content)
            docker.append(image)
            tags[image.manifest.config.digest] = list(image.names)
    if "index.json" not in names:
        if not docker:
            raise ImagePullError(f"{path.name} is no image archive: no index.json, manifest.json")
        return docker
    images = []
    for descriptor in parse_index(read("index.json")) or []:
        found = _read_oci(descriptor, content)
        if found is None:
            continue
        digest, manifest = found
        known = [descriptor.name] if descriptor.name else []
        known += [tag for tag in tags.get(manifest.config.digest, []) if tag not in known]
        images.append(ArchivedImage(manifest, digest, tuple(known)))
    if not images:
        raise ImagePullError(f"{path.name} holds no image for this platform")
    return images


def _read_oci(descriptor: Descriptor, content: ContentStore) -> tuple[str, Manifest] | None:
    """Follow nested indexes to the manifest for this machine."""
    for _ in range(4):
        if not content.has(descriptor.digest):
            return None
        blob = content.read(descriptor.digest)
        entries = parse_index(blob)
        if entries is None and descriptor.media_type not in INDEX_TYPES:
            manifest = parse_manifest(blob)
            needed = (manifest.config, *manifest.layers)
            missing = [each.digest for each in needed if not content.has(each.digest)]
            if missing:
                raise ImagePullError(f"the archive lacks blob {missing[0]}")
            return descriptor.digest, manifest
        present = [entry for entry in entries or [] if content.has(entry.digest)]
        chosen = choose_platform(present)
        if chosen is None:
            return None
        descriptor = chosen
    raise ImagePullError("the archive's index is nested too deep")


def _load_list(text: bytes) -> list[dict[str, Any]]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ImagePullError(f"invalid manifest.json: {error}") from None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ImagePullError("invalid manifest.json: not a list of objects")
    return value


def _read_docker(
    item: dict[str, Any], names: dict[str, str], content: ContentStore
) -> ArchivedImage:
    def describe(name: str) -> Descriptor:
        digest = names.get(posixpath.normpath(name))
        if digest is None:
            raise ImagePullError(f"the archive lacks {name}")
        return Descriptor(digest, content.path(digest).stat().st_size)

    manifest = Manifest(
        describe(str(item.get("Config"))),
        tuple(describe(str(name)) for name in item.get("Layers") or ()),
    )
    return ArchivedImage(manifest, "", tuple(item.get("RepoTags") or ()))
