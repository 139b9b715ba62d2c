"""Group-versions that are off by default: nowhere to be seen, or everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.conformance_kit import Rest, wait_until

from kutter.api.catalog import OPTIONAL
from kutter.cluster.api_options import ApiServerOptions
from kutter.cluster.config import ConfigError, load_config
from kutter.testing.cluster import LocalCluster

VERSIONS = sorted({resource.api_version for resource in OPTIONAL})
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
ROLE = f"{ROLES}/system:controller:storage-version-migrator-controller"
CANDIDATES = "/apis/coordination.k8s.io/v1beta1/namespaces/default/leasecandidates"
CANDIDATE: dict[str, Any] = {
    "apiVersion": "coordination.k8s.io/v1beta1",
    "kind": "LeaseCandidate",
    "metadata": {"name": "one"},
    "spec": {"leaseName": "it", "binaryVersion": "1.36.0", "strategy": "a.example.com/own"},
}


def cluster(tmp_path: Path, text: str) -> LocalCluster:
    return LocalCluster(
        scheduler=False,
        controllers=False,
        store_file=tmp_path / "store.sqlite",
        api=ApiServerOptions(runtime_config=text),
    )


def test_on_and_off_again(tmp_path: Path) -> None:
    with cluster(tmp_path, "") as running:
        rest = Rest(running.kubernetes_client())
        for version in VERSIONS:
            assert rest.answer("GET", f"/apis/{version}").status == 404
            assert f"apis/{version}" not in rest.get("/openapi/v3")["paths"]
        assert rest.answer("GET", ROLE).status == 404
    with cluster(tmp_path, "api/beta=true") as running:
        rest = Rest(running.kubernetes_client())
        for version in VERSIONS:
            group, _, number = version.partition("/")
            assert rest.get(f"/apis/{version}")["groupVersion"] == version
            assert version in {
                found["groupVersion"]
                for entry in rest.get("/apis")["groups"]
                for found in entry["versions"]
            }
            paths = rest.get(f"/openapi/v3/apis/{version}")["paths"]
            assert any(path.startswith(f"/apis/{version}/") for path in paths)
            service = f"/apis/apiregistration.k8s.io/v1/apiservices/{number}.{group}"
            wait_until(lambda path=service: rest.answer("GET", path).status == 200)
        # The stable version stays the preferred one.
        preferred = rest.get("/apis/coordination.k8s.io")["preferredVersion"]["version"]
        assert preferred == "v1"
        assert rest.get(ROLE)["metadata"]["labels"]["kubernetes.io/bootstrapping"]
        rest.post(CANDIDATES, CANDIDATE)
        accept = {"accept": "application/vnd.kubernetes.protobuf"}
        answer = rest.call("GET", f"{CANDIDATES}/one", headers=accept)
        assert answer.headers["content-type"] == "application/vnd.kubernetes.protobuf"
        assert b"a.example.com/own" in answer.data
        sent = {"content-type": "application/vnd.kubernetes.protobuf"}
        again = rest.ok("PUT", f"{CANDIDATES}/one", answer.data, headers=sent)
        assert again == rest.get(f"{CANDIDATES}/one")
    with cluster(tmp_path, "") as running:
        assert Rest(running.kubernetes_client()).answer("GET", CANDIDATES).status == 404
    with cluster(tmp_path, "coordination.k8s.io/v1beta1=true") as running:
        rest = Rest(running.kubernetes_client())
        assert [c["metadata"]["name"] for c in rest.get(CANDIDATES)["items"]] == ["one"]
        assert rest.answer("GET", "/apis/storagemigration.k8s.io/v1beta1").status == 404


def test_a_cluster_is_not_configured_with_what_there_is_not(tmp_path: Path) -> None:
    place = {"state_dir": tmp_path, "address": "192.0.2.1"}
    found = load_config({**place, "runtime_config": "api/beta=true"}, environment={})
    assert found.runtime_config == "api/beta=true"
    with pytest.raises(ConfigError, match=r"--runtime-config: unknown 'x/v1'; to be turned on: "):
        load_config({**place, "runtime_config": "x/v1=true"}, environment={})
    set_by = {"KUTTER_RUNTIME_CONFIG": "api/beta=true"}
    assert load_config(place, environment=set_by).runtime_config == "api/beta=true"
