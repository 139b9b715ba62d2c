"""Laws of quotas: never more than allowed, whatever happens at once; in the end the truth."""

import asyncio
import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kutter.api.errors import ApiError
from kutter.api.quantity import parse
from kutter.api.types.core_v1 import ConfigMap, Namespace, Pod, ResourceQuota
from kutter.testing.cluster import LocalCluster

DEADLINE_S = 40.0
HARD = {"pods": "4", "requests.memory": "1Gi", "count/configmaps": "3"}
_numbers = itertools.count(1)

# A name may come up twice: then one of the two is refused after its quota was reserved.
NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f"])
MAKE_POD = st.tuples(st.just("pod"), NAMES, st.sampled_from([100, 300, 600, 2000]))
MAKE_MAP = st.tuples(st.just("map"), NAMES, st.just(0))
DELETE = st.tuples(st.sampled_from(["drop-pod", "drop-map"]), NAMES, st.just(0))
STEPS = st.lists(
    st.lists(st.one_of(MAKE_POD, MAKE_POD, MAKE_MAP, DELETE), min_size=1, max_size=8),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(scheduler=False) as running:
        yield running


def pod(name, megabytes):
    resources = {"requests": {"memory": f"{megabytes}Mi"}}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]},
    }


async def real_use(client, namespace):
    """What is there, counted by this test's own rules."""
    pods = (await client.list(Pod, namespace)).items
    maps = (await client.list(ConfigMap, namespace)).items
    memory = sum(parse(p.spec.containers[0].resources.requests["memory"]).value for p in pods)
    return {"pods": len(pods), "requests.memory": memory, "count/configmaps": len(maps)}


async def reported(client, namespace):
    quota = await client.get(ResourceQuota, "q", namespace)
    return {name: parse(text).value for name, text in quota.status.used.items()}


def within(amounts):
    return all(amount <= parse(HARD[name]).value for name, amount in amounts.items())


async def settle(client, namespace):
    """Wait until status and truth are one."""
    async with asyncio.timeout(DEADLINE_S):
        while await reported(client, namespace) != await real_use(client, namespace):
            await asyncio.sleep(0.02)


def assert_is_refusal(error):
    assert error.reason == "Forbidden"
    assert "exceeded quota: q, requested: " in error.message


async def act(client, namespace, step):
    verb, name, size = step
    try:
        match verb:
            case "pod":
                await client.create(Pod, pod(name, size), namespace)
            case "map":
                await client.create(ConfigMap, {"metadata": {"name": name}}, namespace)
            case "drop-pod":
                await client.delete(Pod, name, namespace, grace_period_s=0)
            case "drop-map":
                await client.delete(ConfigMap, name, namespace)
    except ApiError as error:
        if error.reason not in ("AlreadyExists", "NotFound"):
            assert_is_refusal(error)
    # True at every moment, also between the writes of others.
    assert within(await reported(client, namespace))
    assert within(await real_use(client, namespace))


async def make_namespace(client, namespace):
    """With the config map every namespace gets: nothing may come before the quota knows it."""
    await client.create(Namespace, {"metadata": {"name": namespace}})
    async with asyncio.timeout(DEADLINE_S):
        while not (await client.list(ConfigMap, namespace)).items:
            await asyncio.sleep(0.01)


async def play(client, namespace, rounds):
    await make_namespace(client, namespace)
    quota = {"metadata": {"name": "q"}, "spec": {"hard": HARD}}
    await client.create(ResourceQuota, quota, namespace)
    async with asyncio.timeout(DEADLINE_S):
        while set(await reported(client, namespace)) != set(HARD):
            await asyncio.sleep(0.01)
    for steps in rounds:
        await asyncio.gather(*(act(client, namespace, step) for step in steps))
    await settle(client, namespace)
    await client.delete(Namespace, namespace)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(STEPS)
def test_used_never_exceeds_hard_and_ends_as_the_truth(cluster, rounds):
    namespace = f"quota-{next(_numbers)}"
    cluster.run(play(cluster.local_client(), namespace, rounds))


def test_a_hundred_at_once_get_exactly_what_there_is(cluster):
    client = cluster.local_client()

    async def rush():
        await make_namespace(client, "rush")
        quota = {"metadata": {"name": "q"}, "spec": {"hard": {"count/configmaps": "31"}}}
        await client.create(ResourceQuota, quota, "rush")
        async with asyncio.timeout(DEADLINE_S):
            while (await reported(client, "rush")).get("count/configmaps") != 1:
                await asyncio.sleep(0.01)
        trees = [{"metadata": {"name": f"m{number}"}} for number in range(100)]
        made = await asyncio.gather(
            *(client.create(ConfigMap, tree, "rush") for tree in trees), return_exceptions=True
        )
        refused = [m for m in made if isinstance(m, ApiError)]
        # The cluster's own root certificate is one of the 31.
        assert len(refused) == 70
        assert {error.reason for error in refused} == {"Forbidden"}
        assert await reported(client, "rush") == {"count/configmaps": 31}

    cluster.run(rush())
