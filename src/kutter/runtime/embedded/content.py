"""Content-addressed blobs on disk, and ingests: blobs on their way in.

Laws. A blob is under its digest only when every byte of it was hashed to that digest. An
ingest is resumable: what a crash left is hashed again and continued. Blobs are immutable.

Layout: ``blobs/sha256/<hex>``, ``ingest/<hex>``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from kutter.runtime.cri import ImagePullError
from kutter.runtime.embedded.references import is_digest

_CHUNK_BYTES = 1 << 20


class DigestError(ImagePullError):
    """The bytes are not those the digest names."""


def compute_digest(content: bytes) -> str:
    """``sha256:<hex>`` of ``content``."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Ingest:
    """One blob being written; blocking calls, used by one writer at a time.

    Leaving the ``with`` block keeps the bytes for a later resume.
    """

    def __init__(self, path: Path, target: Path, digest: str) -> None:
        self._path = path
        self._target = target
        self._digest = digest
        self._hash = hashlib.new(digest.partition(":")[0])
        self._file = path.open("a+b")
        self.offset = 0
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK_BYTES):
            self._hash.update(chunk)
            self.offset += len(chunk)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def write(self, data: bytes) -> None:
        """Append and hash."""
        self._file.write(data)
        self._hash.update(data)
        self.offset += len(data)

    def restart(self) -> None:
        """Forget what was written: the other side cannot continue."""
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.new(self._digest.partition(":")[0])
        self.offset = 0

    def commit(self) -> Path:
        """Verify and publish. Raises DigestError (the bytes are then dropped)."""
        self._file.flush()
        found = f"{self._digest.partition(':')[0]}:{self._hash.hexdigest()}"
        if found != self._digest:
            self._file.close()
            self._path.unlink(missing_ok=True)
            raise DigestError(f"digest mismatch: want {self._digest}, got {found}")
        os.fsync(self._file.fileno())
        self._file.close()
        self._target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self._path, self._target)
        return self._target


class ContentStore:
    """Blobs below one folder."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs"
        self._ingests = folder / "ingest"
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._ingests.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        """Where the blob is or would be."""
        assert is_digest(digest), digest
        algorithm, _, name = digest.partition(":")
        return self._blobs / algorithm / name

    def has(self, digest: str) -> bool:
        """Whether the blob is complete here."""
        return self.path(digest).exists()

    def read(self, digest: str) -> bytes:
        """A small blob. Raises FileNotFoundError, DigestError when the disk lost bits."""
        content = self.path(digest).read_bytes()
        algorithm, _, name = digest.partition(":")
        if hashlib.new(algorithm, content).hexdigest() != name:
            raise DigestError(f"blob {digest} is damaged")
        return content

    def write(self, content: bytes, digest: str = "") -> str:
        """Store a small blob; answers its digest. Raises DigestError."""
        digest = digest or compute_digest(content)
        if not self.has(digest):
            with self.open_ingest(digest) as ingest:
                ingest.restart()
                ingest.write(content)
                ingest.commit()
        return digest

    def write_stream(self, source: IO[bytes]) -> str:
        """Store what ``source`` yields under the digest it turns out to have; blocking."""
        hashed = hashlib.sha256()
        descriptor, name = tempfile.mkstemp(dir=self._ingests)
        try:
            with os.fdopen(descriptor, "wb") as file:
                while chunk := source.read(_CHUNK_BYTES):
                    hashed.update(chunk)
                    file.write(chunk)
            digest = "sha256:" + hashed.hexdigest()
            target = self.path(digest)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return digest

    def open_ingest(self, digest: str) -> Ingest:
        """Start or resume writing a blob."""
        name = digest.partition(":")[2]
        return Ingest(self._ingests / name, self.path(digest), digest)

    def remove(self, digest: str) -> None:
        """Remove a blob and what is left of an ingest of it."""
        self.path(digest).unlink(missing_ok=True)
        (self._ingests / digest.partition(":")[2]).unlink(missing_ok=True)

    def list_digests(self) -> list[str]:
        """Every complete blob."""
        return sorted(f"{path.parent.name}:{path.name}" for path in self._blobs.glob("*/*"))

    def remove_ingests(self) -> None:
        """Drop interrupted ingests."""
        for path in self._ingests.iterdir():
            with contextlib.suppress(FileNotFoundError):
                path.unlink()

    def size_bytes(self) -> int:
        """Bytes on disk of blobs and ingests."""
        paths = [*self._blobs.glob("*/*"), *self._ingests.iterdir()]
        return sum(path.stat().st_size for path in paths)
