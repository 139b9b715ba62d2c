"""sig-api-machinery: CustomResourceValidationRules and CRDValidationRatcheting, and what upstream's
integration tests of validation expressions ask beyond them."""

import pytest
from tests.conformance_kit import wait_until
from tests.scenario.conformance.test_custom_resources import (
    CRDS,
    define,
    definition,
    instance,
)

RULES = "x-kubernetes-validations"
NUMBER, TEXT = {"type": "integer"}, {"type": "string"}


def spec(properties, *rules, **more):
    listed = [{"rule": rule} for rule in rules]
    part = {"type": "object", "properties": properties, RULES: listed}
    return {"type": "object", "properties": {"spec": part}, **more}


BOTH = spec({"x": NUMBER, "y": NUMBER}, "self.x + self.y > 0")
BOTH["properties"]["status"] = {
    "type": "object",
    "properties": {"health": TEXT},
    RULES: [{"rule": "self.health == 'ok' || self.health == 'unhealthy'"}],
}


def refusal(rest, method, path, body):
    return rest.fails(422, "Invalid", method, path, body)["message"]


def test_what_satisfies_the_rules_is_created(rest):
    tree = definition(schema=BOTH)
    path = define(rest, tree)
    rest.post(path, instance(tree, "a", spec={"x": 1, "y": 0}))


def test_what_does_not_satisfy_the_rules_is_refused(rest):
    tree = definition(schema=BOTH)
    path = define(rest, tree)
    told = refusal(rest, "POST", path, instance(tree, "a", spec={"x": 0, "y": 0}))
    assert "failed rule: self.x + self.y > 0" in told
    made = rest.post(path, instance(tree, "b", spec={"x": 1, "y": 0}))
    made["status"] = {"health": "so so"}
    assert "failed rule: self.health" in refusal(rest, "PUT", f"{path}/b/status", made)
    made["status"] = {"health": "ok"}
    rest.put(f"{path}/b/status", made)


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (spec({"x": NUMBER}, "self.z == 100"), "undefined field 'z'"),
        (spec({"x": NUMBER}, "self = 42"), "Syntax error"),
        (
            spec({"x": {"type": "array", "items": TEXT}}, "self.x.all(s, self.x.all(t, s == t))"),
            "contributed to estimated rule cost total exceeding cost limit",
        ),
        (
            {**spec({}), RULES: [{"rule": "has(self.metadata.labels)"}]},
            "undefined field 'labels'",
        ),
        (
            spec(
                {
                    "list": {
                        "type": "array",
                        "maxItems": 9,
                        "items": {
                            "type": "object",
                            "properties": {"v": TEXT},
                            RULES: [{"rule": "self.v == oldSelf.v"}],
                        },
                    }
                }
            ),
            "oldSelf cannot be used on the uncorrelatable portion of the schema",
        ),
        (
            spec({"x": {**NUMBER, "default": 1, RULES: [{"rule": "self > 1"}]}}),
            "failed rule: self > 1",
        ),
    ],
)
def test_unsound_definitions_are_refused(rest, schema, told):
    assert told in refusal(rest, "POST", CRDS, definition(schema=schema))


def test_a_rule_that_costs_too_much_when_it_runs_is_stopped(rest):
    many = {"type": "array", "maxItems": 90, "items": NUMBER}
    schema = spec({"x": many}, "self.x.all(a, self.x.all(b, self.x.all(c, a + b + c > 0)))")
    tree = definition(schema=schema)
    path = define(rest, tree)
    told = refusal(rest, "POST", path, instance(tree, "a", spec={"x": [1] * 90}))
    assert "call cost exceeds limit" in told
    rest.post(path, instance(tree, "b", spec={"x": [1] * 9}))


def test_transition_rules_hold_for_updates(rest):
    tree = definition(schema=spec({"fixed": TEXT, "free": TEXT}, "self.fixed == oldSelf.fixed"))
    path = define(rest, tree)
    made = rest.post(path, instance(tree, "a", spec={"fixed": "a", "free": "a"}))
    made["spec"]["free"] = "b"
    made = rest.put(f"{path}/a", made)
    made["spec"]["fixed"] = "b"
    assert "failed rule: self.fixed == oldSelf.fixed" in refusal(rest, "PUT", f"{path}/a", made)


