"""The worker process that unpacks one layer: ``python -m kutter.runtime.embedded.unpack``.

Reads the (compressed) layer tar on standard input, writes one line of JSON on standard output:
``{"diff_id", "size_bytes"}`` or ``{"error"}``.

Laws. It works in its own mount namespace, so a kill leaves no mount. The layer is applied on
an overlay of its parents (whiteouts are then plain removals, hard links into parents are
copied up, directories that are not in the layer keep their parents' owner), inside a
``chroot`` to it: no name, link or ``..`` in a hostile layer can lead out. After the chroot
nothing may be imported: the files there are the image's. Format:
https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import stat
import sys
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

_CHUNK_BYTES = 1 << 18
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
# A bound against bombs: no sane layer has more entries.
_ENTRIES_MAX = 4_000_000
_XATTR_PREFIX = "SCHILY.xattr."
# What overlayfs keeps its own marks in must not come from an image.
_XATTR_REFUSED = ("trusted.overlay.", "user.overlay.")


class _Source:
    """The uncompressed stream; hashes everything that passes."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self.hash = hashlib.sha256()
        self._buffer = b""
        head = raw.read(6)
        if head[:2] == b"\x1f\x8b":
            self._feed = self._gzip(head)
        elif head[:4] == b"\x28\xb5\x2f\xfd":
            self._feed = self._zstd(head)
        else:
            self._feed = self._plain(head)

    def _plain(self, head: bytes) -> Callable[[], bytes]:
        rest = iter([head])
        return lambda: next(rest, b"") or self._raw.read(_CHUNK_BYTES)

    def _gzip(self, head: bytes) -> Callable[[], bytes]:
        state: dict[str, Any] = {"stream": zlib.decompressobj(wbits=31), "pending": head}

        def feed() -> bytes:
            while True:
                data = state["pending"] or self._raw.read(_CHUNK_BYTES)
                state["pending"] = b""
                if not data:
                    if not state["stream"].eof:
                        raise EOFError("the gzip stream ends early")
                    return b""
                if state["stream"].eof:  # several members
                    state["stream"] = zlib.decompressobj(wbits=31)
                out: bytes = state["stream"].decompress(data)
                state["pending"] = state["stream"].unused_data
                if out:
                    return out

        return feed

    def _zstd(self, head: bytes) -> Callable[[], bytes]:
        import zstandard

        state: dict[str, Any] = {
            "stream": zstandard.ZstdDecompressor().decompressobj(),
            "pending": head,
        }

        def feed() -> bytes:
            while True:
                data = state["pending"] or self._raw.read(_CHUNK_BYTES)
                state["pending"] = b""
                if not data:
                    if not state["stream"].eof:
                        raise EOFError("the zstd stream ends early")
                    return b""
                if state["stream"].eof:
                    state["stream"] = zstandard.ZstdDecompressor().decompressobj()
                out: bytes = state["stream"].decompress(data)
                state["pending"] = state["stream"].unused_data
                if out:
                    return out

        return feed

    def read(self, size: int = -1) -> bytes:
        parts = [self._buffer]
        have = len(self._buffer)
        while size < 0 or have < size:
            data = self._feed()
            if not data:
                break
            self.hash.update(data)
            parts.append(data)
            have += len(data)
        whole = b"".join(parts)
        if size < 0:
            self._buffer = b""
            return whole
        self._buffer = whole[size:]
        return whole[:size]


