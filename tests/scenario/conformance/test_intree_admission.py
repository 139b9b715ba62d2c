"""In-tree admission through the public API: what is filled in, what is refused, who may do what."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.conformance_kit import config_map, pod, wait_until

from kutter.cluster.api_options import ApiServerOptions
from kutter.testing.cluster import LocalCluster

RBAC = "/apis/rbac.authorization.k8s.io/v1"
STORAGE = "/apis/storage.k8s.io/v1/storageclasses"
CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"


@pytest.fixture(scope="module")
def cluster():
    options = ApiServerOptions(enable_admission_plugins="OwnerReferencesPermissionEnforcement")
    with LocalCluster(nodes=1, api=options) as running:
        yield running


@pytest.fixture
def pods(namespace):
    return f"/api/v1/namespaces/{namespace}/pods"


def allow(rest, name, *rules):
    """A cluster role for the user of the same name; the headers that make one that user."""
    keys = ("apiGroups", "resources", "verbs", "resourceNames")
    made = [
        dict(zip(keys, ([part] if isinstance(part, str) else part for part in rule), strict=False))
        for rule in rules
    ]
    rest.post(f"{RBAC}/clusterroles", {"metadata": {"name": name}, "rules": made})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}
    binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    rest.post(f"{RBAC}/clusterrolebindings", binding)
    return {"impersonate-user": name}


def test_pods_tolerate_trouble_for_a_while(rest, pods):
    made = rest.post(pods, pod("plain"))["spec"]["tolerations"]
    assert made == [
        {
            "key": f"node.kubernetes.io/{what}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": 300,
        }
        for what in ("not-ready", "unreachable")
    ]


def test_priorities_are_resolved(rest, pods):
    rest.post(CLASSES, {"metadata": {"name": "low"}, "value": 7, "preemptionPolicy": "Never"})
    made = rest.post(pods, pod("low", priorityClassName="low"))["spec"]
    assert (made["priority"], made["preemptionPolicy"]) == (7, "Never")
    assert rest.post(pods, pod("none"))["spec"]["priority"] == 0
    said = rest.fails(403, "Forbidden", "POST", pods, pod("x", priorityClassName="absent"))
    assert "no PriorityClass with name absent was found" in said["message"]
    said = rest.fails(403, "Forbidden", "POST", pods, pod("x", priorityClassName="low", priority=9))
    assert "the integer value of priority (9) must not be provided" in said["message"]
    rest.post(CLASSES, {"metadata": {"name": "all"}, "value": 3, "globalDefault": True})
    made = rest.post(pods, pod("default"))["spec"]
    assert (made["priorityClassName"], made["priority"]) == ("all", 3)
    two = {"metadata": {"name": "two"}, "value": 4, "globalDefault": True}
    said = rest.fails(403, "Forbidden", "POST", CLASSES, two)
    assert "is already marked as default" in said["message"]
    rest.delete(f"{CLASSES}/all")


def test_new_nodes_are_tainted_until_they_are_ready(rest):
    made = rest.post("/api/v1/nodes", {"metadata": {"name": "fresh"}})
    assert made["spec"]["taints"] == [
        {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    ]
    rest.delete("/api/v1/nodes/fresh")


def test_claims_and_ingresses_get_the_default_class(rest, namespace):
    mark = {"storageclass.kubernetes.io/is-default-class": "true"}
    body = {"metadata": {"name": "std", "annotations": mark}, "provisioner": "a.example.com"}
    rest.post(STORAGE, body)
    claims = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    made = rest.post(claims, {"metadata": {"name": "c"}, "spec": spec})
    assert made["spec"]["storageClassName"] == "std"
    none = {"metadata": {"name": "n"}, "spec": {**spec, "storageClassName": ""}}
    assert rest.post(claims, none)["spec"]["storageClassName"] == ""
    rest.delete(f"{STORAGE}/std")
    base = "/apis/networking.k8s.io/v1"
    mark = {"ingressclass.kubernetes.io/is-default-class": "true"}
    body = {"metadata": {"name": "front", "annotations": mark}, "spec": {"controller": "a.b/c"}}
    rest.post(f"{base}/ingressclasses", body)
    backend = {"service": {"name": "s", "port": {"number": 80}}}
    ingress = {"metadata": {"name": "i"}, "spec": {"defaultBackend": backend}}
    made = rest.post(f"{base}/namespaces/{namespace}/ingresses", ingress)
    assert made["spec"]["ingressClassName"] == "front"
    rest.delete(f"{base}/ingressclasses/front")


def test_a_claim_in_use_goes_after_its_pod(rest, namespace, pods):
    path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    spec["storageClassName"] = "manual"
    made = rest.post(path, {"metadata": {"name": "used"}, "spec": spec})
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "used"}}
    bound = pod("user", volumes=[volume], nodeName="sim-0")
    rest.post(pods, bound)
    rest.delete(f"{path}/used")
    assert rest.get(f"{path}/used")["metadata"]["deletionTimestamp"]
    rest.delete(f"{pods}/user", {"gracePeriodSeconds": 0})
    rest.wait_gone(f"{path}/used")
    volume = {
        "metadata": {"name": "pv"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/x"},
        },
    }
    made = rest.post("/api/v1/persistentvolumes", volume)
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
    rest.delete("/api/v1/persistentvolumes/pv")
    rest.wait_gone("/api/v1/persistentvolumes/pv")


def test_a_runtime_class_brings_its_overhead_and_its_nodes(rest, pods):
    path = "/apis/node.k8s.io/v1/runtimeclasses"
    overhead = {"cpu": "250m", "memory": "64Mi"}
    scheduling = {"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm"}]}
    body = {"metadata": {"name": "vm"}, "handler": "vm", "overhead": {"podFixed": overhead}}
    rest.post(path, {**body, "scheduling": scheduling})

    def admitted():
        found = rest.answer("POST", pods, pod("p", runtimeClassName="vm"))
        return found.tree if found.status == 201 else None

    made = wait_until(admitted)["spec"]
    assert made["overhead"] == overhead
    assert made["nodeSelector"] == {"vm": "yes"}
    assert "vm" in [t.get("key") for t in made["tolerations"]]
    said = rest.fails(403, "Forbidden", "POST", pods, pod("x", runtimeClassName="absent"))
    assert 'RuntimeClass "absent" not found' in said["message"]
    said = rest.fails(403, "Forbidden", "POST", pods, pod("x", overhead={"cpu": "1"}))
    assert "Pod Overhead set without corresponding RuntimeClass" in said["message"]
    rest.delete(f"{path}/vm")


def _request(name):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


def test_approving_takes_the_right_to_the_signer(rest):
    group = "certificates.k8s.io"
    update = (group, "certificatesigningrequests/approval", ["update", "patch"])
    read = (group, "certificatesigningrequests", "get")
    other = (group, "signers", "approve", "example.com/other")
    right = (group, "signers", "approve", "example.com/*")
    clerk = allow(rest, "clerk", update, read, other)
    judge = allow(rest, "judge", update, read, right)
    spec = {"request": _request("a"), "signerName": "example.com/own", "usages": ["client auth"]}
    rest.post(CSRS, {"metadata": {"name": "asked"}, "spec": spec})
    tree = rest.get(f"{CSRS}/asked")
    tree["status"]["conditions"] = [{"type": "Approved", "status": "True", "reason": "Test"}]
    path = f"{CSRS}/asked/approval"
    said = rest.fails(403, "Forbidden", "PUT", path, tree, headers=clerk)
    assert (
        'user not permitted to approve requests with signerName "example.com/own"'
        in (said["message"])
    )
    assert not rest.get(f"{CSRS}/asked")["status"].get("conditions")
    rest.ok("PUT", path, tree, headers=judge)
    # Signing is a right of its own.
    tree = rest.get(f"{CSRS}/asked")
    failed = {"type": "Failed", "status": "True", "reason": "Test", "message": "no"}
    tree["status"]["conditions"].append(failed)
    signer = allow(rest, "signer", (group, "certificatesigningrequests/status", "update"), read)
    said = rest.fails(403, "Forbidden", "PUT", f"{CSRS}/asked/status", tree, headers=signer)
    assert "user not permitted to sign requests" in said["message"]
    rest.delete(f"{CSRS}/asked")


def test_owners_are_named_by_those_who_may_delete(rest, namespace):
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    owner = rest.post(maps, config_map("owner"))
    write = ("", "configmaps", ["create", "update", "get"])
    writer = allow(rest, "writer", write)
    cleaner = allow(rest, "cleaner", write, ("", "configmaps", "delete"))
    blocker = allow(
        rest,
        "blocker",
        write,
        ("", "configmaps", "delete"),
        ("", "configmaps/finalizers", "update"),
    )

    def owned(name, block):
        tree = config_map(name)
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner"}
        reference |= {"uid": owner["metadata"]["uid"], "blockOwnerDeletion": block}
        tree["metadata"]["ownerReferences"] = [reference]
        return tree

    rest.ok("POST", maps, config_map("free"), headers=writer)
    tree = rest.get(f"{maps}/free")
    tree["metadata"]["ownerReferences"] = owned("free", False)["metadata"]["ownerReferences"]
    said = rest.fails(403, "Forbidden", "PUT", f"{maps}/free", tree, headers=writer)
    assert "cannot set an ownerRef on a resource you can't delete" in said["message"]
    rest.ok("PUT", f"{maps}/free", tree, headers=cleaner)
    said = rest.fails(403, "Forbidden", "POST", maps, owned("b", True), headers=cleaner)
    assert (
        "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't"
        in (said["message"])
    )
    rest.ok("POST", maps, owned("b", True), headers=blocker)
