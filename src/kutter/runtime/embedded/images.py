"""The embedded ImageStore: which images are here, under which names, and what may go.

State is one small index file, written atomically; manifests and configs are blobs, layers are
unpacked folders (their compressed blobs are dropped: nothing is pushed from here).

Laws. An image is in the index only when all its layers are unpacked. What a pull in flight
needs is leased and never swept. An image that a container uses is never collected.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import msgspec

from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.files import write_atomic
from kutter.base.log import get_logger
from kutter.runtime.cri import (
    Auth,
    CriError,
    Image,
    ImagePullError,
    InvalidImageNameError,
    NotFoundError,
    PullProgress,
)
from kutter.runtime.embedded.archive import ArchivedImage, read_archive
from kutter.runtime.embedded.content import ContentStore
from kutter.runtime.embedded.layers import LayerStore, compute_chain_ids
from kutter.runtime.embedded.manifests import ImageConfig, Manifest, parse_config
from kutter.runtime.embedded.references import is_digest, parse_reference

_log = get_logger("images")
_ID_PREFIX_MIN = 3


@dataclass(slots=True)
class ImageRecord:
    """One image as kept in the index. ``id`` is the config's digest."""

    id: str
    chain_ids: list[str]
    size_bytes: int
    user: str = ""
    manifest_digest: str = ""
    tags: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    created_ns: int = 0
    last_used_ns: int = 0
    pinned: bool = False


class Puller(Protocol):
    """Where images come from; see :mod:`kutter.runtime.embedded.registry`."""

    async def pull(
        self,
        reference: str,
        auth: Auth | None,
        target: ImageTarget,
        progress: Callable[[PullProgress], None] | None,
    ) -> tuple[Manifest, str]:
        """Bring config and layers of ``reference``; answers manifest and its digest."""


class ImageTarget(Protocol):
    """What a puller puts an image into."""

    content: ContentStore
    layers: LayerStore


def parse_user(user: str) -> tuple[int | None, str]:
    """(uid, user name) of an image's ``user[:group]``; root when empty."""
    name = user.partition(":")[0]
    if not name:
        return 0, ""
    return (int(name), "") if name.isdigit() else (None, name)


