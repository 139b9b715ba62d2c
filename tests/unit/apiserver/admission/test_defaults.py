"""The small plugins that only fill in."""

from __future__ import annotations

from typing import Any

from tests.unit.apiserver.admission.admission_kit import admit, pod, refused, request
from tests.unit.apiserver.fake_reader import FakeReader

from kutter.apiserver.admission.default_classes import DefaultIngressClass, DefaultStorageClass
from kutter.apiserver.admission.default_toleration_seconds import DefaultTolerationSeconds
from kutter.apiserver.admission.node_taints import TaintNodesByCondition
from kutter.apiserver.admission.runtime_class import RuntimeClass
from kutter.apiserver.admission.storage_protection import StorageObjectInUseProtection


async def test_tolerations_once_and_not_over_own_ones() -> None:
    plugin, reader = DefaultTolerationSeconds(), FakeReader()
    made = await admit(plugin, request("pods", pod(), reader))
    added = made["spec"]["tolerations"]
    assert [t["key"] for t in added] == [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ]
    assert {t["tolerationSeconds"] for t in added} == {300}
    again = await admit(plugin, request("pods", made, reader))
    assert again["spec"]["tolerations"] == added
    everything = [{"operator": "Exists"}]
    made = await admit(plugin, request("pods", pod(tolerations=everything), reader))
    assert made["spec"]["tolerations"] == everything
    other = [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]
    made = await admit(plugin, request("pods", pod(tolerations=other), reader))
    assert len(made["spec"]["tolerations"]) == 3


async def test_new_nodes_are_tainted() -> None:
    taint = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    node = {"metadata": {"name": "n"}}
    plugin = TaintNodesByCondition()
    made = await admit(plugin, request("nodes", node, FakeReader(), namespace=""))
    assert made["spec"]["taints"] == [taint]
    made = await admit(plugin, request("nodes", made, FakeReader(), namespace=""))
    assert made["spec"]["taints"] == [taint]


async def test_storage_finalizers() -> None:
    plugin = StorageObjectInUseProtection()
    claim = {"metadata": {"name": "c", "finalizers": ["x/y"]}}
    made = await admit(plugin, request("persistentvolumeclaims", claim, FakeReader()))
    assert made["metadata"]["finalizers"] == ["x/y", "kubernetes.io/pvc-protection"]
    volume = {"metadata": {"name": "v"}}
    made = await admit(plugin, request("persistentvolumes", volume, FakeReader(), namespace=""))
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]


def marked(name: str, mark: str, created: str) -> dict[str, Any]:
    metadata = {"name": name, "creationTimestamp": created, "annotations": {mark: "true"}}
    return {"metadata": metadata}


async def test_the_newest_default_storage_class() -> None:
    reader, mark = FakeReader(), "storageclass.kubernetes.io/is-default-class"
    for name, created in (("a", "2026-01-01"), ("c", "2026-01-02"), ("b", "2026-01-02")):
        reader.put("storageclasses.storage.k8s.io", marked(name, mark, created))
    plugin = DefaultStorageClass()
    claim = {"metadata": {"name": "c"}, "spec": {}}
    made = await admit(plugin, request("persistentvolumeclaims", claim, reader))
    assert made["spec"]["storageClassName"] == "b"
    none = {"metadata": {"name": "c"}, "spec": {"storageClassName": ""}}
    made = await admit(plugin, request("persistentvolumeclaims", none, reader))
    assert made["spec"]["storageClassName"] == ""


async def test_default_ingress_class() -> None:
    reader, mark = FakeReader(), "ingressclass.kubernetes.io/is-default-class"
    reader.put("ingressclasses.networking.k8s.io", marked("front", mark, "2026-01-01"))
    what = "ingresses.networking.k8s.io"
    made = await admit(DefaultIngressClass(), request(what, {"metadata": {"name": "i"}}, reader))
    assert made["spec"]["ingressClassName"] == "front"
    old = {"metadata": {"name": "i", "annotations": {"kubernetes.io/ingress.class": "x"}}}
    made = await admit(DefaultIngressClass(), request(what, old, reader))
    assert "ingressClassName" not in made["spec"]


async def test_runtime_class() -> None:
    reader, plugin = FakeReader(), RuntimeClass()
    reader.put(
        "runtimeclasses.node.k8s.io",
        {
            "metadata": {"name": "vm"},
            "overhead": {"podFixed": {"memory": "64Mi"}},
            "scheduling": {
                "nodeSelector": {"vm": "yes"},
                "tolerations": [{"key": "vm", "operator": "Exists"}],
            },
        },
    )
    made = await admit(plugin, request("pods", pod(runtimeClassName="vm"), reader))
    assert made["spec"]["overhead"] == {"memory": "64Mi"}
    assert made["spec"]["nodeSelector"] == {"vm": "yes"}
    assert made["spec"]["tolerations"] == [{"key": "vm", "operator": "Exists"}]
    error = await refused(plugin, request("pods", pod(runtimeClassName="x"), reader))
    assert error.message.endswith('pod rejected: RuntimeClass "x" not found')
    error = await refused(plugin, request("pods", pod(overhead={"cpu": "1"}), reader))
    assert "without corresponding RuntimeClass" in error.message
    clash = pod(runtimeClassName="vm", nodeSelector={"vm": "no"})
    error = await refused(plugin, request("pods", clash, reader))
    assert "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes" in error.message
