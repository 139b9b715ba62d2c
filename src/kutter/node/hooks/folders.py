"""The pod's folder and its log folder. Logs stay until the pod is forgotten."""

from __future__ import annotations

from kutter.node.container_config import log_folder
from kutter.node.hooks.base import HookFailure, PodWork


class FoldersHook:
    """``<root>/pods/<uid>`` and ``<logs>/<namespace>_<name>_<uid>``."""

    async def prepare(self, work: PodWork) -> None:
        try:
            work.folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            log_folder(work.kit.options, work.pod).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"error making pod data directories: {error}"
            raise HookFailure("FailedToMakePodDataDirectories", message) from error

    async def release(self, work: PodWork) -> None:
        """Nothing yet: termination messages and logs are still read."""
