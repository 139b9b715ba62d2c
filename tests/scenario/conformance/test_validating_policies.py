"""Upstream's conformance items for ValidatingAdmissionPolicy, and what its documentation promises."""

import itertools

import pytest
from tests.conformance_kit import wait_until

_numbers = itertools.count(1)
GROUP = "/apis/admissionregistration.k8s.io/v1"
POLICIES = f"{GROUP}/validatingadmissionpolicies"
BINDINGS = f"{GROUP}/validatingadmissionpolicybindings"


@pytest.fixture
def marked(rest, namespace):
    """The namespace, labelled so that this test's policies look at it alone."""
    label = {"policy-test": namespace}
    rest.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": label}})
    return namespace


@pytest.fixture
def enforce(rest):
    """A policy and its binding, which go when the test ends; the policy as stored."""
    made = []

    def create(namespace, spec, *, binding=None, resources=("configmaps",), groups=("",), **more):
        name = more.pop("name", f"policy-{next(_numbers)}")
        rule = {
            "apiGroups": list(groups),
            "apiVersions": ["v1"],
            "operations": ["CREATE", "UPDATE"],
            "resources": list(resources),
            **more,
        }
        whole = {"matchConstraints": {"resourceRules": [rule]}, **spec}
        found = rest.post(POLICIES, {"metadata": {"name": name}, "spec": whole})
        made.append(f"{POLICIES}/{name}")
        selector = {"namespaceSelector": {"matchLabels": {"policy-test": namespace}}}
        bound = {"policyName": name, "matchResources": selector, "validationActions": ["Deny"]}
        rest.post(BINDINGS, {"metadata": {"name": name}, "spec": {**bound, **(binding or {})}})
        made.append(f"{BINDINGS}/{name}")
        return found

    yield create
    for path in made:
        rest.answer("DELETE", path)


def maps(namespace):
    return f"/api/v1/namespaces/{namespace}/configmaps"


def config_map(name, **data):
    return {"metadata": {"name": name}, "data": data}


def deployment(name, replicas):
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "busybox"}]},
    }
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": template,
    }
    return {"metadata": {"name": name}, "spec": spec}


def refused(rest, method, path, body=None, status=422, **options):
    found = rest.answer(method, path, body, **options)
    assert found.status == status, (found.status, found.tree)
    return found.tree["message"]


def no_more_than(expression, **more):
    return {"validations": [{"expression": expression, **more}]}


# -- the items ---------------------------------------------------------------------------


def test_a_deployment_is_validated(rest, marked, enforce):
    checks = no_more_than(
        "object.spec.replicas > 1",
        messageExpression="'wants replicas > 1, got ' + string(object.spec.replicas)",
    )
    spec = {
        **checks,
        "matchConditions": [
            {"name": "is-update-or-create", "expression": "request.operation in ['CREATE']"}
        ],
    }
    policy = enforce(marked, spec, resources=["deployments"], groups=["apps"])
    name = policy["metadata"]["name"]
    place = f"/apis/apps/v1/namespaces/{marked}/deployments"
    found = rest.fails(422, "Invalid", "POST", place, deployment("d", 1))
    detail = (
        f"ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: wants replicas "
        "> 1, got 1"
    )
    assert found["message"] == f'deployments.apps "d" is forbidden: {detail}'
    assert found["details"] == {
        "name": "d",
        "group": "apps",
        "kind": "deployments",
        "causes": [{"message": detail}],
    }
    rest.post(place, deployment("d", 2))


def test_a_message_that_fails_gives_way_to_the_expression(rest, marked, enforce):
    # As upstream's test has it: text and number do not add up, which nobody knows beforehand.
    checks = no_more_than(
        "object.spec.replicas > 1", messageExpression="'got ' + object.spec.replicas"
    )
    enforce(marked, checks, resources=["deployments"], groups=["apps"])
    place = f"/apis/apps/v1/namespaces/{marked}/deployments"
    said = refused(rest, "POST", place, deployment("d", 1))
    assert said.endswith("denied request: failed expression: object.spec.replicas > 1")


