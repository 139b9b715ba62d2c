"""Blocking work that must not be left half done behind its caller's back.

A cancelled ``asyncio.to_thread`` returns at once while its thread works on; whoever then
cleans up would race with it. Here a cancelled caller waits for the thread's end first. For
work of milliseconds (mounts, namespaces, small files).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def run_whole(work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Run ``work`` in a thread; when cancelled, let it end, then raise CancelledError."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **options))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # seen: the cancellation is what counts
        raise
