"""kubectl's typed commands, which speak protobuf, against a cluster in this process.

kubectl 1.32 and later send and accept protobuf wherever they use typed clients: most of
``create``, ``run``, ``expose``, ``auth``, ``cordon``, ``drain``, ``describe``. The test fails
where kubectl is missing: whoever runs the suite wants to know that it ran.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kutter.testing.cluster import LocalCluster
from kutter.testing.simulated_nodes import DEFAULT_LIFE_CYCLE, Stage, running

NAMESPACE = "typed"
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


class Kubectl:
    """Runs kubectl; ``ok`` answers its output, ``fails`` its complaint."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._tool = shutil.which("kubectl") or pytest.fail("this test needs kubectl 1.32 or later")
        self._config = str(cluster.kubeconfig_path)

    def run(self, line: str, *, verbose: bool = False) -> subprocess.CompletedProcess[str]:
        words = line.split(" ")
        command = [self._tool, f"--kubeconfig={self._config}", "-n", NAMESPACE]
        command += ["-v=9"] if verbose else []
        return subprocess.run(
            [*command, *words], capture_output=True, text=True, timeout=60, check=False
        )

    def ok(self, line: str) -> str:
        done = self.run(line)
        assert done.returncode == 0, f"kubectl {line}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def fails(self, line: str) -> str:
        done = self.run(line)
        assert done.returncode != 0, f"kubectl {line}: {done.stdout}"
        return done.stderr.strip()


@pytest.fixture(scope="module")
def kubectl() -> Iterator[Kubectl]:
    # Whoever waits for this pod comes in time to see it change.
    slowly = Stage("late", phase="Pending", selector="run=watched", delay_s=1, status=running)
    with LocalCluster(nodes=2, life_cycle=(slowly, *DEFAULT_LIFE_CYCLE)) as cluster:
        tool = Kubectl(cluster)
        tool.ok(f"create namespace {NAMESPACE}")
        tool.ok("create deployment web --image=nginx --replicas=2 --port=80")
        tool.ok("rollout status deployment/web --timeout=30s")
        yield tool


def test_it_is_protobuf_that_is_spoken(kubectl: Kubectl) -> None:
    said = kubectl.run("create serviceaccount spoken", verbose=True)
    assert said.returncode == 0
    assert "Accept: application/vnd.kubernetes.protobuf" in said.stderr
    assert "Content-Type: application/vnd.kubernetes.protobuf" in said.stderr
    # The answer too is bytes to kubectl, not text.
    assert re.search(r"Response Body\W.{0,20}00000000  6b 38 73 00", said.stderr, re.DOTALL)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("create sa bot", "serviceaccount/bot created"),
        ("create role reader --verb=get,list --resource=pods",
         "role.rbac.authorization.k8s.io/reader created"),
        ("create rolebinding reads --role=reader --serviceaccount=typed:bot",
         "rolebinding.rbac.authorization.k8s.io/reads created"),
        ("create clusterrole typed --verb=* --resource=deployments.apps,pods/log",
         "clusterrole.rbac.authorization.k8s.io/typed created"),
        ("create clusterrolebinding typed --clusterrole=typed --user=joe --group=g",
         "clusterrolebinding.rbac.authorization.k8s.io/typed created"),
        ("create job once --image=busybox -- echo hi", "job.batch/once created"),
        ("create cronjob often --image=busybox --schedule=@hourly -- echo hi",
         "cronjob.batch/often created"),
        ("create job now --from=cronjob/often", "job.batch/now created"),
        ("create secret generic s --from-literal=a=b", "secret/s created"),
        (("create secret docker-registry r --docker-server=x --docker-username=u "
          "--docker-password=p"), "secret/r created"),
        ("create configmap cm --from-literal=a=b", "configmap/cm created"),
        ("create quota q --hard=pods=90,count/widgets=3", "resourcequota/q created"),
        ("create pdb p --selector=app=web --min-available=50%",
         "poddisruptionbudget.policy/p created"),
        ("create priorityclass typed --value=1000",
         "priorityclass.scheduling.k8s.io/typed created"),
        ("create ingress i --rule=foo.com/bar=svc:80,tls=t",
         "ingress.networking.k8s.io/i created"),
        ("create service clusterip plain --tcp=80:8080", "service/plain created"),
        ("create service nodeport open --tcp=80", "service/open created"),
        ("create service externalname far --external-name=x.y", "service/far created"),
        ("expose deployment web --port=80", "service/web exposed"),
        ("autoscale deployment web --min=1 --max=5 --cpu-percent=80",
         "horizontalpodautoscaler.autoscaling/web autoscaled"),
        ("run single --image=nginx --restart=Never", "pod/single created"),
        ("scale deployment web --replicas=3", "deployment.apps/web scaled"),
        ("taint nodes sim-0 a=b:PreferNoSchedule", "node/sim-0 tainted"),
        ("taint nodes sim-0 a-", "node/sim-0 untainted"),
        ("cordon sim-1", "node/sim-1 cordoned"),
        ("uncordon sim-1", "node/sim-1 uncordoned"),
    ],
)  # fmt: skip
def test_what_is_asked_is_done(kubectl: Kubectl, line: str, answer: str) -> None:
    assert kubectl.ok(line) == answer


