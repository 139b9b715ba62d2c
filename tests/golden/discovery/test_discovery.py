"""Discovery against what an upstream v1.36 API server answers with its default flags.

``v1.36.json`` is upstream's published discovery (api/discovery of v1.36.2) without the alpha and
beta group-versions, which are off by default. Kutter serves three old group-versions more.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.apiserver_harness import Api, start_server

from kutter.api.protobuf import decode_object

Tree = dict[str, Any]

_UPSTREAM: Tree = json.loads((Path(__file__).parent / "v1.36.json").read_text())
_GROUPS: dict[str, list[str]] = dict(_UPSTREAM["groups"])
_OLDER = {"apps": ["v1beta2", "v1beta1"], "extensions": ["v1beta1"]}
_AGGREGATED = {"accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}


@pytest.fixture
async def api() -> Api:
    return Api(await start_server())


def _place(group_version: str) -> str:
    return f"/apis/{group_version}" if "/" in group_version else f"/api/{group_version}"


async def test_groups_and_their_versions_in_order_of_preference(api: Api) -> None:
    answer = await api.ok("GET", "/apis")
    served = {g["name"]: [v["version"] for v in g["versions"]] for g in answer["groups"]}
    wanted = {name: [*found, *_OLDER.get(name, ())] for name, found in _GROUPS.items()}
    wanted["extensions"] = _OLDER["extensions"]
    assert served == wanted
    assert list(served) == list(wanted)
    for group in answer["groups"]:
        assert group["preferredVersion"] == group["versions"][0]


@pytest.mark.parametrize("group_version", _UPSTREAM["resources"])
async def test_resources_of_a_group_version(api: Api, group_version: str) -> None:
    answer = await api.ok("GET", _place(group_version))
    assert answer["resources"] == _UPSTREAM["resources"][group_version]


def _aggregate(resources: list[Tree]) -> list[Tree]:
    """The aggregated form of a list of resources, as upstream's generic server makes it."""
    made: dict[str, Tree] = {}
    for found in resources:
        kind = {
            "group": found.get("group", ""),
            "version": found.get("version", ""),
            "kind": found["kind"],
        }
        plural, _, part = found["name"].partition("/")
        if part:
            made[plural].setdefault("subresources", []).append(
                {"subresource": part, "responseKind": kind, "verbs": found["verbs"]}
            )
            continue
        made[plural] = {
            "resource": plural,
            "responseKind": kind,
            "scope": "Namespaced" if found["namespaced"] else "Cluster",
            "singularResource": found["singularName"],
            "verbs": found["verbs"],
            **{k: found[k] for k in ("shortNames", "categories") if k in found},
        }
    return list(made.values())


async def test_aggregated_discovery_says_the_same(api: Api) -> None:
    served: Tree = {}
    for path in ("/api", "/apis"):
        answer = await api.ok("GET", path, headers=_AGGREGATED)
        assert answer["metadata"] == {}
        for group in answer["items"]:
            name = group["metadata"].get("name", "")
            assert group["metadata"] == ({"name": name} if name else {})
            for version in group["versions"]:
                key = f"{name}/{version['version']}" if name else version["version"]
                served[key] = version["resources"]
    for group_version, resources in _UPSTREAM["resources"].items():
        assert served.pop(group_version) == _aggregate(resources), group_version
    assert set(served) == {f"{g}/{v}" for g, versions in _OLDER.items() for v in versions}


_PROTOBUF = "application/vnd.kubernetes.protobuf"


@pytest.mark.parametrize("media", ["application/json", _PROTOBUF])
async def test_aggregated_discovery_is_kept_by_its_tag(api: Api, media: str) -> None:
    accept = f"{media};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    response = await api.call("GET", "/apis", headers={"accept": f"{accept},application/json"})
    headers = dict(response.headers)
    assert (response.status, headers["Content-Type"]) == (200, accept)
    assert (headers["Cache-Control"], headers["Vary"]) == ("public", "Accept")
    if media == _PROTOBUF:
        plain = await api.ok("GET", "/apis", headers=_AGGREGATED)
        made = decode_object(response.body)
        assert [item["metadata"]["name"] for item in made["items"]] == [
            item["metadata"]["name"] for item in plain["items"]
        ]
    sent = {"accept": accept, "if-none-match": headers["ETag"]}
    again = await api.call("GET", "/apis", headers=sent)
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    ("path", "accept", "status", "media"),
    [
        ("/", "text/html", 200, "application/json"),
        ("/", "application/yaml", 200, "application/json"),
        ("/version", "application/yaml", 406, "application/yaml"),
        ("/version", "text/html", 406, "application/json"),
        ("/version", "application/json;as=Table;v=v1;g=meta.k8s.io", 200, "application/json"),
        # Below a group of ours what is missing is told by a Status, elsewhere by a text.
        ("/api/v9", "", 404, "application/json"),
        ("/api/v1/nothing", "application/yaml", 404, "application/yaml"),
        ("/apis/apps/v9", _PROTOBUF, 404, _PROTOBUF),
        ("/apis/nothing/v1", _PROTOBUF, 404, "text/plain; charset=utf-8"),
        ("/nothing", "", 404, "text/plain; charset=utf-8"),
    ],
)
async def test_forms_of_what_is_no_resource(
    api: Api, path: str, accept: str, status: int, media: str
) -> None:
    response = await api.call("GET", path, headers={"accept": accept})
    assert (response.status, dict(response.headers)["Content-Type"]) == (status, media)
