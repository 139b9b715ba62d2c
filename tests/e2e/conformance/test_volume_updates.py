"""sig-storage conformance: changes reach running pods; claims, links and late sub-paths."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.cluster import Cluster, Space, Tree, sleeper, wait_until
from tests.e2e.conformance.test_volumes import PAYLOAD_KINDS, payload_source
from tests.e2e.conftest import make_space


@pytest.fixture(scope="module")
def live(cluster: Cluster) -> Iterator[Space]:
    """A namespace with pods whose volumes will change, all running."""
    space = make_space(cluster, "updates")
    for plural in ("configmaps", "secrets"):
        field = "data" if plural == "configmaps" else "stringData"
        for name, keys in (("changed", {"data-1": "value-1"}), ("deleted", {"data-1": "value-1"})):
            space.create(plural, {"metadata": {"name": name}, field: keys})
    for kind in PAYLOAD_KINDS:
        volumes = []
        for name, word in (("deleted", "del"), ("changed", "upd"), ("created", "new")):
            source = payload_source(kind, name, optional=name != "changed")
            volumes.append({"name": word, **source})
        mounts = [{"name": v["name"], "mountPath": f"/v/{v['name']}"} for v in volumes]
        container = sleeper(volumeMounts=mounts)
        space.create_pod(kind, {"containers": [container], "volumes": volumes})
    for projected in (False, True):
        items = [
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
            {"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}},
        ]
        source: Tree = {"downwardAPI": {"items": items}}
        if projected:
            source = {"projected": {"sources": [source]}}
        name = "projected-downward" if projected else "downward"
        spec = {
            "containers": [sleeper(volumeMounts=[{"name": "v", "mountPath": "/v"}])],
            "volumes": [{"name": "v", **source}],
        }
        space.create_pod(name, spec, labels={"key1": "value1"}, annotations={"builder": "bar"})
    for name in (*PAYLOAD_KINDS, "downward", "projected-downward"):
        space.wait_ready(name)
    yield space
    space.remove()


def _wait_content(space: Space, pod: str, path: str, content: str) -> None:
    script = f"cat {path} 2>/dev/null || echo -n absent"
    wait_until(
        f"{path} of {pod} is {content!r}",
        lambda: content in space.exec(pod, "sh", "-c", script),
        timeout_s=60,
        every_s=0.3,
    )


def test_changes_reach_running_pods(live: Space) -> None:
    """Updated keys change, deleted optional sources empty, created ones appear."""
    for kind in PAYLOAD_KINDS:
        assert live.exec(kind, "cat", "/v/upd/data-1") == "value-1"
        assert live.exec(kind, "cat", "/v/del/data-1") == "value-1"
        assert live.exec(kind, "ls", "/v/new") == ""
    for plural in ("configmaps", "secrets"):
        field = "data" if plural == "configmaps" else "stringData"
        live.cluster.patch(
            f"{live.path}/{plural}/changed", {field: {"data-1": "value-2", "data-3": "value-3"}}
        )
        live.cluster.delete(f"{live.path}/{plural}/deleted")
        live.create(plural, {"metadata": {"name": "created"}, field: {"data-1": "value-1"}})
    for kind in PAYLOAD_KINDS:
        _wait_content(live, kind, "/v/upd/data-1", "value-2")
        _wait_content(live, kind, "/v/upd/data-3", "value-3")
        _wait_content(live, kind, "/v/new/data-1", "value-1")
        _wait_content(live, kind, "/v/del/data-1", "absent")


def test_labels_and_annotations_reach_running_pods(live: Space) -> None:
    for name in ("downward", "projected-downward"):
        _wait_content(live, name, "/v/labels", 'key1="value1"')
        body = {"metadata": {"labels": {"key3": "value3"}, "annotations": {"builder": "foo"}}}
        live.cluster.patch(f"{live.path}/pods/{name}", body)
    for name in ("downward", "projected-downward"):
        _wait_content(live, name, "/v/labels", 'key1="value1"\nkey3="value3"')
        _wait_content(live, name, "/v/annotations", 'builder="foo"')


def test_immutable_data_cannot_change(live: Space) -> None:
    for plural in ("configmaps", "secrets"):
        field = "data" if plural == "configmaps" else "stringData"
        path = f"{live.path}/{plural}/fixed"
        live.create(plural, {"metadata": {"name": "fixed"}, field: {"a": "1"}})
        live.cluster.patch(path, {field: {"a": "2"}})
        live.cluster.patch(path, {"immutable": True})
        merge = {"Content-Type": "application/merge-patch+json"}
        for body in ({field: {"a": "3"}}, {"immutable": False}):
            status, tree = live.cluster.request("PATCH", path, body, **merge)
            assert (status, tree["reason"]) == (422, "Invalid"), tree
        live.cluster.patch(path, {"metadata": {"labels": {"still": "mutable"}}})
        live.cluster.delete(path)


def test_sub_path_expression_that_leaves_the_volume_never_starts(module_space: Space) -> None:
    """Parent folders and absolute paths are refused; nothing is written by the container."""
    space = module_space
    for name, value in (("backticks", "`hostname`/../.."), ("absolute", "/tmp")):
        mount = {"name": "v", "mountPath": "/v", "subPathExpr": "$(NAME)"}
        container = sleeper(env=[{"name": "NAME", "value": value}], volumeMounts=[mount])
        spec = {"containers": [container], "volumes": [{"name": "v", "emptyDir": {}}]}
        space.create_pod(name, spec)
    for name in ("backticks", "absolute"):
        pod = space.wait_pod(
            name,
            lambda p: (
                "waiting" in (p["status"].get("containerStatuses") or [{}])[0].get("state", {})
                and p["status"]["containerStatuses"][0]["state"]["waiting"]["reason"]
                == "CreateContainerConfigError"
            ),
        )
        assert pod["status"]["phase"] == "Pending"
        space.cluster.delete(f"{space.path}/pods/{name}", grace_s=0)


def test_sub_path_expression_may_be_repaired_while_the_pod_waits(module_space: Space) -> None:
    space = module_space
    named = {
        "name": "POD_NAME",
        "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['mysubpath']"}},
    }
    mounts = [
        {"name": "v", "mountPath": "/sub", "subPathExpr": "$(POD_NAME)"},
        {"name": "v", "mountPath": "/whole"},
    ]
    container = sleeper(env=[named], volumeMounts=mounts)
    spec = {"containers": [container], "volumes": [{"name": "v", "emptyDir": {}}]}
    # An empty environment variable makes an absolute path of "/$(POD_NAME)" as upstream's does.
    space.create_pod("repaired", spec, annotations={"mysubpath": "/absolute"})
    space.wait_pod(
        "repaired",
        lambda p: (
            (p["status"].get("containerStatuses") or [{}])[0]
            .get("state", {})
            .get("waiting", {})
            .get("reason")
            == "CreateContainerConfigError"
        ),
    )
    space.cluster.patch(
        f"{space.path}/pods/repaired", {"metadata": {"annotations": {"mysubpath": "mypath"}}}
    )
    space.wait_ready("repaired", timeout_s=45)
    space.exec("repaired", "touch", "/sub/f")
    assert space.exec("repaired", "ls", "/whole/mypath") == "f\n"


def test_claim_bound_by_reference_keeps_its_files(module_space: Space) -> None:
    """A volume on the node, claimed by ``claimRef``, outlives the pod that wrote it."""
    space = module_space
    folder = space.cluster.machine.home / "claimed"
    folder.mkdir()
    (folder / "was-here").write_text("before\n")
    name = f"claimed-{space.name}"
    volume = {
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Mi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "manual",
            "hostPath": {"path": str(folder)},
            "claimRef": {"namespace": space.name, "name": "claim"},
        },
    }
    space.cluster.create("/api/v1/persistentvolumes", volume)
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Mi"}},
        "storageClassName": "manual",
        "volumeName": name,
    }
    space.create("persistentvolumeclaims", {"metadata": {"name": "claim"}, "spec": claim})
    spec = {
        "containers": [sleeper(volumeMounts=[{"name": "v", "mountPath": "/v"}])],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "claim"}}],
    }
    try:
        space.create_pod("claims", spec)
        space.wait_ready("claims")
        assert space.exec("claims", "cat", "/v/was-here") == "before\n"
        space.exec("claims", "sh", "-c", "echo after > /v/new")
        space.cluster.delete(f"{space.path}/pods/claims")
        space.wait_gone("claims")
        assert (folder / "new").read_text() == "after\n"
    finally:
        space.cluster.delete(f"/api/v1/persistentvolumes/{name}")


def test_host_path_of_every_checked_type(module_space: Space) -> None:
    space = module_space
    home = space.cluster.machine.home / "host-paths"
    home.mkdir()
    (home / "file").write_text("content\n")
    good = {
        "folder": ("DirectoryOrCreate", home / "made/deep"),
        "file": ("File", home / "file"),
        "touched": ("FileOrCreate", home / "touched"),
        "device": ("CharDevice", Path("/dev/null")),
    }
    volumes = [
        {"name": name, "hostPath": {"path": str(path), "type": kind}}
        for name, (kind, path) in good.items()
    ]
    mounts = [{"name": name, "mountPath": f"/v/{name}"} for name in good]
    container = sleeper(volumeMounts=mounts)
    space.create_pod("host-paths", {"containers": [container], "volumes": volumes})
    space.wait_ready("host-paths")
    assert space.exec("host-paths", "cat", "/v/file") == "content\n"
    space.exec("host-paths", "touch", "/v/folder/x")
    assert (home / "made/deep/x").exists()
    wrong = {"name": "v", "hostPath": {"path": str(home / "file"), "type": "Directory"}}
    container = sleeper(volumeMounts=[{"name": "v", "mountPath": "/v"}])
    space.create_pod("wrong-type", {"containers": [container], "volumes": [wrong]})
    wait_until(
        "FailedMount for a file that should be a folder",
        lambda: any("hostPath type check failed" in e for e in space.events("wrong-type")),
    )


_STORAGE = {
    "storageclasses": {"provisioner": "e2e-fake-provisioner"},
    "csidrivers": {"spec": {"attachRequired": False}},
    "csinodes": {"spec": {"drivers": []}},
    "volumeattachments": {
        "spec": {"attacher": "e2e", "nodeName": "n", "source": {"persistentVolumeName": "pv"}}
    },
    "volumeattributesclasses": {"driverName": "e2e", "parameters": {"a": "b"}},
}


@pytest.mark.parametrize("plural", [*_STORAGE, "persistentvolumes", "persistentvolumeclaims"])
def test_storage_api_operations(plural: str, module_space: Space) -> None:
    """Create, read, list, patch, replace, delete and delete the collection of each kind."""
    cluster, spec = (
        module_space.cluster,
        {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
        },
    )
    if plural == "persistentvolumes":
        path, body = "/api/v1/persistentvolumes", {"spec": {**spec, "hostPath": {"path": "/x"}}}
    elif plural == "persistentvolumeclaims":
        path = f"{module_space.path}/persistentvolumeclaims"
        resources = {"requests": {"storage": "1Gi"}}
        body = {
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": resources,
                "storageClassName": "",
            }
        }
    else:
        path, body = f"/apis/storage.k8s.io/v1/{plural}", _STORAGE[plural]
    label = f"e2e={module_space.name}"
    labels = {"e2e": module_space.name}
    name = f"one-{module_space.name}"
    made = cluster.create(path, {"metadata": {"name": name, "labels": labels}, **body})
    assert cluster.get(f"{path}/{name}")["metadata"]["uid"] == made["metadata"]["uid"]
    assert len(cluster.get(f"{path}?labelSelector={label}")["items"]) == 1
    patched = cluster.patch(f"{path}/{name}", {"metadata": {"labels": {"patched": "true"}}})
    patched["metadata"]["labels"]["updated"] = "true"
    status, tree = cluster.request("PUT", f"{path}/{name}", patched)
    assert status == 200, tree
    assert tree["metadata"]["labels"]["updated"] == "true"
    if plural in ("volumeattachments", "persistentvolumes", "persistentvolumeclaims"):
        current = cluster.get(f"{path}/{name}/status")
        field = {"attached": True} if plural == "volumeattachments" else {"phase": "Pending"}
        current["status"] = {**(current.get("status") or {}), **field}
        status, tree = cluster.request("PUT", f"{path}/{name}/status", current)
        assert status == 200, json.dumps(tree)
    cluster.delete(f"{path}/{name}")
    wait_until(f"{name} gone", lambda: cluster.request("GET", f"{path}/{name}")[0] == 404)
    for number in (1, 2):
        cluster.create(path, {"metadata": {"name": f"{name}-{number}", "labels": labels}, **body})
    cluster.delete(f"{path}?labelSelector={label}")
    wait_until(
        "collection gone",
        lambda: not cluster.get(f"{path}?labelSelector={label}")["items"],
    )
