"""What v1.36's own API server takes as a definition and what it refuses, with its causes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.apiserver_harness import Api, header
from tests.custom_kinds import CRDS, CRONTABS, define, definition, serving, version

TEXT = {"type": "string"}
WHOLE = "spec.validation.openAPIV3Schema"
ROOT = f"{WHOLE}.properties[spec].properties[a]"
RULES = "x-kubernetes-validations"
EITHER = {"x-kubernetes-int-or-string": True}
LABEL = "a DNS-1035 label must consist of"
MERGE = {"content-type": "application/merge-patch+json"}


def with_a(schema: Any, **more: Any) -> dict[str, Any]:
    made = version(**more)
    spec = {"type": "object", "properties": {"a": schema}}
    made["schema"] = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    return definition(versions=[made])


def ruled(rule: str | dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, RULES: [{"rule": rule} if isinstance(rule, str) else rule]}


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with serving() as served:
        yield served


async def causes(api: Api, made: dict[str, Any]) -> list[tuple[str, str]]:
    response = await api.call("POST", CRDS, made, query={"dryRun": "All"})
    if response.status == 201:
        return []
    status = await api.fails(422, "Invalid", "POST", CRDS, made)
    return [(cause["field"], cause["message"]) for cause in status["details"]["causes"]]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "additionalProperties": False},
        # below the root nobody asks whether rules' properties are specified
        {"type": "object", "allOf": [{"properties": {"z": {"minimum": 1}}}]},
        {"type": "object", "anyOf": [{"properties": {"z": {"minimum": 1}}}, {"required": ["q"]}]},
        {"type": "object", "allOf": [{"items": {"minimum": 1}}]},
        ruled("type(self) == int ? self > 1 : self == 'x'", EITHER),
        ruled("type(self) == string ? self.startsWith('a') : true", EITHER),
        ruled("type(self) == string", TEXT),
        ruled("self.if == 'c'", {"type": "object", "properties": {"if": TEXT}}),
        ruled("self.__if__ == 'c'", {"type": "object", "properties": {"if": TEXT}}),
        ruled("self.namespace == 'c'", {"type": "object", "properties": {"namespace": TEXT}}),
    ],
)
async def test_taken(api: Api, schema: dict[str, Any]) -> None:
    assert await causes(api, with_a(schema)) == []


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"$ref": "#/x"}, [(f"{ROOT}.$ref", "Forbidden: $ref is not supported")]),
        (
            {"type": "string", "default": 1},
            [
                (
                    f"{ROOT}.default",
                    'Invalid value: "integer":  in body must be of type string: "integer"',
                )
            ],
        ),
        (
            {"type": "object", "properties": {"x": {"type": "integer", "minimum": 3}}}
            | {"default": {"x": 1}},
            [
                (
                    f"{ROOT}.default.x",
                    "Invalid value: 1: x in body should be greater than or equal to 3",
                )
            ],
        ),
        (
            {"type": "array", "items": TEXT, "default": [1]},
            [
                (
                    f"{ROOT}.default.[0]",
                    'Invalid value: "integer": [0] in body must be of type string: "integer"',
                )
            ],
        ),
        (
            ruled({"rule": "true", "message": "a\nb"}, TEXT),
            [
                (
                    f"{ROOT}.{RULES}[0].message",
                    'Invalid value: "a\\nb": must not contain line breaks',
                )
            ],
        ),
        (
            ruled("size(self) > 'a'", TEXT),
            [
                (
                    f"{ROOT}.{RULES}[0].rule",
                    (
                        'Invalid value: {"Rule":"size(self) \\u003e \'a\'","Message":"",'
                        '"MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}: '
                        "compilation failed: ERROR: <input>:1:12: found no matching overload for '_>_' "
                        "applied to '(int, string)'\n | size(self) > 'a'\n | ...........^"
                    ),
                )
            ],
        ),
    ],
)
async def test_refused(api: Api, schema: dict[str, Any], expected: Any) -> None:
    assert await causes(api, with_a(schema)) == expected


async def test_versions(api: Api) -> None:
    shown = (
        '{"Name":"v1","Served":true,"Storage":%s,"Deprecated":false,"DeprecationWarning":null,'
        '"Schema":null,"Subresources":null,"AdditionalPrinterColumns":null,'
        '"SelectableFields":null}'
    )
    one = "must have exactly one version marked as storage version"
    unstored = definition(versions=[{**version(), "storage": False}])
    assert await causes(api, unstored) == [
        ("spec.versions", f"Invalid value: [{shown % 'false'}]: {one}"),
        ("status.storedVersions", "Invalid value: null: must have at least one stored version"),
    ]
    doubled = definition(versions=[version(), {**version(), "name": "v2"}])
    assert await causes(api, doubled) == [
        (
            "spec.versions",
            f"Invalid value: [{shown % 'true'},{shown.replace('v1', 'v2') % 'true'}]: {one}",
        ),
        ("status.storedVersions", 'Invalid value: ["v1"]: must have the storage version v2'),
    ]
    bare = definition(versions=[{"name": "v1", "served": True, "storage": True}])
    at = "spec.versions[0].schema.openAPIV3Schema"
    assert await causes(api, bare) == [(at, "Required value")]
    bare["spec"]["versions"][0]["schema"] = {"openAPIV3Schema": {}}
    assert await causes(api, bare) == [
        (f"{WHOLE}.type", "Required value: must not be empty at the root")
    ]
    found = await causes(api, definition(versions=[version("V_1")]))
    assert [field for field, _ in found] == ["spec.versions[0].name", "spec.version"]
    assert all(message.startswith(f'Invalid value: "V_1": {LABEL}') for _, message in found)


async def test_paths(api: Api) -> None:
    scale = {"specReplicasPath": "spec.x", "statusReplicasPath": ".stat.x"}
    made = with_a(TEXT, subresources={"scale": {**scale, "labelSelectorPath": "z"}})
    at = "spec.subresources.scale"
    simple = "must be a simple json path starting with ."
    assert await causes(api, made) == [
        (f"{at}.specReplicasPath", f'Invalid value: "spec.x": {simple}'),
        (
            f"{at}.statusReplicasPath",
            'Invalid value: ".stat.x": should be a json path under .status',
        ),
        (f"{at}.labelSelectorPath", f'Invalid value: "z": {simple}'),
    ]
    columns = [{"name": "A", "type": "string", "jsonPath": path} for path in ("x", "", ".a[")]
    at = "spec.additionalPrinterColumns"
    assert await causes(api, with_a(TEXT, additionalPrinterColumns=columns)) == [
        (f"{at}[0].JSONPath", f'Invalid value: "x": {simple}'),
        (f"{at}[1].JSONPath", "Required value"),
    ]
    fields = [".spec.a[0]", "spec.a", ".", ".spec..a", ".metadata.name", ".spec.a"]
    made = with_a(TEXT, selectableFields=[{"jsonPath": path} for path in fields])
    assert [message for _, message in await causes(api, made)] == [
        'Invalid value: ".spec.a[0]": is an invalid path: array notation is not allowed',
        'Invalid value: "spec.a": is an invalid path: expected [ or . but got: spec',
        'Invalid value: ".": is an invalid path: unexpected end of JSON path',
        'Invalid value: ".spec..a": is an invalid path: does not refer to a valid field',
        'Invalid value: ".metadata.name": is an invalid path: does not refer to a valid field',
    ]


async def test_a_webhook_that_is_not_asked(api: Api) -> None:
    webhook = {"clientConfig": {"url": "https://x"}, "conversionReviewVersions": ["v1"]}
    made = definition(conversion={"strategy": "None", "webhook": webhook})
    detail = "Forbidden: should not be set when strategy is not set to Webhook"
    assert await causes(api, made) == [
        ("spec.conversion.webhookClientConfig", detail),
        ("spec.conversion.conversionReviewVersions", detail),
    ]


async def test_formats_of_numbers_are_warned_of_too(api: Api) -> None:
    made = with_a({"type": "integer", "format": "int128"})
    response = await api.call("POST", CRDS, made, query={"dryRun": "All"})
    assert header(response, "warning") == ['299 - "unrecognized format \\"int128\\""']
    assert b'"conditions":null' in response.body


async def test_columns_end_before_one_nobody_can_read(api: Api) -> None:
    columns = [
        {"name": name, "type": "string", "jsonPath": path}
        for name, path in (("A", ".spec.a"), ("B", ".spec.a["), ("C", ".spec.a"))
    ]
    await define(api, with_a(TEXT, additionalPrinterColumns=columns))
    table = {"accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
    found = await api.ok("GET", CRONTABS, headers=table)
    assert [column["name"] for column in found["columnDefinitions"]] == ["Name", "A"]


async def test_rules_may_ask_what_was_there_before_or_nothing(api: Api) -> None:
    """``optionalOldSelf``: the rule runs on create, too, where there is no old value."""
    grown = {
        "rule": "!oldSelf.hasValue() ? self == 1 : self > oldSelf.value()",
        "optionalOldSelf": True,
        "message": "starts at 1 and grows",
    }
    await define(api, with_a(ruled(grown, {"type": "integer"})))

    def crontab(value: int) -> dict[str, Any]:
        head = {"apiVersion": "stable.example.com/v1", "kind": "CronTab"}
        return {**head, "metadata": {"name": "x"}, "spec": {"a": value}}

    status = await api.fails(422, "Invalid", "POST", CRONTABS, crontab(2))
    assert [(c["field"], c["message"]) for c in status["details"]["causes"]] == [
        ("spec.a", "Invalid value: 2: starts at 1 and grows")
    ]
    await api.ok("POST", CRONTABS, crontab(1))
    target = f"{CRONTABS}/x"
    await api.fails(422, "Invalid", "PATCH", target, {"spec": {"a": 0}}, headers=MERGE)
    await api.ok("PATCH", target, {"spec": {"a": 5}}, headers=MERGE)
    # What is taken away and given again was not there before.
    await api.ok("PATCH", target, {"spec": {"a": None}}, headers=MERGE)
    await api.fails(422, "Invalid", "PATCH", target, {"spec": {"a": 9}}, headers=MERGE)
    await api.ok("PATCH", target, {"spec": {"a": 1}}, headers=MERGE)
