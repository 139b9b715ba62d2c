"""Upstream's conformance items for MutatingAdmissionPolicy, and what its documentation promises."""

import itertools

import pytest

_numbers = itertools.count(1)
GROUP = "/apis/admissionregistration.k8s.io/v1"
POLICIES = f"{GROUP}/mutatingadmissionpolicies"
BINDINGS = f"{GROUP}/mutatingadmissionpolicybindings"


@pytest.fixture
def marked(rest, namespace):
    """The namespace, labelled so that this test's policies look at it alone."""
    label = {"mutation-test": namespace}
    rest.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": label}})
    return namespace


@pytest.fixture
def mutate(rest):
    """A policy of these mutations and its binding, which go when the test ends."""
    made = []

    def create(namespace, *mutations, resources=("configmaps",), groups=("",), **more):
        name = more.pop("name", f"mutation-{next(_numbers)}")
        binding = more.pop("binding", {})
        rule = {
            "apiGroups": list(groups),
            "apiVersions": ["v1"],
            "operations": more.pop("operations", ["CREATE", "UPDATE"]),
            "resources": list(resources),
        }
        spec = {
            "matchConstraints": {"resourceRules": [rule]},
            "mutations": list(mutations),
            "reinvocationPolicy": "Never",
            **more,
        }
        found = rest.post(POLICIES, {"metadata": {"name": name}, "spec": spec})
        made.append(f"{POLICIES}/{name}")
        selector = {"namespaceSelector": {"matchLabels": {"mutation-test": namespace}}}
        bound = {"policyName": name, "matchResources": selector, **binding}
        rest.post(BINDINGS, {"metadata": {"name": name}, "spec": bound})
        made.append(f"{BINDINGS}/{name}")
        return found

    yield create
    for path in made:
        rest.answer("DELETE", path)


def applied(expression):
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def patched(expression):
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


def maps(namespace):
    return f"/api/v1/namespaces/{namespace}/configmaps"


def config_map(name, **data):
    return {"metadata": {"name": name}, "data": data}


def deployment(name, replicas=1):
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "busybox"}]},
    }
    selector = {"matchLabels": {"app": name}}
    spec = {"replicas": replicas, "selector": selector, "template": template}
    return {"metadata": {"name": name}, "spec": spec}


def deployments(namespace):
    return f"/apis/apps/v1/namespaces/{namespace}/deployments"


APPS = {"resources": ["deployments"], "groups": ["apps"]}


# -- the items ---------------------------------------------------------------------------


def test_a_deployment_is_mutated(rest, marked, mutate):
    expression = """
        Object{
            spec: Object.spec{
                replicas: object.spec.replicas + 3
            }
        }"""
    mutate(marked, applied(expression), **APPS)
    made = rest.post(deployments(marked), deployment("d", 1))
    assert made["spec"]["replicas"] == 4
    assert made["spec"]["template"]["spec"]["containers"][0]["name"] == "c"


def test_a_deployment_gets_annotations(rest, marked, mutate):
    expression = 'Object{metadata: Object.metadata{annotations: {"my-foo": "mine"}}}'
    mutate(marked, applied(expression), **APPS)
    tree = deployment("d")
    tree["metadata"]["annotations"] = {"own": "kept"}
    made = rest.post(deployments(marked), tree)
    assert made["metadata"]["annotations"] == {"own": "kept", "my-foo": "mine"}


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
        "mutations": [applied("Object{}")],
        "reinvocationPolicy": "Never",
    }
    if collection == BINDINGS:
        spec = {"policyName": "nobody"}
    for i in range(3):
        metadata = {"name": f"{resource}-{i}", "labels": {"operations": resource}}
        rest.post(collection, {"metadata": metadata, "spec": spec})
    selector = f"operations={resource}"
    assert len(rest.get(collection, labelSelector=selector)["items"]) == 3
    path = f"{collection}/{resource}-0"
    found = rest.patch(path, {"metadata": {"annotations": {"patched": "true"}}})
    found["metadata"]["annotations"]["updated"] = "true"
    assert rest.put(path, found)["metadata"]["annotations"]["patched"] == "true"
    rest.delete(path)
    assert rest.gone(path)
    rest.delete(collection, labelSelector=selector)
    assert rest.get(collection, labelSelector=selector)["items"] == []


