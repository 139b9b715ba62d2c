"""Namespaces, nodes, data, limits, access control, storage, discovery: what is theirs alone."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest
from tests.unit.apiserver.kinds.samples import (
    change_errors,
    context,
    errors_of,
    sample,
    stored,
    strategy,
)


def of(plural: str, **fields: Any) -> dict[str, Any]:
    return {**sample(plural), **fields}


def with_metadata(plural: str, **metadata: Any) -> dict[str, Any]:
    tree = sample(plural)
    tree["metadata"].update(metadata)
    return tree


def test_namespace_life() -> None:
    tree = stored("namespaces")
    assert tree["metadata"]["labels"] == {"kubernetes.io/metadata.name": "web"}
    assert tree["spec"]["finalizers"] == ["kubernetes"]
    kind = strategy("namespaces")
    kind.begin_delete(context(), tree)
    assert tree["status"] == {"phase": "Terminating"}
    assert kind.holds_deletion(tree)
    assert kind.selectable_fields(tree)["status.phase"] == "Terminating"


def test_plain_secret_data_is_encoded() -> None:
    tree = stored("secrets", of("secrets", data={"b": "eA=="}, stringData={"a": "b", "b": "y"}))
    assert "stringData" not in tree
    assert tree["data"] == {
        "a": base64.b64encode(b"b").decode(),
        "b": base64.b64encode(b"y").decode(),
    }
    assert tree["type"] == "Opaque"


def test_certificate_requests_name_who_asked() -> None:
    tree = sample("certificatesigningrequests")
    tree["spec"]["username"] = "root"
    spec = stored("certificatesigningrequests", tree)["spec"]
    assert (spec["username"], spec["groups"]) == ("ann", ["system:authenticated"])


def test_limit_range_defaults_follow_the_maximum() -> None:
    (limit,) = stored("limitranges")["spec"]["limits"]
    assert limit["default"] == limit["defaultRequest"] == {"cpu": "2"}


def test_policy_types_follow_the_rules() -> None:
    assert stored("networkpolicies")["spec"]["policyTypes"] == ["Ingress"]
    tree = sample("networkpolicies")
    tree["spec"]["egress"] = [{}]
    assert stored("networkpolicies", tree)["spec"]["policyTypes"] == ["Ingress", "Egress"]


def test_autoscaler_defaults() -> None:
    spec = stored("horizontalpodautoscalers")["spec"]
    assert spec["minReplicas"] == 1


def test_quantities_are_written_canonically() -> None:
    tree = sample("persistentvolumeclaims")
    tree["spec"]["resources"]["requests"]["storage"] = "1024Mi"
    assert stored("persistentvolumeclaims", tree)["spec"]["resources"]["requests"] == {
        "storage": "1Gi"
    }


_USER = {"kind": "User", "name": "ann"}
REFUSED = [
    ("configmaps", of("configmaps", data={"a/b": ""}), "data[a/b]"),
    ("configmaps", of("configmaps", data={"a": ""}, binaryData={"a": ""}), "data[a]"),
    ("secrets", of("secrets", type="kubernetes.io/tls"), "data[tls.crt]"),
    ("secrets", of("secrets", type="kubernetes.io/dockerconfigjson"), "data[.dockerconfigjson]"),
    (
        "secrets",
        of("secrets", type="kubernetes.io/service-account-token"),
        "metadata.annotations[kubernetes.io/service-account.name]",
    ),
    ("nodes", of("nodes", spec={"podCIDRs": ["10.0.0.0"]}), "spec.podCIDRs[0]"),
    ("nodes", of("nodes", spec={"taints": [{"key": "a"}]}), "metadata.taints[0].effect"),
    ("resourcequotas", of("resourcequotas", spec={"hard": {"x": "1"}}), "spec.hard[x]"),
    ("resourcequotas", of("resourcequotas", spec={"hard": {"pods": "1.5"}}), "spec.hard[pods]"),
    ("roles", of("roles", rules=[{"verbs": ["get"]}]), "rules[0].apiGroups"),
    (
        "roles",
        of("roles", rules=[{"verbs": ["get"], "nonResourceURLs": ["/x"]}]),
        "rules[0].nonResourceURLs",
    ),
    (
        "clusterrolebindings",
        of("clusterrolebindings", subjects=[{"kind": "ServiceAccount", "name": "a"}]),
        "subjects[0].namespace",
    ),
    (
        "clusterrolebindings",
        of("clusterrolebindings", roleRef={"kind": "Role", "name": "a"}),
        "roleRef.kind",
    ),
    ("endpoints", of("endpoints", subsets=[{}]), "subsets[0]"),
    (
        "endpoints",
        of("endpoints", subsets=[{"addresses": [{"ip": "127.0.0.1"}]}]),
        "subsets[0].addresses[0].ip",
    ),
    ("endpointslices", of("endpointslices", addressType="MAC"), "addressType"),
    (
        "endpointslices",
        of("endpointslices", endpoints=[{"addresses": []}]),
        "endpoints[0].addresses",
    ),
    ("leases", of("leases", spec={"leaseDurationSeconds": 0}), "spec.leaseDurationSeconds"),
    ("persistentvolumeclaims", of("persistentvolumeclaims", spec={}), "spec.accessModes"),
    ("persistentvolumes", of("persistentvolumes", spec={}), "spec"),
    ("priorityclasses", of("priorityclasses", value=2 * 10**9), "value"),
    (
        "poddisruptionbudgets",
        of("poddisruptionbudgets", spec={"minAvailable": -1}),
        "spec.minAvailable",
    ),
    ("ingresses", of("ingresses", spec={}), "spec"),
    ("storageclasses", of("storageclasses", provisioner=""), "provisioner"),
    ("configmaps", with_metadata("configmaps", labels={"a b": "c"}), "metadata.labels"),
    (
        "configmaps",
        with_metadata("configmaps", annotations={"a": "x" * 262145}),
        "metadata.annotations",
    ),
    ("configmaps", with_metadata("configmaps", finalizers=["mine"]), "metadata.finalizers[0]"),
    (
        "configmaps",
        with_metadata("configmaps", ownerReferences=[{"kind": "Pod"}]),
        "metadata.ownerReferences.uid",
    ),
]


@pytest.mark.parametrize(
    ("plural", "tree", "path"), REFUSED, ids=[f"{p} {path}" for p, _, path in REFUSED]
)
def test_refused(plural: str, tree: dict[str, Any], path: str) -> None:
    errors = errors_of(plural, copy.deepcopy(tree))
    assert path in {e.partition(": ")[0] for e in errors}, errors


def test_oversize_config_map() -> None:
    errors = errors_of("configmaps", of("configmaps", data={"a": "x" * (1 << 20), "b": "y"}))
    assert errors == ["[]: Too long: may not be more than 1048576 bytes"]


def _changed(plural: str, change: dict[str, Any], start: dict[str, Any] | None = None) -> list[str]:
    old = stored(plural, start)
    return change_errors(plural, {**copy.deepcopy(old), **copy.deepcopy(change)}, old)


def test_an_account_of_a_binding_is_of_its_namespace_unless_said() -> None:
    kind = strategy("rolebindings")
    tree = of("rolebindings", subjects=[{"kind": "ServiceAccount", "name": "a"}])
    kind.default(tree)
    paths = [error.field for error in kind.validate_create(context(), tree)]
    assert not [path for path in paths if path.startswith("subjects")]


def test_role_references_stay() -> None:
    (error,) = _changed("rolebindings", {"roleRef": {"kind": "ClusterRole", "name": "edit"}})
    assert error.endswith(": cannot change roleRef")


def test_sealed_data_stays() -> None:
    sealed = of("configmaps", immutable=True)
    assert _changed("configmaps", {"data": {"a": "c"}}, sealed) == [
        "data: Forbidden: field is immutable when `immutable` is set"
    ]
    sealed = of("secrets", immutable=True)
    assert _changed("secrets", {"immutable": False}, sealed) == [
        "immutable: Forbidden: field is immutable when `immutable` is set"
    ]


def test_secret_type_stays() -> None:
    assert _changed("secrets", {"type": "example.com/x"}) == [
        'type: Invalid value: "example.com/x": field is immutable'
    ]


def test_pod_ranges_of_nodes_stay() -> None:
    start = of("nodes", spec={"podCIDR": "10.42.0.0/24"})
    assert _changed("nodes", {"spec": {"podCIDR": "10.42.1.0/24"}}, start) == [
        'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid'
    ]


def test_claims_stay_but_grow_when_bound() -> None:
    old = stored("persistentvolumeclaims")
    new = copy.deepcopy(old)
    new["spec"]["volumeName"] = "v"
    assert change_errors("persistentvolumeclaims", new, old) == []
    new = copy.deepcopy(old)
    new["spec"]["resources"]["requests"]["storage"] = "2Gi"
    (error,) = change_errors("persistentvolumeclaims", new, old)
    assert error.startswith(
        "spec: Forbidden: spec is immutable after creation except resources.requests and "
        "volumeAttributesClassName for bound claims\n"
    )
    old["status"] = {"phase": "Bound"}
    new = copy.deepcopy(old)
    new["spec"]["resources"]["requests"]["storage"] = "2Gi"
    assert change_errors("persistentvolumeclaims", new, old) == []


def test_metadata_stays() -> None:
    old = stored("configmaps")
    new = copy.deepcopy(old)
    new["metadata"]["uid"] = "x"
    assert change_errors("configmaps", new, old) == [
        'metadata.uid: Invalid value: "x": field is immutable'
    ]
    old["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    new = copy.deepcopy(old)
    new["metadata"]["finalizers"] = ["example.com/x"]
    assert change_errors("configmaps", new, old) == [
        (
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being "
            'deleted, found new finalizers []string{"example.com/x"}'
        )
    ]


def test_a_generated_name_may_end_in_a_dash() -> None:
    tree = with_metadata("configmaps", generateName="web-", name="web-abcde")
    assert errors_of("configmaps", tree) == []


def test_events_are_selected_by_what_they_are_about() -> None:
    from tests.unit.apiserver.kinds.samples import Kinds, resource

    kind = Kinds().strategy_for(resource("events", ""))
    tree = {
        "metadata": {"namespace": "default", "name": "e"},
        "involvedObject": {"kind": "Pod", "name": "web", "namespace": "default"},
        "reason": "Killing",
        "source": {"component": "kubelet"},
        "type": "Normal",
    }
    fields = kind.selectable_fields(tree)
    assert fields["involvedObject.kind"] == "Pod"
    assert (fields["reason"], fields["source"]) == ("Killing", "kubelet")
    assert kind.ttl_s(tree) == 3600
    assert kind.validate_create(context(), tree) == []
    tree["involvedObject"]["namespace"] = "other"
    assert [str(e) for e in kind.validate_create(context(), tree)] == [
        'involvedObject.namespace: Invalid value: "other": does not match event.namespace'
    ]


def test_new_events_say_who_reports_them() -> None:
    from tests.unit.apiserver.kinds.samples import Kinds, resource

    kind = Kinds().strategy_for(resource("events", ""))
    tree = {
        "metadata": {"namespace": "default", "name": "e"},
        "involvedObject": {"kind": "Pod", "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingComponent": "a b",
        "reason": "x" * 129,
    }
    assert {str(e).partition("name part")[0] for e in kind.validate_create(context(), tree)} == {
        'reportingComponent: Invalid value: "a b": ',
        "reportingInstance: Required value",
        "action: Required value",
        'reason: Invalid value: "": can have at most 128 characters',
    }
