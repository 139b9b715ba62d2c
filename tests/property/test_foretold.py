"""A foretold pod is the pod the plain way would have made, whatever happens in between."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.apiserver_harness import ADMIN, Api, header, start_server, tree

from kutter.apiserver.admission.registry import attach_quota_store, default_chain
from kutter.apiserver.authn.identity import User
from kutter.apiserver.server import ApiServer
from kutter.apiserver.stored_quotas import StoredQuotas

PODS = "/api/v1/namespaces/default/pods"
OTHER = User("else", groups=("system:authenticated",), extra={"from": ("here",)})


def template(number: int) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "web", "image": "r.example/x:1"}
    if number == 1:
        container["resources"] = {"requests": {"cpu": "0.5"}, "limits": {"cpu": 1}}
    meta: dict[str, Any] = {"labels": {"app": "web"}}
    spec: dict[str, Any] = {"containers": [container]}
    if number == 2:
        meta["ownerReferences"] = [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "1"}
        ]
        spec["nodeName"] = "node"
    if number == 3:
        spec["unknown"] = 1  # warned of
    if number == 4:
        meta["annotations"] = {"kubernetes.io/config.mirror": "x"}
    return {"metadata": meta, "spec": spec}


# A name given, or made up from a base.
names = st.sampled_from(["a", "b", "c-1", "web", "web-", "A", "x.y", "gen-", "gen-", "both-1"])
posts = st.tuples(
    st.just("post"),
    st.integers(0, 4),
    names,
    st.sampled_from([ADMIN, ADMIN, ADMIN, OTHER]),
    st.sampled_from(["", "", "", "fieldManager=me", "fieldValidation=Strict", "dryRun=All"]),
)
changes = st.tuples(
    st.just("change"),
    st.sampled_from(["limits", "account", "priority", "quota", "standard", "node", "delete"]),
)


class World:
    """One server, and what is done to it."""

    def __init__(self, server: ApiServer) -> None:
        self.server, self.api = server, Api(server)
        self.turn = 0

    async def post(self, number: int, name: str, user: User, query: str) -> tuple[int, str, Any]:
        body = template(number)
        if name == "gen-":
            body["metadata"] = {"generateName": name, **body["metadata"]}
        elif name == "both-1":
            body["metadata"] = {"name": name, "generateName": "both-", **body["metadata"]}
        else:
            body["metadata"] = {"name": name, **body["metadata"]}
        target = f"{PODS}?{query}" if query else PODS
        response = await self.api.call("POST", target, body, user=user)
        shown = tree(response)
        metadata = shown.get("metadata", {})
        for field in ("uid", "creationTimestamp", "resourceVersion"):
            assert (field in metadata) or response.status != 201 or field == "resourceVersion"
            metadata.pop(field, None)
        for entry in metadata.get("managedFields", ()):
            del entry["time"]
        text = re.sub(r"kube-api-access-[a-z0-9]{5}", "kube-api-access-*", json.dumps(shown))
        text = re.sub(r"gen-[a-z0-9]{5}", "gen-*", text)
        return response.status, text, header(response, "Warning")

    async def change(self, what: str) -> None:
        self.turn += 1
        base = "/api/v1/namespaces/default"
        turn = str(self.turn)
        if what == "limits":
            limit = {"type": "Container", "default": {"cpu": f"{self.turn}00m"}}
            body = {"metadata": {"name": f"l{turn}"}, "spec": {"limits": [limit]}}
            await self.api.ok("POST", f"{base}/limitranges", body)
        elif what == "account":
            merge = {"content-type": "application/merge-patch+json"}
            body = {"automountServiceAccountToken": bool(self.turn % 2)}
            await self.api.ok("PATCH", f"{base}/serviceaccounts/default", body, headers=merge)
        elif what == "priority":
            classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
            body = {"metadata": {"name": f"p{turn}"}, "value": self.turn, "globalDefault": True}
            await self.api.call("POST", classes, body)
        elif what == "quota":
            body = {"metadata": {"name": f"q{turn}"}, "spec": {"hard": {"pods": "22"}}}
            await self.api.ok("POST", f"{base}/resourcequotas", body)
        elif what == "standard":
            merge = {"content-type": "application/merge-patch+json"}
            level = ("restricted", "privileged")[self.turn % 2]
            label = {f"pod-security.kubernetes.io/{self.mode()}": level}
            await self.api.ok("PATCH", base, {"metadata": {"labels": label}}, headers=merge)
        elif what == "node":
            zone = {"topology.kubernetes.io/zone": f"z{turn}"}
            await self.api.call("DELETE", "/api/v1/nodes/node")
            body = {"metadata": {"name": "node", "labels": zone}}
            await self.api.ok("POST", "/api/v1/nodes", body)
        else:
            await self.api.call("DELETE", f"{PODS}/a")

    def mode(self) -> str:
        return ("enforce", "warn")[self.turn // 2 % 2]


async def world() -> World:
    chain = default_chain()
    server = await start_server(admission=chain)
    attach_quota_store(chain, StoredQuotas(server.storage_of("", "resourcequotas")))
    made = World(server)
    await made.api.ok("POST", "/api/v1/namespaces", {"metadata": {"name": "default"}})
    account = {"metadata": {"name": "default"}}
    await made.api.ok("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    return made


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(posts, posts, posts, posts, changes), min_size=4, max_size=30))
def test_what_is_foretold_is_what_would_have_been(steps: list[Any]) -> None:
    async def check() -> None:
        plain, telling = await world(), await world()
        try:
            plain.server.storage_of("", "pods").forecasts = None
            for number in range(15):  # every template is proven, where it can be
                first = (number % 5, f"warm-{number}", ADMIN, "")
                assert await telling.post(*first) == await plain.post(*first)
            for step in steps:
                if step[0] == "change":
                    await plain.change(step[1])
                    await telling.change(step[1])
                    continue
                expected = await plain.post(*step[1:])
                assert await telling.post(*step[1:]) == expected
        finally:
            await plain.server.stop()
            await telling.server.stop()

    asyncio.run(check())


async def test_pods_of_one_template_are_foretold_until_something_changes(monkeypatch: Any):
    made = await world()
    try:
        storage = made.server.storage_of("", "pods")
        foretold: list[str] = []
        create = type(storage).create_foretold

        async def count(self: Any, now: Any, namespace: str, pattern: Any, **more: Any) -> Any:
            foretold.append(more["name"] or more["base"])
            return await create(self, now, namespace, pattern, **more)

        monkeypatch.setattr(type(storage), "create_foretold", count)
        for number in range(6):
            await made.post(0, f"n{number}", ADMIN, "")
        # Seen, made a pattern of, proven.
        assert foretold == ["n3", "n4", "n5"]
        for _ in range(6):
            await made.post(0, "gen-", ADMIN, "")
        assert foretold[3:] == ["gen-"] * 3
        foretold.clear()
        await made.change("limits")
        status, shown, _ = await made.post(0, "n6", ADMIN, "")
        assert status == 201
        assert '"limits": {"cpu": "100m"}' in shown
        assert foretold == []
        for number in range(7, 12):
            status, again, _ = await made.post(0, f"n{number}", ADMIN, "")
            assert again.replace(f"n{number}", "n6") == shown
        assert foretold == ["n8", "n9", "n10", "n11"]
    finally:
        await made.server.stop()


async def test_a_plug_in_that_says_nothing_of_itself_is_asked_for_each():
    made = await world()
    try:
        chain: Any = made.server.admission
        storage = made.server.storage_of("", "pods")
        permit = storage.permit()
        assert permit is not None
        assert storage.permit() is permit
        chain.forget()
        assert storage.permit() is not permit
        plugin = next(p for p in chain.plugins if p.name == "Priority")
        plugin.repeatable = False
        chain.forget()
        assert storage.permit() is None
        for number in range(5):
            await made.post(0, f"n{number}", ADMIN, "")
        assert storage.forecasts is not None
        assert len(storage.forecasts) == 0
    finally:
        await made.server.stop()
