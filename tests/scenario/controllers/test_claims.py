"""Claims and volumes: bound by name, by reference and by fit, and what becomes of them."""

import time

import pytest
from kubernetes import client as k8s


def wait_until(what, check, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    while not (value := check()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.01)
    return value


def volume(name, size="1Gi", **spec):
    return {
        "metadata": {"name": name, "labels": {"name": name}},
        "spec": {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": f"/tmp/{name}"},
            **spec,
        },
    }


def claim(name, size="1Gi", **spec):
    return {
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
            "storageClassName": "",
            **spec,
        },
    }


class Storage:
    def __init__(self, core):
        self.core = core

    def phase(self, name):
        return self.core.read_persistent_volume(name).status.phase

    def claim_phase(self, name):
        return self.core.read_namespaced_persistent_volume_claim(name, "default").status.phase

    def volume_of(self, name):
        wait_until(f"{name} bound", lambda: self.claim_phase(name) == "Bound")
        found = self.core.read_namespaced_persistent_volume_claim(name, "default")
        return found.spec.volume_name

    def add(self, *bodies):
        for body in bodies:
            if "capacity" in body["spec"]:
                self.core.create_persistent_volume(body)
            else:
                self.core.create_namespaced_persistent_volume_claim("default", body)


@pytest.fixture
def storage(kutter_cluster):
    api = kutter_cluster.kubernetes_client()
    yield Storage(k8s.CoreV1Api(api))
    api.close()


def test_the_smallest_volume_that_fits_is_taken(storage):
    storage.add(volume("large", "5Gi"), volume("small"), volume("fits", "2Gi"))
    for name in ("large", "small", "fits"):
        wait_until(f"{name} free", lambda n=name: storage.phase(n) == "Available")
    storage.add(claim("wants", "1500Mi"))
    assert storage.volume_of("wants") == "fits"
    found = storage.core.read_namespaced_persistent_volume_claim("wants", "default")
    assert found.status.capacity == {"storage": "2Gi"}
    assert found.metadata.annotations == {
        "pv.kubernetes.io/bind-completed": "yes",
        "pv.kubernetes.io/bound-by-controller": "yes",
    }
    bound = storage.core.read_persistent_volume("fits")
    assert (bound.spec.claim_ref.name, bound.spec.claim_ref.uid) == ("wants", found.metadata.uid)
    wait_until("volume says so", lambda: storage.phase("fits") == "Bound")


def test_a_claim_waits_for_its_volume_and_tells_why(storage):
    storage.add(claim("early", selector={"matchLabels": {"name": "late"}}), volume("other"))
    wait_until("other free", lambda: storage.phase("other") == "Available")
    assert storage.claim_phase("early") == "Pending"

    def events():
        listed = storage.core.list_namespaced_event("default").items
        return {e.reason for e in listed if e.involved_object.name == "early"}

    wait_until("told", lambda: "FailedBinding" in events())
    storage.add(volume("late"))
    assert storage.volume_of("early") == "late"


def test_names_on_either_side_are_kept_to(storage):
    reserved = {"claimRef": {"namespace": "default", "name": "mine"}}
    storage.add(volume("reserved", "9Gi", **reserved), volume("free"), volume("named", "9Gi"))
    storage.add(claim("theirs"), claim("mine"), claim("by-name", volumeName="named"))
    assert storage.volume_of("mine") == "reserved"
    assert storage.volume_of("by-name") == "named"
    assert storage.volume_of("theirs") == "free"
    annotations = storage.core.read_persistent_volume("reserved").metadata.annotations or {}
    assert "pv.kubernetes.io/bound-by-controller" not in annotations


def test_claims_that_race_get_one_volume_each(storage):
    for number in range(8):
        storage.add(volume(f"v{number}"))
    for number in range(8):
        storage.add(claim(f"c{number}"))
    names = {storage.volume_of(f"c{number}") for number in range(8)}
    assert len(names) == 8


def test_volumes_of_deleted_claims_are_nobody_elses(storage):
    storage.add(volume("kept"), claim("first"))
    assert storage.volume_of("first") == "kept"
    wait_until("bound", lambda: storage.phase("kept") == "Bound")
    storage.core.delete_namespaced_persistent_volume_claim("first", "default")
    wait_until("released", lambda: storage.phase("kept") == "Released")
    storage.add(claim("second"))
    storage.add(volume("fresh"))
    assert storage.volume_of("second") == "fresh"
    storage.core.delete_persistent_volume("fresh")
    # In use: it stays until its claim is gone.
    assert storage.core.read_persistent_volume("fresh").metadata.deletion_timestamp is not None
    storage.core.delete_namespaced_persistent_volume_claim("second", "default")

    def gone():
        return "fresh" not in {v.metadata.name for v in storage.core.list_persistent_volume().items}

    wait_until("volume gone", gone)


def test_class_of_attributes_in_use_stays(kutter_cluster, storage):
    classes = k8s.CustomObjectsApi(storage.core.api_client)
    place = ("storage.k8s.io", "v1", "volumeattributesclasses")
    for name in ("used", "unused"):
        body = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "VolumeAttributesClass",
            "metadata": {"name": name},
            "driverName": "example.com",
            "parameters": {"iops": "1"},
        }
        classes.create_cluster_custom_object(*place, body)
    storage.add(claim("uses", volumeAttributesClassName="used"))

    def names():
        listed = classes.list_cluster_custom_object(*place)["items"]
        return {item["metadata"]["name"] for item in listed}

    for name in ("used", "unused"):
        classes.delete_cluster_custom_object(*place, name)
    wait_until("unused gone", lambda: names() == {"used"})
    storage.core.delete_namespaced_persistent_volume_claim("uses", "default")
    wait_until("used gone", lambda: names() == set())
