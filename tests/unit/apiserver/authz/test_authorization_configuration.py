"""AuthorizationConfiguration: what is right, and what is said about what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from kutter.apiserver.authz.authorization_configuration import parse_authorization
from kutter.apiserver.configuration_file import ConfigurationError

RBAC = {"type": "RBAC", "name": "rbac"}


def webhook(tmp_path: Path, **more: Any) -> dict[str, Any]:
    file = tmp_path / "kubeconfig"
    file.touch()
    info = {"type": "KubeConfigFile", "kubeConfigFile": str(file)}
    settings = {
        "timeout": "3s",
        "subjectAccessReviewVersion": "v1",
        "failurePolicy": "NoOpinion",
        "connectionInfo": info,
        **more,
    }
    return {"type": "Webhook", "name": "hook", "webhook": settings}


def parse(*authorizers: Any) -> Any:
    tree = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthorizationConfiguration",
        "authorizers": list(authorizers),
    }
    return parse_authorization(orjson.dumps(tree))


def test_defaults_are_upstreams(tmp_path: Path) -> None:
    found = parse(RBAC, webhook(tmp_path)).authorizers[1].webhook
    assert (found.authorized_ttl, found.unauthorized_ttl) == ("5m", "30s")
    assert found.cache_authorized_requests


@pytest.mark.parametrize(
    ("authorizers", "said"),
    [
        ([], "at least one authorization mode must be defined"),
        ([{"name": "x"}], "authorizers[0].type: Required value"),
        ([{"type": "ABAC", "name": "x"}], 'Unsupported value: "ABAC"'),
        ([RBAC, {**RBAC, "name": "again"}], "authorizers[1].type: Duplicate value"),
        ([RBAC, {"type": "Node", "name": "rbac"}], "authorizers[1].name: Duplicate value"),
        ([{"type": "RBAC", "name": "X!"}], "authorizer name is invalid"),
        ([{"type": "RBAC"}], "authorizers[0].name: Required value"),
        ([{**RBAC, "webhook": {}}], "may only be specified when type=Webhook"),
        ([{"type": "Webhook", "name": "x"}], "required when type=Webhook"),
    ],
)
def test_what_is_wrong_is_said(authorizers: list[Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(*authorizers)
    assert said in str(caught.value)


V1 = {"matchConditionSubjectAccessReviewVersion": "v1"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"timeout": ""}, "timeout: Required value"),
        ({"timeout": "31s"}, "must be > 0s and <= 30s"),
        ({"timeout": "x"}, "invalid duration"),
        ({"authorizedTTL": "-1s"}, "must be > 0s"),
        ({"subjectAccessReviewVersion": "v2"}, "subjectAccessReviewVersion: Unsupported value"),
        ({"failurePolicy": ""}, "failurePolicy: Required value"),
        ({"failurePolicy": "Allow"}, "failurePolicy: Unsupported value"),
        ({"connectionInfo": {}}, "connectionInfo.type: Required value"),
        (
            {"connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "x"}},
            "must be an absolute path",
        ),
        (
            {"connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "/none/x"}},
            "error loading file",
        ),
        ({"matchConditions": [{"expression": "true"}]}, "required if match conditions are"),
        ({**V1, "matchConditions": [{"expression": " "}]}, "expression: Required value"),
        ({**V1, "matchConditions": [{"expression": "request.nme == ''"}]}, "undefined field"),
        ({**V1, "matchConditions": [{"expression": "'a'"}]}, "must evaluate to bool"),
        ({**V1, "matchConditions": [{"expression": "true"}] * 2}, "Duplicate value"),
        ({"colour": 1}, "unknown field `colour`"),
    ],
)
def test_what_is_wrong_with_a_webhook_is_said(
    tmp_path: Path, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(webhook(tmp_path, **more))
    assert said in str(caught.value)
