"""get: kubectl's output, byte for byte where kubectl is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
import yaml

MANIFEST = """
apiVersion: v1
kind: ConfigMap
metadata: {{name: odd, labels: {{app: odd}}}}
data:
  colon: "x: y"
  lines: "l1\\nl2\\n"
  number: "12"
  truth: "true"
  empty: ""
  quotes: it's "q"
  lead: " lead"
  trail: "trail "
  blank: "\\n\\na"
  tab: "a\\tb"
  letters: "é中"
  dash: "- a"
  hash: "a #b"
  date: "2020-01-01"
  clock: "12:30:45"
  octal: "0777"
  exponent: 1e3
  yes: "y"
  return: "a\\r\\nb"
  html: "<a>&"
  long: "{}"
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, labels: {{app: web}}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: app, image: "nginx:1.27", args: [a, "b c"]}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: http, name: http}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: one, labels: {{app: one}}}}
spec: {{containers: [{{name: app, image: busybox}}]}}
""".format(" ".join(str(n) for n in range(60)))

LIKE_KUBECTL = [
    "get pods",
    "get po,svc,deploy -o wide",
    "get pod one nope",
    "get pod/one svc/web",
    "get all",
    "get deployments.v1.apps -A --no-headers",
    "get svc --show-labels -L app",
    "get cm odd -o yaml",
    "get cm odd -o json",
    "get deploy -o yaml",
    "get deploy/web -o yaml",
    "get pods,svc -o json",
    "get pods -o name",
    "get deploy --sort-by=.metadata.name",
    "get pods -o custom-columns=N:.metadata.name,L:.metadata.labels,X:.nope",
    "get pods -o jsonpath={.items[*].metadata.name}",
    "get cm odd -o jsonpath={.data}",
    "get nodes",
    "get secrets",
    "get pods -l app=nope",
    "get pods -l app in (one)",
    "describe pod one",
    "describe deploy web",
    "describe svc web",
    "api-resources",
    "api-versions",
    "label pod one x=y --dry-run=client",
    "label pod one app=two",
    "annotate pod one x=y --dry-run=server",
    "scale deploy/web --replicas=4 --dry-run=server",
    "create deployment x --image=nginx --dry-run=client",
    "create -f /nonexistent.yaml",
    "delete pod nope",
    "delete pod one --dry-run=server",
    "set image deploy/web app=nginx:2 --dry-run=server",
    "set image deploy/web nope=nginx:2",
    "wait pod/one --for=condition=Ready --timeout=0s",
    "wait pod/one --for=jsonpath={.status.phase}=Pending",
    "get rs -o name",
]


@pytest.fixture
def filled(cli, namespace, tmp_path):
    manifest = tmp_path / "objects.yaml"
    manifest.write_text(MANIFEST)
    cli.ok("create", "-n", namespace, "-f", str(manifest))
    return namespace


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_output_is_kubectls(cli, filled, tmp_path):
    environ = {**os.environ, **cli.environ, "KUBECACHEDIR": str(tmp_path / "kubectl-cache")}
    different = []
    for line in LIKE_KUBECTL:
        words = _split(line)
        if not line.startswith("api-"):
            words += ["-n", filled]
        for _ in range(3):  # ages may tick between the two
            theirs = subprocess.run(
                ["kubectl", *words], env=environ, capture_output=True, text=True, timeout=20
            )
            ours = cli(*words)
            if ours.out == theirs.stdout:
                break
        if (ours.out, ours.code) != (theirs.stdout, theirs.returncode):
            different.append((line, ours, theirs))
        refused = [text for text in theirs.stderr.splitlines() if "from server" in text]
        if any(text not in ours.err for text in refused):
            different.append((line, ours.err, theirs.stderr))
    assert different == []


def _split(line: str) -> list[str]:
    return [w.replace("app in (one)", "app in (one)") for w in _words(line)]


def _words(line: str) -> list[str]:
    head, marker, tail = line.partition("app in ")
    return [*head.split(), marker + tail] if marker else line.split()


def test_yaml_reads_back_as_what_was_stored(cli, filled):
    tree = yaml.safe_load(cli.ok("get", "cm", "odd", "-n", filled, "-o", "yaml"))
    stored = json.loads(cli.ok("get", "cm", "odd", "-n", filled, "-o", "json"))
    assert tree["data"] == stored["data"]
    assert stored["data"]["lines"] == "l1\nl2\n"
    assert len(stored["data"]) == 21


def test_flags_stand_anywhere(cli, filled):
    assert cli.ok("-n", filled, "get", "pods", "-o", "name") == "pod/one\n"
    assert cli.ok("get", "-n", filled, "-oname", "pods", "one") == "pod/one\n"
    assert cli.ok("get", "pods", f"--namespace={filled}", "-o=name") == "pod/one\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("get",), "you must specify the type"),
        (("get", "nope"), 'the server doesn\'t have a resource type "nope"'),
        (("get", "pods", "pod/x"), "there is no need to specify a resource type"),
        (("get", "pods", "-o", "nope"), "unable to match a printer"),
        (("get", "pods", "-o", "jsonpath={.a"), "error parsing jsonpath"),
        (("get", "pods", "-o", "go-template={{.}}"), "not supported"),
        (("get", "pods", "x", "-l", "a=b"), "selectors cannot be used"),
        (("get", "pods", "--watch=maybe"), "true or false"),
        (("get", "pods", "--nope"), "unrecognized arguments"),
        (("get", "pods", "-l", "a=b=c"), "found '='"),
        (("get", "pods", "--request-timeout=soon"), "invalid --request-timeout"),
        (("get", "pods", "--context=nope"), 'context "nope" does not exist'),
        (("get", "pods", "--kubeconfig=/nope"), "/nope does not exist"),
        (("get", "pods", "-s", "http://127.0.0.1:1"), "does not answer"),
    ],
)
def test_wrong_use_is_one_sentence(cli, words, says):
    said = cli.fails(*words)
    assert says in said
    assert len(said.splitlines()) <= 3


def test_an_unknown_command_is_guessed_at(cli):
    assert "did you mean 'kutter get'" in cli.fails("gte", code=2)


def test_empty_answers_say_where(cli, namespace):
    outcome = cli("get", "pods", "-n", namespace)
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == f"No resources found in {namespace} namespace.\n"
    assert cli("get", "pod", "x", "-n", namespace, "--ignore-not-found").code == 0


def test_discovery_is_remembered_and_asked_again_for_unknown_kinds(cli, server):
    cli.ok("get", "pods")
    (file,) = (cli.folder / "cache").glob("*.json")
    file.write_bytes(file.read_bytes().replace(b'"configmaps"', b'"oldmaps"'))
    assert cli.ok("get", "configmaps", "-o", "name") is not None
    file.write_text("not json")
    assert cli.ok("get", "pods", "-o", "name") is not None
