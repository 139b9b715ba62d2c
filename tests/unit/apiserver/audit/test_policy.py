"""Which rule decides about a request, and which policies are refused."""

from __future__ import annotations

import pytest
import yaml

from kutter.apiserver.audit.policy import (
    METADATA,
    REQUEST_RESPONSE,
    PolicyError,
    level_for,
    parse_policy,
    read_policy,
)
from kutter.apiserver.authn.identity import User
from kutter.apiserver.request_info import parse_request_info

ANN = User("ann", groups=("dev", "system:authenticated"))
HEAD = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy"}


def policy(*rules, **more):
    return parse_policy({**HEAD, "rules": list(rules), **more})


def info(method, path, **query):
    return parse_request_info(method, path, query)


POD = info("GET", "/api/v1/namespaces/a/pods/p")
LOG = info("GET", "/api/v1/namespaces/a/pods/p/log")
NODE = info("GET", "/api/v1/nodes/n")
DEPLOYMENT = info("POST", "/apis/apps/v1/namespaces/a/deployments")
HEALTH = info("GET", "/healthz/ping")


@pytest.mark.parametrize(
    ("rule", "matching", "others"),
    [
        ({}, [POD, LOG, NODE, DEPLOYMENT, HEALTH], []),
        ({"users": ["ann"]}, [POD, HEALTH], []),
        ({"users": ["bob"]}, [], [POD, HEALTH]),
        ({"userGroups": ["ops", "dev"]}, [POD], []),
        ({"userGroups": ["ops"]}, [], [POD]),
        ({"verbs": ["get"]}, [POD, HEALTH], [DEPLOYMENT]),
        ({"namespaces": ["a"]}, [POD, DEPLOYMENT], [NODE, HEALTH]),
        ({"namespaces": [""]}, [NODE], [POD, HEALTH]),
        ({"resources": [{"group": ""}]}, [POD, LOG, NODE], [DEPLOYMENT, HEALTH]),
        ({"resources": [{"group": "", "resources": ["pods"]}]}, [POD], [LOG, NODE]),
        ({"resources": [{"group": "", "resources": ["pods/log"]}]}, [LOG], [POD]),
        ({"resources": [{"group": "", "resources": ["pods/*"]}]}, [LOG, POD], [NODE]),
        ({"resources": [{"group": "", "resources": ["*/log"]}]}, [LOG], [POD]),
        ({"resources": [{"group": "*", "resources": ["*"]}]}, [LOG, POD, DEPLOYMENT], [HEALTH]),
        (
            {"resources": [{"group": "", "resources": ["pods"], "resourceNames": ["p"]}]},
            [POD],
            [NODE],
        ),
        (
            {"resources": [{"group": "", "resources": ["pods"], "resourceNames": ["q"]}]},
            [],
            [POD],
        ),
        ({"nonResourceURLs": ["/healthz*"]}, [HEALTH], [POD]),
        ({"nonResourceURLs": ["/healthz"]}, [], [HEALTH]),
        ({"nonResourceURLs": ["*"]}, [HEALTH], [POD]),
    ],
)
def test_rules_match(rule, matching, others):
    made = policy({"level": "Metadata", **rule})
    assert [made.rule_for(ANN, i) is not None for i in matching] == [True] * len(matching)
    assert [made.rule_for(ANN, i) is not None for i in others] == [False] * len(others)


def test_the_first_rule_that_matches_decides():
    made = policy({"level": "None", "verbs": ["get"]}, {"level": "Metadata"})
    assert made.rule_for(ANN, POD) is None
    assert made.rule_for(ANN, DEPLOYMENT).level == METADATA


def test_nobody_matches_no_rule_about_users():
    made = policy(
        {"level": "Metadata", "users": ["ann"]}, {"level": "Metadata", "userGroups": ["x"]}
    )
    assert made.rule_for(None, POD) is None


def test_stages_and_managed_fields_of_the_policy_and_its_rules_add_up():
    made = policy(
        {
            "level": "Metadata",
            "omitStages": ["Panic"],
            "omitManagedFields": False,
            "verbs": ["get"],
        },
        {"level": "Metadata"},
        omitStages=["RequestReceived"],
        omitManagedFields=True,
    )
    first, second = made.rule_for(ANN, POD), made.rule_for(ANN, DEPLOYMENT)
    assert first.omit_stages == {"Panic", "RequestReceived"}
    assert second.omit_stages == {"RequestReceived"}
    assert (first.omit_managed_fields, second.omit_managed_fields) == (False, True)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/secrets"),
        ("PUT", "/api/v1/namespaces/a/configmaps/c"),
        ("POST", "/api/v1/namespaces/a/serviceaccounts/default/token"),
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews"),
    ],
)
def test_no_policy_records_confidential_bodies(method, path):
    made = policy({"level": "RequestResponse"})
    asked = info(method, path)
    assert level_for(made.rule_for(ANN, asked), asked) == METADATA
    assert level_for(made.rule_for(ANN, POD), POD) == REQUEST_RESPONSE


RULE = {"level": "Metadata"}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ([], "not a policy"),
        ({"kind": "Policy", "apiVersion": "audit.k8s.io/v2", "rules": [RULE]}, "unknown group"),
        ({**HEAD, "rules": []}, "loaded illegal policy with 0 rules"),
        ({**HEAD, "rules": [RULE], "omitStages": ["Never"]}, "omitStages.*allowed stages are"),
        ({**HEAD, "rules": [RULE], "rule": 1}, 'unknown field "rule"'),
        ({**HEAD, "rules": ["x"]}, r"rules\[0\]"),
        ({**HEAD, "rules": [{}]}, r"rules\[0\].level: Required value"),
        ({**HEAD, "rules": [{"level": "All"}]}, 'Unsupported value: "All"'),
        ({**HEAD, "rules": [{**RULE, "user": ["x"]}]}, r'unknown field "rules\[0\].user"'),
        ({**HEAD, "rules": [{**RULE, "users": "x"}]}, "users: must be a list"),
        ({**HEAD, "rules": [{**RULE, "users": [1]}]}, "must be a list of texts"),
        ({**HEAD, "rules": [{**RULE, "nonResourceURLs": ["x"]}]}, "must begin with a '/'"),
        ({**HEAD, "rules": [{**RULE, "nonResourceURLs": ["/*/x"]}]}, "must be the final"),
        (
            {**HEAD, "rules": [{**RULE, "nonResourceURLs": ["/x"], "namespaces": ["a"]}]},
            "cannot apply to both",
        ),
        ({**HEAD, "rules": [{**RULE, "resources": [{"group": "apps/v1"}]}]}, "group: Invalid"),
        (
            {**HEAD, "rules": [{**RULE, "resources": [{"resourceNames": ["x"]}]}]},
            "requires at least one resource",
        ),
        ({**HEAD, "rules": [{**RULE, "omitManagedFields": "yes"}]}, "must be true or false"),
    ],
)
def test_policies_that_cannot_be_followed_are_refused(tree, message, tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(tree))
    with pytest.raises(PolicyError, match=message):
        read_policy(path)