def test_values_arrive_as_they_were_meant(kubectl: Kubectl) -> None:
    kubectl.ok("create secret generic kept --from-literal=a=b")
    assert kubectl.ok("get secret kept -o jsonpath={.data.a},{.type}") == "Yg==,Opaque"
    kubectl.ok("create quota kept --hard=cpu=1500m,memory=1Gi")
    assert kubectl.ok("get quota kept -o jsonpath={.spec.hard}") == (
        '{"cpu":"1500m","memory":"1Gi"}'
    )
    kubectl.ok("delete quota kept")  # it would be kept indeed, by every pod after it
    kubectl.ok("create pdb kept --selector=app=none --max-unavailable=0")
    assert kubectl.ok("get pdb kept -o jsonpath={.spec.maxUnavailable}") == "0"
    kubectl.ok("create deployment kept --image=a --image=b --replicas=0")
    found = kubectl.ok("get deployment kept -o jsonpath={.spec.replicas},{..image}")
    assert found == "0,a b"
    created = kubectl.ok("get sa default -o jsonpath={.metadata.creationTimestamp}")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", created)


def test_questions_are_answered(kubectl: Kubectl) -> None:
    kubectl.ok("create sa asked")
    kubectl.ok("create role asked --verb=get --resource=pods")
    kubectl.ok("create rolebinding asked --role=asked --serviceaccount=typed:asked")
    who = "system:serviceaccount:typed:asked"
    assert kubectl.ok(f"auth can-i get pods --as={who}") == "yes"
    assert kubectl.run(f"auth can-i get secrets --as={who}").stdout.strip() == "no"
    listed = kubectl.ok(f"auth can-i --list --as={who}")
    assert re.search(r"^pods +\[\] +\[\] +\[get\]", listed, re.MULTILINE)
    assert "kubernetes-admin" in kubectl.ok("auth whoami")
    token = kubectl.ok("create token asked --duration=10m")
    assert token.count(".") == 2


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("create sa default",
         'error: failed to create serviceaccount: serviceaccounts "default" already exists'),
        ("create token missing",
         'error: failed to create token: serviceaccounts "missing" not found'),
        ("describe quota missing",
         'Error from server (NotFound): resourcequotas "missing" not found'),
        ("top nodes", "error: Metrics API not available"),
        ("scale deployment web --current-replicas=99 --replicas=1",
         "error: Expected replicas to be 99, was "),
        ("cordon missing", 'Error from server (NotFound): nodes "missing" not found'),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_told(kubectl: Kubectl, line: str, complaint: str) -> None:
    assert kubectl.fails(line).startswith(complaint)


def test_descriptions_of_typed_objects(kubectl: Kubectl) -> None:
    found = kubectl.ok("describe deployment web")
    assert re.search(r"Image: +nginx", found)
    found = kubectl.ok("describe node sim-0")
    assert re.search(r"HolderIdentity: +sim-0", found)
    found = kubectl.ok(f"describe namespace {NAMESPACE}")
    assert re.search(r"Status: +Active", found)