def test_expressions_refer_to_variables(rest, marked, enforce):
    spec = {
        "variables": [
            {"name": "replicas", "expression": "object.spec.replicas"},
            {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"},
        ],
        "validations": [
            {"expression": "variables.replicas > 1"},
            {"expression": "variables.oddReplicas", "message": "an odd number, please"},
        ],
    }
    enforce(marked, spec, resources=["deployments"], groups=["apps"])
    place = f"/apis/apps/v1/namespaces/{marked}/deployments"
    said = refused(rest, "POST", place, deployment("d", 1))
    assert said.endswith("denied request: failed expression: variables.replicas > 1")
    assert refused(rest, "POST", place, deployment("d", 2)).endswith("an odd number, please")
    rest.post(place, deployment("d", 3))


def test_what_type_checking_finds_is_told(rest, marked, enforce):
    checks = [
        {
            "expression": "object.spec.replicas > '1'",
            "messageExpression": "'got ' + object.spec.replicas",
        },
        {"expression": "object.spec.maxRetries < 10"},
        {"expression": "object.spec.replicas > 1"},
    ]
    policy = enforce(marked, {"validations": checks}, resources=["deployments"], groups=["apps"])
    path = f"{POLICIES}/{policy['metadata']['name']}"

    def checked():
        found = rest.get(path)
        return found if (found.get("status") or {}).get("observedGeneration") else None

    found = wait_until(checked, timeout_s=30.0)
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"] == 1
    warnings = found["status"]["typeChecking"]["expressionWarnings"]
    assert [w["fieldRef"] for w in warnings] == [
        "spec.validations[0].expression",
        "spec.validations[0].messageExpression",
        "spec.validations[1].expression",
    ]
    assert warnings[0]["warning"].startswith("apps/v1, Kind=Deployment: ERROR: <input>:1:22: found")
    assert "no matching overload for '_>_' applied to '(int, string)'" in warnings[0]["warning"]
    wrong = "found no matching overload for '_+_' applied to '(string, int)'"
    assert wrong in warnings[1]["warning"]
    assert "undefined field 'maxRetries'" in warnings[2]["warning"]
    found["spec"]["validations"] = checks[2:]
    rest.put(path, found)

    def corrected():
        status = rest.get(path)["status"]
        # Present and empty: looked at, and nothing to say.
        return status["observedGeneration"] == 2 and status["typeChecking"] == {}

    wait_until(corrected, timeout_s=30.0)


@pytest.mark.parametrize("collection", [POLICIES, BINDINGS])
def test_all_operations_of_the_api(rest, collection):
    resource = collection.rpartition("/")[2]
    names = {r["name"]: r["verbs"] for r in rest.get(GROUP)["resources"]}
    every = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    assert sorted(names[resource]) == every
    rule = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["deployments"],
    }
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "object.spec.replicas <= 100"}],
    }
    if collection == BINDINGS:
        spec = {"policyName": "nobody", "validationActions": ["Deny"]}
    else:
        assert f"{resource}/status" in names
    labels = {"operations": resource}
    for i in range(3):
        metadata = {"name": f"{resource}-{i}", "labels": labels}
        rest.post(collection, {"metadata": metadata, "spec": spec})
    selector = f"operations={resource}"
    assert len(rest.get(collection, labelSelector=selector)["items"]) == 3
    path = f"{collection}/{resource}-0"
    patched = rest.patch(path, {"metadata": {"annotations": {"patched": "true"}}})
    assert patched["metadata"]["annotations"] == {"patched": "true"}
    patched["metadata"]["annotations"]["updated"] = "true"
    assert rest.put(path, patched)["metadata"]["annotations"]["updated"] == "true"
    if collection == POLICIES:
        condition = {
            "type": "PatchStatusFailed",
            "status": "False",
            "reason": "e2e",
            "message": "patched",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        found = rest.patch(f"{path}/status", {"status": {"conditions": [condition]}})
        assert found["status"]["conditions"] == [condition]
    rest.delete(path)
    assert rest.gone(path)
    rest.delete(collection, labelSelector=selector)
    assert rest.get(collection, labelSelector=selector)["items"] == []


# -- beyond the items ----------------------------------------------------------------------


def test_warnings_instead_of_refusals(rest, marked, enforce):
    enforce(
        marked,
        no_more_than("!has(object.data.bad)", message="bad things"),
        binding={"validationActions": ["Warn", "Audit"]},
        name="warning-policy",
    )
    found = rest.answer("POST", maps(marked), config_map("c", bad="yes"))
    assert found.status == 201
    assert found.headers["Warning"] == (
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'warning-policy' with binding "
        "'warning-policy': bad things\""
    )


def test_reasons_become_codes(rest, marked, enforce):
    enforce(marked, no_more_than("false", message="never", reason="Forbidden"))
    found = rest.fails(403, "Forbidden", "POST", maps(marked), config_map("c"))
    assert found["message"].endswith("denied request: never")


def test_errors_follow_the_failure_policy(rest, marked, enforce):
    checks = no_more_than("object.data.missing == 'x'")
    enforce(marked, {**checks, "failurePolicy": "Ignore"})
    rest.post(maps(marked), config_map("ignored"))
    enforce(marked, checks)
    said = refused(rest, "POST", maps(marked), config_map("failed", other="x"))
    assert said.endswith(
        "denied request: expression 'object.data.missing == 'x'' resulted in error: no such key: "
        "missing"
    )


def test_parameters_of_a_config_map(rest, marked, enforce):
    spec = {
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [
            {"name": "not-the-limits", "expression": "object.metadata.name != params.metadata.name"}
        ],
        "validations": [
            {
                "expression": "size(object.data) <= int(params.data.most)",
                "messageExpression": "'at most ' + params.data.most + ' in ' + "
                "namespaceObject.metadata.name",
            }
        ],
    }
    reference = {"name": "limits", "parameterNotFoundAction": "Deny"}
    enforce(marked, spec, binding={"paramRef": reference})
    said = refused(rest, "POST", maps(marked), config_map("c", a="1"))
    assert "failed to configure binding: no params found for policy binding with `Deny`" in said
    # The parameter itself is made while the policy cannot be satisfied otherwise.
    other = f"/api/v1/namespaces/{marked}"
    rest.patch(other, {"metadata": {"labels": {"policy-test": None}}})
    rest.post(maps(marked), config_map("limits", most="1"))
    rest.patch(other, {"metadata": {"labels": {"policy-test": marked}}})
    rest.post(maps(marked), config_map("c", a="1"))
    said = refused(rest, "POST", maps(marked), config_map("d", a="1", b="2"))
    assert said.endswith(f"at most 1 in {marked}")
    # A changed parameter holds at once.
    rest.patch(f"{maps(marked)}/limits", {"data": {"most": "2"}})
    rest.post(maps(marked), config_map("d", a="1", b="2"))


def test_parameters_of_a_custom_kind_chosen_by_labels(rest, marked, enforce):
    schema = {
        "type": "object",
        "properties": {"maxReplicas": {"type": "integer"}},
    }
    versions = [
        {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    ]
    names = {"plural": "replicalimits", "kind": "ReplicaLimit"}
    spec = {"group": "rules.example.com", "names": names, "scope": "Cluster", "versions": versions}
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    policy = {
        "paramKind": {"apiVersion": "rules.example.com/v1", "kind": "ReplicaLimit"},
        "validations": [{"expression": "object.spec.replicas <= params.maxReplicas"}],
    }
    reference = {
        "selector": {"matchLabels": {"env": "test"}},
        "parameterNotFoundAction": "Allow",
    }
    enforce(
        marked,
        policy,
        binding={"paramRef": reference},
        resources=["deployments"],
        groups=["apps"],
    )
    place = f"/apis/apps/v1/namespaces/{marked}/deployments"
    said = refused(rest, "POST", place, deployment("d", 9))
    assert said.endswith(
        "denied request: failed to configure policy: failed to find resource referenced by "
        "paramKind: 'rules.example.com/v1, Kind=ReplicaLimit'"
    )
    rest.post(definitions, {"metadata": {"name": "replicalimits.rules.example.com"}, "spec": spec})
    limits = "/apis/rules.example.com/v1/replicalimits"
    wait_until(lambda: rest.answer("GET", limits).status == 200)
    rest.post(place, deployment("unlimited", 9))
    head = {"apiVersion": "rules.example.com/v1", "kind": "ReplicaLimit"}
    for name, most, labels in (("a", 5, {"env": "test"}), ("b", 3, {"env": "test"}), ("c", 1, {})):
        rest.post(
            limits, {**head, "metadata": {"name": name, "labels": labels}, "maxReplicas": most}
        )
    refused(rest, "POST", place, deployment("d", 4))
    rest.post(place, deployment("d", 3))
    rest.delete(f"{definitions}/replicalimits.rules.example.com")


def test_rules_exclude_and_name_objects(rest, marked, enforce):
    excluded = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["*"],
        "resources": ["configmaps"],
        "resourceNames": ["spared"],
    }
    rule = {**excluded, "operations": ["CREATE"]}
    del rule["resourceNames"]
    match = {"resourceRules": [rule], "excludeResourceRules": [excluded]}
    enforce(marked, {**no_more_than("false"), "matchConstraints": match})
    rest.post(maps(marked), config_map("spared"))
    refused(rest, "POST", maps(marked), config_map("other"))


def test_deletions_see_the_old_object(rest, marked, enforce):
    checks = no_more_than("object == null && !has(oldObject.metadata.labels)", message="labelled")
    enforce(marked, checks, operations=["DELETE"])
    labelled = {"metadata": {"name": "a", "labels": {"keep": "me"}}}
    rest.post(maps(marked), labelled)
    rest.post(maps(marked), {"metadata": {"name": "b"}})
    assert refused(rest, "DELETE", f"{maps(marked)}/a").endswith("labelled")
    rest.delete(f"{maps(marked)}/b")


def test_rights_are_asked_for(rest, marked, enforce):
    account = "authorizer.serviceAccount('default', 'nobody').group('').resource('secrets')"
    checks = [
        {"expression": "authorizer.path('/healthz').check('get').allowed()"},
        {"expression": f"!{account}.check('get').allowed()"},
        {
            "expression": f"{account}.namespace(object.metadata.namespace).check('get').allowed()",
            "message": "nobody may read secrets",
        },
    ]
    enforce(marked, {"validations": checks})
    said = refused(rest, "POST", maps(marked), config_map("c"))
    assert said.endswith("nobody may read secrets")
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    place = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{marked}"
    rest.post(f"{place}/roles", {"metadata": {"name": "reader"}, "rules": rules})
    subject = {"kind": "ServiceAccount", "namespace": "default", "name": "nobody"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    bound = {"metadata": {"name": "reader"}, "subjects": [subject], "roleRef": role}
    rest.post(f"{place}/rolebindings", bound)
    rest.post(maps(marked), config_map("c"))


def test_who_may_not_read_parameters_writes_no_policy_with_them(rest, marked):
    rules = [{"apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"], "verbs": ["*"]}]
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    rest.post(f"{rbac}/clusterroles", {"metadata": {"name": "policy-writer"}, "rules": rules})
    role = {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "policy-writer",
    }
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "paul"}]
    rest.post(
        f"{rbac}/clusterrolebindings",
        {"metadata": {"name": "policy-writer"}, "subjects": subjects, "roleRef": role},
    )
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["pods"],
    }
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "true"}],
        "paramKind": {"apiVersion": "v1", "kind": "Secret"},
    }
    paul = {"impersonate-user": "paul"}
    body = {"metadata": {"name": "nosy"}, "spec": spec}
    found = rest.fails(422, "Invalid", "POST", POLICIES, body, headers=paul)
    assert found["details"]["causes"] == [
        {
            "reason": "FieldValueForbidden",
            "message": 'Forbidden: user paul must have "get" permission on all objects of the '
            "referenced paramKind (kind=Secret, apiVersion=v1)",
            "field": "spec.paramKind",
        }
    ]
    rest.post(POLICIES, body)
    reference = {"name": "s", "namespace": "default", "parameterNotFoundAction": "Deny"}
    bound = {"policyName": "nosy", "paramRef": reference, "validationActions": ["Deny"]}
    body = {"metadata": {"name": "nosy"}, "spec": bound}
    found = rest.fails(422, "Invalid", "POST", BINDINGS, body, headers=paul)
    assert 'user paul does not have "get" permission on the object' in found["message"]
    del spec["paramKind"]
    body = {"metadata": {"name": "plain"}, "spec": spec}
    rest.ok("POST", POLICIES, body, headers=paul)
    rest.delete(f"{POLICIES}/nosy")
    rest.delete(f"{POLICIES}/plain")


