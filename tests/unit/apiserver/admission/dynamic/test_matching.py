"""Rules and selectors, without a server."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kutter.api.resources import Resource
from kutter.apiserver.admission.dynamic.matching import Matcher, Place, is_exempt

PODS = Resource("", "v1", "pods", "Pod", True, ("create",))
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", False, ("create",))
NODES = Resource("", "v1", "nodes", "Node", False, ("create",))
OLD = Resource("apps", "v1beta1", "deployments", "Deployment", True, ("create",))
NEW = Resource("apps", "v1", "deployments", "Deployment", True, ("create",))


def place(
    resource: Resource = PODS,
    *,
    subresource: str = "",
    operation: Any = "CREATE",
    namespace: str = "blue",
    name: str = "x",
    others: tuple[Resource, ...] = (),
) -> Place:
    return Place(resource, subresource, operation, namespace, name, lambda: list(others))


def rule(**more: Any) -> dict[str, Any]:
    return {
        "operations": ["CREATE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["pods"],
        **more,
    }


@pytest.mark.parametrize(
    ("given", "asked", "matches"),
    [
        (rule(), place(), True),
        (rule(), place(operation="UPDATE"), False),
        (rule(operations=["*"]), place(operation="CONNECT"), True),
        (rule(apiGroups=["apps"]), place(), False),
        (rule(apiGroups=["*"]), place(), True),
        (rule(apiVersions=["v2"]), place(), False),
        (rule(), place(subresource="status"), False),
        (rule(resources=["pods/status"]), place(subresource="status"), True),
        (rule(resources=["pods/*"]), place(subresource="status"), True),
        (rule(resources=["pods/*"]), place(), True),
        (rule(resources=["*"]), place(), True),
        (rule(resources=["*"]), place(subresource="status"), False),
        (rule(resources=["*/status"]), place(subresource="status"), True),
        (rule(resources=["*/*"]), place(subresource="log"), True),
        (rule(scope="Namespaced"), place(), True),
        (rule(scope="Cluster"), place(), False),
        (rule(scope="Cluster", resources=["nodes"]), place(NODES, namespace=""), True),
        (rule(scope="Namespaced", resources=["nodes"]), place(NODES, namespace=""), False),
        (rule(scope="Cluster", resources=["namespaces"]), place(NAMESPACES), True),
        (rule(scope="Namespaced", resources=["namespaces"]), place(NAMESPACES), False),
        (rule(resourceNames=["x"]), place(), True),
        (rule(resourceNames=["y"]), place(), False),
    ],
)
def test_rules(given: dict[str, Any], asked: Place, matches: bool) -> None:
    matcher = Matcher([given])
    assert (matcher.find(asked) is not None) is matches
    if matches:
        assert matcher.might(asked.resource.plural, asked.subresource, asked.operation)


def test_the_equivalent_version_is_the_one_the_rule_names() -> None:
    given = rule(apiGroups=["apps"], apiVersions=["v1"], resources=["deployments"])
    asked = place(OLD, others=(NEW,))
    assert Matcher([given]).find(asked) is NEW
    assert Matcher([given], match_policy="Exact").find(asked) is None
    # The version asked for goes before any other.
    both = rule(apiGroups=["apps"], apiVersions=["v1", "v1beta1"], resources=["deployments"])
    assert Matcher([both]).find(asked) is OLD


def test_excluded_rules_win_and_no_rules_mean_nothing_or_everything() -> None:
    excluded = rule(resourceNames=["x"])
    matcher = Matcher([rule()], excluded=[excluded])
    assert matcher.find(place()) is None
    assert matcher.find(place(name="y")) is PODS
    assert Matcher([]).find(place()) is None
    assert not Matcher([]).might("pods", "", "CREATE")
    assert Matcher([], open=True).find(place()) is PODS
    assert Matcher([], open=True, excluded=[excluded]).find(place()) is None


def test_selectors() -> None:
    matcher = Matcher([rule()], object_selector={"matchLabels": {"a": "b"}})
    assert matcher.looks_at_object
    assert not matcher.looks_at_namespace
    assert matcher.selects_object({"a": "b"})
    assert not matcher.selects_object({})
    assert matcher.selects_namespace({})


def test_what_configures_admission_is_exempt() -> None:
    assert is_exempt("validatingadmissionpolicies.admissionregistration.k8s.io")
    assert not is_exempt("pods")


_operations = st.sampled_from(["CREATE", "UPDATE", "DELETE", "CONNECT"])
_rules = st.builds(
    rule,
    operations=st.lists(st.sampled_from(["*", "CREATE", "DELETE"]), min_size=1),
    apiGroups=st.lists(st.sampled_from(["*", "", "apps"]), min_size=1),
    apiVersions=st.lists(st.sampled_from(["*", "v1", "v1beta1"]), min_size=1),
    resources=st.lists(
        st.sampled_from(["*", "*/*", "pods", "pods/*", "*/status", "deployments"]), min_size=1
    ),
    scope=st.sampled_from(["*", "Cluster", "Namespaced"]),
)


@given(
    st.lists(_rules, max_size=3),
    st.sampled_from([PODS, NEW, OLD, NODES]),
    st.sampled_from(["", "status"]),
    _operations,
    st.sampled_from(["Exact", "Equivalent"]),
)
def test_what_might_not_match_never_does(
    rules: list[dict[str, Any]], resource: Resource, part: str, operation: Any, policy: str
) -> None:
    """The chain asks ``might`` once for all requests of a sort: it must never say no wrongly."""
    matcher = Matcher(rules, match_policy=policy)
    others = tuple(r for r in (NEW, OLD) if resource in (NEW, OLD) and r != resource)
    for namespace in ("", "blue"):
        asked = place(
            resource, subresource=part, operation=operation, namespace=namespace, others=others
        )
        found = matcher.find(asked)
        assert found is None or matcher.might(resource.plural, part, operation)
        exact = Matcher(rules, match_policy="Exact").find(asked)
        assert exact is None or found is resource, "the version asked for goes first"
