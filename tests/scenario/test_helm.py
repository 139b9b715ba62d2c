"""Upstream's Helm installs, upgrades, rolls back and removes a chart, and one with definitions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from kutter.testing.cluster import LocalCluster

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


class Helm:
    """Runs helm and kubectl against one cluster."""

    def __init__(self, cluster: LocalCluster, home: Path) -> None:
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "KUBECONFIG": str(cluster.kubeconfig_path),
        }

    def run(self, program: str, *words: str) -> str:
        assert shutil.which(program), f"{program} is part of the test environment"
        done = subprocess.run(
            [program, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{program} {words}: {done.stdout}{done.stderr}"
        return done.stdout

    def helm(self, *words: str) -> str:
        return self.run("helm", *words)

    def kubectl(self, *words: str) -> str:
        return self.run("kubectl", *words).strip()


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helm]:
    with LocalCluster(nodes=2) as cluster:
        yield Helm(cluster, tmp_path_factory.mktemp("home"))


def test_the_chart_helm_makes_lives_through_its_releases(helm: Helm, tmp_path: Path) -> None:
    helm.helm("create", str(tmp_path / "shop"))
    chart = str(tmp_path / "shop")
    more = ("--set", "autoscaling.enabled=true,ingress.enabled=true")
    helm.helm("install", "web", chart, "-n", "shop", "--create-namespace", "--wait", *more)
    release = json.loads(helm.helm("list", "-n", "shop", "-o", "json"))[0]
    assert (release["name"], release["status"], release["revision"]) == ("web", "deployed", "1")
    kinds = helm.kubectl("-n", "shop", "get", "deploy,svc,sa,hpa,ing", "-o", "name").splitlines()
    assert {kind.split("/")[0] for kind in kinds} == {
        "deployment.apps",
        "horizontalpodautoscaler.autoscaling",
        "ingress.networking.k8s.io",
        "service",
        "serviceaccount",
    }
    fixed = ("--set", "replicaCount=3")
    helm.helm("upgrade", "web", chart, "-n", "shop", "--wait", *fixed)
    ready = ("-n", "shop", "get", "deploy", "web-shop", "-o", "jsonpath={.status.readyReplicas}")
    assert helm.kubectl(*ready) == "3"
    # What the release no longer has is gone.
    assert helm.kubectl("-n", "shop", "get", "hpa,ing", "-o", "name") == ""
    version = ("-n", "shop", "get", "deploy,svc,sa", "-o", "jsonpath={..resourceVersion}")
    before = helm.kubectl(*version)
    helm.helm("upgrade", "web", chart, "-n", "shop", "--wait", *fixed)
    assert helm.kubectl(*version) == before, "the same again changes nothing"
    helm.helm("rollback", "web", "1", "-n", "shop", "--wait")
    history = json.loads(helm.helm("history", "web", "-n", "shop", "-o", "json"))
    assert [entry["status"] for entry in history] == [*["superseded"] * 3, "deployed"]
    helm.kubectl("-n", "shop", "get", "hpa/web-shop", "ing/web-shop")
    helm.helm("uninstall", "web", "-n", "shop", "--wait")
    assert helm.kubectl("-n", "shop", "get", "deploy,svc,hpa,ing,rs,pods", "-o", "name") == ""


_DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "boats.helm.example.com"},
    "spec": {
        "group": "helm.example.com",
        "names": {"kind": "Boat", "plural": "boats"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "properties": {"mast": {"type": "integer"}}}
                        },
                    }
                },
            }
        ],
    },
}
_BOAT = """
apiVersion: helm.example.com/v1
kind: Boat
metadata: {name: {{ .Release.Name }}}
spec: {mast: {{ .Values.masts }}}
"""
_HOOK = """
apiVersion: v1
kind: ConfigMap
metadata:
  name: before
  annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-delete-policy: before-hook-creation}
data: {masts: {{ .Values.masts | quote }}}
"""
_SEEN = """
{{- $found := lookup "v1" "Namespace" "" "default" }}
apiVersion: v1
kind: ConfigMap
metadata: {name: seen}
data:
  namespace: {{ $found.metadata.name }}
  boats: {{ .Capabilities.APIVersions.Has "apps/v1" | quote }}
"""


def test_a_chart_with_definitions_hooks_and_lookups(helm: Helm, tmp_path: Path) -> None:
    chart = tmp_path / "harbour"
    (chart / "crds").mkdir(parents=True)
    (chart / "templates").mkdir()
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: harbour\nversion: 1.0.0\n")
    (chart / "values.yaml").write_text("masts: 1\n")
    (chart / "crds" / "boats.yaml").write_text(yaml.safe_dump(_DEFINITION))
    for name, text in (("boat", _BOAT), ("hook", _HOOK), ("seen", _SEEN)):
        (chart / "templates" / f"{name}.yaml").write_text(text)
    helm.helm("install", "cutter", str(chart), "--wait")
    masts = ("get", "boats", "cutter", "-o", "jsonpath={.spec.mast}")
    assert helm.kubectl(*masts) == "1"
    assert helm.kubectl("get", "cm", "before", "-o", "jsonpath={.data.masts}") == "1"
    assert helm.kubectl("get", "cm", "seen", "-o", "jsonpath={.data}") == (
        '{"boats":"true","namespace":"default"}'
    )
    helm.helm("upgrade", "cutter", str(chart), "--set", "masts=2", "--wait")
    assert helm.kubectl(*masts) == "2"
    assert helm.kubectl("get", "cm", "before", "-o", "jsonpath={.data.masts}") == "2"
    helm.helm("uninstall", "cutter", "--wait")
    assert helm.kubectl("get", "boats", "-A", "-o", "name") == ""
    # Definitions stay: Helm never deletes them.
    helm.kubectl("get", "crd", "boats.helm.example.com")