def test_policies_are_not_subject_to_policies(rest, marked, enforce):
    enforce(
        marked,
        no_more_than("false"),
        resources=["*"],
        groups=["admissionregistration.k8s.io"],
        binding={"matchResources": None},
    )
    enforce(marked, no_more_than("true"))


def test_the_budget_ends_endless_work(rest, marked, enforce):
    big = "[1,2,3,4,5,6,7,8,9,0]"
    loops = big
    for i in range(6):
        loops = f"{big}.map(v{i}, size({loops}))"
    enforce(marked, no_more_than(f"size({loops}) > 0"))
    said = refused(rest, "POST", maps(marked), config_map("c"))
    assert "cost limit exceeded" in said or "running out of cost budget" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"validations": [{"expression": "object."}]},
            'spec.validations[0].expression: Invalid value: "object.": compilation failed: ERROR',
        ),
        (
            {"validations": [{"expression": "request.operations"}]},
            "undefined field 'operations'",
        ),
        ({"validations": [{"expression": "1 + 1"}]}, "must evaluate to bool but got int"),
        (
            {"validations": [{"expression": "true", "messageExpression": "1"}]},
            "must evaluate to string but got int",
        ),
        ({"validations": [{"expression": "params.x"}]}, "undeclared reference to 'params'"),
        ({"validations": [{"expression": "true", "reason": "Odd"}]}, "spec.validations[0].reason"),
        (
            {"validations": [{"expression": "true", "message": "a\nb"}]},
            "must not contain line breaks",
        ),
        ({"validations": []}, "validations or auditAnnotations must contain at least one item"),
        (
            {"variables": [{"name": "a", "expression": "variables.b"}]},
            "undefined field 'b'",
        ),
        ({"variables": [{"name": "if", "expression": "1"}]}, "must be a valid CEL identifier"),
        (
            {"auditAnnotations": [{"key": "k", "valueExpression": "1"}]},
            "must evaluate to one of [string null_type] but got int",
        ),
        (
            {"matchConditions": [{"name": "n", "expression": "'x'"}]},
            "must evaluate to bool but got string",
        ),
        ({"matchConstraints": {"resourceRules": []}}, "spec.matchConstraints.resourceRules"),
        ({"paramKind": {"apiVersion": "a/b/c", "kind": "X"}}, "unexpected GroupVersion string"),
        ({"failurePolicy": "Maybe"}, 'supported values: "Fail", "Ignore"'),
    ],
)
def test_bad_policies_are_refused(rest, change, said):
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["pods"],
    }
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "true"}],
        **change,
    }
    body = {"metadata": {"name": "bad"}, "spec": spec}
    found = rest.fails(422, "Invalid", "POST", POLICIES, body)
    assert said in found["message"], found["message"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"validationActions": []}, "at least one validation action is required"),
        ({"validationActions": ["Deny", "Warn"]}, "must not contain both Deny and Warn"),
        ({"policyName": "A"}, "spec.policyName: Invalid value"),
        ({"paramRef": {"parameterNotFoundAction": "Deny"}}, "one of name or selector must be"),
        (
            {"paramRef": {"name": "x", "selector": {}, "parameterNotFoundAction": "Deny"}},
            "name and selector are mutually exclusive",
        ),
        ({"paramRef": {"name": "x"}}, "spec.paramRef.parameterNotFoundAction: Required value"),
    ],
)
def test_bad_bindings_are_refused(rest, change, said):
    spec = {"policyName": "p", "validationActions": ["Deny"], **change}
    body = {"metadata": {"name": "bad"}, "spec": spec}
    assert said in rest.fails(422, "Invalid", "POST", BINDINGS, body)["message"]