class EmbeddedImages:
    """Implements :class:`kutter.runtime.cri.ImageStore`."""

    def __init__(
        self,
        content: ContentStore,
        layers: LayerStore,
        index: Path,
        puller: Puller | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.content = content
        self.layers = layers
        self._index = index
        self._puller = puller
        self._clock = clock
        self._images: dict[str, ImageRecord] = {}
        self._tags: dict[str, str] = {}
        self._configs: dict[str, ImageConfig] = {}
        self._leases: Counter[str] = Counter()
        self._changing = asyncio.Lock()
        self._pulls: dict[tuple[str, Auth | None], asyncio.Future[Image]] = {}
        # Answers ids of images that containers use; set by the runtime.
        self.in_use: Callable[[], Collection[str]] = lambda: ()

    # Index

    def load(self) -> None:
        """Read the index; drop images whose parts are missing. Blocking, at start."""
        self.layers.load()
        self._images.clear()
        with contextlib.suppress(FileNotFoundError):
            for record in msgspec.json.decode(self._index.read_bytes(), type=list[ImageRecord]):
                whole = self.content.has(record.id) and all(map(self.layers.has, record.chain_ids))
                if whole:
                    self._images[record.id] = record
                else:
                    _log.warning("image is incomplete, dropped", image=record.id)
        self._reindex()

    def _reindex(self) -> None:
        self._tags = {tag: record.id for record in self._images.values() for tag in record.tags}

    async def _save(self) -> None:
        self._reindex()
        data = msgspec.json.encode(list(self._images.values()))
        await asyncio.to_thread(write_atomic, self._index, data, mode=0o600)

    def _now_ns(self) -> int:
        return int(self._clock.now().timestamp() * 1e9)

    @contextlib.contextmanager
    def lease(self, *names: str) -> Iterator[None]:
        """Keep blobs (digests) and layers (chain ids) from being swept."""
        self._leases.update(names)
        try:
            yield
        finally:
            self._leases.subtract(names)
            self._leases += Counter()

    # Look-ups

    def find(self, reference: str) -> ImageRecord | None:
        """By id (also a prefix), tag or repository digest."""
        if reference in self._images:
            return self._images[reference]
        bare = reference.removeprefix("sha256:")
        if len(bare) == 64 and is_digest(f"sha256:{bare}"):
            return self._images.get(f"sha256:{bare}")
        with contextlib.suppress(InvalidImageNameError):
            parsed = parse_reference(reference)
            if parsed.digest:
                wanted = f"{parsed.name}@{parsed.digest}"
                return next((r for r in self._images.values() if wanted in r.digests), None)
            if str(parsed) in self._tags:
                return self._images[self._tags[str(parsed)]]
        if len(bare) >= _ID_PREFIX_MIN and all(c in "0123456789abcdef" for c in bare):
            found = [r for r in self._images.values() if r.id[7:].startswith(bare)]
            if len(found) == 1:
                return found[0]
        return None

    def config(self, record: ImageRecord) -> ImageConfig:
        """The image's config, cached."""
        config = self._configs.get(record.id)
        if config is None:
            if len(self._configs) >= 256:
                self._configs.clear()
            config = self._configs[record.id] = parse_config(self.content.read(record.id))
        return config

    def touch(self, record: ImageRecord) -> None:
        """A container was made from it now (kept on disk with the next change)."""
        record.last_used_ns = self._now_ns()

    def _view(self, record: ImageRecord) -> Image:
        uid, username = parse_user(record.user)
        return Image(
            id=record.id,
            repo_tags=tuple(record.tags),
            repo_digests=tuple(record.digests),
            size_bytes=record.size_bytes,
            uid=uid,
            username=username,
            pinned=record.pinned,
            last_used_ns=record.last_used_ns,
        )

    async def list_images(self) -> list[Image]:
        return [self._view(record) for record in self._images.values()]

    async def image(self, reference: str) -> Image | None:
        record = self.find(reference)
        return self._view(record) if record else None

    # Bringing images in

    async def pull(
        self,
        reference: str,
        auth: Auth | None = None,
        progress: Callable[[PullProgress], None] | None = None,
    ) -> Image:
        """Pull; the same reference asked for twice at once is pulled once."""
        parse_reference(reference)
        key = (reference, auth)
        running = self._pulls.get(key)
        if running is not None:
            return await asyncio.shield(running)
        future: asyncio.Future[Image] = asyncio.get_running_loop().create_future()
        self._pulls[key] = future
        try:
            try:
                image = await self._pull(reference, auth, progress)
            except OSError as error:
                raise ImagePullError(f'failed to pull image "{reference}": {error}') from None
        except BaseException as error:
            future.set_exception(
                error
                if isinstance(error, Exception)
                else ImagePullError(f"pull of {reference} was cancelled")
            )
            future.exception()  # seen, also when nobody else waits
            raise
        else:
            future.set_result(image)
            return image
        finally:
            del self._pulls[key]

    async def _pull(
        self,
        reference: str,
        auth: Auth | None,
        progress: Callable[[PullProgress], None] | None,
    ) -> Image:
        if self._puller is None:
            raise ImagePullError(f"cannot pull {reference}: no registry client is configured")
        with self.lease("*"):
            manifest, digest = await self._puller.pull(reference, auth, self, progress)
            parsed = parse_reference(reference)
            tags = [str(replace(parsed, digest=""))] if parsed.tag else []
            record = await self._install(manifest, digest, tags, [f"{parsed.name}@{digest}"])
        await self.sweep()
        return self._view(record)

    async def import_archive(self, path: Path, *, tag: str = "") -> list[Image]:
        with self.lease("*"):
            archived = await asyncio.to_thread(read_archive, path, self.content)
            images = [self._view(await self._import(image, tag)) for image in archived]
        await self.sweep()
        return images

    async def _import(self, image: ArchivedImage, tag: str) -> ImageRecord:
        tags, digests = [], []
        for name in (tag,) if tag else image.names:
            # A bare tag ("latest"), as some tools write, names no repository.
            if ":" not in name and "/" not in name and not tag and image.manifest_digest:
                name = f"{name}:latest"
            parsed = parse_reference(name)
            if parsed.tag:
                tags.append(str(replace(parsed, digest="")))
            if image.manifest_digest:
                digests.append(f"{parsed.name}@{image.manifest_digest}")
        return await self._install(image.manifest, image.manifest_digest, tags, digests)

    async def _install(
        self, manifest: Manifest, manifest_digest: str, tags: list[str], digests: list[str]
    ) -> ImageRecord:
        """Unpack what is not unpacked yet, then enter the image into the index."""
        config = parse_config(self.content.read(manifest.config.digest))
        if len(config.diff_ids) != len(manifest.layers):
            raise ImagePullError("invalid image: config and manifest differ in their layers")
        chain_ids = compute_chain_ids(config.diff_ids)
        for number, layer in enumerate(manifest.layers):
            if not self.layers.has(chain_ids[number]):
                blob = self.content.path(layer.digest)
                await self.layers.apply(blob, config.diff_ids[number], chain_ids[: number + 1])
        async with self._changing:
            identity = manifest.config.digest
            record = self._images.get(identity)
            if record is None:
                now = self._now_ns()
                size = sum(layer.size_bytes for layer in (manifest.config, *manifest.layers))
                record = ImageRecord(identity, chain_ids, size, config.user, created_ns=now)
                self._images[identity] = record
            record.manifest_digest = manifest_digest or record.manifest_digest
            for other in self._images.values():
                other.tags = [t for t in other.tags if t not in tags or other is record]
            record.tags += [name for name in tags if name not in record.tags]
            record.digests += [name for name in digests if name not in record.digests]
            await self._save()
        return record

    # Taking images out

    async def tag(self, reference: str, name: str) -> Image:
        """Give an image a further name. Raises NotFoundError."""
        parsed = parse_reference(name)
        record = self.find(reference)
        if record is None:
            raise NotFoundError(f"image {reference} not found")
        async with self._changing:
            for other in self._images.values():
                other.tags = [known for known in other.tags if known != str(parsed)]
            record.tags.append(str(parsed))
            await self._save()
        return self._view(record)

    async def pin(self, reference: str, *, pinned: bool = True) -> None:
        """Keep an image from being collected. Raises NotFoundError."""
        record = self.find(reference)
        if record is None:
            raise NotFoundError(f"image {reference} not found")
        async with self._changing:
            record.pinned = pinned
            await self._save()

    async def remove_image(self, reference: str) -> None:
        """Remove the image with all its names, as CRI asks. Removing what is gone succeeds."""
        record = self.find(reference)
        if record is None:
            return
        if record.id in self.in_use():
            raise ImageInUseError(f"image {reference} is used by a container")
        await self._drop([record])

    async def _drop(self, records: Sequence[ImageRecord]) -> None:
        async with self._changing:
            for record in records:
                self._images.pop(record.id, None)
            await self._save()
        await self.sweep()

    async def sweep(self) -> None:
        """Remove blobs and layers no image needs, unless something is on its way in."""
        if self._leases:
            return
        keep = {record.id for record in self._images.values()}
        keep |= {record.manifest_digest for record in self._images.values()}
        layers = {chain for record in self._images.values() for chain in record.chain_ids}
        for digest in await asyncio.to_thread(self.content.list_digests):
            if self._leases:
                return
            if digest not in keep:
                self.content.remove(digest)
        await self.layers.remove_except(layers)

    async def usage_bytes(self) -> tuple[int, int]:
        disk = os.statvfs(self._index.parent)
        chains = {chain for record in self._images.values() for chain in record.chain_ids}
        used = sum(map(self.layers.size_bytes, chains))
        return used + await asyncio.to_thread(
            self.content.size_bytes
        ), disk.f_frsize * disk.f_blocks

    async def collect_garbage(self, *, free_bytes: int, minimum_age_s: float) -> list[Image]:
        used = set(self.in_use())
        limit = self._now_ns() - int(minimum_age_s * 1e9)
        unused = [
            record
            for record in self._images.values()
            if record.id not in used
            and not record.pinned
            and max(record.created_ns, record.last_used_ns) <= limit
        ]
        unused.sort(key=lambda record: (record.last_used_ns, record.created_ns))
        going: list[ImageRecord] = []
        freed = 0
        for record in unused:
            if freed >= free_bytes:
                break
            going.append(record)
            shared = {
                chain
                for other in self._images.values()
                if other not in going
                for chain in other.chain_ids
            }
            freed += sum(
                self.layers.size_bytes(chain) for chain in record.chain_ids if chain not in shared
            )
        await self._drop(going)
        return [self._view(record) for record in going]


class ImageInUseError(CriError):
    """The image is used by a container."""

    reason = "ImageInUse"
