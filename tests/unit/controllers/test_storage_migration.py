"""Which migration of a resource is the next one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kutter.api.types.meta_v1 import Condition, ObjectMeta
from kutter.api.types.storagemigration_v1beta1 import (
    StorageVersionMigration,
    StorageVersionMigrationStatus,
)
from kutter.controllers.storage_migration import has_ended, is_true, next_to_run

KINDS = st.lists(st.sampled_from(["Running", "Succeeded", "Failed"]), unique=True)


def made(name: str, day: int, kinds: list[str]) -> StorageVersionMigration:
    return StorageVersionMigration(
        metadata=ObjectMeta(name=name, creation_timestamp=f"2026-01-{day:02}T00:00:00Z"),
        status=StorageVersionMigrationStatus(
            conditions=tuple(Condition(type=kind, status="True") for kind in kinds)
        ),
    )


@given(st.lists(st.tuples(st.integers(1, 28), KINDS), max_size=8))
def test_the_oldest_runs_when_none_does(wanted: list[tuple[int, list[str]]]) -> None:
    migrations = [made(f"m{i}", day, kinds) for i, (day, kinds) in enumerate(wanted)]
    waiting = [m for m in migrations if not has_ended(m)]
    found = next_to_run(migrations)
    if not waiting or any(is_true(m, "Running") for m in waiting):
        assert found == ""
    else:
        chosen = next(m for m in waiting if m.metadata.name == found)
        assert all(
            (chosen.metadata.creation_timestamp, found)
            <= (m.metadata.creation_timestamp, m.metadata.name)
            for m in waiting
        )
    assert next_to_run(reversed(migrations)) == found
