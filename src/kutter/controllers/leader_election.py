"""Coordinated leader election: of those who stand for a lease, the one that suits best leads.

Owns: ``strategy`` and ``preferredHolder`` of Leases that have candidates, their holder where there
is none or its time is over, ``pingTime`` of LeaseCandidates. Reads: both. Writes: both; deletes
candidates that did not renew for half an hour.
Invariants: who did not answer the last ping is not elected; who leads and renews is never replaced,
only told who is preferred, and gives way by itself. Nothing is kept in memory: each step is
computed from the lease and its candidates.
Differences: upstream elects inside the API server and looks for candidates to delete at intervals.
Upstream: kubernetes.io/docs/concepts/cluster-administration/coordinated-leader-election/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kutter.api import semver
from kutter.api.errors import ApiError, is_reason
from kutter.api.types.coordination_v1 import Lease
from kutter.api.types.coordination_v1beta1 import LeaseCandidate
from kutter.base.clock import Clock, parse_time, render_micro_time
from kutter.client.client import Client
from kutter.machinery.controller import Change, Result, Source, own_key
from kutter.machinery.informer import InformerFactory, split_key

OLDEST = "OldestEmulationVersion"
LEASE_DURATION_S = 5
_AGAIN_S = 5.0
_ELECTION = timedelta(seconds=5)
_VALID = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Plan:
    """Candidates to ping, or what to change in the lease's specification."""

    why: str
    pings: tuple[LeaseCandidate, ...] = ()
    changes: dict[str, Any] | None = None


def is_expired(candidate: LeaseCandidate, now: datetime) -> bool:
    renewed = candidate.spec.renew_time
    return renewed is None or parse_time(renewed) + _VALID < now


def pick_strategy(candidates: Sequence[LeaseCandidate]) -> str | None:
    """What the newest program wants; None if its copies disagree. Pure."""
    newest = max(_binary(c) for c in candidates)
    wanted = {c.spec.strategy for c in candidates if _binary(c) == newest}
    return wanted.pop() if len(wanted) == 1 else None


def pick_leader(candidates: Iterable[LeaseCandidate]) -> LeaseCandidate | None:
    """The oldest emulated version, then the oldest program, then who stood first. Pure."""
    fit = [
        c
        for c in candidates
        if semver.key_of(c.spec.emulation_version) and semver.key_of(c.spec.binary_version)
    ]
    return min(fit, key=_rank) if fit else None


def _binary(candidate: LeaseCandidate) -> semver.Key:
    return semver.key_of(candidate.spec.binary_version) or semver.ZERO


def _rank(candidate: LeaseCandidate) -> tuple[semver.Key, semver.Key, str, str]:
    emulated = semver.key_of(candidate.spec.emulation_version) or semver.ZERO
    meta = candidate.metadata
    return (emulated, _binary(candidate), meta.creation_timestamp or "", meta.name)


def plan_election(lease: Lease | None, candidates: Sequence[LeaseCandidate], now: datetime) -> Plan:
    """The next step, ``candidates`` being those that did not expire. Pure."""
    settled = _why_not(lease, candidates, now)
    if settled:
        return Plan(settled)
    waiting, pings = False, []
    for candidate in candidates:
        ping, renewed = _time(candidate.spec.ping_time), _time(candidate.spec.renew_time)
        assert renewed is not None, "an expired candidate"
        unanswered = ping is not None and renewed < ping
        recent = ping is not None and ping + _ELECTION > now
        if unanswered:
            waiting = waiting or recent
        elif renewed + _ELECTION <= now and not recent:
            pings.append(candidate)
    if pings or waiting:
        return Plan("candidates are asked whether they are there", tuple(pings))
    there = [c for c in candidates if parse_time(c.spec.renew_time or "") + _ELECTION > now]
    if not there:
        return Plan("no candidate answers")
    strategy = pick_strategy(there)
    if strategy is None:
        return Plan("candidates of one version want different strategies")
    leader = pick_leader(there) if strategy == OLDEST else None
    if leader is None and strategy == OLDEST:
        return Plan("no candidate tells its versions")
    name = leader.metadata.name if leader is not None else ""
    return Plan(
        f"{name or 'somebody else'} is elected", changes=_changes(lease, name, strategy, now)
    )


