"""What is remembered of a specification is exactly what the plain way makes of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.apiserver_harness import Api, header, start_server, tree

from kutter.apiserver.known_specs import KnownSpecs

PODS = "/api/v1/namespaces/default/pods"

names = st.sampled_from(["a", "b", "web", "side-car"])
quantities = st.sampled_from(["10m", "0.5", 1, "1000m", "64Mi", "65536Ki", "1e3", 0.25])
resources = st.fixed_dictionaries(
    {},
    optional={
        "requests": st.none() | st.dictionaries(st.sampled_from(["cpu", "memory"]), quantities),
        "limits": st.dictionaries(st.sampled_from(["cpu", "memory"]), quantities),
    },
)
containers = st.fixed_dictionaries(
    {"name": names},
    optional={
        "image": st.sampled_from(["x", "x:latest", "r.example/x:1", "x@sha256:ab"]),
        "ports": st.lists(
            st.fixed_dictionaries(
                {"containerPort": st.integers(1, 90)},
                optional={"protocol": st.sampled_from(["TCP", "UDP"]), "name": names},
            ),
            max_size=2,
        ),
        "env": st.none() | st.lists(st.fixed_dictionaries({"name": names}), max_size=2),
        "resources": resources,
        "readinessProbe": st.just({"httpGet": {"port": 80}}),
        "notAField": st.just({"deep": [1]}),
        "command": st.lists(st.sampled_from(["sh", "", 'quo"te', "\\", '":'])),
    },
)
specs = st.fixed_dictionaries(
    {"containers": st.lists(containers, min_size=1, max_size=2)},
    optional={
        "initContainers": st.lists(containers, max_size=1),
        "volumes": st.lists(st.fixed_dictionaries({"name": names}), max_size=1),
        "hostNetwork": st.booleans(),
        "nodeSelector": st.dictionaries(names, names, max_size=2),
        "securityContext": st.none() | st.just({}),
        "terminationGracePeriodSeconds": st.sampled_from([None, 0, 30]),
        "activeDeadlineSeconds": st.sampled_from([5, "5"]),
        "oddField": st.just(True),
    },
)
labels = st.dictionaries(names, names, max_size=3)
metadata = st.fixed_dictionaries(
    {},
    optional={
        "labels": labels,
        # A text that looks like a specification is not one.
        "annotations": st.dictionaries(
            names, st.sampled_from(["x", '{"containers":[]}', '"spec":', "\\"]), max_size=2
        ),
        "labelz": st.just("odd"),
        "creationTimestamp": st.none(),
    },
)


def render(spec: Any, meta: Any, name: str, style: tuple[str, str], places: list[str]) -> bytes:
    """A body in somebody's own style of JSON and order of keys."""
    meta = {"name": name, **meta}
    parts: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": spec,
        "status": {"phase": "Running"},
    }
    return json.dumps({key: parts[key] for key in places}, separators=style).encode()


async def posted(api: Api, body: bytes, validation: str) -> tuple[int, Any, list[str]]:
    query = {"fieldValidation": validation} if validation else None
    response = await api.call("POST", PODS, body, query=query)
    shown = tree(response)
    for field in ("uid", "creationTimestamp", "resourceVersion"):
        shown.get("metadata", {}).pop(field, None)
    for entry in shown.get("metadata", {}).get("managedFields", ()):
        del entry["time"]
    # The order of keys counts, too.
    return response.status, json.dumps(shown), header(response, "Warning")


@settings(max_examples=150, deadline=None)
@given(
    specs,
    metadata,
    metadata,
    st.sampled_from([(",", ":"), (", ", ": "), (",", " :"), (" ,\n", ":\t")]),
    st.permutations(["apiVersion", "kind", "metadata", "spec", "status"]),
    st.sampled_from(["", "Warn", "Strict", "Ignore"]),
    st.sampled_from([b"", b'"spec":{"containers":[]},', b'"kind":"Pod",', b'"odd":1,']),
)
def test_a_known_specification_comes_to_the_same(
    spec: Any, first: Any, second: Any, style: Any, places: Any, validation: str, doubled: bytes
) -> None:
    async def check() -> None:
        plain, knowing = await start_server(), await start_server()
        try:
            plain.storage_of("", "pods").strategy.known_specs = None
            body = render(spec, first, "first", style, places)
            bodies = [
                body,
                render(spec, second, "second", style, places),
                render(spec, first, "third", style, places),
                b"{" + doubled + render(spec, second, "fourth", style, places)[1:],
                render({**spec, "hostname": "x"}, first, "fifth", style, places),
            ]
            for sent in bodies:
                expected = await posted(Api(plain), sent, validation)
                assert await posted(Api(knowing), sent, validation) == expected
        finally:
            await plain.stop()
            await knowing.stop()

    asyncio.run(check())


async def test_the_second_of_a_template_is_known():
    server = await start_server()
    try:
        specs = server.storage_of("", "pods").strategy.known_specs
        assert specs is not None
        spec = {"containers": [{"name": "a", "image": "x"}]}
        for name in ("first", "second"):
            body = {"metadata": {"name": name}, "spec": spec}
            await Api(server).ok("POST", PODS, body)
        assert len(specs) == 1
        sent = specs.find(json.dumps({"spec": spec}, separators=(",", ":")).encode())
        assert sent is not None
        assert sent.known is not None
        assert sent.known.owned
    finally:
        await server.stop()


def test_what_is_remembered_is_bounded():
    specs = KnownSpecs(limit=3)
    for number in range(10):
        raw = b'{"a":%d}' % number
        specs.keep(raw, raw)
        assert len(specs) <= 3
    specs.keep(b"big", b"x" * (20 << 10))
    assert specs.find(b'{"spec":{"a":"%s"}}' % (b"x" * (20 << 10))) is None
    assert len(specs) <= 3
