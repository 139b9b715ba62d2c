"""Watches the config maps and secrets the pod refers to, before anything reads them."""

from __future__ import annotations

from kutter.node.hooks.base import HookFailure, PodWork
from kutter.node.volumes.payload import PayloadError


class ReferencesHook:
    async def prepare(self, work: PodWork) -> None:
        try:
            await work.kit.references.acquire(work.pod)
        except PayloadError as error:
            raise HookFailure("FailedMount", f"MountVolume.SetUp failed: {error}") from error

    async def release(self, work: PodWork) -> None:
        await work.kit.references.release(work.uid)
