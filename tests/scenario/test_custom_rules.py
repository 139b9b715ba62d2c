"""Rules of custom kinds (``x-kubernetes-validations``) through the whole server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.apiserver_harness import Api, header
from tests.custom_kinds import CRDS, CRONTABS, define, definition, serving, version

from kutter.api.cel.environment import Environment

RULES = "x-kubernetes-validations"
_MERGE = {"content-type": "application/merge-patch+json"}
NUMBER = {"type": "integer"}
SPEC: dict[str, Any] = {
    "type": "object",
    "properties": {
        "min": {**NUMBER, "default": 1},
        "replicas": NUMBER,
        "max": {**NUMBER, "default": 10},
        "class": {"type": "string", RULES: [{"rule": "self == oldSelf", "message": "immutable"}]},
        "free": {"type": "string", "maxLength": 3},
    },
    RULES: [
        {
            "rule": "!has(self.replicas) || self.min <= self.replicas",
            "messageExpression": "'replicas must be at least %d'.format([self.min])",
            "fieldPath": ".replicas",
        },
        {"rule": "self.min <= self.max", "reason": "FieldValueForbidden"},
    ],
}
STATUS = {
    "type": "object",
    "properties": {"ready": NUMBER},
    RULES: [{"rule": "self.ready >= 0", "message": "ready may not be negative"}],
}


def kind(spec: dict[str, Any] = SPEC, **more: Any) -> dict[str, Any]:
    made = version(spec=spec, status=STATUS, subresources={"status": {}})
    made["schema"]["openAPIV3Schema"] |= more
    return definition(versions=[made])


def crontab(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "stable.example.com/v1",
        "kind": "CronTab",
        "metadata": {"name": "a"},
        "spec": spec,
    }


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serving() as served:
        yield served


async def test_rules_judge_what_is_created_and_changed(api: Api) -> None:
    await define(api, kind())
    refused = await api.fails(422, "Invalid", "POST", CRONTABS, crontab(min=5, replicas=3))
    assert refused["message"] == (
        'CronTab.stable.example.com "a" is invalid: spec.replicas: Invalid value: replicas must '
        "be at least 5"
    )
    refused = await api.fails(422, "Invalid", "POST", CRONTABS, crontab(min=50))
    assert refused["details"]["causes"] == [
        {
            "reason": "FieldValueForbidden",
            "message": "Forbidden: failed rule: self.min <= self.max",
            "field": "spec",
        }
    ]
    await api.ok("POST", CRONTABS, crontab(replicas=3, **{"class": "x"}))
    refused = await api.fails(
        422,
        "Invalid",
        "PATCH",
        f"{CRONTABS}/a",
        {"spec": {"class": "y"}},
        headers=_MERGE,
    )
    assert refused["details"]["causes"][0]["message"] == 'Invalid value: "y": immutable'
    await api.ok("PATCH", f"{CRONTABS}/a", {"spec": {"replicas": 4}}, headers=_MERGE)


async def test_rules_judge_the_status_through_its_subresource(api: Api) -> None:
    await define(api, kind())
    made = await api.ok("POST", CRONTABS, crontab())
    made["status"] = {"ready": -1}
    refused = await api.fails(422, "Invalid", "PUT", f"{CRONTABS}/a/status", made)
    assert refused["message"].endswith("status: Invalid value: ready may not be negative")
    made["status"] = {"ready": 1}
    await api.ok("PUT", f"{CRONTABS}/a/status", made)


async def test_a_broken_document_is_not_shown_to_rules(api: Api) -> None:
    await define(api, kind())
    refused = await api.fails(422, "Invalid", "POST", CRONTABS, crontab(min=50, free="too long"))
    assert [cause["message"] for cause in refused["details"]["causes"]] == [
        "Too long: may not be more than 3 bytes",
        (
            "Invalid value: null: some validation rules were not checked because the object was "
            "invalid; correct the existing errors to complete validation"
        ),
    ]


async def test_a_grown_rule_lets_unrelated_changes_through(api: Api) -> None:
    """Ratcheting: faults that were there before are told and not held against the change."""
    loose = {**SPEC, RULES: []}
    made = await define(api, kind({**loose, "properties": SPEC["properties"]}))
    body = crontab(min=20, max=10)
    await api.ok("POST", CRONTABS, body)
    strict = made["spec"]["versions"]
    strict[0]["schema"]["openAPIV3Schema"]["properties"]["spec"][RULES] = SPEC[RULES]
    made = await api.ok("PUT", f"{CRDS}/{made['metadata']['name']}", made)
    changed = {"metadata": {"labels": {"a": "b"}}}
    answer = await _until_warned(api, changed)
    assert answer == ['299 - "spec: Forbidden: failed rule: self.min <= self.max"']
    refused = await api.fails(
        422, "Invalid", "PATCH", f"{CRONTABS}/a", {"spec": {"free": "x"}}, headers=_MERGE
    )
    assert refused["message"].endswith("spec: Forbidden: failed rule: self.min <= self.max")
    await api.ok("PATCH", f"{CRONTABS}/a", {"spec": {"max": 20}}, headers=_MERGE)


async def _until_warned(api: Api, body: dict[str, Any]) -> list[str]:
    """The changed definition is served a moment after it is stored: ask until it is."""
    async with asyncio.timeout(30):
        while True:
            response = await api.call("PATCH", f"{CRONTABS}/a", body, headers=_MERGE)
            assert response.status == 200
            if header(response, "warning"):
                return header(response, "warning")
            await asyncio.sleep(0)


async def test_definitions_with_unsound_rules_are_refused(api: Api) -> None:
    unknown = {**SPEC, RULES: [{"rule": "self.nothing == 1"}]}
    refused = await api.fails(422, "Invalid", "POST", CRDS, kind(unknown))
    cause = refused["details"]["causes"][0]
    assert cause["field"] == (
        "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule"
    )
    assert cause["message"].startswith(
        'Invalid value: {"Rule":"self.nothing == 1","Message":"","MessageExpression":"",'
    )
    assert cause["message"].endswith(
        "compilation failed: ERROR: <input>:1:5: undefined field 'nothing'\n"
        " | self.nothing == 1\n | ....^"
    )
    path = {**SPEC, RULES: [{"rule": "true", "fieldPath": ".nothing"}]}
    refused = await api.fails(422, "Invalid", "POST", CRDS, kind(path))
    assert refused["details"]["causes"][0]["message"] == (
        'Invalid value: ".nothing": must be a valid path'
    )
    names = {"type": "array", "items": {"type": "string"}}
    dear = {
        "type": "object",
        "properties": {"l": names},
        RULES: [{"rule": "self.l.all(x, x in self.l)"}],
    }
    refused = await api.fails(422, "Invalid", "POST", CRDS, kind(dear))
    assert "estimated rule cost exceeds budget by factor of more than 100x" in refused["message"]


async def test_defaults_must_pass_their_own_rules(api: Api) -> None:
    wrong = {"type": "integer", "default": 7, RULES: [{"rule": "self < 5"}]}
    spec = {"type": "object", "properties": {"n": wrong}}
    refused = await api.fails(422, "Invalid", "POST", CRDS, kind(spec))
    assert refused["details"]["causes"] == [
        {
            "reason": "FieldValueInvalid",
            "message": "Invalid value: 7: failed rule: self < 5",
            "field": "spec.validation.openAPIV3Schema.properties[spec].properties[n].default",
        }
    ]


async def test_the_root_knows_its_name(api: Api) -> None:
    await define(api, kind(**{RULES: [{"rule": "self.metadata.name.startsWith('b')"}]}))
    refused = await api.fails(422, "Invalid", "POST", CRONTABS, crontab())
    assert refused["details"]["causes"] == [
        {
            "reason": "FieldValueInvalid",
            "message": "Invalid value: failed rule: self.metadata.name.startsWith('b')",
            "field": "<nil>",
        }
    ]


async def test_rules_are_published_to_clients(api: Api) -> None:
    await define(api, kind())
    found = await api.ok("GET", "/openapi/v3/apis/stable.example.com/v1")
    (schema,) = [
        schema
        for schema in found["components"]["schemas"].values()
        if schema.get("x-kubernetes-group-version-kind", [{}])[0].get("kind") == "CronTab"
    ]
    assert [rule["rule"] for rule in schema["properties"]["spec"][RULES]] == [
        rule["rule"] for rule in SPEC[RULES]
    ]


async def test_rules_are_compiled_with_the_kind_and_not_with_the_object(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    compile_text = Environment.compile

    def counting(self: Environment, text: str, *expected: Any) -> Any:
        compiled.append(text)
        return compile_text(self, text, *expected)

    monkeypatch.setattr(Environment, "compile", counting)
    rule = "self.min <= self.max + 1 - 1"
    await define(api, kind({**SPEC, RULES: [{"rule": rule}]}))
    # Checked, then served: once.
    assert compiled.count(rule) == 1
    compiled.clear()
    await api.ok("POST", CRONTABS, crontab(replicas=3))
    for number in range(4, 8):
        body = {"spec": {"replicas": number}}
        await api.ok("PATCH", f"{CRONTABS}/a", body, headers=_MERGE)
    assert compiled == []
