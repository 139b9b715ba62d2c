"""componentstatuses: get and list by anybody's client, as upstream answers them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.apiserver_harness import Api, start_server

from kutter.apiserver.printing.registry import printer_for

_PATH = "/api/v1/componentstatuses"
_TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


@pytest.fixture
async def api() -> Api:
    api = Api(await start_server(printer_for=printer_for))
    api.server.health.components.update({"scheduler": lambda: "", "controller-manager": lambda: ""})
    return api


def _healthy(tree: dict[str, Any]) -> dict[str, Any]:
    (condition,) = tree["conditions"]
    return condition


async def test_all_parts_are_listed(api: Api) -> None:
    answer = await api.call("GET", _PATH)
    warnings = [value for name, value in answer.headers if name.lower() == "warning"]
    assert warnings == ['299 - "v1 ComponentStatus is deprecated in v1.19+"']
    found = await api.ok("GET", _PATH)
    assert (found["kind"], found["apiVersion"], found["metadata"]) == (
        "ComponentStatusList",
        "v1",
        {},
    )
    assert {i["metadata"]["name"]: _healthy(i) for i in found["items"]} == {
        name: {"type": "Healthy", "status": "True", "message": "ok"}
        for name in ("controller-manager", "etcd-0", "scheduler")
    }


async def test_one_part(api: Api) -> None:
    found = await api.ok("GET", f"{_PATH}/scheduler")
    assert (found["kind"], found["metadata"]) == ("ComponentStatus", {"name": "scheduler"})
    status = await api.fails(404, "NotFound", "GET", f"{_PATH}/kubelet")
    assert status["message"] == 'componentstatus "kubelet" not found'


async def test_what_is_not_well_says_why(api: Api) -> None:
    api.server.health.components["scheduler"] = lambda: "ended: scheduler"
    found = await api.ok("GET", f"{_PATH}/scheduler")
    assert _healthy(found) == {"type": "Healthy", "status": "False", "error": "ended: scheduler"}
    table = await api.ok("GET", _PATH, headers=_TABLE)
    assert [column["name"] for column in table["columnDefinitions"]] == [
        "Name",
        "Status",
        "Message",
        "Error",
    ]
    assert [row["cells"] for row in table["rows"]] == [
        ["controller-manager", "Healthy", "ok", ""],
        ["etcd-0", "Healthy", "ok", ""],
        ["scheduler", "Unhealthy", "", "ended: scheduler"],
    ]


async def test_parts_without_labels_are_selected_by_name_only(api: Api) -> None:
    query = {"fieldSelector": "metadata.name=etcd-0"}
    named = await api.ok("GET", _PATH, query=query)
    assert [i["metadata"]["name"] for i in named["items"]] == ["etcd-0"]
    labelled = await api.ok("GET", _PATH, query={"labelSelector": "a=b"})
    assert labelled["items"] == []


async def test_nothing_else_is_allowed(api: Api) -> None:
    await api.fails(405, "MethodNotAllowed", "DELETE", f"{_PATH}/scheduler")
    await api.fails(405, "MethodNotAllowed", "POST", _PATH, {"metadata": {"name": "x"}})
    await api.fails(405, "MethodNotAllowed", "GET", _PATH, query={"watch": "1"})


async def test_protobuf(api: Api) -> None:
    answer = await api.call("GET", _PATH, headers={"accept": "application/vnd.kubernetes.protobuf"})
    assert answer.status == 200
    assert answer.body.startswith(b"k8s\0")
