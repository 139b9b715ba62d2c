"""Configurations and policies with each part replaced by something odd: refused or used."""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from tests.apiserver_harness import Api, start_server, tree
from tests.webhook_kit import WebhookServer

from kutter.apiserver.admission.chain import AdmissionChain
from kutter.apiserver.admission.dynamic.plugins import DynamicAdmission

GROUP = "/apis/admissionregistration.k8s.io/v1"
MAPS = "/api/v1/namespaces/default/configmaps"
RULE = {
    "operations": ["CREATE"],
    "apiGroups": [""],
    "apiVersions": ["v1"],
    "resources": ["configmaps"],
    "scope": "*",
}
NAMED = {**RULE, "resourceNames": ["x"]}
SELECTOR = {
    "matchLabels": {"a": "b"},
    "matchExpressions": [{"key": "a", "operator": "In", "values": ["x"]}],
}
MATCH = {
    "resourceRules": [NAMED],
    "excludeResourceRules": [NAMED],
    "matchPolicy": "Equivalent",
    "namespaceSelector": SELECTOR,
    "objectSelector": {},
}
POLICY = {
    "failurePolicy": "Fail",
    "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
    "matchConstraints": MATCH,
    "matchConditions": [{"name": "n", "expression": "true"}],
    "variables": [{"name": "v", "expression": "1"}],
}
REFERENCE = {"name": "x", "namespace": "y", "parameterNotFoundAction": "Deny"}
HOOK = {
    "name": "a.b.c",
    "clientConfig": {"url": "https://127.0.0.1:1/y", "caBundle": "YQ=="},
    "rules": [RULE],
    "failurePolicy": "Fail",
    "matchPolicy": "Exact",
    "namespaceSelector": {},
    "objectSelector": SELECTOR,
    "sideEffects": "None",
    "timeoutSeconds": 1,
    "admissionReviewVersions": ["v1"],
    "matchConditions": [{"name": "n", "expression": "true"}],
}
SERVICE = {"namespace": "a", "name": "b", "path": "/c", "port": 443}
BODIES: dict[str, dict[str, Any]] = {
    "validatingadmissionpolicies": {
        "spec": {
            **POLICY,
            "validations": [
                {
                    "expression": "variables.v == 1",
                    "message": "m",
                    "messageExpression": "'x'",
                    "reason": "Invalid",
                }
            ],
            "auditAnnotations": [{"key": "k", "valueExpression": "'x'"}],
        }
    },
    "validatingadmissionpolicybindings": {
        "spec": {
            "policyName": "p",
            "paramRef": REFERENCE,
            "matchResources": MATCH,
            "validationActions": ["Deny"],
        }
    },
    "mutatingadmissionpolicies": {
        "spec": {
            **POLICY,
            "reinvocationPolicy": "Never",
            "mutations": [
                {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'add'}]"}},
                {
                    "patchType": "ApplyConfiguration",
                    "applyConfiguration": {"expression": "Object{}"},
                },
            ],
        }
    },
    "mutatingadmissionpolicybindings": {
        "spec": {"policyName": "p", "paramRef": REFERENCE, "matchResources": MATCH}
    },
    "validatingwebhookconfigurations": {"webhooks": [HOOK]},
    "mutatingwebhookconfigurations": {
        "webhooks": [{**HOOK, "clientConfig": {"service": SERVICE}, "reinvocationPolicy": "Never"}]
    },
}
ODD = [
    None,
    "",
    -1,
    [],
    {},
    [None],
    {"a": None},
    "*",
    "x" * 300,
    "a/b/c",
    "object.x",
    "1/0",
    "'a'.matches('(')",
    "authorizer.path('').check('x').allowed()",
]


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(tree, dict):
        for key in tree:
            yield from places(tree[key], (*path, key))
    elif isinstance(tree, list):
        for i, item in enumerate(tree):
            yield from places(item, (*path, i))


