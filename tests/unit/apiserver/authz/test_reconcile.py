from __future__ import annotations

from typing import Any

from tests.unit.apiserver.fake_reader import FakeReader

from kutter.apiserver.authz.policy import AUTOUPDATE, default_objects
from kutter.apiserver.authz.reconcile import plan_policy, reconcile_policy

G = "rbac.authorization.k8s.io"


class Writer:
    def __init__(self, reader: FakeReader) -> None:
        self.reader = reader
        self.log: list[str] = []

    async def create(self, plural: str, tree: dict[str, Any]) -> None:
        self.log.append(f"create {tree['metadata']['name']}")
        self.reader.put(f"{plural}.{G}", tree)

    async def update(self, plural: str, tree: dict[str, Any]) -> None:
        self.log.append(f"update {tree['metadata']['name']}")
        self.reader.put(f"{plural}.{G}", tree)

    async def delete(self, plural: str, namespace: str, name: str) -> None:
        self.log.append(f"delete {name}")
        self.reader.remove(f"{plural}.{G}", namespace, name)


async def filled() -> tuple[FakeReader, Writer]:
    reader = FakeReader()
    writer = Writer(reader)
    assert await reconcile_policy(reader, writer) == len(default_objects())
    writer.log.clear()
    return reader, writer


async def test_a_second_run_has_nothing_to_do() -> None:
    reader, _ = await filled()
    assert plan_policy(reader) == []


async def test_what_was_taken_away_comes_back_and_what_was_added_stays() -> None:
    reader, writer = await filled()
    role = reader.get(f"clusterroles.{G}", "", "system:discovery")
    assert role is not None
    extra = {"verbs": ["get"], "nonResourceURLs": ["/mine"]}
    role["rules"] = [extra]
    reader.put(f"clusterroles.{G}", role)
    binding = reader.get(f"clusterrolebindings.{G}", "", "cluster-admin")
    assert binding is not None
    binding["subjects"] = [{"kind": "User", "apiGroup": G, "name": "me"}]
    reader.put(f"clusterrolebindings.{G}", binding)
    reader.remove(f"roles.{G}", "kube-system", "system:controller:token-cleaner")

    await reconcile_policy(reader, writer)

    assert sorted(writer.log) == [
        "create system:controller:token-cleaner",
        "update cluster-admin",
        "update system:discovery",
    ]
    role = reader.get(f"clusterroles.{G}", "", "system:discovery")
    binding = reader.get(f"clusterrolebindings.{G}", "", "cluster-admin")
    assert role is not None
    assert binding is not None
    assert extra in role["rules"]
    assert len(role["rules"]) > 1
    assert [s["name"] for s in binding["subjects"]] == ["me", "system:masters"]
    assert plan_policy(reader) == []


async def test_an_object_that_opted_out_is_left_alone() -> None:
    reader, _ = await filled()
    role = reader.get(f"clusterroles.{G}", "", "system:discovery")
    assert role is not None
    role["rules"] = []
    role["metadata"]["annotations"][AUTOUPDATE] = "false"
    reader.put(f"clusterroles.{G}", role)
    assert plan_policy(reader) == []


async def test_a_binding_to_another_role_is_replaced() -> None:
    reader, writer = await filled()
    binding = reader.get(f"clusterrolebindings.{G}", "", "cluster-admin")
    assert binding is not None
    binding["roleRef"]["name"] = "view"
    reader.put(f"clusterrolebindings.{G}", binding)
    await reconcile_policy(reader, writer)
    assert writer.log == ["delete cluster-admin", "create cluster-admin"]


def test_every_binding_has_its_role_and_names_are_unique() -> None:
    objects = default_objects()
    keys = [(t["kind"], t["metadata"].get("namespace", ""), t["metadata"]["name"]) for t in objects]
    assert len(keys) == len(set(keys))
    for tree in objects:
        if "roleRef" in tree:
            ref = tree["roleRef"]
            namespace = tree["metadata"].get("namespace", "") if ref["kind"] == "Role" else ""
            assert (ref["kind"], namespace, ref["name"]) in keys
