"""Plugins that are off by default, chosen by flags and configured by a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conformance_kit import Rest

from kutter.apiserver.admission.configuration import read_admission_options
from kutter.apiserver.admission.registry import check_names
from kutter.apiserver.configuration_file import ConfigurationError
from kutter.cluster.api_options import ApiServerOptions

CONFIGURATION = """\
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodNodeSelector
  path: selectors.yaml
- name: PodTolerationRestriction
  configuration:
    apiVersion: podtolerationrestriction.admission.k8s.io/v1alpha1
    kind: Configuration
    default: [{key: dedicated, operator: Exists, effect: NoSchedule}]
    whitelist: [{operator: Exists}]
"""
PODS = "/api/v1/namespaces/made-up/pods"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}


def test_namespaces_come_by_themselves_and_decide_for_their_pods(
    kutter_cluster_factory, tmp_path: Path
):
    (tmp_path / "selectors.yaml").write_text(
        "podNodeSelectorPluginConfig: {clusterDefaultNodeSelector: 'disk=ssd', made-up: 'disk=ssd'}"
    )
    (tmp_path / "admission.yaml").write_text(CONFIGURATION)
    options = ApiServerOptions(
        enable_admission_plugins=(
            "NamespaceAutoProvision,PodNodeSelector,PodTolerationRestriction,AlwaysAdmit"
        ),
        disable_admission_plugins="ServiceAccount,JobValidation",
        admission_control_config_file=str(tmp_path / "admission.yaml"),
    )
    cluster = kutter_cluster_factory(nodes=0, controllers=False, scheduler=False, api=options)
    client = cluster.kubernetes_client()
    rest = Rest(client)
    # A dry run leaves nothing behind, so the namespace is missed.
    rest.fails(404, "NotFound", "POST", f"{PODS}?dryRun=All", POD)
    assert rest.gone("/api/v1/namespaces/made-up")
    made = rest.post(PODS, POD)
    assert rest.get("/api/v1/namespaces/made-up")["status"]["phase"] == "Active"
    assert made["spec"]["nodeSelector"] == {"disk": "ssd"}
    wanted = {"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}
    assert wanted in made["spec"]["tolerations"]
    other = {**POD, "metadata": {"name": "q"}, "spec": {**POD["spec"], "nodeSelector": {"a": "b"}}}
    status = rest.fails(403, "Forbidden", "POST", PODS, other)
    assert status["message"] == (
        'pods "q" is forbidden: pod node label selector labels conflict with its namespace '
        "whitelist"
    )
    client.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("podNodeSelectorPluginConfig: {a: 5}", "maps namespaces to texts"),
        ("podNodeSelectorPluginConfig: {a: 'b'}", "invalid selector"),
        ("[", "PodNodeSelector"),
        ("5", "PodNodeSelector"),
    ],
)
def test_configurations_that_are_none(text: str, message: str, tmp_path: Path):
    (tmp_path / "selectors.yaml").write_text(text)
    (tmp_path / "admission.yaml").write_text(CONFIGURATION)
    with pytest.raises(ConfigurationError, match=message):
        read_admission_options("", "", str(tmp_path / "admission.yaml"))


def test_names_that_are_none():
    check_names(read_admission_options("AlwaysAdmit,PodNodeSelector", "JobValidation", ""))
    with pytest.raises(ConfigurationError, match="AlwaysMaybe is unknown"):
        check_names(read_admission_options("AlwaysMaybe", "", ""))
