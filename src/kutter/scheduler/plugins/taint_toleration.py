"""Taints: NoSchedule and NoExecute filter, PreferNoSchedule counts against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kutter.api.taints import tolerates
from kutter.scheduler.framework import Verdict, normalize
from kutter.scheduler.snapshot import Mask, NamespaceLookup, PodInfo, Scores, Snapshot


class TaintToleration:
    name = "TaintToleration"

    def __call__(
        self, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup
    ) -> Sequence[Verdict]:
        verdicts = []
        for taint, rows in snapshot.taints():
            if taint.effect == "PreferNoSchedule":
                continue
            if any(tolerates(t, taint) for t in pod.pod.spec.tolerations):
                continue
            mask = np.ones(snapshot.length, dtype=bool)
            mask[list(rows)] = False
            text = f"{taint.key}: {taint.value}"
            verdicts.append(Verdict(mask, f"node(s) had untolerated taint {{{text}}}"))
        return verdicts


class TaintScore:
    name = "TaintToleration"
    weight = 3.0

    def __call__(
        self, pod: PodInfo, snapshot: Snapshot, namespaces: NamespaceLookup, feasible: Mask
    ) -> Scores | None:
        against = np.zeros(snapshot.length)
        for taint, rows in snapshot.taints():
            if taint.effect != "PreferNoSchedule":
                continue
            if not any(tolerates(t, taint) for t in pod.pod.spec.tolerations):
                against[list(rows)] += 1
        return normalize(against, feasible, reverse=True) if against.any() else None
