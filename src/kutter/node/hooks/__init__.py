"""What a pod needs on its node before its containers run: one concern per module.

A hook has ``prepare`` and ``release``. Laws: both are safe to repeat; ``release`` is safe without
``prepare`` (an agent that was killed in between must be able to clean up); hooks are prepared in
order and released in reverse.
"""

from __future__ import annotations

from kutter.node.hooks.base import Hook, HookFailure, PodWork
from kutter.node.hooks.cgroup import CgroupHook
from kutter.node.hooks.folders import FoldersHook
from kutter.node.hooks.references import ReferencesHook
from kutter.node.hooks.volumes import VolumesHook

POD_HOOKS: tuple[Hook, ...] = (FoldersHook(), CgroupHook(), ReferencesHook(), VolumesHook())

__all__ = ["POD_HOOKS", "Hook", "HookFailure", "PodWork"]
