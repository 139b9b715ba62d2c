"""Writes a volume's files so that readers see the old set or the new one, never a mix.

Layout as upstream's, because programs watch it: ``..data`` points to a time-stamped folder and
every top-level name points through it. Laws: unchanged content writes nothing; the swap is one
rename. https://kubernetes.io/docs/concepts/configuration/configmap/#mounted-configmaps-are-updated-automatically
"""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import datetime
from pathlib import Path, PurePosixPath

from kutter.node.volumes.payload import Payload

DATA = "..data"
_DATA_NEW = "..data_tmp"


class UnsafePathError(ValueError):
    """A payload path that would leave the volume."""


def _check(path: str) -> PurePosixPath:
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or path.startswith(".."):
        raise UnsafePathError(f"invalid path {path!r} in volume")
    return pure


def read_payload(root: Path) -> dict[str, tuple[bytes, int]]:
    """What the volume holds now."""
    data = root / DATA
    found: dict[str, tuple[bytes, int]] = {}
    if not data.exists():
        return found
    base = data.resolve()
    for path in base.rglob("*"):
        if path.is_file():
            found[str(path.relative_to(base))] = (path.read_bytes(), path.stat().st_mode & 0o777)
    return found


def write_payload(
    root: Path,
    payload: Payload,
    *,
    group: int | None = None,
    moment: datetime,
) -> bool:
    """Bring ``root`` to ``payload``; answers whether anything changed.

    ``group`` owns the files and may read them (``fsGroup``).
    Raises UnsafePathError, OSError.
    """
    names = {str(_check(path)): file for path, file in payload.items()}
    wanted = {
        path: (file.content, _with_group(file.mode & 0o777, group)) for path, file in names.items()
    }
    if (root / DATA).is_symlink() and read_payload(root) == wanted:
        return False
    root.mkdir(parents=True, exist_ok=True)
    stamp = moment.strftime("..%Y_%m_%d_%H_%M_%S.")
    folder = Path(tempfile.mkdtemp(prefix=stamp, dir=root))
    old = _current_folder(root)
    try:
        folder.chmod(0o755 if group is None else 0o2775)
        for path, (content, mode) in wanted.items():
            target = folder / path
            for parent in reversed(target.relative_to(folder).parents[:-1]):
                (folder / parent).mkdir(exist_ok=True)
                _own(folder / parent, None, group, 0o755 if group is None else 0o2775)
            target.write_bytes(content)
            _own(target, names[path].user, group, mode)
        _own(folder, None, group, None)
        fresh = root / _DATA_NEW
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(folder.name)
        fresh.rename(root / DATA)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    tops = {PurePosixPath(path).parts[0] for path in wanted}
    _link_names(root, tops)
    if old is not None and old != folder.name:
        shutil.rmtree(root / old, ignore_errors=True)
    return True


def _link_names(root: Path, tops: set[str]) -> None:
    for top in tops:
        link = root / top
        if not link.is_symlink():
            link.symlink_to(f"{DATA}/{top}")
    for entry in os.listdir(root):
        path = root / entry
        if not entry.startswith("..") and entry not in tops and path.is_symlink():
            path.unlink()


def _current_folder(root: Path) -> str | None:
    try:
        return os.readlink(root / DATA)
    except OSError:
        return None


def _with_group(mode: int, group: int | None) -> int:
    return mode if group is None else mode | 0o040


def _own(path: Path, user: int | None, group: int | None, mode: int | None) -> None:
    if group is not None or user is not None:
        os.chown(path, -1 if user is None else user, -1 if group is None else group)
    if mode is not None:
        path.chmod(mode)
