"""What objects of every kind with field labels of its own are found by (upstream's lists)."""

import pytest
from tests.conformance_kit import pod, wait_until, workload

SLICES = "/apis/resource.k8s.io/v1/resourceslices"
EVENTS = ("/api/v1", "/apis/events.k8s.io/v1")


def names(rest, path, selector):
    return {i["metadata"]["name"] for i in rest.get(path, fieldSelector=selector)["items"]}


def test_pods(rest, namespace):
    path = f"/api/v1/namespaces/{namespace}/pods"
    rest.post(path, pod("there", restartPolicy="Never"))
    rest.post(path, pod("waits", schedulerName="nobody", hostNetwork=True))

    def running():
        tree = rest.get(f"{path}/there")
        return tree if tree["status"].get("podIP") else None

    tree = wait_until(running)
    node, address = tree["spec"]["nodeName"], tree["status"]["podIP"]
    for selector in (
        f"spec.nodeName={node}",
        f"spec.host={node}",
        "spec.nodeName!=",
        "spec.restartPolicy=Never",
        "spec.schedulerName=default-scheduler",
        "spec.hostNetwork=false",
        "status.phase=Running",
        f"status.podIP={address}",
        f"status.phase!=Pending,spec.restartPolicy==Never,metadata.namespace={namespace}",
    ):
        assert names(rest, path, selector) == {"there"}, selector
    for selector in ("spec.hostNetwork=true", "status.phase=Pending", "spec.nodeName="):
        assert names(rest, path, selector) == {"waits"}, selector
    for selector in (
        "spec.serviceAccountName=default",
        "status.nominatedNodeName=",
        "status.podIPs=",
    ):
        assert names(rest, path, selector) == {"there", "waits"}, selector


def test_events_of_both_groups(rest, namespace):
    """Reported through one group, they are found by each group's own labels."""
    core, new = (f"{base}/namespaces/{namespace}/events" for base in EVENTS)
    about = {"kind": "Pod", "name": "some", "namespace": namespace, "uid": "u-1"}
    about |= {"apiVersion": "v1", "resourceVersion": "7", "fieldPath": "spec.containers{c}"}
    told = {"metadata": {"name": "told"}, "involvedObject": about, "reason": "Because"}
    told |= {"type": "Warning", "source": {"component": "teller"}}
    rest.post(core, {**told, "reportingComponent": "example.com/teller"})
    other = {**about, "kind": "Node", "name": "else", "uid": "u-2"}
    rest.post(
        core, {**told, "metadata": {"name": "other"}, "involvedObject": other, "type": "Normal"}
    )
    by = {"kind": "Pod", "name": "some", "uid": "u-1"}
    for path, field in ((core, "involvedObject"), (new, "regarding")):
        for label, value in by.items():
            assert names(rest, path, f"{field}.{label}={value}") == {"told"}
        same = f"{field}.namespace={namespace},{field}.apiVersion=v1,{field}.resourceVersion=7"
        same += f",{field}.fieldPath=spec.containers{{c}},reason=Because"
        assert names(rest, path, same) == {"told", "other"}
        assert names(rest, path, f"type=Warning,metadata.namespace={namespace}") == {"told"}
    assert names(rest, core, "reportingComponent=example.com/teller") == {"told"}
    assert names(rest, core, "source=teller,type=Normal") == {"other"}
    assert names(rest, new, "reportingController=example.com/teller") == {"told"}


def test_nodes_and_namespaces(rest, namespace):
    rest.patch("/api/v1/nodes/sim-1", {"spec": {"unschedulable": True}})
    assert names(rest, "/api/v1/nodes", "spec.unschedulable=true") == {"sim-1"}
    assert "sim-0" in names(rest, "/api/v1/nodes", "spec.unschedulable!=true")
    rest.patch("/api/v1/nodes/sim-1", {"spec": {"unschedulable": None}})
    spaces = "/api/v1/namespaces"
    rest.post(spaces, {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}})
    rest.delete(f"{spaces}/held")
    assert names(rest, spaces, "status.phase=Terminating") == {"held"}
    assert namespace in names(rest, spaces, "status.phase=Active")
    rest.patch(f"{spaces}/held", {"metadata": {"finalizers": None}})
    rest.wait_gone(f"{spaces}/held")


