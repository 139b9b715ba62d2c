"""Images of the end-to-end tests, built from what the distribution installed; no network."""

from __future__ import annotations

import subprocess
from pathlib import Path

from kutter.testing.images import (
    BuiltImage,
    Entry,
    FileLike,
    build_busybox_image,
    build_image,
    make_link,
)

# Stands in for nginx: answers its version on port 80, logs requests, and on TERM stops taking
# new connections, then ends with exit code 0.
_SERVE = """#!/bin/sh
httpd -f -vv -p 80 -h /www &
server=$!
trap 'kill $server; sleep 0.2; echo bye; exit 0' TERM
echo started $(cat /www/index.html)
while true; do wait; done
"""


def build_web_image(folder: Path, name: str) -> BuiltImage:
    """A web server whose only page is ``name``."""
    files: dict[str, FileLike] = {
        "www/index.html": f"{name}\n",
        "bin/serve": Entry(content=_SERVE.encode(), mode=0o755),
    }
    path = folder / f"{name.replace(':', '-').replace('/', '-')}.tar"
    return build_busybox_image(path, name, files, cmd=("/bin/serve",), exposed_ports=("80/tcp",))


def build_tools_image(folder: Path, name: str = "tools:1") -> BuiltImage:
    """Busybox and the distribution's curl with its libraries."""
    files: dict[str, FileLike] = {"usr/bin/curl": Path("/usr/bin/curl")}
    linked = subprocess.run(["ldd", "/usr/bin/curl"], capture_output=True, text=True, check=True)
    for line in linked.stdout.splitlines():
        words = [word for word in line.split() if word.startswith("/")]
        if words:
            files[words[0].lstrip("/")] = Path(words[0])
    # Where the loader's own folder is a link on the distribution, it must be one here too.
    for link in ("lib", "lib64"):
        source = Path("/") / link
        if source.is_symlink():
            files = {
                (f"usr/{key}" if key.startswith(f"{link}/") else key): value
                for key, value in files.items()
            }
            files[link] = make_link(f"usr/{link}")
    return build_busybox_image(folder / "tools.tar", name, files)


def build_scratch_image(
    folder: Path, name: str, busybox: Path = Path("/bin/busybox")
) -> BuiltImage:
    """One binary and nothing else: no shell by name, no accounts."""
    files: dict[str, FileLike] = {"sleep": Entry(content=busybox.read_bytes(), mode=0o755)}
    return build_image(folder / "scratch.tar", name, files, entrypoint=("/sleep", "3600"))
