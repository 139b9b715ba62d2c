"""Custom resources as clients use them: kubectl, the official Python client, our controllers."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.custom_kinds import FULL, crontab, definition, version

from kutter.testing.cluster import LocalCluster

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

GROUP, PLURAL = "stable.example.com", "crontabs"


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(scheduler=False) as running:
        yield running


class Kubectl:
    def __init__(self, cluster: LocalCluster, folder: Path) -> None:
        self._tool = shutil.which("kubectl") or pytest.fail("this test needs kubectl 1.32 or later")
        self._config, self._folder = str(cluster.kubeconfig_path), folder

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        cache = f"--cache-dir={self._folder / 'cache'}"
        command = [self._tool, f"--kubeconfig={self._config}", cache, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def ok(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, f"kubectl {words}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def fails(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode != 0, f"kubectl {words}: {done.stdout}"
        return done.stderr.strip()

    def file(self, *trees: dict[str, Any]) -> str:
        path = self._folder / "manifest.yaml"
        path.write_text(yaml.safe_dump_all(trees))
        return str(path)


@pytest.fixture
def kubectl(cluster: LocalCluster, tmp_path: Path) -> Kubectl:
    return Kubectl(cluster, tmp_path)


@pytest.fixture
def custom(cluster: LocalCluster, kubectl: Kubectl) -> Iterator[Any]:
    """The official client's CustomObjectsApi, with the definition in place."""
    from kubernetes import client

    kubectl.ok("create", "-f", kubectl.file(definition(names={"shortNames": ["ct"]})))
    kubectl.ok("wait", "--for=condition=Established", "--timeout=40s", f"crd/{PLURAL}.{GROUP}")
    yield client.CustomObjectsApi(cluster.kubernetes_client())
    kubectl.ok("delete", "crd", f"{PLURAL}.{GROUP}", "--ignore-not-found", "--timeout=20s")


def eventually(check: Callable[[], bool], timeout_s: float = 30.0) -> None:
    end = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < end, "did not come true"
        time.sleep(0.02)


def test_kubectl_from_definition_to_deletion(kubectl: Kubectl) -> None:
    made = kubectl.file(definition(names={"shortNames": ["ct"], "categories": ["all"]}))
    kubectl.ok("apply", "-f", made)
    kubectl.ok("wait", "--for=condition=Established", "--timeout=40s", f"crd/{PLURAL}.{GROUP}")
    kubectl.ok("apply", "-f", kubectl.file(crontab("a"), crontab("b", spec={"color": "red"})))
    lines = kubectl.ok("get", "ct").splitlines()
    assert lines[0].split() == ["NAME", "SPEC", "REPLICAS", "AGE"]
    assert lines[1].split()[:7] == ["a", "*", "*", "*", "*", "*/5", "1"]
    assert "IMAGE" in kubectl.ok("get", "ct", "-o", "wide")
    assert kubectl.ok("get", "all", "-o", "name").splitlines()[-2:] == [
        f"crontab.{GROUP}/a",
        f"crontab.{GROUP}/b",
    ]
    assert kubectl.ok("get", "ct", "--field-selector=spec.color=red", "-o", "name") == (
        f"crontab.{GROUP}/b"
    )
    explained = kubectl.ok("explain", "crontabs.spec")
    assert "cronSpec\t<string> -required-" in explained
    assert "replicas\t<integer>" in explained
    assert "KIND:       CronTab" in explained
    assert "ports" in kubectl.ok("explain", "ct", "--recursive")
    kubectl.ok("patch", "ct", "a", "--type=merge", "-p", '{"spec":{"image":"x"}}')
    patch = '[{"op":"replace","path":"/spec/replicas","value":2}]'
    kubectl.ok("patch", "ct", "a", "--type=json", "-p", patch)
    refused = kubectl.fails("patch", "ct", "a", "-p", '{"spec":{"image":"x"}}')
    assert "application/strategic-merge-patch+json is not supported by" in refused
    kubectl.ok("scale", "ct/a", "--replicas=5")
    assert kubectl.ok("get", "ct", "a", "-o", "jsonpath={.spec.replicas} {.spec.image}") == "5 x"
    status = '{"status":{"phase":"Up"}}'
    kubectl.ok("patch", "ct", "a", "--subresource=status", "--type=merge", "-p", status)
    kubectl.ok("wait", "--for=jsonpath={.status.phase}=Up", "--timeout=40s", "ct/a")
    changed = crontab("a", spec={"replicas": 5, "image": "other"})
    kubectl.ok("apply", "-f", kubectl.file(changed))
    assert "unchanged" in kubectl.ok("apply", "-f", kubectl.file(changed))
    wrong = kubectl.fails("apply", "-f", kubectl.file(crontab("c", spec={"replicas": 11})))
    assert "spec.replicas in body should be less than or equal to 10" in wrong
    wrong = kubectl.fails("apply", "-f", kubectl.file(crontab("c", spec={"bogus": 1})))
    assert 'unknown field "spec.bogus"' in wrong
    assert PLURAL in kubectl.ok("api-resources", f"--api-group={GROUP}", "-o", "name")
    kubectl.ok("delete", "crd", f"{PLURAL}.{GROUP}", "--timeout=40s")
    # kubectl still has the kind in its discovery cache.
    assert "the server could not find the requested resource" in kubectl.fails("get", "ct")