# -- beyond the items ----------------------------------------------------------------------


def test_a_sidecar_is_merged_into_the_list_and_defaulted(rest, marked, mutate):
    expression = (
        "Object{spec: Object.spec{initContainers: [Object.spec.initContainers{name: 'mesh', "
        "image: 'mesh:v1', restartPolicy: 'Always'}]}}"
    )
    condition = {
        "name": "no-mesh",
        "expression": "!object.spec.?initContainers.orValue([]).exists(c, c.name == 'mesh')",
    }
    mutate(marked, applied(expression), resources=["pods"], matchConditions=[condition])
    spec = {
        "containers": [{"name": "c", "image": "busybox"}],
        "initContainers": [{"name": "own", "image": "busybox"}],
    }
    made = rest.post(f"/api/v1/namespaces/{marked}/pods", {"metadata": {"name": "p"}, "spec": spec})
    by_name = {c["name"]: c for c in made["spec"]["initContainers"]}
    assert set(by_name) == {"mesh", "own"}
    assert by_name["mesh"]["terminationMessagePolicy"] == "File"


def test_json_patches_with_variables(rest, marked, mutate):
    expression = (
        "[JSONPatch{op: 'test', path: '/data/kind', value: 'good'}, "
        "JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey(variables.key), "
        "value: variables.key + '!'}, "
        "JSONPatch{op: 'add', path: '/metadata/labels', value: Object.metadata{a: 'b'}}]"
    )
    variables = [{"name": "key", "expression": "'from.' + object.metadata.name"}]
    mutate(marked, patched(expression), variables=variables)
    made = rest.post(maps(marked), config_map("m", kind="good"))
    assert made["data"] == {"kind": "good", "from.m": "from.m!"}
    assert made["metadata"]["labels"] == {"a": "b"}
    # A test that fails leaves the object as it is.
    assert rest.post(maps(marked), config_map("n", kind="bad"))["data"] == {"kind": "bad"}


def test_mutations_see_what_came_before_them(rest, marked, mutate):
    mutate(
        marked,
        applied("Object{data: Object.data{one: '1'}}"),
        patched("[JSONPatch{op: 'add', path: '/data/two', value: object.data.one + '2'}]"),
    )
    assert rest.post(maps(marked), config_map("m"))["data"] == {"one": "1", "two": "12"}


def test_reinvocation(rest, marked, mutate):
    count = "[JSONPatch{op: 'add', path: '/data/seen', value: string(size(object.data))}]"
    mutate(marked, patched(count), name="a-first", reinvocationPolicy="IfNeeded")
    late = "Object{data: Object.data{late: 'yes'}}"
    mutate(marked, applied(late), name="b-second")
    made = rest.post(maps(marked), config_map("m", own="x"))
    # First it saw one key; called again, since the second policy changed something, all three.
    assert made["data"] == {"own": "x", "late": "yes", "seen": "3"}


def test_parameters(rest, marked, mutate):
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    condition = {"name": "not-itself", "expression": "object.metadata.name != 'defaults'"}
    reference = {"name": "defaults", "parameterNotFoundAction": "Deny"}
    rest.post(maps(marked), config_map("defaults", color="blue"))
    mutate(
        marked,
        applied("Object{data: Object.data{color: params.data.color}}"),
        paramKind=kind,
        matchConditions=[condition],
        binding={"paramRef": reference},
    )
    assert rest.post(maps(marked), config_map("m"))["data"] == {"color": "blue"}
    rest.delete(f"{maps(marked)}/defaults")
    found = rest.answer("POST", maps(marked), config_map("n"))
    assert found.status == 403
    assert "no params found for policy binding with `Deny`" in found.tree["message"]