def test_keys_with_defaults_relate_items(rest):
    item = {
        "type": "object",
        "required": ["k1"],
        "properties": {"k1": TEXT, "k2": {**TEXT, "default": "DEFAULT"}, "v": TEXT},
        RULES: [{"rule": "self.v == oldSelf.v"}],
    }
    keyed = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k1", "k2"],
        "maxItems": 9,
        "items": item,
    }
    tree = definition(schema=spec({"list": keyed}))
    path = define(rest, tree)
    made = rest.post(path, instance(tree, "a", spec={"list": [{"k1": "x", "v": "value"}]}))
    made["spec"]["list"] = [{"k1": "x", "k2": "DEFAULT", "v": "new"}]
    assert "failed rule: self.v == oldSelf.v" in refusal(rest, "PUT", f"{path}/a", made)
    made["spec"]["list"] = [{"k1": "x", "k2": "other", "v": "new"}]
    rest.put(f"{path}/a", made)


def test_rules_reach_into_every_kind_of_value(rest):
    schema = spec(
        {
            "x": {**NUMBER, "default": 0},
            "y": {**NUMBER, "default": 0},
            "extra": {**TEXT, RULES: [{"rule": "self.startsWith('anything')"}]},
            "floats": {
                "type": "object",
                "additionalProperties": {"type": "number"},
                "maxProperties": 5,
                RULES: [{"rule": "self.all(k, self[k] >= 0.2)"}],
            },
            "pairs": {
                "type": "array",
                "maxItems": 5,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
                "items": {
                    "type": "object",
                    "required": ["k"],
                    "properties": {"k": TEXT, "v": TEXT},
                },
                RULES: [{"rule": "self.exists(e, e.k == 'a' && e.v == '1')"}],
            },
            "limit": {**NUMBER, "nullable": True, RULES: [{"rule": "self == 123"}]},
        }
    )
    schema["properties"]["status"] = {"type": "object", "properties": {"z": NUMBER}}
    schema[RULES] = [
        {"rule": "self.spec.x + self.spec.y >= (has(self.status) ? self.status.z : 0)"}
    ]
    tree = definition(schema=schema)
    path = define(rest, tree)
    good = {
        "x": 2,
        "y": 2,
        "extra": "anything?",
        "floats": {"a": 0.2, "b": 3},
        "pairs": [{"k": "a", "v": "1"}],
        "limit": None,
    }
    made = rest.post(path, instance(tree, "a", spec=good))
    for change in (
        {"x": 3, "y": -4},
        {"extra": "something"},
        {"floats": {"a": 0.1}},
        {"pairs": [{"k": "a", "v": "2"}]},
        {"limit": 124},
    ):
        body = {**made, "spec": {**made["spec"], **change}}
        assert "failed rule" in refusal(rest, "PUT", f"{path}/a", body), change
    made["status"] = {"z": 5}
    assert "failed rule: self.spec.x + self.spec.y" in refusal(
        rest, "PUT", f"{path}/a/status", made
    )
    made["status"] = {"z": 3}
    rest.put(f"{path}/a/status", made)


def test_what_is_unchanged_does_not_fail_under_a_tightened_rule(rest):
    """Ratcheting, by the steps of upstream's test of it."""
    inner = {"type": "object", "properties": {"n": NUMBER, "other": TEXT}}
    tree = definition(schema=spec({"part": inner, "free": TEXT}))
    path = define(rest, tree)
    rest.post(path, instance(tree, "a", spec={"part": {"n": 1}, "free": "a"}))
    name = tree["metadata"]["name"]

    def tighten(found):
        part = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        part["properties"]["part"][RULES] = [{"rule": "self.n > 5", "message": "must be > 5"}]

    rest.change(f"{CRDS}/{name}", tighten)
    body = instance(tree, "b", spec={"part": {"n": 1}})
    wait_until(lambda: rest.answer("POST", path, body, query={"dryRun": "All"}).status == 422, 30)
    found = rest.answer(
        "PATCH",
        f"{path}/a",
        {"spec": {"free": "b"}},
        headers={"content-type": "application/merge-patch+json"},
    )
    assert found.status == 200
    assert "must be > 5" in found.headers["warning"]
    refused = rest.answer(
        "PATCH",
        f"{path}/a",
        {"spec": {"part": {"other": "x"}}},
        headers={"content-type": "application/merge-patch+json"},
    )
    assert refused.status == 422
    assert "spec.part: Invalid value: must be > 5" in refused.tree["message"]
    rest.patch(f"{path}/a", {"spec": {"part": {"n": 6}}})