def test_the_official_client(custom: Any) -> None:
    place = (GROUP, "v1", "default", PLURAL)
    made = custom.create_namespaced_custom_object(*place, crontab("py"))
    assert made["spec"]["replicas"] == 1
    made["status"] = {"phase": "Up"}
    made = custom.replace_namespaced_custom_object_status(*place, "py", made)
    assert made["status"] == {"phase": "Up"}
    patched = custom.patch_namespaced_custom_object(*place, "py", {"spec": {"replicas": 2}})
    assert patched["spec"]["replicas"] == 2
    scale = custom.get_namespaced_custom_object_scale(*place, "py")
    assert scale["spec"]["replicas"] == 2
    listed = custom.list_cluster_custom_object(GROUP, "v1", PLURAL)
    assert [item["metadata"]["name"] for item in listed["items"]] == ["py"]
    custom.delete_collection_namespaced_custom_object(*place)
    assert custom.list_namespaced_custom_object(*place)["items"] == []


def test_owners_and_namespaces_take_custom_objects_along(
    cluster: LocalCluster, kubectl: Kubectl, custom: Any
) -> None:
    from kubernetes import client

    core = client.CoreV1Api(cluster.kubernetes_client())
    core.create_namespace({"metadata": {"name": "crew"}})
    place = (GROUP, "v1", "crew", PLURAL)
    owner = custom.create_namespaced_custom_object(*place, crontab("owner"))
    reference = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "CronTab",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
    }
    owned = {"ownerReferences": [reference]}
    core.create_namespaced_config_map("crew", {"metadata": {"name": "mine", **owned}})
    custom.create_namespaced_custom_object(*place, crontab("child", metadata=owned))
    custom.delete_namespaced_custom_object(*place, "owner")

    def left() -> list[str]:
        found = custom.list_namespaced_custom_object(*place)["items"]
        maps = core.list_namespaced_config_map("crew").items
        names = [item["metadata"]["name"] for item in found]
        return names + [m.metadata.name for m in maps if m.metadata.name == "mine"]

    eventually(lambda: left() == [])
    # The definition's deletion takes owned objects of other kinds along.
    keeper = custom.create_namespaced_custom_object(*place, crontab("keeper"))
    reference |= {"name": "keeper", "uid": keeper["metadata"]["uid"]}
    core.create_namespaced_config_map("crew", {"metadata": {"name": "mine", **owned}})
    kubectl.ok("delete", "crd", f"{PLURAL}.{GROUP}", "--timeout=40s")

    def maps_left() -> list[str]:
        return [m.metadata.name for m in core.list_namespaced_config_map("crew").items]

    eventually(lambda: "mine" not in maps_left())
    kubectl.ok("create", "-f", kubectl.file(definition()))
    kubectl.ok("wait", "--for=condition=Established", "--timeout=40s", f"crd/{PLURAL}.{GROUP}")
    custom.create_namespaced_custom_object(*place, crontab("late"))
    kubectl.ok("delete", "namespace", "crew", "--timeout=20s")
    assert custom.list_cluster_custom_object(GROUP, "v1", PLURAL)["items"] == []


def test_versions_published_to_kubectl(kubectl: Kubectl) -> None:
    old = version("v1alpha1", storage=False, **FULL)
    made = definition("gadgets", "Gadget", versions=[old, version(**FULL)])
    kubectl.ok("create", "-f", kubectl.file(made))
    kubectl.ok("wait", "--for=condition=Established", "--timeout=40s", f"crd/gadgets.{GROUP}")
    gadget = {**crontab("g"), "kind": "Gadget"}
    kubectl.ok("create", "-f", kubectl.file(gadget))
    seen = json.loads(kubectl.ok("get", f"gadgets.v1alpha1.{GROUP}", "g", "-o", "json"))
    assert seen["apiVersion"] == f"{GROUP}/v1alpha1"
    assert "VERSION:    v1" in kubectl.ok("explain", "gadgets")
    described = kubectl.ok("describe", "gadget", "g")
    assert "Cron Spec:  * * * * */5" in described
    kubectl.ok("delete", "crd", f"gadgets.{GROUP}", "--timeout=40s")
