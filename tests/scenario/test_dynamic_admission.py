"""Webhooks and policies around what conformance asks: audit, metrics, conversion, restarts."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from tests.apiserver_harness import Api, config_map, start_server
from tests.conversion_kit import GROUP, Converter, backend, definition, path
from tests.custom_kinds import define
from tests.webhook_kit import WebhookServer

from kutter.apiserver.admission.chain import AdmissionChain
from kutter.apiserver.admission.dynamic.plugins import DynamicAdmission
from kutter.apiserver.admission.plugin import Plugin
from kutter.apiserver.ports import AdmissionRequest
from kutter.base.tasks import Scope
from kutter.store.memory import MemoryStore

CONFIGS = "/apis/admissionregistration.k8s.io/v1"
MAPS = "/api/v1/namespaces/default/configmaps"


class Noting(Plugin):
    """Keeps the annotations of all requests, as an audit would those of each."""

    name = "Noting"

    def __init__(self) -> None:
        self.notes: dict[str, str] = {}

    def wants(self, resource: str, operation: str) -> bool:
        return True

    async def mutate(self, request: AdmissionRequest) -> None:
        request.annotate = self.notes.setdefault

    async def validate(self, request: AdmissionRequest) -> None:
        request.annotate = self.notes.setdefault


@asynccontextmanager
async def serving(store: MemoryStore | None = None) -> AsyncIterator[tuple[Api, dict[str, str]]]:
    dynamic, noting = DynamicAdmission(), Noting()
    chain = AdmissionChain([noting, *dynamic.plugins])
    server = await start_server(store, admission=chain)
    dynamic.attach(server, chain.forget)
    api = Api(server)
    await api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "default"}})
    async with Scope("definitions") as scope:
        scope.start(server.definitions.run(), "definitions")
        yield api, noting.notes
        await server.stop()


def answer(call: Any, **response: Any) -> dict[str, Any]:
    found = {"uid": call.body["request"]["uid"], "allowed": True, **response}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": found}


def patched(call: Any, *operations: Any) -> dict[str, Any]:
    patch = base64.b64encode(orjson.dumps(list(operations))).decode()
    return answer(call, patch=patch, patchType="JSONPatch")


def configuration(name: str, webhook: WebhookServer, **more: Any) -> dict[str, Any]:
    rule = {
        "operations": ["*"],
        "apiGroups": [""],
        "apiVersions": ["*"],
        "resources": ["configmaps"],
    }
    hook = {
        "name": "w.example.com",
        "clientConfig": webhook.client_config("/x"),
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **more,
    }
    return {"metadata": {"name": name}, "webhooks": [hook]}


async def metric(api: Api, name: str, /, **labels: str) -> float:
    text = (await api.call("GET", "/metrics")).body.decode()
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    for line in text.splitlines():
        if line.startswith(f"{name}{{") and all(label in line for label in wanted):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


async def test_annotations_and_metrics_of_webhooks() -> None:
    with WebhookServer(
        lambda call: {
            **patched(call, {"op": "add", "path": "/data", "value": {"a": "b"}}),
        }
    ) as webhook:
        async with serving() as (api, notes):
            place = f"{CONFIGS}/mutatingwebhookconfigurations"
            await api.ok("POST", place, configuration("c", webhook))
            made = await api.ok("POST", MAPS, config_map("m"))
            assert made["data"] == {"a": "b"}
            assert orjson.loads(notes["mutation.webhook.admission.k8s.io/round_0_index_0"]) == {
                "configuration": "c",
                "webhook": "w.example.com",
                "mutated": True,
            }
            assert orjson.loads(notes["patch.webhook.admission.k8s.io/round_0_index_0"]) == {
                "configuration": "c",
                "webhook": "w.example.com",
                "patch": [{"op": "add", "path": "/data", "value": {"a": "b"}}],
                "patchType": "JSONPatch",
            }
            webhook.answer = lambda call: answer(call, auditAnnotations={"k": "v"})
            await api.ok("POST", MAPS, config_map("n"))
            assert notes["w.example.com/k"] == "v"
            webhook.answer = lambda call: answer(call, allowed=False, status={"code": 409})
            await api.call("POST", MAPS, config_map("o"))
            labels = {"name": "w.example.com", "type": "admit", "operation": "CREATE"}
            name = "apiserver_admission_webhook_request_total"
            assert await metric(api, name, **labels, code="200", rejected="false") == 2
            name = "apiserver_admission_webhook_rejection_count"
            labels |= {"error_type": "no_error", "rejection_code": "409"}
            assert await metric(api, name, **labels) == 1


async def test_a_failure_that_is_ignored_is_noted() -> None:
    with WebhookServer(lambda call: b"nonsense") as webhook:
        async with serving() as (api, notes):
            place = f"{CONFIGS}/validatingwebhookconfigurations"
            await api.ok("POST", place, configuration("c", webhook, failurePolicy="Ignore"))
            await api.ok("POST", MAPS, config_map("m"))
            key = "failed-open.validating.webhook.admission.k8s.io/round_0_index_0"
            assert notes[key] == "w.example.com"
            name = "apiserver_admission_webhook_fail_open_count"
            assert await metric(api, name, name="w.example.com", type="validating") == 1


async def test_annotations_of_policies() -> None:
    async with serving() as (api, notes):
        rule = {
            "operations": ["CREATE"],
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "resources": ["configmaps"],
        }
        spec = {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "object.data.a == 'b'", "message": "no b"}],
            "auditAnnotations": [
                {"key": "seen", "valueExpression": "'data: ' + object.data.a"},
                {"key": "never", "valueExpression": "null"},
            ],
        }
        policies = f"{CONFIGS}/validatingadmissionpolicies"
        await api.ok("POST", policies, {"metadata": {"name": "p"}, "spec": spec})
        bindings = f"{CONFIGS}/validatingadmissionpolicybindings"
        bound = {"policyName": "p", "validationActions": ["Audit"]}
        await api.ok("POST", bindings, {"metadata": {"name": "b"}, "spec": bound})
        await api.ok("POST", MAPS, config_map("m", data={"a": "x"}))
        assert notes["p/seen"] == "data: x"
        assert "p/never" not in notes
        (failure,) = orjson.loads(notes["validation.policy.admission.k8s.io/validation_failure"])
        assert failure == {
            "message": "no b",
            "policy": "p",
            "binding": "b",
            "expressionIndex": 0,
            "validationActions": ["Audit"],
        }
        name = "apiserver_validating_admission_policy_check_total"
        assert await metric(api, name, policy="p", enforcement_action="audit") == 1


async def test_webhooks_are_shown_what_a_conversion_webhook_made() -> None:
    converter = Converter()

    def mutate(call: Any) -> dict[str, Any]:
        return patched(call, {"op": "replace", "path": "/spec/port", "value": "99"})

    with converter.webhook, WebhookServer(mutate) as webhook:
        async with serving() as (api, _):
            config = converter.webhook.client_config("/convert")
            await define(api, definition(config, "v1beta1", "v1", stored="v1beta1"))
            rule = {
                "operations": ["CREATE"],
                "apiGroups": [GROUP],
                "apiVersions": ["v1"],
                "resources": ["backends"],
            }
            place = f"{CONFIGS}/mutatingwebhookconfigurations"
            await api.ok("POST", place, configuration("c", webhook, rules=[rule]))
            made = await api.ok("POST", path("v1beta1"), backend("a", "v1beta1", "one:80"))
            request = webhook.calls[0].body["request"]
            assert request["object"]["apiVersion"] == f"{GROUP}/v1"
            assert request["object"]["spec"]["host"] == "one"
            assert request["requestKind"]["version"] == "v1beta1"
            assert made["apiVersion"] == f"{GROUP}/v1beta1"
            assert made["spec"] == {"hostPort": "one:99"}
            assert (await api.ok("GET", path("v1", "a")))["spec"]["port"] == "99"


async def test_definitions_go_with_their_objects_whatever_webhooks_say() -> None:
    with WebhookServer(lambda call: answer(call, allowed=False)) as webhook:
        async with serving() as (api, _):
            converter = Converter()
            with converter.webhook:
                config = converter.webhook.client_config("/convert")
                tree = definition(config, "v1", stored="v1")
                await define(api, tree)
                await api.ok("POST", path("v1"), backend("a", "v1", "one:80"))
                rule = {
                    "operations": ["DELETE"],
                    "apiGroups": [GROUP],
                    "apiVersions": ["*"],
                    "resources": ["*"],
                }
                place = f"{CONFIGS}/validatingwebhookconfigurations"
                await api.ok("POST", place, configuration("c", webhook, rules=[rule]))
                assert (await api.call("DELETE", path("v1", "a"))).status == 400
                name = tree["metadata"]["name"]
                crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
                await api.ok("DELETE", f"{crds}/{name}")
                async with asyncio.timeout(20):
                    while (await api.call("GET", f"{crds}/{name}")).status != 404:
                        await asyncio.sleep(0.001)


async def test_configurations_are_there_after_a_restart() -> None:
    store = MemoryStore()
    with WebhookServer(lambda call: answer(call, allowed=False)) as webhook:
        async with serving(store) as (api, _):
            place = f"{CONFIGS}/validatingwebhookconfigurations"
            await api.ok("POST", place, configuration("c", webhook))
        async with serving(store) as (api, _):
            assert (await api.call("POST", MAPS, config_map("m"))).status == 400


async def test_without_configurations_nobody_looks_at_requests() -> None:
    async with serving() as (api, _):
        chain = api.server.admission
        await api.ok("POST", MAPS, config_map("m"))
        assert isinstance(chain, AdmissionChain)
        key = ("configmaps", "", "CREATE")
        assert len(chain._mutate[key]) == len(chain._validate[key]) == 1, "only the test's own"


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_events_of_either_group_are_shown_as_asked(version: str) -> None:
    """Built-in kinds have versions in other groups: here core events by events.k8s.io's name."""
    with WebhookServer(lambda call: answer(call)) as webhook:
        async with serving() as (api, _):
            rule = {
                "operations": ["CREATE"],
                "apiGroups": ["events.k8s.io"],
                "apiVersions": ["v1"],
                "resources": ["events"],
            }
            reviews = {"admissionReviewVersions": [version]}
            webhook.answer = lambda call: {
                **answer(call),
                "apiVersion": f"admission.k8s.io/{version}",
            }
            place = f"{CONFIGS}/validatingwebhookconfigurations"
            await api.ok("POST", place, configuration("c", webhook, rules=[rule], **reviews))
            event = {
                "metadata": {"name": "e", "namespace": "default"},
                "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
                "message": "told",
                "type": "Normal",
                "reason": "Because",
            }
            await api.ok("POST", "/api/v1/namespaces/default/events", event)
            (call,) = webhook.calls
            assert call.body["apiVersion"] == f"admission.k8s.io/{version}"
            shown = call.body["request"]["object"]
            assert (shown["apiVersion"], shown["note"]) == ("events.k8s.io/v1", "told")
            assert call.body["request"]["requestResource"]["group"] == ""