# Each with fields of the odder sorts: quantities, either-or values, inlined and raw ones.
MANIFESTS = """
apiVersion: v1
kind: PersistentVolume
metadata: {name: typed}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  hostPath: {path: /tmp/x}
  nodeAffinity:
    required: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In, values: [b]}]}]}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: typed}
provisioner: x.y/z
parameters: {a: b}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: typed}
spec:
  serviceName: x
  replicas: 0
  selector: {matchLabels: {a: typed}}
  template:
    metadata: {labels: {a: typed}}
    spec:
      containers:
      - name: c
        image: i
        volumeMounts: [{name: d, mountPath: /d}]
        livenessProbe: {httpGet: {port: web, path: /}}
        env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
  volumeClaimTemplates:
  - metadata: {name: d}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: typed}
spec:
  podSelector: {}
  ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: 80}, {port: web}]}]
---
apiVersion: v1
kind: LimitRange
metadata: {name: typed}
spec: {limits: [{type: Container, default: {cpu: 1}, defaultRequest: {cpu: 100m}}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: typed}
spec:
  scaleTargetRef: {kind: Deployment, name: x, apiVersion: apps/v1}
  maxReplicas: 3
  behavior: {scaleDown: {stabilizationWindowSeconds: 0}}
"""


def test_descriptions_of_the_odder_fields(kubectl: Kubectl, tmp_path: Path) -> None:
    path = tmp_path / "manifests.yaml"
    path.write_text(MANIFESTS)
    kubectl.ok(f"apply -f {path}")
    assert re.search(r"Term 0: +a in \[b\]", kubectl.ok("describe pv typed"))
    assert re.search(r"Parameters: +a=b", kubectl.ok("describe storageclass typed"))
    found = kubectl.ok("describe statefulset typed")
    assert re.search(r"Liveness: +http-get http://:web/", found)
    assert re.search(r"Capacity: +1Gi", found)
    found = kubectl.ok("describe networkpolicy typed")
    assert "To Port: 80/TCP" in found
    assert "To Port: web/TCP" in found
    assert re.search(r"Container +cpu +- +- +100m +1 ", kubectl.ok("describe limitrange typed"))
    assert "Stabilization Window: 0 seconds" in kubectl.ok("describe hpa typed")


def test_a_typed_informer_lists_and_watches(kubectl: Kubectl) -> None:
    # Attaching waits with an informer until the pod runs, then asks for a stream, which
    # simulated nodes do not have.
    said = kubectl.run("run watched --image=busybox --restart=Never --attach", verbose=True).stderr
    assert "Content-Type: application/vnd.kubernetes.protobuf;stream=watch" in said
    assert "pods/watched/attach" in said


def test_history_and_undo(kubectl: Kubectl) -> None:
    kubectl.ok("create deployment past --image=one")
    kubectl.ok("rollout status deployment/past --timeout=30s")
    kubectl.ok("set image deployment/past one=two")
    kubectl.ok("rollout status deployment/past --timeout=30s")
    assert re.search(r"Image:\s+one", kubectl.ok("rollout history deployment/past --revision=1"))
    assert kubectl.ok("rollout undo deployment/past") == "deployment.apps/past rolled back"
    assert kubectl.ok("get deployment past -o jsonpath={..image}") == "one"


def test_a_drain_evicts_and_a_namespace_goes(kubectl: Kubectl) -> None:
    kubectl.ok("create namespace leaving")
    kubectl.ok("run alone -n leaving --image=nginx")
    kubectl.ok("wait pod/alone -n leaving --for=condition=Ready --timeout=30s")
    node = kubectl.ok("get pod alone -n leaving -o jsonpath={.spec.nodeName}")
    drained = kubectl.ok(
        f"drain {node} --force --pod-selector=run=alone --delete-emptydir-data --timeout=50s"
    )
    assert "pod/alone evicted" in drained
    assert drained.endswith(f"node/{node} drained")
    kubectl.ok(f"uncordon {node}")
    assert kubectl.ok("delete namespace leaving --timeout=40s") == 'namespace "leaving" deleted'
