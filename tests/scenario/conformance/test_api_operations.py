"""The "API operations" items: every built-in kind is discoverable and takes every verb."""

import copy

import pytest
from tests.conformance_kit import wait_until
from tests.unit.apiserver.kinds.samples import BODIES, NAMES, resource, sample

from kutter.api.catalog import BUILTIN

# Not collections of objects clients may make at will.
NO_COLLECTION_DELETE = {"services", "namespaces"}


def numbered(plural, number):
    """A sample with a name of its own; None where only one name is possible."""
    if plural in MORE:
        of = kind_of(plural)
        base = {"kind": of.kind, "apiVersion": of.api_version, "metadata": {}, **MORE[plural]}
    else:
        base = sample(plural)
    tree = copy.deepcopy(base)
    meta = tree["metadata"]
    meta.pop("uid", None)
    meta.pop("namespace", None)
    meta["labels"] = {**meta.get("labels", {}), "conformance": plural}
    if plural == "ipaddresses":
        meta["name"] = f"10.43.0.{200 + number}"
    elif plural == "customresourcedefinitions":
        names = {"plural": f"widgets{number}", "kind": f"Widget{number}"}
        tree["spec"]["names"] = names
        meta["name"] = f"{names['plural']}.a.example.com"
    elif plural == "apiservices":
        tree["spec"]["group"] = f"{chr(97 + number)}.example.com"
        meta["name"] = f"v1.{tree['spec']['group']}"
    elif plural in NAMES:
        meta["name"] = f"{chr(97 + number)}.example.com"
    else:
        meta["name"] = f"{plural}-{number}"
    return tree


def discovered(rest, of):
    """What discovery says of a resource and its subresources, after looking all the way down."""
    if of.group:
        groups = rest.get("/apis")["groups"]
        group = next(g for g in groups if g["name"] == of.group)
        assert of.api_version in [v["groupVersion"] for v in group["versions"]]
        assert rest.get(f"/apis/{of.group}")["name"] == of.group
    listed = rest.get(of.base_path)
    assert listed["groupVersion"] == of.api_version
    return {r["name"]: r for r in listed["resources"]}


POLICY_RULES = [
    {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["deployments"],
    }
]
# Kinds nothing but their schema is known of.
MORE = {
    "csistoragecapacities": {"storageClassName": "fast", "capacity": "1Gi"},
    "volumeattributesclasses": {"driverName": "a.example.com", "parameters": {"a": "b"}},
    "validatingadmissionpolicies": {
        "spec": {
            "matchConstraints": {"resourceRules": POLICY_RULES},
            "validations": [{"expression": "object.spec.replicas <= 100"}],
        }
    },
    "validatingadmissionpolicybindings": {
        "spec": {"policyName": "p", "validationActions": ["Deny"]}
    },
    "mutatingadmissionpolicybindings": {"spec": {"policyName": "p"}},
    "deviceclasses": {"spec": {}},
    "resourceclaimtemplates": {"spec": {"spec": {}}},
    "resourceclaims": {"spec": {}},
}


def kind_of(plural):
    if plural in BODIES:
        return resource(plural)
    return next(r for r in BUILTIN if r.plural == plural)


# Optional kinds are not served here.
SERVED = [plural for plural in (*BODIES, *MORE) if kind_of(plural) in BUILTIN]


@pytest.mark.parametrize("plural", SERVED)
def test_api_operations(rest, namespace, plural):
    of = kind_of(plural)
    known = discovered(rest, of)
    verbs = set(known[plural]["verbs"])
    assert {"create", "get", "list", "watch", "update", "patch", "delete"} <= verbs
    if plural not in NO_COLLECTION_DELETE:
        assert "deletecollection" in verbs
    collection = of.path(namespace=namespace)
    selector = f"conformance={plural}"

    bodies = [numbered(plural, n) for n in range(3)]
    created = rest.post(collection, bodies[0])
    name = created["metadata"]["name"]
    one = of.path(namespace=namespace, name=name)
    for body in bodies[1:]:
        rest.post(collection, body)
    assert rest.get(one)["metadata"]["uid"] == created["metadata"]["uid"]
    listed = rest.get(collection, labelSelector=selector)
    assert len(listed["items"]) == 3
    assert rest.get(of.path(), labelSelector=selector)["kind"].endswith("List")
    assert len(rest.get(of.path(), labelSelector=selector)["items"]) == 3

    version = listed["metadata"]["resourceVersion"]
    with rest.watch(collection, labelSelector=selector, resourceVersion=version) as events:
        patch = {"metadata": {"annotations": {"patched": "true"}}}
        patched = rest.patch(one, patch)
        assert patched["metadata"]["annotations"]["patched"] == "true"

        def annotated(key):
            return lambda tree: (
                tree["metadata"]["name"] == name
                and tree["metadata"].get("annotations", {}).get(key) == "true"
            )

        events.until("MODIFIED", annotated("patched"))
        update(rest, one, "updated")
        events.until("MODIFIED", annotated("updated"))
        if f"{plural}/status" in known:
            status_operations(rest, one, known[f"{plural}/status"])
        rest.delete(one)
        if plural != "namespaces":
            events.until("DELETED", lambda tree: tree["metadata"]["name"] == name)
    rest.wait_gone(one)
    if "deletecollection" in verbs:
        rest.delete(collection, labelSelector=selector)

        def emptied():
            return not rest.get(collection, labelSelector=selector)["items"]

        wait_until(emptied)


def update(rest, path, note):
    """PUT with an annotation."""
    return rest.change(
        path, lambda tree: tree["metadata"].setdefault("annotations", {}).update({note: "true"})
    )


# Of these a write to /status changes the status alone; the suite patches no annotation of them.
KEEP_METADATA = {
    "apiservices",
    "customresourcedefinitions",
    "flowschemas",
    "prioritylevelconfigurations",
    "resourceclaims",
    "servicecidrs",
    "validatingadmissionpolicies",
    "volumeattachments",
}


def status_operations(rest, one, described):
    assert {"get", "patch", "update"} <= set(described["verbs"])
    before = rest.get(f"{one}/status")
    patch = {"metadata": {"annotations": {"patchedstatus": "true"}}}
    patched = rest.patch(f"{one}/status", patch)
    if one.split("/")[-2] in KEEP_METADATA:
        assert patched["metadata"]["annotations"] == before["metadata"]["annotations"]
        return
    assert patched["metadata"]["annotations"]["patchedstatus"] == "true"
    assert patched["metadata"]["uid"] == before["metadata"]["uid"]
    updated = update(rest, f"{one}/status", "updatedstatus")
    assert updated["metadata"]["annotations"]["updatedstatus"] == "true"
