from typing import Any

import pytest
from tests.unit.apiserver.admission.admission_kit import admit, pod, refused, request
from tests.unit.apiserver.fake_reader import FakeReader

from kutter.apiserver.admission.event_rate_limit import EventLimit, EventRateLimit
from kutter.apiserver.admission.optional import (
    AlwaysDeny,
    AlwaysPullImages,
    DenyServiceExternalIPs,
    ExtendedResourceToleration,
    LimitPodHardAntiAffinityTopology,
    NamespaceExists,
)
from kutter.apiserver.admission.owner_references import OwnerReferencesPermissionEnforcement
from kutter.apiserver.admission.pod_resize import PodResizeValidator
from kutter.apiserver.admission.pod_topology_labels import PodTopologyLabels
from kutter.apiserver.ports import Attributes, Decision

NOTHING = FakeReader()


async def test_images_are_always_pulled() -> None:
    tree = pod(volumes=[{"name": "v", "image": {"reference": "r", "pullPolicy": "Never"}}])
    made = await admit(AlwaysPullImages(), request("pods", tree, NOTHING))
    assert made["spec"]["containers"][0]["imagePullPolicy"] == "Always"
    assert made["spec"]["volumes"][0]["image"]["pullPolicy"] == "Always"
    # An update that brings no new image is none of its business.
    asked = request("pods", pod(), NOTHING, operation="UPDATE", old=pod())
    assert (
        "imagePullPolicy" not in (await admit(AlwaysPullImages(), asked))["spec"]["containers"][0]
    )
    late = pod()
    late["spec"]["containers"][0]["imagePullPolicy"] = "IfNotPresent"
    with pytest.raises(Exception, match=r'imagePullPolicy: Unsupported value: "IfNotPresent"'):
        await AlwaysPullImages().validate(request("pods", late, NOTHING))


async def test_everything_is_denied() -> None:
    error = await refused(AlwaysDeny(), request("pods", pod(), NOTHING))
    assert error.message.endswith("admission control is denying all modifications")


async def test_external_addresses() -> None:
    def service(*addresses: str) -> dict[str, Any]:
        return {"metadata": {"name": "s"}, "spec": {"externalIPs": list(addresses)}}

    plugin = DenyServiceExternalIPs()
    error = await refused(plugin, request("services", service("192.0.2.1"), NOTHING))
    assert error.message == (
        'services "s" is forbidden: Use of external IPs is denied by admission control.'
    )
    keeps = request(
        "services",
        service("192.0.2.1"),
        NOTHING,
        operation="UPDATE",
        old=service("192.0.2.1", "192.0.2.2"),
    )
    await admit(plugin, keeps)


