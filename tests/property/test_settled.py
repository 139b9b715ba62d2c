"""What a patch leaves alone comes to the same whether it is looked at again or not."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.apiserver_harness import Api, header, start_server

from kutter.apiserver.admission.plugin import Plugin
from kutter.apiserver.admission.registry import default_chain
from kutter.apiserver.ports import AdmissionRequest, Operation
from kutter.apiserver.server import ApiServer

PODS = "/api/v1/namespaces/default/pods"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"


def template(number: int) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "web", "image": "r.example/x:1"}
    meta: dict[str, Any] = {"labels": {"app": "web"}, "annotations": {"a.example/b": "c"}}
    spec: dict[str, Any] = {"containers": [container], "nodeSelector": {"a": "b"}}
    if number == 1:
        container["resources"] = {"requests": {"cpu": "0.5"}, "limits": {"cpu": 1}}
        container["ports"] = [{"containerPort": 80}, {"containerPort": 81, "protocol": "UDP"}]
        container["env"] = [{"name": "A", "value": ""}]
        spec["volumes"] = [{"name": "own", "configMap": {"name": "x"}}]
        # What pods may have and mirror pods may not.
        spec["resourceClaims"] = [{"name": "c", "resourceClaimName": "x"}]
    if number == 2:
        spec["nodeName"] = "node"
        spec["hostNetwork"] = True
        container["ports"] = [{"containerPort": 80}]
    if number == 3:
        meta["annotations"] = {"kubernetes.io/config.mirror": "x"}
        spec["nodeName"] = "node"
    return {"metadata": meta, "spec": spec}


# A value is filled in by the number of the step.
patches = st.sampled_from(
    [
        (MERGE, '{"metadata":{"labels":{"a":"%d"}}}'),
        (MERGE, '{"metadata":{"labels":{"a":"b"}}}'),
        (MERGE, '{"metadata":{"labels":{"a":"not valid %d"}}}'),
        (MERGE, '{"metadata":{"labels":null,"annotations":{"x":"%d"}}}'),
        (MERGE, '{"metadata":{"annotations":{"kubernetes.io/config.mirror":null}}}'),
        (MERGE, '{"metadata":{"annotations":{"kubernetes.io/config.mirror":"y"}}}'),
        (MERGE, '{"metadata":{"finalizers":["x.example/%d"]},"unknown":1}'),
        (MERGE, '{"metadata":{"managedFields":[{}]}}'),
        (MERGE, '{"metadata":{"generateName":5}}'),
        (MERGE, '{"spec":{}}'),
        # Defaulting this writes into ports nobody has touched.
        (MERGE, '{"spec":{"hostNetwork":true}}'),
        (JSON_PATCH, '[{"op":"add","path":"/spec/hostNetwork","value":true}]'),
        (MERGE, '{"spec":null}'),
        (MERGE, '{"spec":{"nodeSelector":null}}'),
        (MERGE, '{"spec":{"activeDeadlineSeconds":1%d},"metadata":{"labels":{"a":"%d"}}}'),
        (MERGE, '{"spec":{"terminationGracePeriodSeconds":null}}'),
        (MERGE, '{"spec":{"unknown":1},"metadata":{"labels":{"a":"%d"}}}'),
        (MERGE, '{"spec":{"containers":[{"name":"web","image":"r.example/x:%d"}]}}'),
        (MERGE, '{"status":{"phase":"Running","message":"%d"}}'),
        (MERGE, '{"status":{"podIP":"10.0.0.%d"},"metadata":{"labels":{"s":"%d"}}}'),
        (MERGE, '{"kind":"Other"}'),
        (STRATEGIC, '{"metadata":{"labels":{"a":"%d"}}}'),
        (STRATEGIC, '{"spec":{"containers":[{"name":"web","image":"r.example/y:%d"}]}}'),
        (STRATEGIC, '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}'),
        (STRATEGIC, '{"metadata":{"labels":5}}'),
        (STRATEGIC, '{"spec":{"$patch":"replace","nodeName":"n"}}'),
        (JSON_PATCH, '[{"op":"add","path":"/metadata/labels/a","value":"%d"}]'),
        (JSON_PATCH, '[{"op":"copy","from":"/spec/nodeSelector","path":"/metadata/labels"}]'),
        (JSON_PATCH, '[{"op":"move","from":"/spec/nodeSelector","path":"/metadata/labels"}]'),
        (
            JSON_PATCH,
            (
                '[{"op":"move","from":"/spec","path":"/status"},'
                '{"op":"move","from":"/status","path":"/spec"},'
                '{"op":"add","path":"/metadata/labels/a","value":"%d"}]'
            ),
        ),
        (
            JSON_PATCH,
            (
                '[{"op":"copy","from":"/spec","path":"/x"},'
                '{"op":"replace","path":"/x/nodeSelector/a","value":"%d"}]'
            ),
        ),
        (
            JSON_PATCH,
            (
                '[{"op":"replace","path":"/spec/containers/0/image","value":"z:%d"},'
                '{"op":"add","path":"/metadata/labels/a","value":"%d"}]'
            ),
        ),
        (JSON_PATCH, '[{"op":"add","path":"/spec/tolerations","value":[]}]'),
        (JSON_PATCH, '[{"op":"test","path":"/spec/containers/0/name","value":"web"}]'),
    ]
)
places = st.sampled_from(["", "", "", "", "/status", "/status", "/resize", "/ephemeralcontainers"])
queries = st.sampled_from(
    ["", "", "", "dryRun=All", "fieldValidation=Strict", "fieldValidation=Ignore"]
)
steps = st.tuples(st.integers(0, 7), patches, places, queries)


def plain(text: str) -> str:
    """Without what differs between two servers."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "uid", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "time", text)
    return re.sub(r"kube-api-access-[a-z0-9]{5}", "kube-api-access-*", text)


