"""sig-cli: upstream's kubectl against a cluster in this process.

The tests fail where kubectl is missing: whoever runs the suite wants to know that they ran.
"""

import http.client
import json
import re
import shutil
import socket
import subprocess

import pytest
import yaml
from tests.conformance_kit import pod, wait_until, workload

pytestmark = pytest.mark.e2e


class Kubectl:
    def __init__(self, cluster, namespace, cache):
        tool = shutil.which("kubectl") or pytest.fail("this test needs kubectl")
        self.command = [tool, f"--kubeconfig={cluster.kubeconfig_path}", f"--cache-dir={cache}"]
        self.command += ["-n", namespace]

    def run(self, *words, stdin=None):
        text = json.dumps(stdin) if isinstance(stdin, dict) else stdin
        return subprocess.run(
            [*self.command, *words],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def ok(self, line, stdin=None):
        done = self.run(*line.split(" "), stdin=stdin)
        assert done.returncode == 0, f"kubectl {line}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("kubectl-cache")


@pytest.fixture
def kubectl(cluster, namespace, cache):
    return Kubectl(cluster, namespace, cache)


def controller(kubectl, name="agnhost-primary", replicas=1):
    body = workload("ReplicationController", name, replicas)
    kubectl.ok("create -f -", body)

    def started():
        said = kubectl.ok(f"get rc {name} -o jsonpath={{.status.readyReplicas}}")
        return said == str(replicas)

    wait_until(started)


def test_api_versions_should_check_if_v1_is_in_available_api_versions(kubectl):
    assert "v1" in kubectl.ok("api-versions").split()


def test_cluster_info_should_include_the_control_plane(cluster, kubectl):
    said = re.sub(r"\x1b\[[0-9;]*m", "", kubectl.ok("cluster-info"))
    assert f"Kubernetes control plane is running at {cluster.url}" in said


def test_version_should_check_is_all_data_is_printed(kubectl):
    said = kubectl.ok("version")
    for wanted in ("Client Version: ", "Server Version: "):
        assert wanted in said
    server = json.loads(kubectl.ok("version -o json"))["serverVersion"]
    assert {"major", "minor", "gitVersion", "gitCommit", "platform"} <= set(server)


def test_describe_should_print_relevant_information_for_rc_and_pods(kubectl, namespace):
    controller(kubectl)
    service = {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": "agnhost-primary", "labels": {"app": "agnhost"}},
        "spec": {
            "ports": [{"port": 6379, "targetPort": 6379}],
            "selector": {"name": "agnhost-primary"},
        },
    }
    kubectl.ok("create -f -", service)
    name = kubectl.ok("get pods -o jsonpath={.items[0].metadata.name}")
    described = {
        f"pod {name}": [
            f"Name: {name}",
            f"Namespace: {namespace}",
            "Node: sim-",
            "Labels: name=agnhost-primary",
            "Status: Running",
            "IP: 10.",
            "Controlled By: ReplicationController/agnhost-primary",
            "Image: app:1",
            "State: Running",
            "QoS Class: BestEffort",
        ],
        "rc agnhost-primary": [
            "Name: agnhost-primary",
            f"Namespace: {namespace}",
            "Selector: name=agnhost-primary",
            "Replicas: 1 current / 1 desired",
            "Pods Status: 1 Running / 0 Waiting / 0 Succeeded / 0 Failed",
            "Pod Template:",
            "Events:",
        ],
        "service agnhost-primary": [
            "Selector: name=agnhost-primary",
            "Type: ClusterIP",
            "IP: 10.43.",
            "Port: <unset> 6379/TCP",
            "Endpoints: 10.",
            "Session Affinity: None",
        ],
        "node sim-0": ["Name: sim-0", "Labels:", "CreationTimestamp:", "Conditions:", "Capacity:"],
        f"namespace {namespace}": [f"Name: {namespace}", "Status: Active", "No resource quota."],
    }
    for what, wanted in described.items():
        said = re.sub(r"[ \t]+", " ", kubectl.ok(f"describe {what}"))
        missing = [text for text in wanted if text not in said]
        assert not missing, (what, missing, said)


def test_diff_should_find_a_difference_for_deployments(kubectl):
    body = workload("Deployment", "httpd", image="httpd:1")
    kubectl.ok("create -f -", body)
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "busybox:1"
    done = kubectl.run("diff", "-f", "-", stdin=body)
    assert done.returncode == 1, done.stderr
    assert re.search(r"^-\s+- image: httpd:1$", done.stdout, re.MULTILINE)
    assert re.search(r"^\+\s+- image: busybox:1$", done.stdout, re.MULTILINE)
    assert "httpd:1" in kubectl.ok("get deployment httpd -o yaml")


def test_expose_should_create_services_for_rc(kubectl):
    controller(kubectl)
    kubectl.ok("expose rc agnhost-primary --name=rm2 --port=1234 --target-port=6379")

    def port():
        return kubectl.ok("get endpoints rm2 -o jsonpath={.subsets[0].ports[0].port}") == "6379"

    wait_until(port)
    kubectl.ok("expose service rm2 --name=rm3 --port=2345 --target-port=6379")
    said = kubectl.ok("get service rm3 -o jsonpath={.spec.ports[0].port}")
    assert said == "2345"


def test_label_should_update_the_label_on_a_resource(kubectl):
    kubectl.ok("create -f -", pod("pause"))
    kubectl.ok("label pods pause testing-label=testing-label-value")
    assert "testing-label-value" in kubectl.ok("get pod pause -L testing-label")
    kubectl.ok("label pods pause testing-label-")
    assert "testing-label-value" not in kubectl.ok("get pod pause -L testing-label")


def test_patch_should_add_annotations_for_pods_in_rc(kubectl):
    controller(kubectl)
    name = kubectl.ok("get pods -o name").strip()
    kubectl.ok(f'patch {name} -p {{"metadata":{{"annotations":{{"x":"y"}}}}}}')
    assert kubectl.ok(f"get {name} -o jsonpath={{.metadata.annotations.x}}") == "y"


def test_replace_should_update_a_single_container_pods_image(kubectl):
    kubectl.ok("run e2e-test-httpd-pod --image=httpd:1 --labels=run=e2e-test-httpd-pod")
    tree = json.loads(kubectl.ok("get pod e2e-test-httpd-pod -o json"))
    tree["spec"]["containers"][0]["image"] = "busybox:1"
    assert "replaced" in replaced(kubectl, tree)
    image = kubectl.ok("get pod e2e-test-httpd-pod -o jsonpath={.spec.containers[0].image}")
    assert image == "busybox:1"


def replaced(kubectl, tree):
    """The status moves on while kubectl looks; the version it saw may be old then."""
    tree["metadata"].pop("resourceVersion")
    return kubectl.ok("replace -f -", tree)


def test_run_pod_should_create_a_pod_from_an_image_when_restart_is_never(kubectl):
    kubectl.ok("run e2e-test-httpd-pod --restart=Never --pod-running-timeout=2m --image=httpd:1")
    tree = json.loads(kubectl.ok("get pod e2e-test-httpd-pod -o json"))
    assert tree["spec"]["containers"][0]["image"] == "httpd:1"
    assert tree["spec"]["restartPolicy"] == "Never"


def test_server_side_dry_run_should_check_if_kubectl_can_dry_run_update_pods(kubectl):
    kubectl.ok("run e2e-test-httpd-pod --image=httpd:1 --labels=run=e2e-test-httpd-pod")
    patch = '{"spec":{"containers":[{"name":"e2e-test-httpd-pod","image":"busybox:1"}]}}'
    said = kubectl.ok(f"patch pod e2e-test-httpd-pod -p {patch} --dry-run=server")
    assert "patched" in said
    image = kubectl.ok("get pod e2e-test-httpd-pod -o jsonpath={.spec.containers[0].image}")
    assert image == "httpd:1"


def test_update_demo_should_create_scale_and_stop_a_replication_controller(kubectl):
    controller(kubectl, "update-demo-nautilus", 2)

    def pods():
        return kubectl.ok("get pods -l name=update-demo-nautilus -o name").split()

    assert len(pods()) == 2
    kubectl.ok("scale rc update-demo-nautilus --replicas=1 --timeout=5m")
    wait_until(lambda: len(pods()) == 1)
    kubectl.ok("scale rc update-demo-nautilus --replicas=2 --timeout=5m")
    wait_until(lambda: len(pods()) == 2)
    template = "{{range .items}}{{.status.phase}} {{end}}"
    done = kubectl.run("get", "pods", "-o", "template", f"--template={template}")
    assert done.stdout.split() == ["Running", "Running"]
    kubectl.ok("delete rc update-demo-nautilus --grace-period=0 --force")
    wait_until(lambda: not pods())


def test_guestbook_should_create_and_stop_a_working_application(kubectl):
    parts = []
    for name in ("frontend", "agnhost-primary", "agnhost-replica"):
        parts.append(workload("Deployment", name, 2))
        parts.append(
            {
                "kind": "Service",
                "apiVersion": "v1",
                "metadata": {"name": name},
                "spec": {"ports": [{"port": 80}], "selector": {"name": name}},
            }
        )
    manifest = yaml.safe_dump_all(parts)
    # Created as a list, which kubectl validates by the OpenAPI document it reads as protobuf.
    kubectl.ok("create -f -", {"kind": "List", "apiVersion": "v1", "items": parts})
    for name in ("frontend", "agnhost-primary", "agnhost-replica"):
        kubectl.ok(f"rollout status deployment/{name} --timeout=30s")
    kubectl.ok("delete --grace-period=0 --force -f -", manifest)
    wait_until(lambda: not kubectl.ok("get pods,deployments,services -o name").strip())


def test_a_list_with_a_wrong_field_is_refused_before_anything_is_made(kubectl):
    odd = pod("odd")
    odd["spec"]["containers"][0]["comand"] = ["x"]
    wrong = {"kind": "List", "apiVersion": "v1", "items": [odd]}
    done = kubectl.run("create", "-f", "-", stdin=wrong)
    assert done.returncode == 1
    assert 'unknown field "comand"' in done.stderr


def test_proxy_server_should_support_proxy_with_port_0(kubectl):
    with subprocess.Popen(
        [*kubectl.command, "proxy", "-p", "0", "--disable-filter"],
        stdout=subprocess.PIPE,
        text=True,
    ) as proxy:
        try:
            said = proxy.stdout.readline()
            port = int(re.fullmatch(r"Starting to serve on 127\.0\.0\.1:(\d+)\n", said)[1])
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", "/api/")
            assert "v1" in json.load(connection.getresponse())["versions"]
            connection.close()
        finally:
            proxy.terminate()


def test_proxy_server_should_support_unix_socket(kubectl, tmp_path):
    path = str(tmp_path / "proxy.sock")
    with subprocess.Popen(
        [*kubectl.command, "proxy", f"--unix-socket={path}"], stdout=subprocess.PIPE, text=True
    ) as proxy:
        try:
            assert proxy.stdout.readline() == f"Starting to serve on {path}\n"
            connection = http.client.HTTPConnection("localhost", timeout=30)
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(path)
            connection.request("GET", "/api/")
            assert "v1" in json.load(connection.getresponse())["versions"]
            connection.close()
        finally:
            proxy.terminate()