def _why_not(lease: Lease | None, candidates: Sequence[LeaseCandidate], now: datetime) -> str:
    """Why there is nothing to elect; empty when there is."""
    if lease is None or not lease.spec.holder_identity or is_over(lease, now):
        return ""
    if any(parse_time(c.spec.renew_time or "") + _VALID / 2 < now for c in candidates):
        return ""
    strategy = pick_strategy(candidates)
    if strategy is None:
        return "candidates of one version want different strategies"
    if strategy != OLDEST:
        return f"strategy {strategy} is somebody else's"
    leader = pick_leader(candidates)
    if leader is None or leader.metadata.name == lease.spec.holder_identity:
        return "who leads suits best"
    return ""


def is_over(lease: Lease, now: datetime) -> bool:
    renewed, duration_s = lease.spec.renew_time, lease.spec.lease_duration_seconds
    if renewed is None or duration_s is None:
        return True
    return parse_time(renewed) + timedelta(seconds=duration_s) < now


def _changes(lease: Lease | None, leader: str, strategy: str, now: datetime) -> dict[str, Any]:
    """What is to be different in the lease's specification."""
    fresh = {"leaseDurationSeconds": LEASE_DURATION_S, "renewTime": render_micro_time(now)}
    if lease is None:
        return {"strategy": strategy, **fresh, **({"holderIdentity": leader} if leader else {})}
    spec = lease.spec
    changes: dict[str, Any] = {} if spec.strategy == strategy else {"strategy": strategy}
    if not leader or leader == spec.holder_identity:
        return changes
    if not spec.holder_identity or is_over(lease, now):
        taken = {"holderIdentity": leader, "preferredHolder": None, "acquireTime": None}
        return {**changes, **fresh, **taken}
    if leader != spec.preferred_holder:
        changes["preferredHolder"] = leader
    return changes


def _time(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)


def _lease_key(candidate: LeaseCandidate) -> tuple[str, ...]:
    return (f"{candidate.metadata.namespace}/{candidate.spec.lease_name}",)


def _election(change: Change[LeaseCandidate]) -> Iterable[str]:
    """The lease it stands for; a ping alone is no news."""
    spec = change.any.spec
    ping, renewed = _time(spec.ping_time), _time(spec.renew_time)
    if ping is not None and renewed is not None and renewed < ping:
        return ()
    return _lease_key(change.any)


class LeaderElectionController:
    name = "leader-election-controller"

    def __init__(self, client: Client, informers: InformerFactory, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._leases = informers.informer(Lease)
        self._candidates = informers.informer(LeaseCandidate)
        self._candidates.add_index("lease", _lease_key)

    def sources(self) -> Sequence[Source]:
        return [Source(self._leases, own_key), Source(self._candidates, _election)]

    async def reconcile(self, key: str) -> Result:
        standing = self._candidates.by_index("lease", key)
        if not standing:
            return Result()
        now = self._clock.now()
        valid = [c for c in standing if not is_expired(c, now)]
        for candidate in standing:
            if candidate not in valid:
                await self._delete(candidate)
        if not valid:
            return Result("nobody stands for it any more")
        lease = self._leases.get(key)
        plan = plan_election(lease, valid, now)
        for candidate in plan.pings:
            await self._ping(candidate, now)
        if plan.changes:
            await self._write(key, lease, plan.changes)
        # Nothing tells that a time is over.
        return Result(plan.why, requeue_after_s=_AGAIN_S)

    async def _ping(self, candidate: LeaseCandidate, now: datetime) -> None:
        meta = candidate.metadata
        body = {
            "metadata": {"resourceVersion": meta.resource_version},
            "spec": {"pingTime": render_micro_time(now)},
        }
        await self._client.patch(LeaseCandidate, meta.name, body, meta.namespace)

    async def _write(self, key: str, lease: Lease | None, changes: dict[str, Any]) -> None:
        namespace, name = split_key(key)
        if lease is not None:
            guard = {"resourceVersion": lease.metadata.resource_version}
            await self._client.patch(Lease, name, {"metadata": guard, "spec": changes}, namespace)
            return
        of = Lease.resource
        body = {
            "apiVersion": of.api_version,
            "kind": of.kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": changes,
        }
        await self._client.create(Lease, body, namespace)

    async def _delete(self, candidate: LeaseCandidate) -> None:
        meta = candidate.metadata
        try:
            await self._client.delete(
                LeaseCandidate,
                meta.name,
                meta.namespace,
                uid=meta.uid,
                resource_version=meta.resource_version,
            )
        except ApiError as error:
            # It renewed after all, or is gone.
            if not is_reason(error, "Conflict", "NotFound"):
                raise