async def step(api: Api, turn: int, pod: int, patch: Any, place: str, query: str) -> Any:
    media, body = patch
    values = (turn,) * body.count("%d")
    response = await api.call(
        "PATCH",
        f"{PODS}/p{pod}{place}" + (f"?{query}" if query else ""),
        (body % values).encode(),
        headers={"content-type": media},
    )
    entry = api.server.storage_of("", "pods").cache.get("default", f"p{pod}")
    assert entry is not None
    shown = plain(response.body.decode())
    return response.status, shown, plain(entry.tail.decode()), header(response, "Warning")


async def world(*, settles: bool, admission: Any = None) -> ApiServer:
    chain = admission or default_chain()
    server = await start_server(admission=chain)
    storage = server.storage_of("", "pods")
    if not settles:
        storage._settled = None
    api = Api(server)
    await api.ok("POST", "/api/v1/namespaces", {"metadata": {"name": "default"}})
    account = {"metadata": {"name": "default"}}
    await api.ok("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    for number in range(8):
        body = template(number % 4)
        body["metadata"]["name"] = f"p{number}"
        await api.ok("POST", PODS, body)
    return server


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, min_size=4, max_size=25))
def test_what_is_settled_comes_to_what_it_would_have(taken: list[Any]) -> None:
    async def check() -> None:
        first, second = await world(settles=False), await world(settles=True)
        try:
            for turn, pod in enumerate([*range(8), *range(8)]):  # all are settled, or known
                label = (MERGE, '{"metadata":{"labels":{"warm":"%d"}}}')
                expected = await step(Api(first), turn, pod, label, "", "")
                assert await step(Api(second), turn, pod, label, "", "") == expected
            for turn, one in enumerate(taken):
                expected = await step(Api(first), turn, *one)
                assert await step(Api(second), turn, *one) == expected
        finally:
            await first.stop()
            await second.stop()

    asyncio.run(check())


async def test_a_specification_left_alone_is_settled_for_all_who_have_it():
    server = await world(settles=True)
    try:
        storage = server.storage_of("", "pods")
        known = storage.strategy.settled_specs
        assert known is not None
        shared: list[bool] = []
        validate = type(storage.strategy).validate_update

        def note(strategy: Any, context: Any, new: Any, old: Any) -> Any:
            shared.append(new["spec"] is old["spec"])
            return validate(strategy, context, new, old)

        storage.strategy.validate_update = note.__get__(storage.strategy)  # type: ignore[method-assign]
        label = (MERGE, '{"metadata":{"labels":{"a":"%d"}}}')
        image = (MERGE, '{"spec":{"activeDeadlineSeconds":%d}}')
        api = Api(server)
        await step(api, 1, 0, label, "", "")
        assert len(known) == 1
        await step(api, 1, 4, label, "", "")  # the same template's
        await step(api, 1, 1, label, "", "")  # another's
        await step(api, 9, 4, image, "", "")  # reaches into it
        await step(api, 2, 4, label, "", "")  # has another one now
        await step(api, 3, 4, label, "", "")
        assert shared == [False, True, False, False, False, True]
        # What a node says of its pods settles them as well.
        status = (STRATEGIC, '{"status":{"message":"%d"}}')
        await step(api, 4, 2, status, "/status", "")
        await step(api, 4, 6, label, "", "")
        assert shared[6:] == [True]
    finally:
        await server.stop()


class Writing(Plugin):
    """Changes what it is given in place, as plug-ins may."""

    name = "Writing"

    def wants(self, resource: str, operation: Operation) -> bool:
        return resource == "pods" and operation == "UPDATE"

    async def mutate(self, request: AdmissionRequest) -> None:
        assert request.object is not None
        request.object["spec"]["containers"][0]["imagePullPolicy"] = "Always"


async def test_nothing_is_shared_with_a_plug_in_that_writes_in_place():
    chain = default_chain()
    server = await world(settles=True, admission=chain)
    try:
        label = (MERGE, '{"metadata":{"labels":{"a":"%d"}}}')
        api = Api(server)
        for turn in range(2):
            assert (await step(api, turn, 0, label, "", ""))[0] == 200
        chain.plugins = (*chain.plugins, Writing())
        chain.forget()
        status, shown, *_ = await step(api, 2, 0, label, "", "")
        # A change of the policy is none a pod may see.
        assert (status, "pod updates may not change fields" in shown) == (422, True)
        assert not chain.spares_spec(server.storage_of("", "pods").resource, "")
        assert chain.spares_spec(server.storage_of("", "pods").resource, "status")
    finally:
        await server.stop()