async def test_who_asks_for_a_device_tolerates_its_taint() -> None:
    resources = {"requests": {"example.com/gpu": "1", "cpu": "1"}}
    tree = pod(containers=[{"name": "c", "resources": resources}], tolerations=[{"key": "x"}])
    made = await admit(ExtendedResourceToleration(), request("pods", tree, NOTHING))
    toleration = {"key": "example.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    assert made["spec"]["tolerations"] == [{"key": "x"}, toleration]


async def test_hard_anti_affinity_is_for_nodes() -> None:
    def apart(key: str) -> dict[str, Any]:
        rules = {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": key}]}
        return pod(affinity={"podAntiAffinity": rules})

    plugin = LimitPodHardAntiAffinityTopology()
    await admit(plugin, request("pods", apart("kubernetes.io/hostname"), NOTHING))
    error = await refused(plugin, request("pods", apart("zone"), NOTHING))
    assert "has TopologyKey zone but only key kubernetes.io/hostname is allowed" in error.message


async def test_namespaces_have_to_exist() -> None:
    error = await refused(NamespaceExists(), request("pods", pod(), NOTHING))
    assert (error.code, error.message) == (404, 'namespaces "blue" not found')


class Rights:
    """Allows what it is told to."""

    def __init__(self, *allowed: tuple[str, str]) -> None:
        self.allowed = allowed

    async def authorize(self, attributes: Attributes) -> Decision:
        resource = attributes.resource
        if attributes.subresource:
            resource += f"/{attributes.subresource}"
        return Decision((attributes.verb, resource) in self.allowed, "no rule")


def owned(*, block: bool = False, uid: str = "u1") -> dict[str, Any]:
    tree = pod()
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": uid}
    tree["metadata"]["ownerReferences"] = [{**owner, "blockOwnerDeletion": block}]
    return tree


async def test_owner_references_need_rights() -> None:
    nobody = OwnerReferencesPermissionEnforcement(Rights())
    error = await refused(nobody, request("pods", owned(), NOTHING))
    assert error.message == (
        'pods "p" is forbidden: cannot set an ownerRef on a resource you can\'t delete: '
        "no rule, <nil>"
    )
    await admit(nobody, request("pods", pod(), NOTHING))
    await admit(nobody, request("pods", owned(), NOTHING, operation="UPDATE", old=owned()))
    deleter = OwnerReferencesPermissionEnforcement(Rights(("delete", "pods")))
    await admit(deleter, request("pods", owned(), NOTHING))
    error = await refused(deleter, request("pods", owned(block=True), NOTHING))
    assert "a resource you can't set finalizers on: no rule, <nil>" in error.message
    full = Rights(("delete", "pods"), ("update", "replicasets/finalizers"))
    await admit(
        OwnerReferencesPermissionEnforcement(full), request("pods", owned(block=True), NOTHING)
    )


async def test_a_bound_pod_carries_the_zone_of_its_node() -> None:
    nodes = FakeReader()
    zone, region = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
    nodes.put("nodes", {"metadata": {"name": "n", "labels": {zone: "z", region: "r", "a": "b"}}})
    tree = pod(nodeName="n")
    tree["metadata"]["labels"] = {zone: "mine"}
    born = await admit(PodTopologyLabels(), request("pods", tree, nodes))
    assert born["metadata"]["labels"] == {zone: "mine", region: "r"}
    bound = request("pods/binding", pod(nodeName="n"), nodes, operation="UPDATE", old=pod())
    assert (await admit(PodTopologyLabels(), bound))["metadata"]["labels"] == {
        zone: "z",
        region: "r",
    }
    unknown = await admit(PodTopologyLabels(), request("pods", pod(nodeName="other"), nodes))
    assert "labels" not in unknown["metadata"]


async def test_a_resize_has_to_fit_the_node() -> None:
    nodes = FakeReader()
    node = {
        "metadata": {"name": "n", "labels": {"kubernetes.io/os": "linux"}},
        "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}},
    }
    nodes.put("nodes", node)

    def sized(cpu: str, generation: int) -> dict[str, Any]:
        resources = {"requests": {"cpu": cpu}}
        tree = pod(nodeName="n", containers=[{"name": "c", "resources": resources}])
        tree["metadata"]["generation"] = generation
        return tree

    def asked(cpu: str) -> Any:
        return request("pods/resize", sized(cpu, 2), nodes, operation="UPDATE", old=sized("1", 1))

    await admit(PodResizeValidator(), asked("2"))
    error = await refused(PodResizeValidator(), asked("2500m"))
    assert error.message.endswith(
        "Node didn't have enough allocatable resources: cpu, requested: 2500, allocatable: 2000"
    )
    node["metadata"]["labels"]["kubernetes.io/os"] = "windows"  # type: ignore[index]
    nodes.put("nodes", node)
    error = await refused(PodResizeValidator(), asked("2"))
    assert 'only supported on linux nodes, node "n" is "windows"' in error.message


class Standing:
    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        return self.at


async def test_events_have_a_rate() -> None:
    clock: Any = Standing()
    limit = EventLimit("Namespace", qps=1, burst=2, cache_size=2)
    plugin = EventRateLimit([limit], clock)
    event = {"metadata": {"name": "e"}}

    def asked(namespace: str = "blue") -> Any:
        return request("events", event, NOTHING, namespace=namespace)

    await admit(plugin, asked())
    await admit(plugin, asked())
    error = await refused(plugin, asked())
    assert (error.code, error.reason) == (429, "TooManyRequests")
    assert error.message == "limit reached on type Namespace for key blue"
    await admit(plugin, asked("red"))
    clock.at = 1.0
    await admit(plugin, asked())
    await refused(plugin, asked())
