"""Rules of custom kinds as kubectl and the official Python client meet them."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.custom_kinds import definition, version

from kutter.testing.cluster import LocalCluster

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

GROUP, PLURAL = "rules.example.com", "widgets"
RULES = "x-kubernetes-validations"
NUMBER = {"type": "integer"}
SPEC: dict[str, Any] = {
    "type": "object",
    "properties": {"min": NUMBER, "max": NUMBER, "note": {"type": "string"}},
    RULES: [
        {
            "rule": "!has(self.min) || !has(self.max) || self.min <= self.max",
            "messageExpression": "'min (%d) may not be above max (%d)'.format([self.min, self.max])",
            "fieldPath": ".min",
        }
    ],
}
STATUS = {
    "type": "object",
    "properties": {"ready": NUMBER},
    RULES: [{"rule": "!has(oldSelf.ready) || self.ready >= oldSelf.ready", "message": "shrank"}],
}


def kind(spec: dict[str, Any] = SPEC) -> dict[str, Any]:
    made = version(spec=spec, status=STATUS, subresources={"status": {}})
    return definition(PLURAL, "Widget", versions=[made], group=GROUP)


def widget(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Widget",
        "metadata": {"name": "a", "namespace": "default"},
        "spec": spec,
    }


class Kubectl:
    def __init__(self, cluster: LocalCluster, folder: Path) -> None:
        self._tool = shutil.which("kubectl") or pytest.fail("this test needs kubectl 1.32 or later")
        self._config, self._folder = str(cluster.kubeconfig_path), folder

    def __call__(self, *words: str, tree: Any = None) -> tuple[int, str, str]:
        cache = f"--cache-dir={self._folder / 'cache'}"
        command = [self._tool, f"--kubeconfig={self._config}", cache, *words]
        given = None if tree is None else yaml.safe_dump(tree)
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout.strip(), done.stderr.strip()

    def ok(self, *words: str, tree: Any = None) -> tuple[str, str]:
        code, out, problems = self(*words, tree=tree)
        assert code == 0, f"kubectl {words}: {out}{problems}"
        return out, problems

    def fails(self, *words: str, tree: Any = None) -> str:
        code, out, problems = self(*words, tree=tree)
        assert code != 0, f"kubectl {words}: {out}"
        return problems


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(scheduler=False) as running:
        yield running


@pytest.fixture
def kubectl(cluster: LocalCluster, tmp_path: Path) -> Iterator[Kubectl]:
    made = Kubectl(cluster, tmp_path)
    made.ok("create", "-f", "-", tree=kind())
    made.ok("wait", "--for=condition=Established", "--timeout=40s", f"crd/{PLURAL}.{GROUP}")
    yield made
    made.ok("delete", "crd", f"{PLURAL}.{GROUP}", "--ignore-not-found", "--timeout=30s")


def test_kubectl_is_told_what_a_rule_says(kubectl: Kubectl) -> None:
    for words in (("create", "-f", "-"), ("apply", "-f", "-"), ("apply", "--server-side", "-f-")):
        assert kubectl.fails(*words, tree=widget(min=5, max=3)).endswith(
            'The Widget "a" is invalid: spec.min: Invalid value: min (5) may not be above max (3)'
        )
    kubectl.ok("apply", "--server-side", "-f", "-", tree=widget(min=1, max=3))
    patch = ("patch", "widget", "a", "--type=merge", "--subresource=status", "-p")
    kubectl.ok(*patch, '{"status": {"ready": 2}}')
    assert kubectl.fails(*patch, '{"status": {"ready": 1}}').endswith(
        'The Widget "a" is invalid: status: Invalid value: shrank'
    )


def test_a_fault_that_was_there_is_a_warning(kubectl: Kubectl) -> None:
    kubectl.ok("apply", "-f", "-", tree=kind({**SPEC, RULES: []}))
    _until(lambda: kubectl("create", "-f", "-", tree=widget(min=5, max=3))[0] == 0)
    kubectl.ok("apply", "-f", "-", tree=kind())
    warning = "Warning: spec.min: Invalid value: min (5) may not be above max (3)"
    _until(
        lambda: (
            warning
            in kubectl.ok("annotate", "widget", "a", f"at={time.monotonic()}", "--overwrite")[1]
        )
    )
    patch = ("patch", "widget", "a", "--type=merge", "-p", '{"spec": {"note": "x"}}')
    assert "may not be above max" in kubectl.fails(*patch)


def test_an_unsound_definition_is_refused(kubectl: Kubectl) -> None:
    wrong = kind({**SPEC, RULES: [{"rule": "self.maximum > 1"}]})
    wrong["metadata"]["name"] = f"wrongs.{GROUP}"
    wrong["spec"]["names"] = {"plural": "wrongs", "kind": "Wrong"}
    told = kubectl.fails("create", "-f", "-", tree=wrong)
    assert f'The CustomResourceDefinition "wrongs.{GROUP}" is invalid' in told
    assert "undefined field 'maximum'" in told


def test_the_python_client_gets_the_causes(cluster: LocalCluster, kubectl: Kubectl) -> None:
    from kubernetes import client

    api = client.CustomObjectsApi(cluster.kubernetes_client())
    with pytest.raises(client.ApiException) as caught:
        api.create_namespaced_custom_object(GROUP, "v1", "default", PLURAL, widget(min=2, max=1))
    assert caught.value.status == 422
    status = yaml.safe_load(caught.value.body)
    assert status["details"]["causes"] == [
        {
            "reason": "FieldValueInvalid",
            "message": "Invalid value: min (2) may not be above max (1)",
            "field": "spec.min",
        }
    ]


def _until(check: Any, timeout_s: float = 30.0) -> None:
    """A changed definition is served a moment after it is stored."""
    end = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < end, "did not come true"
        time.sleep(0.05)