def test_secrets_services_and_requests(rest, namespace):
    base = f"/api/v1/namespaces/{namespace}"
    rest.post(f"{base}/secrets", {"metadata": {"name": "a"}, "stringData": {"a": "b"}})
    rest.post(f"{base}/secrets", {"metadata": {"name": "b"}, "type": "example.com/own"})
    assert names(rest, f"{base}/secrets", "type=example.com/own") == {"b"}
    assert names(rest, f"{base}/secrets", "type=Opaque") == {"a"}
    ports = [{"port": 80}]
    rest.post(f"{base}/services", {"metadata": {"name": "s"}, "spec": {"ports": ports}})
    headless = {"metadata": {"name": "h"}, "spec": {"ports": ports, "clusterIP": "None"}}
    rest.post(f"{base}/services", headless)
    assert names(rest, f"{base}/services", "spec.clusterIP=None") == {"h"}
    assert names(rest, f"{base}/services", "spec.type=ClusterIP,spec.clusterIP!=None") == {"s"}


def test_workloads_by_what_their_status_counts(rest, namespace):
    apps = f"/apis/apps/v1/namespaces/{namespace}/replicasets"
    core = f"/api/v1/namespaces/{namespace}/replicationcontrollers"
    for path, kind in ((apps, "ReplicaSet"), (core, "ReplicationController")):
        rest.post(path, workload(kind, "two", 2))
        rest.post(path, workload(kind, "none", 0))
        wait_until(lambda path=path: names(rest, path, "status.replicas=2") == {"two"})
        assert names(rest, path, "status.replicas=0") == {"none"}
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    job = {"metadata": {"name": "j"}, "spec": {"suspend": True, "template": template}}
    rest.post(jobs, job)
    assert names(rest, jobs, "status.successful=0") == {"j"}
    assert names(rest, jobs, "status.successful=1") == set()


@pytest.fixture
def slices(rest):
    made = {"a": ("x.example.com", "sim-0"), "b": ("x.example.com", "sim-1")}
    made["c"] = ("y.example.com", "sim-0")
    for name, (driver, node) in made.items():
        pool = {"name": node, "generation": 1, "resourceSliceCount": 1}
        spec = {"driver": driver, "nodeName": node, "pool": pool}
        rest.post(SLICES, {"metadata": {"name": name}, "spec": spec})
    yield
    rest.delete(SLICES)


def test_slices_of_a_node_and_of_a_driver(rest, slices):
    assert names(rest, SLICES, "spec.nodeName=sim-0") == {"a", "c"}
    assert names(rest, SLICES, "spec.driver=x.example.com") == {"a", "b"}
    # A node may ask for its own and for no others.
    node = {"impersonate-user": "system:node:sim-1", "impersonate-group": "system:nodes"}
    query = {"fieldSelector": "spec.nodeName=sim-1"}
    found = rest.ok("GET", SLICES, query=query, headers=node)["items"]
    assert [i["metadata"]["name"] for i in found] == ["b"]
    rest.fails(403, "Forbidden", "GET", SLICES, headers=node)
    # As kubelets do when a driver goes.
    query["fieldSelector"] += ",spec.driver=x.example.com"
    rest.ok("DELETE", SLICES, query=query, headers=node)
    assert names(rest, SLICES, "metadata.name!=z") == {"a", "c"}
    status = rest.fails(400, "BadRequest", "GET", SLICES, query={"fieldSelector": "spec.pool=x"})
    assert "field label not supported" in status["message"]
