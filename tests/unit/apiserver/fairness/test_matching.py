"""Which requests belong to a flow schema."""

from __future__ import annotations

import pytest

from kutter.apiserver.authn.identity import User
from kutter.apiserver.fairness.defaults import (
    MANDATORY_LEVELS,
    MANDATORY_SCHEMAS,
    SUGGESTED_LEVELS,
    SUGGESTED_SCHEMAS,
)
from kutter.apiserver.fairness.fairness import Fairness
from kutter.apiserver.fairness.matching import Matcher
from kutter.apiserver.request_info import parse_request_info
from kutter.base.clock import SYSTEM_CLOCK


def info(method, path, **query):
    return parse_request_info(method, path, query)


POD = info("GET", "/api/v1/namespaces/a/pods/p")
PODS = info("GET", "/api/v1/pods")
STATUS = info("PUT", "/api/v1/namespaces/a/pods/p/status")
LEASE = info("PUT", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x")
NODE_STATUS = info("PATCH", "/api/v1/nodes/n/status")
HEALTH = info("GET", "/healthz")
HEALTH_PART = info("GET", "/healthz/etcd")
VERSION = info("GET", "/version")


def user(name, *groups):
    return User(name, groups=(*groups, "system:authenticated"))


def account(namespace, name):
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    return user(f"system:serviceaccount:{namespace}:{name}", *groups)


ANN = user("ann", "dev")


def matcher(subject, **rule):
    resource = {
        "verbs": ["*"],
        "apiGroups": ["*"],
        "resources": ["*"],
        "namespaces": ["*"],
        "clusterScope": True,
        **rule,
    }
    return Matcher({"rules": [{"subjects": [subject], "resourceRules": [resource]}]})


EVERYBODY = {"kind": "Group", "group": {"name": "*"}}


@pytest.mark.parametrize(
    ("subject", "matching", "others"),
    [
        ({"kind": "User", "user": {"name": "ann"}}, [ANN], [user("bob")]),
        ({"kind": "User", "user": {"name": "*"}}, [ANN, user("bob")], []),
        ({"kind": "Group", "group": {"name": "dev"}}, [ANN], [user("bob")]),
        (EVERYBODY, [ANN, user("bob")], []),
        (
            {"kind": "ServiceAccount", "serviceAccount": {"namespace": "a", "name": "x"}},
            [account("a", "x")],
            [account("a", "y"), account("ab", "x"), ANN],
        ),
        (
            {"kind": "ServiceAccount", "serviceAccount": {"namespace": "a", "name": "*"}},
            [account("a", "x"), account("a", "y")],
            [account("ab", "x"), ANN],
        ),
    ],
)
def test_subjects(subject, matching, others):
    made = matcher(subject)
    assert [made.match(u, POD) for u in matching] == [True] * len(matching)
    assert [made.match(u, POD) for u in others] == [False] * len(others)


@pytest.mark.parametrize(
    ("rule", "matching", "others"),
    [
        ({"verbs": ["get"]}, [POD], [PODS, STATUS]),
        ({"resources": ["pods"]}, [POD, PODS], [STATUS]),
        ({"resources": ["pods/status"]}, [STATUS], [POD]),
        ({"apiGroups": [""]}, [POD], [LEASE]),
        ({"namespaces": ["a"], "clusterScope": False}, [POD, STATUS], [PODS, LEASE]),
        ({"namespaces": [], "clusterScope": True}, [PODS], [POD]),
        ({"clusterScope": False}, [POD], [PODS]),
        # A wildcard among others is a name like any other.
        ({"verbs": ["*", "list"]}, [PODS], [POD]),
        ({}, [], [HEALTH]),
    ],
)
def test_resource_rules(rule, matching, others):
    made = matcher(EVERYBODY, **rule)
    assert [made.match(ANN, i) for i in matching] == [True] * len(matching)
    assert [made.match(ANN, i) for i in others] == [False] * len(others)


@pytest.mark.parametrize(
    ("urls", "matching", "others"),
    [
        (["/healthz"], [HEALTH, HEALTH_PART], [VERSION, POD]),
        (["/healthz/*"], [HEALTH_PART], [HEALTH]),
        (["*"], [HEALTH, VERSION], [POD]),
    ],
)
def test_path_rules(urls, matching, others):
    rules = [{"verbs": ["get"], "nonResourceURLs": urls}]
    made = Matcher({"rules": [{"subjects": [EVERYBODY], "nonResourceRules": rules}]})
    assert [made.match(ANN, i) for i in matching] == [True] * len(matching)
    assert [made.match(ANN, i) for i in others] == [False] * len(others)


@pytest.fixture(scope="module")
def fairness():
    made = Fairness(600, lambda *_: 1, SYSTEM_CLOCK)
    made.configure((*MANDATORY_LEVELS, *SUGGESTED_LEVELS), (*MANDATORY_SCHEMAS, *SUGGESTED_SCHEMAS))
    return made


NODE = user("system:node:n", "system:nodes")


@pytest.mark.parametrize(
    ("who", "what", "schema", "level"),
    [
        (user("admin", "system:masters"), POD, "exempt", "exempt"),
        (User("system:anonymous", groups=("system:unauthenticated",)), HEALTH, "probes", "exempt"),
        (ANN, HEALTH, "probes", "exempt"),
        (user("system:kube-scheduler"), LEASE, "system-leader-election", "leader-election"),
        (user("system:kube-scheduler"), PODS, "kube-scheduler", "workload-high"),
        (user("system:kube-controller-manager"), POD, "kube-controller-manager", "workload-high"),
        (NODE, NODE_STATUS, "system-node-high", "node-high"),
        (NODE, LEASE, "system-node-high", "node-high"),
        (NODE, POD, "system-nodes", "system"),
        (account("kube-system", "x"), POD, "kube-system-service-accounts", "workload-high"),
        (account("kube-system", "x"), LEASE, "system-leader-election", "leader-election"),
        (account("default", "x"), POD, "service-accounts", "workload-low"),
        (ANN, POD, "global-default", "global-default"),
        (User("nobody"), POD, "catch-all", "catch-all"),
    ],
)
def test_the_defaults_order_the_cluster(fairness, who, what, schema, level):
    flow = fairness.flow_of(who, what)
    assert (flow.name, flow.level.name) == (schema, level)
    assert fairness.flow_of(who, what) is flow


def test_a_namespace_in_some_rule_tells_callers_apart(fairness):
    made = Fairness(600, lambda *_: 1, SYSTEM_CLOCK)
    schema = {
        "metadata": {"name": "special"},
        "spec": {
            "matchingPrecedence": 5,
            "priorityLevelConfiguration": {"name": "exempt"},
            "rules": [
                {
                    "subjects": [EVERYBODY],
                    "resourceRules": [
                        {
                            "verbs": ["*"],
                            "apiGroups": ["*"],
                            "resources": ["*"],
                            "namespaces": ["a"],
                        }
                    ],
                }
            ],
        },
    }
    made.configure((), (schema,))
    other = info("GET", "/api/v1/namespaces/b/pods/p")
    assert [made.flow_of(ANN, i).name for i in (POD, other, POD)] == [
        "special",
        "catch-all",
        "special",
    ]
