"""Kubernetes' CEL libraries, as rules of a custom kind and of a policy: each lets pass and refuses."""

import pytest
from tests.conformance_kit import config_map, wait_until

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
STRING = {"type": "string"}
NUMBERS = {"type": "array", "items": {"type": "integer"}, "maxItems": 9}
# Field: its schema, a rule, a value that holds, one that does not.
LIBRARIES = {
    "quantity": (
        STRING,
        "isQuantity(self) && quantity(self).add(quantity('1Mi')).isGreaterThan(quantity('1Gi'))",
        "1024Mi",
        "1000Mi",
    ),
    "ip": (
        STRING,
        "isIP(self) && ip(self).family() == 6 && ip.isCanonical(self)",
        "::1",
        "10.0.0.1",
    ),
    "cidr": (
        STRING,
        "isCIDR(self) && cidr(self).containsIP('10.1.2.3') && cidr(self).prefixLength() > 7",
        "10.0.0.0/8",
        "10.0.0.0/7",
    ),
    "url": (
        STRING,
        "isURL(self) && url(self).getHost() == 'a.example.com:8' && url(self).getQuery()['q'] == ['1']",
        "https://a.example.com:8/p?q=1",
        "https://b.example.com:8/p?q=1",
    ),
    "regex": (
        STRING,
        "self.find('[0-9]+') == '42' && self.findAll('[a-z]').size() == 2",
        "a42b",
        "ab",
    ),
    "lists": (
        NUMBERS,
        "self.isSorted() && self.sum() == 6 && self.indexOf(3) == 2",
        [1, 2, 3],
        [3, 2, 1],
    ),
    "label": (
        STRING,
        "!format.dns1123Label().validate(self).hasValue()",
        "a-label",
        "No Label",
    ),
    "version": (
        STRING,
        "isSemver(self) && semver(self).isLessThan(semver('2.0.0')) && semver(self).minor() == 9",
        "1.9.3",
        "2.9.0",
    ),
    "text": (
        STRING,
        "self.upperAscii().split('-') == ['A', 'B'] && '%s!'.format([self]) == 'a-b!'",
        "a-b",
        "ab",
    ),
    "set": (
        NUMBERS,
        "sets.contains([1, 2, 3], self) && self.exists_one(i, v, i == v)",
        [2, 1],
        [4],
    ),
}


@pytest.fixture(scope="module")
def path(rest):
    properties = {
        field: {**schema, "maxLength": 60, "x-kubernetes-validations": [{"rule": rule}]}
        if schema is STRING
        else {**schema, "x-kubernetes-validations": [{"rule": rule}]}
        for field, (schema, rule, *_) in LIBRARIES.items()
    }
    schema = {"openAPIV3Schema": {"type": "object", "properties": properties}}
    versions = [{"name": "v1", "served": True, "storage": True, "schema": schema}]
    names = {"plural": "kits", "kind": "Kit"}
    spec = {"group": "cel.example.com", "scope": "Cluster", "names": names, "versions": versions}
    rest.post(CRDS, {"metadata": {"name": "kits.cel.example.com"}, "spec": spec})
    wait_until(lambda: not rest.gone("/apis/cel.example.com/v1"))
    return "/apis/cel.example.com/v1/kits"


@pytest.mark.parametrize("field", LIBRARIES)
def test_in_rules_of_a_kind(rest, path, field):
    _, rule, good, bad = LIBRARIES[field]
    head = {"apiVersion": "cel.example.com/v1", "kind": "Kit"}
    rest.post(path, {**head, "metadata": {"name": field}, field: good})
    wrong = {**head, "metadata": {"name": f"{field}-bad"}, field: bad}
    status = rest.fails(422, "Invalid", "POST", path, wrong)
    (cause,) = status["details"]["causes"]
    assert cause["field"] == field
    assert f"failed rule: {rule}" in cause["message"]


def test_in_a_policy(rest, namespace):
    """The same expressions, over strings of a config map, in one policy."""
    taken = {
        f: rule.replace("self", f"object.data.{f}")
        for f, (s, rule, *_) in LIBRARIES.items()
        if s is STRING
    }
    checks = [
        {"expression": f"!has(object.data.{field}) || ({rule})", "message": f"wrong {field}"}
        for field, rule in taken.items()
    ]
    rules = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"]}
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    spec = {
        "matchConstraints": {
            "namespaceSelector": selector,
            "resourceRules": [{**rules, "resources": ["configmaps"]}],
        },
        "matchConditions": [{"name": "data", "expression": "has(object.data)"}],
        "validations": checks,
    }
    rest.post(POLICIES, {"metadata": {"name": "libraries"}, "spec": spec})
    binding = {"policyName": "libraries", "validationActions": ["Deny"]}
    rest.post(f"{BINDINGS}", {"metadata": {"name": "libraries"}, "spec": binding})
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    for field in taken:
        *_, good, bad = LIBRARIES[field]
        rest.post(maps, config_map(f"good-{field}", **{field: good}))
        found = rest.answer("POST", maps, config_map(f"bad-{field}", **{field: bad}))
        assert found.status == 422, field
        assert f"wrong {field}" in found.tree["message"]
    rest.delete(f"{BINDINGS}/libraries")
    rest.delete(f"{POLICIES}/libraries")
