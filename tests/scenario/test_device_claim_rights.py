"""Writing a claim's status through the public API takes more than the right to write it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from kutter.apiserver.authn.identity import User
from kutter.http.messages import Request
from kutter.testing.cluster import ADMIN, LocalCluster

Tree = dict[str, Any]

ANN = User("ann", groups=("system:authenticated",))
_RBAC = "rbac.authorization.k8s.io"
_CLAIMS = "/apis/resource.k8s.io/v1/namespaces/blue/resourceclaims"
_DEVICE = {"driver": "d.example.com", "pool": "p", "device": "d0"}
_ALLOCATION = {"devices": {"results": [{"request": "r", **_DEVICE}]}}


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(controllers=False, scheduler=False) as cluster:
        _ask(cluster, "POST", "/api/v1/namespaces", {"metadata": {"name": "blue"}})
        _allow(cluster, "status", ["resourceclaims", "resourceclaims/status"], ["get", "update"])
        spec = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}
        _ask(cluster, "POST", _CLAIMS, {"metadata": {"name": "c"}, "spec": spec})
        yield cluster


def _ask(
    cluster: LocalCluster, method: str, path: str, body: Tree | None = None, user: User = ADMIN
) -> tuple[int, Tree]:
    headers = {"content-type": "application/json", "accept": "application/json"}
    request = Request(
        method=method,
        path=path,
        raw_query="",
        headers=headers,
        header_list=list(headers.items()),
        body=b"" if body is None else orjson.dumps(body),
        local_user=user,
    )
    response = cluster.run(cluster.plane.api.handle(request))
    return response.status, orjson.loads(response.body)


def _allow(
    cluster: LocalCluster, name: str, resources: list[str], verbs: list[str], names: Any = ()
) -> None:
    """Ann may, everywhere."""
    rule = {"apiGroups": ["resource.k8s.io"], "resources": resources, "verbs": verbs}
    if names:
        rule["resourceNames"] = list(names)
    path = f"/apis/{_RBAC}/v1"
    role = {"metadata": {"name": name}, "rules": [rule]}
    assert _ask(cluster, "POST", f"{path}/clusterroles", role)[0] == 201
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": "ann"}],
    }
    assert _ask(cluster, "POST", f"{path}/clusterrolebindings", binding)[0] == 201


def _write(cluster: LocalCluster, changes: Tree) -> tuple[int, list[str]]:
    """The answer to Ann's write, and the fields it complains of."""
    _, claim = _ask(cluster, "GET", f"{_CLAIMS}/c")
    claim["status"] |= changes
    code, answer = _ask(cluster, "PUT", f"{_CLAIMS}/c/status", claim, ANN)
    causes = (answer.get("details") or {}).get("causes") or ()
    return code, [cause["field"] for cause in causes]


def test_each_part_of_the_status_is_a_right_of_its_own(cluster: LocalCluster) -> None:
    allocation, devices = {"allocation": _ALLOCATION}, {"devices": [_DEVICE]}
    assert _write(cluster, allocation) == (422, ["status.allocation"])
    _allow(cluster, "binding", ["resourceclaims/binding"], ["update"])
    assert _write(cluster, allocation) == (200, [])
    assert _write(cluster, devices) == (422, ["status.devices"])
    driver = ["resourceclaims/driver"]
    _allow(cluster, "driver", driver, ["arbitrary-node:update"], ["d.example.com"])
    assert _write(cluster, devices) == (200, [])
    # Nothing changes: nothing is asked.
    assert _write(cluster, {}) == (200, [])
