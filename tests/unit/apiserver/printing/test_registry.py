"""Rows fit their columns for every kind; cells as kubectl shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.unit.apiserver.kinds.samples import BODIES, resource, stored

from kutter.api.catalog import BUILTIN, OPTIONAL
from kutter.api.resources import Resource
from kutter.apiserver.encoders import PlainPrinter
from kutter.apiserver.printing import registry
from kutter.apiserver.printing.registry import printer_for

NOW = datetime(2026, 1, 1, 1, 0, 0, tzinfo=UTC)
_SINCE = "2026-01-01T00:55:00Z"


def shown(plural: str, tree: dict[str, Any]) -> dict[str, Any]:
    printer = printer_for(resource(plural))
    assert printer is not None
    tree.setdefault("metadata", {}).setdefault("creationTimestamp", _SINCE)
    cells = printer.cells(tree, NOW)
    return dict(zip((c["name"] for c in printer.columns), cells, strict=True))


# Whose first column upstream does not call a name.
_NO_NAME = {"events", "storageversionmigrations"}


def test_every_entry_names_a_known_resource() -> None:
    served = {(r.group, r.plural) for r in (*BUILTIN, *OPTIONAL)}
    # Printed like upstream although not served by default.
    beyond = {
        ("admissionregistration.k8s.io", "mutatingadmissionpolicies"),
        ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings"),
    }
    assert set(registry._PRINTERS) <= served | beyond


@pytest.mark.parametrize("of", [*BUILTIN, *OPTIONAL], ids=lambda r: f"{r.plural}.{r.group}")
def test_empty_objects_fill_all_columns(of: Resource) -> None:
    printer = printer_for(of)
    if printer is not None:
        assert len(printer.cells({}, NOW)) == len(printer.columns)
        assert printer.columns[0]["format"] == "name" or of.plural in _NO_NAME


@pytest.mark.parametrize("plural", BODIES)
def test_samples_are_printed(plural: str) -> None:
    printer = printer_for(resource(plural)) or PlainPrinter()
    tree = stored(plural)
    tree["metadata"]["creationTimestamp"] = _SINCE
    cells = printer.cells(tree, NOW)
    types = {"integer": int, "boolean": bool, "string": (str, int), "date": str}
    for column, cell in zip(printer.columns, cells, strict=True):
        # Upstream prints a pointer to a boolean as text, whatever the column says.
        text = cell in {"<none>", "False"}
        assert text or isinstance(cell, types[column["type"]]), (column, cell)


def test_services() -> None:
    spec = {
        "type": "NodePort",
        "clusterIPs": ["10.43.0.9"],
        "ports": [
            {"port": 8000, "nodePort": 30080, "protocol": "TCP"},
            {"port": 53, "protocol": "UDP"},
        ],
        "selector": {"b": "2", "a": "1"},
    }
    row = shown("services", {"metadata": {"name": "web"}, "spec": spec})
    assert row == {
        "Name": "web",
        "Type": "NodePort",
        "Cluster-IP": "10.43.0.9",
        "External-IP": "<none>",
        "Port(s)": "8000:30080/TCP,53/UDP",
        "Age": "5m",
        "Selector": "a=1,b=2",
    }
    spec["type"] = "LoadBalancer"
    assert shown("services", {"spec": spec})["External-IP"] == "<pending>"
    status = {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}
    assert shown("services", {"spec": spec, "status": status})["External-IP"] == "1.2.3.4"
    named = {"type": "ExternalName", "externalName": "a.example.com"}
    row = shown("services", {"spec": named})
    assert (row["Cluster-IP"], row["External-IP"], row["Port(s)"]) == (
        "<none>",
        "a.example.com",
        "<none>",
    )


def test_nodes() -> None:
    tree = {
        "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "nodeInfo": {
                "kubeletVersion": "v1.36.0",
                "osImage": "Debian",
                "kernelVersion": "6.1.0",
                "architecture": "amd64",
            },
        },
    }
    row = shown("nodes", tree)
    assert row["Status"] == "Ready,SchedulingDisabled"
    assert (row["Roles"], row["Version"]) == ("control-plane", "v1.36.0")
    assert (row["Internal-IP"], row["External-IP"]) == ("10.0.0.1", "<none>")
    assert (row["OS-Image"], row["Kernel-Version"]) == ("Debian", "6.1.0 (amd64)")
    assert shown("nodes", {})["Kernel-Version"] == "<unknown>"
    assert shown("nodes", {})["Status"] == "Unknown"


def test_deployments_and_replica_sets() -> None:
    tree = stored("deployments")
    tree["spec"]["replicas"] = 3
    tree["status"] = {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2}
    row = shown("deployments", tree)
    assert (row["Ready"], row["Up-to-date"], row["Available"]) == ("2/3", 3, 2)
    assert (row["Containers"], row["Images"], row["Selector"]) == ("web", "web:1", "app=web")
    row = shown("replicasets", stored("replicasets"))
    assert (row["Desired"], row["Current"], row["Ready"]) == (1, 0, 0)


@pytest.mark.parametrize(
    ("status", "word", "completions", "duration"),
    [
        ({}, "Running", "0/1", ""),
        ({"startTime": "2026-01-01T00:58:00Z"}, "Running", "0/1", "2m"),
        (
            {
                "startTime": "2026-01-01T00:50:00Z",
                "completionTime": "2026-01-01T00:50:07Z",
                "succeeded": 1,
                "conditions": [{"type": "Complete", "status": "True"}],
            },
            "Complete",
            "1/1",
            "7s",
        ),
        ({"conditions": [{"type": "Failed", "status": "True"}]}, "Failed", "0/1", ""),
        ({"conditions": [{"type": "Suspended", "status": "True"}]}, "Suspended", "0/1", ""),
    ],
)
def test_jobs(status: dict[str, Any], word: str, completions: str, duration: str) -> None:
    row = shown("jobs", {**stored("jobs"), "status": status})
    assert (row["Status"], row["Completions"], row["Duration"]) == (word, completions, duration)


def test_endpoints_are_cut_after_three() -> None:
    addresses = [{"ip": f"10.0.0.{i}"} for i in range(1, 6)]
    subsets = [{"addresses": addresses, "ports": [{"port": 80}]}]
    assert shown("endpoints", {"subsets": subsets})["Endpoints"] == (
        "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more..."
    )
    assert shown("endpoints", {})["Endpoints"] == "<none>"
    row = shown("endpointslices", {"endpoints": [{"addresses": ["10.0.0.1"]}]})
    assert (row["Ports"], row["Endpoints"]) == ("<unset>", "10.0.0.1")


def test_volumes_and_claims() -> None:
    tree = stored("persistentvolumes")
    tree["spec"]["claimRef"] = {"namespace": "a", "name": "b"}
    row = shown("persistentvolumes", tree)
    assert (row["Capacity"], row["Access Modes"], row["Claim"]) == ("1Gi", "RWO", "a/b")
    assert (row["Reclaim Policy"], row["Status"]) == ("Retain", "Pending")
    row = shown("persistentvolumeclaims", stored("persistentvolumeclaims"))
    assert (row["Volume"], row["Capacity"], row["Access Modes"]) == ("", "", "")


def test_the_default_class_is_marked() -> None:
    tree = stored("storageclasses")
    tree["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
    assert shown("storageclasses", tree)["Name"] == "web (default)"


def test_autoscalers() -> None:
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
    }
    tree = {
        "spec": {
            "scaleTargetRef": {"kind": "Deployment", "name": "web"},
            "metrics": [metric],
            "maxReplicas": 5,
        },
        "status": {
            "currentMetrics": [{"resource": {"name": "cpu", "current": {"averageUtilization": 7}}}]
        },
    }
    row = shown("horizontalpodautoscalers", tree)
    assert (row["Reference"], row["Targets"]) == ("Deployment/web", "cpu: 7%/80%")
    assert (row["MinPods"], row["MaxPods"]) == ("<unset>", 5)


def test_quota_shows_requests_and_limits_apart() -> None:
    status = {"hard": {"pods": "5", "limits.cpu": "2"}, "used": {"pods": "1"}}
    row = shown("resourcequotas", {"status": status})
    assert (row["Request"], row["Limit"]) == ("pods: 1/5", "limits.cpu: 0/2")


def test_bindings() -> None:
    row = shown("rolebindings", stored("rolebindings"))
    assert (row["Role"], row["Users"], row["Groups"]) == ("ClusterRole/view", "ann", "")


def test_the_default_ingress_class_is_marked() -> None:
    tree = {
        "metadata": {
            "name": "inside",
            "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"},
        }
    }
    assert shown("ingressclasses", tree)["Name"] == "inside (default)"


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        (None, "<unset>"),
        ({"name": "limits"}, "*/limits"),
        ({"name": "limits", "namespace": "blue"}, "blue/limits"),
        ({"selector": {"matchLabels": {"a": "b"}}}, "a=b"),
    ],
)
def test_parameters_of_admission_bindings(reference: dict[str, Any] | None, text: str) -> None:
    tree = {"spec": {"policyName": "p", **({"paramRef": reference} if reference else {})}}
    assert shown("validatingadmissionpolicybindings", tree)["ParamRef"] == text


def test_claims_of_devices_say_their_state() -> None:
    deleted = {"metadata": {"deletionTimestamp": _SINCE}}
    assert shown("resourceclaims", {})["State"] == "pending"
    assert shown("resourceclaims", deleted)["State"] == "deleted"
    used = {"status": {"allocation": {}, "reservedFor": [{}]}}
    assert shown("resourceclaims", used)["State"] == "pending"
    used["status"]["allocation"] = {"devices": {}}
    assert shown("resourceclaims", used)["State"] == "allocated,reserved"


def test_exempt_levels_have_no_shares() -> None:
    tree = {"spec": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0}}}
    row = shown("prioritylevelconfigurations", tree)
    assert (row["Type"], row["NominalConcurrencyShares"]) == ("Exempt", "<none>")


@pytest.mark.parametrize(
    ("spec", "conditions", "service", "available"),
    [
        ({}, [], "Local", "Unknown"),
        ({}, [{"type": "Available", "status": "True", "reason": "Local"}], "Local", "True"),
        (
            {"service": {"namespace": "kube-system", "name": "metrics"}},
            [{"type": "Available", "status": "False", "reason": "MissingEndpoints"}],
            "kube-system/metrics",
            "False (MissingEndpoints)",
        ),
    ],
)
def test_api_services(
    spec: dict[str, Any], conditions: list[dict[str, Any]], service: str, available: str
) -> None:
    row = shown("apiservices", {"spec": spec, "status": {"conditions": conditions}})
    assert (row["Service"], row["Available"]) == (service, available)
