"""Nodes that already have the pod's images are better, the more so the larger the images."""

from __future__ import annotations

import numpy as np

from kutter.scheduler.framework import MAX_SCORE
from kutter.scheduler.snapshot import Mask, NamespaceLookup, PodInfo, Scores, Snapshot

_MB = 1024 * 1024
_LEAST = 23 * _MB
_MOST_PER_CONTAINER = 1000 * _MB


def full_image_name(name: str) -> str:
    """The name as nodes report it: registry, library and tag completed."""
    head, _, rest = name.partition("/")
    if not rest:
        name = f"docker.io/library/{name}"
    elif "." not in head and ":" not in head and head != "localhost":
        name = f"docker.io/{name}"
    if "@" not in name and ":" not in name.rpartition("/")[2]:
        name += ":latest"
    return name


class ImageLocality:
    name = "ImageLocality"
    weight = 1.0

    def __call__(
        self, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup, feasible: Mask
    ) -> Scores | None:
        total = np.zeros(snapshot.length)
        containers = (*pod.pod.spec.containers, *pod.pod.spec.init_containers)
        for container in containers:
            found = snapshot.image(full_image_name(container.image)) or snapshot.image(
                container.image
            )
            if found is not None:
                size, rows = found
                # Widely spread images attract less, so that pods do not pile up on one node.
                total[list(rows)] += size * len(rows) / max(1, snapshot.size)
        if not total.any():
            return None
        most = _MOST_PER_CONTAINER * len(containers)
        scores: Scores = (np.clip(total, _LEAST, most) - _LEAST) * (MAX_SCORE / (most - _LEAST))
        return scores
