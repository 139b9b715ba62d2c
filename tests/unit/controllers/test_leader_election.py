"""The steps of an election, whatever candidates there are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from kutter.api import semver
from kutter.api.types.coordination_v1 import Lease, LeaseSpec
from kutter.api.types.coordination_v1beta1 import LeaseCandidate, LeaseCandidateSpec
from kutter.api.types.meta_v1 import ObjectMeta
from kutter.base.clock import render_micro_time
from kutter.controllers.leader_election import OLDEST, is_over, plan_election

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS = st.integers(0, 1200)
VERSIONS = st.sampled_from(["1.34.0", "1.35.0", "1.35.0-beta.1", "1.36.0"])


def ago(seconds: int) -> str:
    return render_micro_time(NOW - timedelta(seconds=seconds))


@st.composite
def standing(draw: st.DrawFn) -> list[LeaseCandidate]:
    return [
        LeaseCandidate(
            metadata=ObjectMeta(name=f"c{number}", creation_timestamp="2026-01-01T00:00:00Z"),
            spec=LeaseCandidateSpec(
                binary_version="1.36.0",
                emulation_version=draw(VERSIONS),
                lease_name="it",
                strategy=OLDEST,
                renew_time=ago(draw(SECONDS)),
                ping_time=draw(st.none() | SECONDS.map(ago)),
            ),
        )
        for number in range(draw(st.integers(1, 4)))
    ]


LEASES = st.none() | st.builds(
    lambda holder, renewed: Lease(
        spec=LeaseSpec(
            holder_identity=holder,
            renew_time=ago(renewed),
            lease_duration_seconds=5,
            strategy=OLDEST,
        )
    ),
    st.sampled_from(["", "c0", "c1", "somebody"]),
    st.integers(0, 20),
)


@given(LEASES, standing())
def test_laws(lease: Lease | None, candidates: list[LeaseCandidate]) -> None:
    plan = plan_election(lease, candidates, NOW)
    assert not (plan.pings and plan.changes)
    for asked in plan.pings:
        # Each ping that went unanswered is the last one.
        ping = asked.spec.ping_time
        assert ping is None or (asked.spec.renew_time or "") >= ping
    changes = plan.changes or {}
    leader = changes.get("holderIdentity") or changes.get("preferredHolder")
    if not leader:
        return
    there = [c for c in candidates if (c.spec.renew_time or "") > ago(5)]
    chosen = next(c for c in there if c.metadata.name == leader)
    best = min(semver.key_of(c.spec.emulation_version) or semver.ZERO for c in there)
    assert semver.key_of(chosen.spec.emulation_version) == best
    if lease is not None and lease.spec.holder_identity and not is_over(lease, NOW):
        assert "holderIdentity" not in changes