@pytest.mark.parametrize(
    ("mutation", "said"),
    [
        (applied("Object{data: Object.wrong{a: 'b'}}"), "type mismatch: unexpected type name"),
        (applied("Object{nope: 'x'}"), ".nope: field not declared in schema"),
        (applied("Object{data: object.metadata.missing}"), "no such key: missing"),
        (patched("[JSONPatch{op: 'remove', path: '/data/missing'}]"), "JSON Patch: "),
    ],
)
def test_failures_follow_the_failure_policy(rest, marked, mutate, mutation, said):
    name = mutate(marked, mutation)["metadata"]["name"]
    found = rest.answer("POST", maps(marked), config_map("m", own="x"))
    assert (found.status, found.tree["reason"]) == (403, "Invalid")
    head = f"policy '{name}' with binding '{name}' denied request: "
    assert found.tree["message"].startswith(head)
    assert said in found.tree["message"]
    assert found.tree["details"]["causes"] == [{"message": found.tree["message"]}]
    rest.delete(f"{POLICIES}/{name}")
    mutate(marked, mutation, failurePolicy="Ignore")
    assert rest.post(maps(marked), config_map("m", own="x"))["data"] == {"own": "x"}


def test_atomic_parts_are_left_whole(rest, marked, mutate):
    expression = (
        "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{"
        "containers: [Object.spec.template.spec.containers{name: 'c', args: ['x']}]}}}}"
    )
    mutate(marked, applied(expression), **APPS)
    found = rest.answer("POST", deployments(marked), deployment("d"))
    assert found.status == 403
    assert "may not mutate atomic arrays, maps or structs: .spec.template" in found.tree["message"]


def test_validating_policies_see_the_mutated_object(rest, marked, mutate):
    mutate(marked, applied("Object{data: Object.data{added: 'yes'}}"))
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["configmaps"],
    }
    name = f"after-{marked}"
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "object.data.added == 'yes'"}],
    }
    group = f"{GROUP}/validatingadmissionpolicies"
    rest.post(group, {"metadata": {"name": name}, "spec": spec})
    selector = {"namespaceSelector": {"matchLabels": {"mutation-test": marked}}}
    bound = {"policyName": name, "matchResources": selector, "validationActions": ["Deny"]}
    bindings = f"{GROUP}/validatingadmissionpolicybindings"
    rest.post(bindings, {"metadata": {"name": name}, "spec": bound})
    rest.post(maps(marked), config_map("m"))
    rest.delete(f"{bindings}/{name}")
    rest.delete(f"{group}/{name}")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mutations": []}, "mutations must contain at least one item"),
        ({"mutations": [applied("'x'")]}, "must evaluate to Object but got string"),
        ({"mutations": [patched("Object{}")]}, "must evaluate to list(JSONPatch) but got Object"),
        ({"mutations": [patched("[JSONPatch{odd: 1}]")]}, "undefined field 'odd'"),
        ({"mutations": [{"patchType": "JSONPatch"}]}, "must be specified when patchType is"),
        ({"mutations": [{"patchType": "Odd"}]}, "spec.mutations[0].patchType"),
        ({"reinvocationPolicy": "Odd"}, "spec.reinvocationPolicy: Unsupported value"),
        ({"reinvocationPolicy": None}, "spec.reinvocationPolicy: Required value"),
        (
            {
                "matchConstraints": {
                    "resourceRules": [
                        {
                            "apiGroups": [""],
                            "apiVersions": ["v1"],
                            "operations": ["DELETE"],
                            "resources": ["pods"],
                        }
                    ]
                }
            },
            'operations: Unsupported value: "DELETE"',
        ),
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
        "mutations": [applied("Object{}")],
        "reinvocationPolicy": "Never",
        **change,
    }
    found = rest.fails(
        422, "Invalid", "POST", POLICIES, {"metadata": {"name": "bad"}, "spec": spec}
    )
    assert said in found["message"], found["message"]
