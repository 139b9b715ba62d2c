"""Upstream's kubectl on a tour: explain, diff, apply with prune and conflicts, edit, patches, auth,
certificates, every output, waits. One cluster; each test has its own namespace.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kutter.testing.cluster import LocalCluster

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
_numbers = count(1)

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {set: one}}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: nginx}]}
"""
CONFIG = """---
apiVersion: v1
kind: ConfigMap
metadata: {name: old, labels: {set: one}}
data: {a: b}
"""


class Tour:
    """kubectl in one namespace, with files of one folder."""

    def __init__(self, cluster: LocalCluster, namespace: str, folder: Path) -> None:
        self._tool = shutil.which("kubectl") or pytest.fail("kubectl is part of the environment")
        self._config = str(cluster.kubeconfig_path)
        self.namespace = namespace
        self.folder = folder

    def file(self, text: str) -> str:
        path = self.folder / f"{next(_numbers)}.yaml"
        path.write_text(text)
        return str(path)

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._tool, f"--kubeconfig={self._config}", f"--namespace={self.namespace}", *words],
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **environment},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def ok(self, *words: str, **environment: str) -> str:
        done = self.run(*words, **environment)
        assert done.returncode == 0, f"kubectl {words}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def fails(self, *words: str, code: int = 1, **environment: str) -> str:
        done = self.run(*words, **environment)
        assert done.returncode == code, f"kubectl {words}: {done.stdout}{done.stderr}"
        return (done.stdout + done.stderr).strip()


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(nodes=2) as made:
        yield made


@pytest.fixture
def tour(cluster: LocalCluster, tmp_path: Path) -> Tour:
    made = Tour(cluster, f"tour-{next(_numbers)}", tmp_path)
    made.ok("create", "namespace", made.namespace)
    return made


def test_explain(tour: Tour) -> None:
    shown = tour.ok("explain", "pods.spec.containers.resources")
    assert "FIELD: resources <ResourceRequirements>" in shown
    assert re.search(r"^ +limits\s+<map\[string\]", shown, re.MULTILINE)
    whole = tour.ok("explain", "deployment", "--recursive")
    assert re.search(r"^ +maxSurge\s+<IntOrString>", whole, re.MULTILINE)
    assert re.search(r"^ +mountPath\s+<string> -required-", whole, re.MULTILINE)
    assert "VERSION:    v2" in tour.ok("explain", "hpa")
    assert "VERSION:    v1" in tour.ok("explain", "hpa", "--api-version=autoscaling/v1")
    assert 'field "nope" does not exist' in tour.fails("explain", "pods.nope")
    assert "KIND:     Pod" in tour.ok("explain", "pods", "--output=plaintext-openapiv2")
    kinds = [line.split()[0] for line in tour.ok("api-resources", "--no-headers").splitlines()]
    for kind in sorted(set(kinds)):
        if kind != "bindings":
            assert "KIND:" in tour.ok("explain", kind), kind


def test_apply_diff_and_prune(tour: Tour) -> None:
    both, grown = tour.file(DEPLOYMENT % 2 + CONFIG), tour.file(DEPLOYMENT % 3)
    assert tour.ok("apply", "-f", both).splitlines() == [
        "deployment.apps/web created",
        "configmap/old created",
    ]
    tour.ok("rollout", "status", "deployment/web", "--timeout=60s")
    again = tour.ok("apply", "-f", both).splitlines()
    assert again == ["deployment.apps/web unchanged", "configmap/old unchanged"]
    assert tour.ok("diff", "-f", both) == ""
    difference = tour.fails("diff", "-f", grown)
    assert "-  replicas: 2" in difference
    assert "+  replicas: 3" in difference
    allowed = ("--prune-allowlist=core/v1/ConfigMap", "--prune-allowlist=apps/v1/Deployment")
    pruned = tour.ok("apply", "-f", grown, "--prune", "-l", "set=one", *allowed).splitlines()
    assert pruned == ["deployment.apps/web configured", "configmap/old pruned"]
    assert "NotFound" in tour.fails("get", "cm", "old")


