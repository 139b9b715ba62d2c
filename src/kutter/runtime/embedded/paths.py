"""Where the embedded runtime keeps things: one value, so that tests use folders of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RuntimePaths:
    """``root`` survives a reboot, ``run`` need not. ``cgroup`` is the group of what is ours.

    ``cgroup`` holds the monitors, and sandboxes whose caller names no parent.
    """

    root: Path = Path("/var/lib/kutter/runtime")
    run: Path = Path("/run/kutter/runtime")
    cgroup: str = "/kutter-runtime"

    @property
    def content(self) -> Path:
        return self.root / "content"

    @property
    def layers(self) -> Path:
        return self.root / "layers"

    @property
    def image_index(self) -> Path:
        return self.root / "images.json"

    @property
    def containers(self) -> Path:
        return self.root / "containers"

    @property
    def sandboxes(self) -> Path:
        return self.root / "sandboxes"

    @property
    def trash(self) -> Path:
        return self.root / "trash"

    @property
    def bundles(self) -> Path:
        return self.run / "bundles"

    @property
    def pods(self) -> Path:
        """Per sandbox: pinned namespaces and shared memory."""
        return self.run / "sandboxes"

    @property
    def oci(self) -> Path:
        """State of the OCI runtime."""
        return self.run / "oci"

    @property
    def exits(self) -> Path:
        """One file per ended container, written by its monitor."""
        return self.run / "exits"

    def make(self) -> None:
        """Create the folders, closed to others."""
        for folder in (
            self.content,
            self.layers,
            self.containers,
            self.sandboxes,
            self.trash,
            self.bundles,
            self.pods,
            self.oci,
            self.exits,
        ):
            folder.mkdir(parents=True, exist_ok=True, mode=0o711)