def replaced(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    tree = copy.deepcopy(tree)
    holder = tree
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return tree


@pytest.mark.parametrize("plural", BODIES)
async def test_whatever_stands_in_them(plural: str) -> None:
    dynamic = DynamicAdmission()
    chain = AdmissionChain(dynamic.plugins)
    server = await start_server(None, admission=chain)
    dynamic.attach(server, chain.forget)
    api = Api(server)
    labels = {"a": "x"}
    await api.ok("POST", "/api/v1/namespaces", {"metadata": {"name": "default", "labels": labels}})
    stored = 0
    for path in places(BODIES[plural]):
        for value in ODD:
            body = {**replaced(BODIES[plural], path, value), "metadata": {"name": "odd"}}
            made = await api.call("POST", f"{GROUP}/{plural}", body)
            assert made.status in (201, 400, 422), (path, value, made.body)
            if made.status != 201:
                continue
            stored += 1
            # What was let in can be used, and taken away again.
            used = await api.call("POST", MAPS, {"metadata": {"name": "m", "labels": labels}})
            assert b"panic" not in used.body, (path, value, used.body)
            if used.status == 201:
                await api.ok("DELETE", f"{MAPS}/m")
            await api.ok("DELETE", f"{GROUP}/{plural}/odd")
    assert stored
    await server.stop()


ANSWER: dict[str, Any] = {
    "apiVersion": "admission.k8s.io/v1",
    "kind": "AdmissionReview",
    "response": {
        "uid": "",
        "allowed": True,
        "status": {
            "code": 400,
            "message": "m",
            "reason": "r",
            "details": {"name": "n", "causes": [{"message": "c"}]},
            "metadata": {},
        },
        "patchType": "JSONPatch",
        "patch": [{"op": "add", "path": "/data", "value": {"a": "b"}}],
        "auditAnnotations": {"k": "v"},
        "warnings": ["w"],
    },
}
ODD_ANSWERS = [*ODD, 10**30, "\r\nInjected: yes", {"a": {"b": [1]}}, "/metadata/name", 200, True]


@pytest.mark.parametrize("allowed", [True, False])
async def test_whatever_a_webhook_answers(allowed: bool) -> None:
    dynamic = DynamicAdmission()
    chain = AdmissionChain(dynamic.plugins)
    server = await start_server(None, admission=chain)
    dynamic.attach(server, chain.forget)
    api = Api(server)
    await api.ok("POST", "/api/v1/namespaces", {"metadata": {"name": "default"}})
    current: Any = None

    def answer(call: Any) -> Any:
        made = copy.deepcopy(current)
        if isinstance(made, dict) and isinstance(made.get("response"), dict):
            response = made["response"]
            if response.get("uid") == "":
                response["uid"] = call.body["request"]["uid"]
            patch = orjson.dumps(response.get("patch"))
            if isinstance(response.get("patch"), list):
                response["patch"] = base64.b64encode(patch).decode()
        return made

    with WebhookServer(answer) as webhook:
        hook = {**HOOK, "clientConfig": webhook.client_config(), "objectSelector": {}}
        # Time is no part of this; deletions are not asked about.
        hook = {**hook, "timeoutSeconds": 30}
        body = {"metadata": {"name": "odd"}, "webhooks": [hook]}
        await api.ok("POST", f"{GROUP}/mutatingwebhookconfigurations", body)
        whole = replaced(ANSWER, ("response", "allowed"), allowed)
        for path in places(whole):
            for value in ODD_ANSWERS:
                current = replaced(whole, path, value)
                made = await api.call("POST", MAPS, {"metadata": {"name": "m"}})
                assert b"panic" not in made.body, (path, value, made.body)
                assert not any("\n" in text for _, text in made.headers), (path, value)
                assert made.status == 201 or made.status >= 400, (path, value)
                if made.status == 201:
                    await api.ok("DELETE", f"{MAPS}/{tree(made)['metadata']['name']}")
    await server.stop()