def test_apply_sets_and_conflicts(tour: Tour) -> None:
    both, grown = tour.file(DEPLOYMENT % 2 + CONFIG), tour.file(DEPLOYMENT % 3)
    words = ("apply", "--server-side", "--prune", "--applyset=shop")
    tour.ok(*words, "-f", both, KUBECTL_APPLYSET="true")
    pruned = tour.ok(*words, "-f", grown, KUBECTL_APPLYSET="true").splitlines()
    assert pruned == ["deployment.apps/web serverside-applied", "configmap/old pruned"]
    other = ("apply", "--server-side", "--field-manager=other", "-f", both)
    assert 'conflict with "kubectl": .spec.replicas' in tour.fails(*other)
    tour.ok(*other, "--force-conflicts")
    owners = json.loads(tour.ok("get", "deploy", "web", "-o", "json", "--show-managed-fields"))
    owned = {e["manager"]: e["fieldsV1"] for e in owners["metadata"]["managedFields"]}
    assert "f:replicas" in owned["other"]["f:spec"]
    assert "f:replicas" not in owned["kubectl"]["f:spec"]
    assert "-  replicas: 2" in tour.fails(
        "diff", "--server-side", "--force-conflicts", "--field-manager=other", "-f", grown
    )


def test_edit(tour: Tour) -> None:
    tour.ok("apply", "-f", tour.file(DEPLOYMENT % 3))
    said = tour.ok("edit", "deploy", "web", KUBE_EDITOR="sed -i s/replicas:.3/replicas:\\ 1/")
    assert said == "deployment.apps/web edited"
    assert tour.ok("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "1"
    unchanged = tour.run("edit", "deploy", "web", KUBE_EDITOR="true")
    assert "Edit cancelled, no changes made." in unchanged.stdout + unchanged.stderr
    wrong = tour.fails("edit", "deploy", "web", KUBE_EDITOR="sed -i s/replicas:.1/replicas:\\ -4/")
    assert 'deployments.apps "web" is invalid' in wrong
    status = "sed -i s/observedGeneration:.*/observedGeneration:\\ 77/"
    tour.ok("edit", "deploy", "web", "--subresource=status", KUBE_EDITOR=status)


def test_patches_of_all_types(tour: Tour) -> None:
    tour.ok("apply", "-f", tour.file(DEPLOYMENT % 1))

    def patch(kind: str, change: object, *more: str) -> str:
        words = ("patch", "deploy", "web", f"--type={kind}", "-p", json.dumps(change))
        return tour.ok(*words, *more)

    extra = {"name": "d", "image": "x"}
    patch("strategic", {"spec": {"template": {"spec": {"containers": [extra]}}}})
    names = ("get", "deploy", "web", "-o", "jsonpath={..containers[*].name}")
    assert sorted(tour.ok(*names).split()) == ["c", "d"]
    patch("merge", {"spec": {"template": {"spec": {"containers": [extra]}}}})
    assert tour.ok(*names) == "d"
    replicas = [
        {"op": "test", "path": "/spec/replicas", "value": 1},
        {"op": "replace", "path": "/spec/replicas", "value": 2},
    ]
    patch("json", replicas)
    assert "the server rejected our request" in tour.fails(
        "patch", "deploy", "web", "--type=json", "-p", json.dumps(replicas)
    )
    assert patch("merge", {"spec": {"replicas": 4}}, "--subresource=scale") == (
        "scale.autoscaling/web patched"
    )
    assert tour.ok("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "4"


def test_auth(tour: Tour) -> None:
    own = tour.ok("auth", "can-i", "--list")
    assert re.search(r"^\*\.\*\s+\[\]\s+\[\]\s+\[\*\]", own, re.MULTILINE)
    role = tour.file(
        """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: NAMESPACE}
rules: [{apiGroups: [""], resources: [pods], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: User, name: jane, apiGroup: rbac.authorization.k8s.io}]
""".replace("NAMESPACE", tour.namespace)
    )
    for _ in range(2):
        assert tour.ok("auth", "reconcile", "-f", role).splitlines() == [
            "role.rbac.authorization.k8s.io/reader reconciled",
            "rolebinding.rbac.authorization.k8s.io/reader reconciled",
        ]
    assert tour.ok("auth", "can-i", "list", "pods", "--as=jane") == "yes"
    assert tour.fails("auth", "can-i", "create", "pods", "--as=jane").startswith("no")
    listed = tour.ok("auth", "can-i", "--list", "--as=jane")
    assert re.search(r"^pods\s+\[\]\s+\[\]\s+\[get list\]", listed, re.MULTILINE)
    tour.ok("patch", "role", "reader", "-p", '{"rules":[]}')
    tour.ok("auth", "reconcile", "-f", role)
    assert tour.ok("auth", "can-i", "list", "pods", "--as=jane") == "yes"
    assert "kubernetes-admin" in tour.ok("auth", "whoami")


def _signing_request(name: str, user: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    pem = request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return f"""
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {{name: {name}}}
spec:
  request: {base64.b64encode(pem).decode()}
  signerName: kubernetes.io/kube-apiserver-client
  usages: [client auth]
"""


def test_certificates(tour: Tour) -> None:
    for name in ("yes", "no"):
        tour.ok("create", "-f", tour.file(_signing_request(f"{tour.namespace}-{name}", "jane")))
    tour.ok("certificate", "approve", f"{tour.namespace}-yes")
    tour.ok("certificate", "deny", f"{tour.namespace}-no")
    request = f"csr/{tour.namespace}-yes"
    tour.ok("wait", "--for=jsonpath={.status.certificate}", request, "--timeout=60s")
    issued = tour.ok("get", request, "-o", "jsonpath={.status.certificate}")
    certificate = x509.load_pem_x509_certificate(base64.b64decode(issued))
    assert certificate.subject.rfc4514_string() == "CN=jane"
    shown = tour.ok("get", "csr")
    assert re.search(rf"{tour.namespace}-yes .*Approved,Issued", shown)
    assert re.search(rf"{tour.namespace}-no .*Denied", shown)


def test_every_output(tour: Tour) -> None:
    tour.ok("apply", "-f", tour.file(DEPLOYMENT % 3))
    tour.ok("wait", "--for=condition=Available", "deploy/web", "--timeout=60s")
    pods = tour.ok("get", "pods", "-o", "name").split()
    assert len(pods) == 3
    names = sorted(pod.removeprefix("pod/") for pod in pods)

    def get(*words: str) -> str:
        return tour.ok("get", "pods", "--sort-by=.metadata.name", *words)

    template = "go-template={{range .items}}{{.metadata.name}} {{end}}"
    assert get("-o", "jsonpath={.items[*].metadata.name}").split() == names
    assert get("-o", template).split() == names
    assert get("-o", "custom-columns=N:.metadata.name", "--no-headers").split() == names
    assert [item["metadata"]["name"] for item in json.loads(get("-o", "json"))["items"]] == names
    assert get("-o", "yaml").count("kind: Pod") == 3
    assert "NOMINATED NODE" in get("-o", "wide")
    assert "app=web" in get("--show-labels")
    assert get("-L", "app", "--no-headers").split("\n")[0].split()[-1] == "web"
    assert get("-l", "app=web", "--field-selector=status.phase=Running", "--no-headers")
    said = tour.run("get", "pods", "--chunk-size=1", "-v=6")
    assert len(re.findall(r"limit=1", said.stderr)) >= 3
    assert all(name in said.stdout for name in names)
    whole = tour.ok("get", "all", "-o", "name").split()
    assert {name.split("/")[0] for name in whole} == {"pod", "deployment.apps", "replicaset.apps"}
    assert json.loads(tour.ok("get", "--raw", "/version"))["minor"] == "36"
    assert "deployments" in tour.ok("api-resources", "--api-group=apps", "-o", "name")
    assert "apps/v1" in tour.ok("api-versions").split()
    for verb in ("list", "create"):
        tour.ok("api-resources", f"--verbs={verb}", "-o", "wide")


def test_waits_and_replacement(tour: Tour) -> None:
    made = tour.file(DEPLOYMENT % 1)
    tour.ok("create", "-f", made)
    tour.ok("wait", "--for=jsonpath={.status.readyReplicas}=1", "deploy/web", "--timeout=60s")
    tour.ok("wait", "--for=condition=Ready", "pod", "-l", "app=web", "--timeout=60s")
    first = tour.ok("get", "deploy", "web", "-o", "jsonpath={.metadata.uid}")
    assert tour.ok("replace", "--force", "-f", made).splitlines()[-1] == (
        "deployment.apps/web replaced"
    )
    assert tour.ok("get", "deploy", "web", "-o", "jsonpath={.metadata.uid}") != first
    tour.ok("delete", "deploy", "web", "--wait=false")
    tour.ok("wait", "--for=delete", "deploy/web", "--timeout=60s")
    assert "timed out" in tour.fails("wait", "--for=create", "cm/later", "--timeout=1s")
    tour.ok("create", "cm", "later")
    tour.ok("wait", "--for=create", "cm/later", "--timeout=5s")