class _Extractor:
    """Applies tar entries at ``/`` (of the chroot)."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._written: set[str] = set()
        self._folders: list[tuple[str, float]] = []

    def apply(self, archive: tarfile.TarFile) -> None:
        for count, entry in enumerate(archive):
            if count > _ENTRIES_MAX:
                raise ValueError("the layer has too many entries")
            self._apply_entry(archive, entry)
            archive.members.clear()  # type: ignore[attr-defined]  # streaming: keep no list
        for path, mtime in reversed(self._folders):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                os.utime(path, (mtime, mtime), follow_symlinks=False)

    def _apply_entry(self, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
        path = os.path.normpath("/" + entry.name)
        while path.startswith("//"):
            path = path[1:]
        if "\0" in path:
            raise ValueError("a name contains NUL")
        if path == "/":
            if entry.isdir():
                self._finish(entry, path)
            return
        parent, name = os.path.split(path)
        if name.startswith(_WHITEOUT):
            self._apply_whiteout(parent, name)
            return
        if not os.path.isdir(parent):
            self._make_parents(parent)
        self._make_room(path, entry)
        self._make(archive, entry, path)
        self._finish(entry, path)
        self._written.add(path)

    def _make_parents(self, path: str) -> None:
        if path == "/" or os.path.isdir(path):
            return
        self._make_parents(os.path.dirname(path))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # a file or a dangling link where a directory must be
        os.mkdir(path, 0o755)

    @staticmethod
    def _make_room(path: str, entry: tarfile.TarInfo) -> None:
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode):
            if not entry.isdir():
                shutil.rmtree(path)
        else:
            os.unlink(path)

    def _make(self, archive: tarfile.TarFile, entry: tarfile.TarInfo, path: str) -> None:
        if entry.isdir():
            if not os.path.isdir(path):
                os.mkdir(path, 0o700)
        elif entry.issym():
            os.symlink(entry.linkname, path)
        elif entry.islnk():
            os.link(os.path.normpath("/" + entry.linkname), path, follow_symlinks=False)
        elif entry.ischr() or entry.isblk():
            kind = stat.S_IFCHR if entry.ischr() else stat.S_IFBLK
            os.mknod(path, kind | 0o600, os.makedev(entry.devmajor, entry.devminor))
        elif entry.isfifo():
            os.mkfifo(path, 0o600)
        elif entry.isfile():
            self._write_file(archive, entry, path)
        else:
            raise ValueError(f"unknown kind of entry {entry.type!r}")

    def _write_file(self, archive: tarfile.TarFile, entry: tarfile.TarInfo, path: str) -> None:
        source = archive.extractfile(entry)
        assert source is not None, entry.name
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0) as target:
            while data := source.read(_CHUNK_BYTES):
                target.write(data)
        self.size_bytes += entry.size

    def _finish(self, entry: tarfile.TarInfo, path: str) -> None:
        if entry.islnk():
            return
        os.lchown(path, entry.uid, entry.gid)
        if not entry.issym():
            os.chmod(path, entry.mode & 0o7777)  # after chown, which clears setuid
        for key, value in entry.pax_headers.items():
            if key.startswith(_XATTR_PREFIX):
                self._set_xattr(path, key[len(_XATTR_PREFIX) :], value)
        if entry.isdir():
            self._folders.append((path, entry.mtime))
        else:
            os.utime(path, (entry.mtime, entry.mtime), follow_symlinks=False)

    @staticmethod
    def _set_xattr(path: str, name: str, value: str) -> None:
        if name.startswith(_XATTR_REFUSED):
            raise ValueError(f"refused extended attribute {name}")
        try:
            os.setxattr(path, name, value.encode("utf-8", "surrogateescape"), follow_symlinks=False)
        except OSError as error:
            # user.* on links and file systems without xattrs: as other runtimes, go on.
            if error.errno not in (1, 95):
                raise

    def _apply_whiteout(self, parent: str, name: str) -> None:
        if name == _OPAQUE:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                self._clear(parent)
            return
        hidden = name[len(_WHITEOUT) :]
        if hidden in ("", ".", "..") or "/" in hidden:
            raise ValueError(f"invalid whiteout {name!r}")
        self._remove(os.path.join(parent, hidden))

    def _clear(self, folder: str) -> None:
        """Remove what came from lower layers; what this layer wrote before stays."""
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if path not in self._written and not any(
                written.startswith(path + "/") for written in self._written
            ):
                self._remove(path)
            elif os.path.isdir(path) and not os.path.islink(path):
                self._clear(path)

    @staticmethod
    def _remove(path: str) -> None:
        try:
            if stat.S_ISDIR(os.lstat(path).st_mode):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        except (FileNotFoundError, NotADirectoryError):
            pass


def _enter(layers: Path, target: Path, parents: list[str], scratch: Path) -> None:
    """Mount what the layer is applied on and make it the root directory."""
    from kutter.linux import mounts, syscalls

    root = target
    if parents:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        mounts.set_propagation(Path("/"), "private", recursive=True)
        root = scratch / "merged"
        for folder in (scratch / "work", root):
            folder.mkdir(parents=True, exist_ok=True)
        mounts.mount_overlay(layers, parents, target, scratch / "work", root)
    os.chroot(root)
    os.chdir("/")
    # Nothing of the image may become code of ours.
    sys.path.clear()
    sys.meta_path.clear()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", type=Path, required=True)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--parent", action="append", default=[])
    options = parser.parse_args()
    answer: dict[str, Any]
    try:
        source = _Source(sys.stdin.buffer)
        # Codecs and modules tarfile needs late are loaded before the chroot.
        "".encode("utf-8", "surrogateescape")
        "".encode("ascii")
        "".encode("iso8859-1")
        os.umask(0)
        _enter(options.layers, options.target, options.parent, options.scratch)
        extractor = _Extractor()
        with tarfile.open(fileobj=source, mode="r|", bufsize=_CHUNK_BYTES) as archive:  # type: ignore[call-overload]
            extractor.apply(archive)
        source.read()  # trailing zeros count for the diff id
        answer = {
            "diff_id": "sha256:" + source.hash.hexdigest(),
            "size_bytes": extractor.size_bytes,
        }
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    os._exit(main())
