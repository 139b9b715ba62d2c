"""What was acknowledged is there for whoever asks next, over whatever connection."""

from __future__ import annotations

import asyncio

import pytest
from tests.conformance_kit import Rest
from tests.custom_kinds import CRDS, CRONTABS, definition, serving

from kutter.testing.cluster import LocalCluster

CM = "/api/v1/namespaces/default/configmaps"
# Turns of the loop from an acknowledged definition to the first list of its kind: far fewer than
# a second has. Counted, because a loaded machine's clock tells nothing.
TURNS = 200


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(controllers=False, scheduler=False) as running:
        yield running


@pytest.mark.parametrize("how", [{}, {"limit": "500"}, {"labelSelector": "seen=yes"}])
def test_a_list_without_a_version_sees_the_write_just_acknowledged_to_another(cluster, how):
    writer, reader = Rest(cluster.kubernetes_client()), Rest(cluster.kubernetes_client())
    path = f"{CM}/seen"
    labels = {"seen": "yes"}
    for number in range(30):
        made = {"metadata": {"name": "seen", "labels": labels}, "data": {"n": str(number)}}
        if number % 3 == 0:
            written = writer.post(CM, made)
        elif number % 3 == 1:
            written = writer.put(path, made)
        else:
            writer.delete(path)
            written = None
        listed = reader.get(CM, **how)
        found = [item for item in listed["items"] if item["metadata"]["name"] == "seen"]
        if written is None:
            assert found == []
            continue
        assert [item["data"] for item in found] == [{"n": str(number)}]
        newest = int(written["metadata"]["resourceVersion"])
        assert int(listed["metadata"]["resourceVersion"]) >= newest


async def test_a_definition_is_served_within_turns_of_the_loop() -> None:
    async with serving() as api:
        await api.ok("POST", CRDS, definition())
        for _ in range(TURNS):
            if (await api.call("GET", CRONTABS)).status == 200:
                break
            await asyncio.sleep(0)
        else:
            pytest.fail(f"not served after {TURNS} turns")
        resources = await api.ok("GET", "/apis/stable.example.com/v1")
        assert "crontabs" in [resource["name"] for resource in resources["resources"]]
