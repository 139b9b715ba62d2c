"""Puts the embedded runtime together from paths: what a composition root or a test calls."""

from __future__ import annotations

from collections.abc import Mapping

from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.runtime.cri import SandboxNetwork
from kutter.runtime.embedded.content import ContentStore
from kutter.runtime.embedded.images import EmbeddedImages, Puller
from kutter.runtime.embedded.layers import LayerStore
from kutter.runtime.embedded.paths import RuntimePaths
from kutter.runtime.embedded.runtime import EmbeddedRuntime


def build_images(
    paths: RuntimePaths, puller: Puller | None = None, *, clock: Clock = SYSTEM_CLOCK
) -> EmbeddedImages:
    """The image store of a machine, not yet loaded."""
    return EmbeddedImages(
        ContentStore(paths.content),
        LayerStore(paths.layers),
        paths.image_index,
        puller,
        clock=clock,
    )


def build_runtime(
    paths: RuntimePaths,
    network: SandboxNetwork,
    *,
    puller: Puller | None = None,
    runtimes: Mapping[str, str] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> tuple[EmbeddedRuntime, EmbeddedImages]:
    """Runtime and image store over the same paths; ``await runtime.start()`` loads both.

    ``network`` must be ready to ``detach`` then: half-made sandboxes are taken down.
    """
    images = build_images(paths, puller, clock=clock)
    return EmbeddedRuntime(paths, network, images, runtimes=runtimes, clock=clock), images
