"""The pods' cgroups in the kernel: /kutter, its classes, one group per pod; v1, hybrid and v2."""

from __future__ import annotations

from kutter.linux.cgroups import Cgroups, Limits, detect_cgroups
from kutter.runtime.cri import Resources


class KernelPodCgroups:
    """Makes and removes pod groups. Raises OSError."""

    def __init__(self, cgroups: Cgroups | None = None) -> None:
        self._cgroups = cgroups or detect_cgroups()

    def create(self, group: str, resources: Resources) -> None:
        """Make the group (and those above) and write its limits; safe to repeat."""
        self._cgroups.create(group)
        self._cgroups.write_limits(
            group,
            Limits(
                cpu_shares=resources.cpu_shares or None,
                cpu_quota_us=resources.cpu_quota_us or -1,
                cpu_period_us=resources.cpu_period_us or None,
                memory_bytes=resources.memory_limit_bytes or -1,
                pids=resources.pids_limit or -1,
            ),
        )

    def remove(self, group: str) -> None:
        """Kill what is left in the group and remove it."""
        if self._cgroups.exists(group):
            self._cgroups.kill_all(group)
            self._cgroups.remove(group)