def test_policies_have_their_defaults(rest, marked, enforce):
    spec = enforce(marked, no_more_than("true"))["spec"]
    assert spec["failurePolicy"] == "Fail"
    match = spec["matchConstraints"]
    assert match["matchPolicy"] == "Equivalent"
    assert match["namespaceSelector"] == match["objectSelector"] == {}
    assert match["resourceRules"][0]["scope"] == "*"


def test_a_policy_sees_bindings_and_whole_pods_once_it_matches_them(rest, marked, enforce):
    """Bindings are stored without a look at the pod as long as nobody asks for one."""
    pods = f"/api/v1/namespaces/{marked}/pods"
    container = {"name": "c", "image": "busybox"}

    def bind(name, node):
        spec = {"containers": [container], "schedulerName": "nobody"}
        rest.post(pods, {"metadata": {"name": name}, "spec": spec})
        target = {"kind": "Node", "name": node}
        return rest.answer(
            "POST", f"{pods}/{name}/binding", {"metadata": {"name": name}, "target": target}
        )

    assert bind("before", "forbidden").status == 201
    assert rest.get(f"{pods}/before")["spec"]["nodeName"] == "forbidden"
    expression = "object.target.name != 'forbidden'"
    enforce(marked, {"validations": [{"expression": expression}]}, resources=("pods/binding",))
    numbers = itertools.count(1)
    found = wait_until(
        lambda: answer if (answer := bind(f"p{next(numbers)}", "forbidden")).status == 422 else None
    )
    assert expression in found.tree["message"]
    assert bind("other", "allowed").status == 201
    assert rest.get(f"{pods}/other")["spec"]["nodeName"] == "allowed"
