"""Upstream's conformance items for admission webhooks, against real HTTPS servers on loopback.

The webhook does what upstream's test webhook (agnhost) does, by path.
"""

import asyncio
import base64
import itertools
import json
import time

import pytest
from tests.conformance_kit import wait_until
from tests.webhook_kit import WebhookServer

_numbers = itertools.count(1)
CONFIGS = "/apis/admissionregistration.k8s.io/v1"
MUTATING = f"{CONFIGS}/mutatingwebhookconfigurations"
VALIDATING = f"{CONFIGS}/validatingwebhookconfigurations"
SERVICE = ("webhooks", "e2e-test-webhook")
DISALLOW = "webhook-disallow"


# -- the webhook -------------------------------------------------------------------------


def review(call, **response):
    found = {"uid": call.body["request"]["uid"], "allowed": True, **response}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": found}


def denied(call, message, **status):
    return review(call, allowed=False, status={"message": message, **status})


def patched(call, *operations):
    patch = base64.b64encode(json.dumps(operations).encode()).decode()
    return review(call, patch=patch, patchType="JSONPatch") if operations else review(call)


def _new(call):
    return call.body["request"]["object"] or {}


def pods(call):
    pod = _new(call)
    if (pod["metadata"].get("labels") or {}).get("webhook-e2e-test") == DISALLOW:
        return denied(call, "the pod contains unwanted label")
    if any(DISALLOW in container["name"] for container in pod["spec"]["containers"]):
        return denied(call, "the pod contains unwanted container name", code=418, reason="Teapot")
    return review(call)


def configmaps(call):
    if DISALLOW in ((_new(call).get("data") or {}).get("webhook-e2e-test") or ""):
        return denied(call, "the configmap contains unwanted key and value")
    return review(call)


def mutating_configmaps(call):
    data = _new(call).get("data") or {}
    operations = []
    if data.get("mutation-start") == "yes":
        operations.append({"op": "add", "path": "/data/mutation-stage-1", "value": "yes"})
    if data.get("mutation-stage-1") == "yes":
        operations.append({"op": "add", "path": "/data/mutation-stage-2", "value": "yes"})
    return patched(call, *operations)


def mutating_pods(call):
    value = [{"image": "webhook-added-image", "name": "webhook-added-init-container"}]
    return patched(call, {"op": "add", "path": "/spec/initContainers", "value": value})


def custom(call):
    request = call.body["request"]
    tree = request["object"] or request["oldObject"]
    if (tree.get("data") or {}).get("webhook-e2e-test") == DISALLOW:
        return denied(call, "the custom resource contains unwanted data")
    return review(call)


def deny_all(call):
    return denied(call, "this webhook denies all requests")


async def slow(call):
    await asyncio.sleep(3600 if "nocomp" in str(call.body) or "hang" in call.path else 0)
    return review(call)


async def late(call):
    await asyncio.sleep(1.5)
    return review(call)


def annotated(call):
    return review(call, warnings=["look out", "twice"], auditAnnotations={"seen": "by the webhook"})


ANSWERS = {
    "/pods": pods,
    "/pods/attach": lambda call: denied(call, "attaching to pod 'to-be-attached-pod' not allowed"),
    "/configmaps": configmaps,
    "/mutating-configmaps": mutating_configmaps,
    "/mutating-pods": mutating_pods,
    "/custom-resource": custom,
    "/mutating-custom-resource": mutating_configmaps,
    "/always-deny": deny_all,
    "/crd": deny_all,
    "/hang": slow,
    "/late": late,
    "/annotated": annotated,
}


@pytest.fixture(scope="module")
def webhook(rest):
    namespace, name = SERVICE
    with WebhookServer(
        lambda call: ANSWERS[call.path](call), names=(f"{name}.{namespace}.svc",)
    ) as server:
        rest.post("/api/v1/namespaces", {"metadata": {"name": namespace}})
        service = server.external_service(namespace, name)
        rest.post(f"/api/v1/namespaces/{namespace}/services", service)
        yield server


@pytest.fixture
def marked(rest, namespace):
    """The namespace, labelled so that this test's webhooks look at it alone."""
    label = {"webhook-test": namespace}
    rest.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": label}})
    return namespace


def hook(webhook, path, namespace, *, by_url=False, **more):
    name, number = path.strip("/").replace("/", "-"), next(_numbers)
    if by_url:
        config = webhook.client_config(path)
    else:
        service = {"namespace": SERVICE[0], "name": SERVICE[1], "path": path, "port": webhook.port}
        config = {"service": service, "caBundle": webhook.ca_bundle}
    return {
        "name": f"{name}-{number}.k8s.io",
        "clientConfig": config,
        "rules": [rule(["configmaps"])],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1", "v1beta1"],
        "namespaceSelector": {"matchLabels": {"webhook-test": namespace}},
        **more,
    }


def rule(resources, operations=("CREATE", "UPDATE"), groups=("",), versions=("v1",), **more):
    return {
        "operations": list(operations),
        "apiGroups": list(groups),
        "apiVersions": list(versions),
        "resources": list(resources),
        **more,
    }


@pytest.fixture
def register(rest):
    """Configurations that go when the test ends."""
    made = []

    def create(collection, *hooks, name="", labels=None):
        name = name or f"webhooks-{next(_numbers)}"
        metadata = {"name": name, "labels": labels or {}}
        found = rest.post(collection, {"metadata": metadata, "webhooks": list(hooks)})
        made.append(f"{collection}/{name}")
        return found

    yield create
    for path in made:
        rest.answer("DELETE", path)


def maps(namespace):
    return f"/api/v1/namespaces/{namespace}/configmaps"


def config_map(name, **data):
    return {"metadata": {"name": name}, "data": data}


def pod(name, container="c", **metadata):
    spec = {"containers": [{"name": container, "image": "busybox"}]}
    return {"metadata": {"name": name, **metadata}, "spec": spec}


def refused(rest, status, method, path, body=None, **options):
    found = rest.answer(method, path, body, **options)
    assert found.status == status, (found.status, found.tree)
    return found.tree["message"]


# -- the items ---------------------------------------------------------------------------


def test_discovery_names_the_configurations(rest):
    groups = {group["name"]: group for group in rest.get("/apis")["groups"]}
    versions = groups["admissionregistration.k8s.io"]["versions"]
    assert {"groupVersion": "admissionregistration.k8s.io/v1", "version": "v1"} in versions
    names = {resource["name"] for resource in rest.get(CONFIGS)["resources"]}
    assert {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"} <= names


def test_pods_and_config_maps_are_denied(rest, webhook, marked, register):
    register(
        VALIDATING,
        hook(webhook, "/pods", marked, rules=[rule(["pods"])]),
        hook(webhook, "/configmaps", marked),
    )
    all_pods = f"/api/v1/namespaces/{marked}/pods"
    label = {"webhook-e2e-test": DISALLOW}
    said = refused(rest, 400, "POST", all_pods, pod("bad", labels=label))
    assert said.startswith('admission webhook "pods-')
    assert said.endswith('.k8s.io" denied the request: the pod contains unwanted label')
    found = rest.answer("POST", all_pods, pod("bad", DISALLOW))
    assert (found.status, found.tree["reason"]) == (418, "Teapot")
    rest.post(all_pods, pod("good"))
    bad = config_map("bad", **{"webhook-e2e-test": DISALLOW})
    assert "unwanted key and value" in refused(rest, 400, "POST", maps(marked), bad)
    rest.post(maps(marked), config_map("good"))
    change = {"data": {"webhook-e2e-test": DISALLOW}}
    merge = {"content-type": "application/merge-patch+json"}
    path = f"{maps(marked)}/good"
    assert "unwanted" in refused(rest, 400, "PATCH", path, change, headers=merge)
    whole = {**rest.get(path), **change}
    assert "unwanted" in refused(rest, 400, "PUT", path, whole)
    assert "data" not in rest.get(path)


def test_what_the_namespace_selector_leaves_out_is_let_through(
    rest, webhook, marked, register, cluster
):
    register(VALIDATING, hook(webhook, "/configmaps", marked))
    bad = config_map("bad", **{"webhook-e2e-test": DISALLOW})
    refused(rest, 400, "POST", maps(marked), bad)
    rest.patch(f"/api/v1/namespaces/{marked}", {"metadata": {"labels": {"webhook-test": None}}})
    rest.post(maps(marked), bad)


def test_the_object_selector_looks_at_both_states(rest, webhook, marked, register):
    selector = {"matchLabels": {"checked": "yes"}}
    register(VALIDATING, hook(webhook, "/always-deny", marked, objectSelector=selector))
    rest.post(maps(marked), config_map("free"))
    labels = {"metadata": {"labels": {"checked": "yes"}}}
    merge = {"content-type": "application/merge-patch+json"}
    refused(rest, 400, "PATCH", f"{maps(marked)}/free", labels, headers=merge)


def test_attaching_is_denied(rest, webhook, marked, register):
    rest.post(f"/api/v1/namespaces/{marked}/pods", pod("to-be-attached-pod"))
    register(
        VALIDATING,
        hook(
            webhook, "/pods/attach", marked, rules=[rule(["pods/attach"], operations=["CONNECT"])]
        ),
    )
    path = f"/api/v1/namespaces/{marked}/pods/to-be-attached-pod/attach"
    said = refused(rest, 400, "POST", path, query={"stdin": "true", "container": "c"})
    assert "attaching to pod 'to-be-attached-pod' not allowed" in said
    request = webhook.calls[-1].body["request"]
    assert (request["operation"], request["subResource"]) == ("CONNECT", "attach")
    assert request["kind"] == {"group": "", "version": "v1", "kind": "PodAttachOptions"}
    assert request["resource"] == {"group": "", "version": "v1", "resource": "pods"}
    assert request["object"] == {
        "kind": "PodAttachOptions",
        "apiVersion": "v1",
        "stdin": True,
        "container": "c",
    }


def test_a_webhook_that_cannot_be_reached_fails_closed(rest, webhook, marked, register):
    config = {"url": webhook.url("/configmaps")}
    register(VALIDATING, hook(webhook, "/configmaps", marked, clientConfig=config))
    for data in ({}, {"webhook-e2e-test": DISALLOW}):
        found = rest.fails(500, "InternalError", "POST", maps(marked), config_map("x", **data))
        assert found["message"].startswith(
            'Internal error occurred: failed calling webhook "configmaps-'
        )
        assert "failed to call webhook: Post" in found["message"]
        assert "x509: certificate signed by unknown authority" in found["message"]


def test_mutation_is_ordered_and_seen_by_the_next(rest, webhook, marked, register):
    register(
        MUTATING,
        hook(webhook, "/mutating-configmaps", marked),
        hook(webhook, "/mutating-configmaps", marked, by_url=True),
    )
    made = rest.post(maps(marked), config_map("m", **{"mutation-start": "yes"}))
    assert made["data"] == {
        "mutation-start": "yes",
        "mutation-stage-1": "yes",
        "mutation-stage-2": "yes",
    }
    assert rest.get(f"{maps(marked)}/m") == made


def test_reinvocation_shows_a_webhook_what_came_after_it(rest, webhook, marked, register):
    # Alone it adds the first key; called again, because a later one changed something, the second.
    for policy, stages in (("Never", 2), ("IfNeeded", 3)):
        first = hook(webhook, "/mutating-configmaps", marked, reinvocationPolicy=policy)
        label = {"op": "add", "path": "/metadata/labels", "value": {"late": "yes"}}
        ANSWERS["/labels"] = lambda call, label=label: patched(
            call, *([] if _new(call)["metadata"].get("labels") else [label])
        )
        name = f"reinvoke-{policy.lower()}"
        register(MUTATING, first, hook(webhook, "/labels", marked), name=name)
        made = rest.post(maps(marked), config_map(name, **{"mutation-start": "yes"}))
        assert len(made["data"]) == stages, made
        assert made["metadata"]["labels"] == {"late": "yes"}
        rest.delete(f"{MUTATING}/{name}")


def test_defaults_follow_mutation(rest, webhook, marked, register):
    register(MUTATING, hook(webhook, "/mutating-pods", marked, rules=[rule(["pods"])]))
    made = rest.post(f"/api/v1/namespaces/{marked}/pods", pod("p"))
    (init,) = made["spec"]["initContainers"]
    assert init["name"] == "webhook-added-init-container"
    assert init["terminationMessagePolicy"] == "File"


def test_configurations_themselves_are_left_alone(rest, webhook, marked, register):
    rules = [rule(["*"], operations=["*"], groups=["admissionregistration.k8s.io"])]
    everywhere = {"rules": rules, "namespaceSelector": {}}
    register(VALIDATING, hook(webhook, "/always-deny", marked, **everywhere))
    register(MUTATING, hook(webhook, "/mutating-configmaps", marked, **everywhere))
    before = len(webhook.calls)
    for collection in (VALIDATING, MUTATING):
        made = register(collection, hook(webhook, "/configmaps", marked), name="dummy")
        rest.delete(f"{collection}/{made['metadata']['name']}")
        assert rest.gone(f"{collection}/dummy")
    assert len(webhook.calls) == before


@pytest.mark.parametrize("collection", [MUTATING, VALIDATING])
def test_ten_configurations_are_listed_and_deleted_together(
    rest, webhook, marked, register, collection
):
    label = {"e2e-list-test-uuid": marked}
    path = "/mutating-configmaps" if collection == MUTATING else "/configmaps"
    for i in range(10):
        name = f"many-{i}-{marked}"
        register(collection, hook(webhook, path, marked), name=name, labels=label)
    selector = f"e2e-list-test-uuid={marked}"
    assert len(rest.get(collection, labelSelector=selector)["items"]) == 10
    sent = config_map("c", **{"mutation-start": "yes", "webhook-e2e-test": DISALLOW})
    if collection == MUTATING:
        assert rest.post(maps(marked), sent)["data"]["mutation-stage-1"] == "yes"
        rest.delete(f"{maps(marked)}/c")
    else:
        refused(rest, 400, "POST", maps(marked), sent)
    rest.delete(collection, labelSelector=selector)
    assert rest.get(collection, labelSelector=selector)["items"] == []
    assert "mutation-stage-1" not in rest.post(maps(marked), sent)["data"]


@pytest.mark.parametrize("collection", [MUTATING, VALIDATING])
def test_a_changed_configuration_holds_at_once(rest, webhook, marked, register, collection):
    path = "/mutating-configmaps" if collection == MUTATING else "/configmaps"
    made = register(collection, hook(webhook, path, marked))
    place = f"{collection}/{made['metadata']['name']}"
    sent = config_map("c", **{"mutation-start": "yes", "webhook-e2e-test": DISALLOW})

    def acts():
        found = rest.answer("POST", maps(marked), sent)
        rest.answer("DELETE", f"{maps(marked)}/c")
        if collection == MUTATING:
            return "mutation-stage-1" in found.tree["data"]
        return found.status == 400

    assert acts()
    made["webhooks"][0]["rules"][0]["operations"] = ["UPDATE"]
    updated = rest.put(place, made)
    assert updated["metadata"]["generation"] == 2
    assert not acts()
    path = "/webhooks/0/rules/0/operations"
    rest.patch(place, [{"op": "replace", "path": path, "value": ["CREATE"]}], kind="json")
    assert acts()


def test_time_is_kept(rest, webhook, marked, register):
    def timed(path="/hang", **more):
        name = f"timed-{next(_numbers)}"
        register(VALIDATING, hook(webhook, path, marked, **more), name=name)
        found = rest.answer("POST", maps(marked), config_map("slow"))
        rest.delete(f"{VALIDATING}/{name}")
        return found

    began = time.monotonic()
    found = timed(timeoutSeconds=1, failurePolicy="Fail")
    assert found.status == 500
    assert "?timeout=1s" in found.tree["message"]
    assert found.tree["message"].endswith("context deadline exceeded")
    assert timed(timeoutSeconds=1, failurePolicy="Ignore").status == 201
    # Late, but within the time it was given, or within the ten seconds of the default.
    for given in ({"timeoutSeconds": 30}, {}):
        rest.delete(f"{maps(marked)}/slow")
        assert timed("/late", failurePolicy="Fail", **given).status == 201
    # A pod the webhook hangs on.
    register(VALIDATING, hook(webhook, "/hang", marked, rules=[rule(["pods"])], timeoutSeconds=1))
    said = refused(rest, 500, "POST", f"/api/v1/namespaces/{marked}/pods", pod("wait-forever"))
    assert said.endswith("context deadline exceeded")
    assert rest.gone(f"/api/v1/namespaces/{marked}/pods/wait-forever")
    assert time.monotonic() - began < 60


# -- match conditions --------------------------------------------------------------------


@pytest.mark.parametrize("collection", [MUTATING, VALIDATING])
def test_match_conditions_are_kept_and_updated(rest, webhook, marked, register, collection):
    first = [{"name": "expression-1", "expression": "object.metadata.namespace == 'production'"}]
    made = register(collection, hook(webhook, "/configmaps", marked, matchConditions=first))
    path = f"{collection}/{made['metadata']['name']}"
    assert rest.get(path)["webhooks"][0]["matchConditions"] == first
    second = [{"name": "expression-2", "expression": "object.metadata.namespace == 'staging'"}]
    made["webhooks"][0]["matchConditions"] = second
    rest.put(path, made)
    assert rest.get(path)["webhooks"][0]["matchConditions"] == second


@pytest.mark.parametrize("collection", [MUTATING, VALIDATING])
def test_match_conditions_that_do_not_compile_are_refused(rest, webhook, collection):
    wrong = [{"name": "invalid-expression-1", "expression": "... [] bad expression"}]
    body = {
        "metadata": {"name": "bad"},
        "webhooks": [hook(webhook, "/configmaps", "x", matchConditions=wrong)],
    }
    found = rest.fails(422, "Invalid", "POST", collection, body)
    assert "webhooks[0].matchConditions[0].expression" in found["message"]
    assert "compilation failed" in found["message"]


def test_everything_is_mutated_but_what_a_condition_spares(rest, webhook, marked, register):
    spared = [{"name": "skip-me", "expression": "object.metadata.name != 'skip-me'"}]
    register(MUTATING, hook(webhook, "/mutating-configmaps", marked, matchConditions=spared))
    start = {"mutation-start": "yes"}
    assert rest.post(maps(marked), config_map("skip-me", **start))["data"] == start
    made = rest.post(maps(marked), config_map("other", **start))
    assert made["data"]["mutation-stage-1"] == "yes"


def test_a_condition_that_fails_is_a_failure_of_the_webhook(rest, webhook, marked, register):
    odd = [{"name": "odd", "expression": "object.data.missing == 'x'"}]
    register(VALIDATING, hook(webhook, "/always-deny", marked, matchConditions=odd), name="odd")
    found = rest.fails(403, "Forbidden", "POST", maps(marked), config_map("c", a="b"))
    assert found["message"] == (
        "configmaps \"c\" is forbidden: expression 'object.data.missing == 'x'' resulted in error: "
        "no such key: missing"
    )
    rest.delete(f"{VALIDATING}/odd")
    # One that says no wins over one that fails, and Ignore spares the webhook.
    no = [*odd, {"name": "no", "expression": "false"}]
    register(VALIDATING, hook(webhook, "/always-deny", marked, matchConditions=no))
    ignored = hook(webhook, "/always-deny", marked, matchConditions=odd, failurePolicy="Ignore")
    register(VALIDATING, ignored)
    rest.post(maps(marked), config_map("c", a="b"))


def test_conditions_may_ask_for_rights(rest, webhook, marked, register):
    may = "authorizer.group('').resource('configmaps').namespace('x').check('create').allowed()"
    conditions = [
        {"name": "user", "expression": f"!({may})"},
        {"name": "own", "expression": "!authorizer.requestResource.check('breakglass').allowed()"},
    ]
    register(VALIDATING, hook(webhook, "/always-deny", marked, matchConditions=conditions))
    rest.post(maps(marked), config_map("c"))


# -- custom resources --------------------------------------------------------------------

GROUP = "webhook.example.com"


@pytest.fixture(scope="module")
def kind(rest):
    """A custom kind whose schema knows some keys of ``data`` only; two versions of it."""
    known = {"mutation-start": {"type": "string"}, "mutation-stage-1": {"type": "string"}}
    known["webhook-e2e-test"] = {"type": "string"}
    schema = {
        "type": "object",
        "properties": {"data": {"type": "object", "properties": known}},
    }
    versions = [
        {
            "name": name,
            "served": True,
            "storage": name == "v1",
            "schema": {"openAPIV3Schema": schema},
        }
        for name in ("v1", "v2")
    ]
    names = {"plural": "widgets", "kind": "Widget"}
    spec = {"group": GROUP, "names": names, "scope": "Namespaced", "versions": versions}
    place = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    rest.post(place, {"metadata": {"name": f"widgets.{GROUP}"}, "spec": spec})
    wait_until(lambda: rest.answer("GET", f"/apis/{GROUP}/v1").status == 200)
    return f"{place}/widgets.{GROUP}"


def widgets(namespace, version="v1"):
    return f"/apis/{GROUP}/{version}/namespaces/{namespace}/widgets"


def widget(name, version="v1", **data):
    head = {"apiVersion": f"{GROUP}/{version}", "kind": "Widget"}
    return {**head, "metadata": {"name": name}, "data": data}


def test_custom_objects_are_denied(rest, webhook, marked, register, kind):
    every = rule(["widgets"], ["CREATE", "UPDATE", "DELETE"], groups=[GROUP], versions=["*"])
    made = register(VALIDATING, hook(webhook, "/custom-resource", marked, rules=[every]))
    bad = {"webhook-e2e-test": DISALLOW}
    path = f"{widgets(marked)}/w"
    assert "unwanted data" in refused(rest, 400, "POST", widgets(marked), widget("w", **bad))
    rest.post(widgets(marked), widget("w"))
    merge = {"content-type": "application/merge-patch+json"}
    assert "unwanted" in refused(rest, 400, "PATCH", path, {"data": bad}, headers=merge)
    rest.delete(f"{VALIDATING}/{made['metadata']['name']}")
    rest.patch(path, {"data": bad})
    register(VALIDATING, hook(webhook, "/custom-resource", marked, rules=[every]))
    assert "unwanted" in refused(rest, 400, "DELETE", path)
    assert "unwanted" in refused(rest, 400, "DELETE", widgets(marked))
    rest.patch(path, {"data": {"webhook-e2e-test": "fine"}})
    rest.delete(path)


def test_custom_objects_are_mutated_and_pruned(rest, webhook, marked, register, kind):
    mine = {"rules": [rule(["widgets"], groups=[GROUP])]}
    path = "/mutating-custom-resource"
    register(MUTATING, hook(webhook, path, marked, **mine), hook(webhook, path, marked, **mine))
    made = rest.post(widgets(marked), widget("w", **{"mutation-start": "yes"}))
    # The second webhook's key is none the schema knows.
    assert made["data"] == {"mutation-start": "yes", "mutation-stage-1": "yes"}


def test_equivalent_versions_are_shown_as_the_rule_names_them(
    rest, webhook, marked, register, kind
):
    ask_v2 = rule(["widgets"], groups=[GROUP], versions=["v2"])
    register(MUTATING, hook(webhook, "/mutating-custom-resource", marked, rules=[ask_v2]))
    made = rest.post(widgets(marked), widget("w", **{"mutation-start": "yes"}))
    assert made["apiVersion"] == f"{GROUP}/v1"
    assert made["data"]["mutation-stage-1"] == "yes"
    request = webhook.calls[-1].body["request"]
    assert request["kind"]["version"] == request["resource"]["version"] == "v2"
    assert request["requestKind"]["version"] == request["requestResource"]["version"] == "v1"
    assert request["object"]["apiVersion"] == f"{GROUP}/v2"
    exact = hook(
        webhook, "/always-deny", marked, rules=[ask_v2], matchPolicy="Exact", name="a.b.exact"
    )
    register(VALIDATING, exact)
    rest.post(widgets(marked), widget("other"))
    refused(rest, 400, "POST", widgets(marked, "v2"), widget("third", "v2"))


def test_mutation_goes_on_when_the_stored_version_changes(rest, webhook, marked, register, kind):
    every = rule(["widgets"], groups=[GROUP], versions=["*"])
    register(MUTATING, hook(webhook, "/mutating-custom-resource", marked, rules=[every]))
    rest.post(widgets(marked), widget("w", **{"mutation-start": "no"}))
    definition = rest.get(kind)
    for version in definition["spec"]["versions"]:
        version["storage"] = version["name"] == "v2"
    try:
        rest.put(kind, definition)
        found = rest.patch(f"{widgets(marked)}/w", {"data": {"mutation-start": "yes"}})
        assert found["data"] == {"mutation-start": "yes", "mutation-stage-1": "yes"}
    finally:
        definition = rest.get(kind)
        for version in definition["spec"]["versions"]:
            version["storage"] = version["name"] == "v1"
        rest.put(kind, definition)


def test_definitions_are_denied(rest, webhook, marked, register):
    labels = {"matchLabels": {"denied": marked}}
    register(
        VALIDATING,
        hook(
            webhook,
            "/crd",
            marked,
            namespaceSelector={},
            objectSelector=labels,
            rules=[rule(["customresourcedefinitions"], groups=["apiextensions.k8s.io"])],
        ),
    )
    names = {"plural": "things", "kind": "Thing"}
    schema = {"openAPIV3Schema": {"type": "object"}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    spec = {"group": "deny.example.com", "names": names, "scope": "Cluster", "versions": [version]}
    metadata = {"name": "things.deny.example.com", "labels": {"denied": marked}}
    place = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert "denies all" in refused(rest, 400, "POST", place, {"metadata": metadata, "spec": spec})
    assert rest.gone(f"{place}/{metadata['name']}")


# -- beyond the items ----------------------------------------------------------------------


def test_the_review_is_upstreams_to_the_letter(rest, webhook, marked, register):
    everything = rule(["*/*"], operations=["*"], groups=["*"], versions=["*"])
    register(VALIDATING, hook(webhook, "/annotated", marked, rules=[everything]))
    found = rest.answer("POST", maps(marked), config_map("c", a="b"))
    assert '299 - "look out"' in found.headers["Warning"]
    call = webhook.calls[-1]
    assert call.body["kind"] == "AdmissionReview"
    assert call.body["apiVersion"] == "admission.k8s.io/v1"
    request = call.body["request"]
    assert list(request) == [
        "uid",
        "kind",
        "resource",
        "requestKind",
        "requestResource",
        "name",
        "namespace",
        "operation",
        "userInfo",
        "object",
        "oldObject",
        "dryRun",
        "options",
    ]
    assert request["userInfo"]["username"]
    assert request["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert request["options"] == {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}
    assert (request["operation"], request["dryRun"], request["oldObject"]) == (
        "CREATE",
        False,
        None,
    )
    assert request["object"]["data"] == {"a": "b"}
    rest.delete(f"{maps(marked)}/c", {"gracePeriodSeconds": 0, "propagationPolicy": "Background"})
    request = webhook.calls[-1].body["request"]
    assert (request["operation"], request["object"]) == ("DELETE", None)
    assert request["oldObject"]["metadata"]["uid"] == found.tree["metadata"]["uid"]
    assert request["options"] == {
        "kind": "DeleteOptions",
        "apiVersion": "meta.k8s.io/v1",
        "gracePeriodSeconds": 0,
        "propagationPolicy": "Background",
    }


def test_dry_runs_reach_only_webhooks_without_effects(rest, webhook, marked, register):
    register(MUTATING, hook(webhook, "/mutating-configmaps", marked, sideEffects="NoneOnDryRun"))
    made = rest.post(maps(marked), config_map("d", **{"mutation-start": "yes"}), dryRun="All")
    assert made["data"]["mutation-stage-1"] == "yes"
    assert webhook.calls[-1].body["request"]["dryRun"] is True
    assert rest.gone(f"{maps(marked)}/d")


def test_scale_binding_and_eviction_are_shown_as_such(rest, webhook, marked, register):
    parts = [
        rule(["deployments/scale"], groups=["apps"]),
        rule(["pods/eviction"], operations=["CREATE"]),
        rule(["pods/binding"], operations=["CREATE"]),
    ]
    register(VALIDATING, hook(webhook, "/annotated", marked, rules=parts))
    before = len(webhook.calls)
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]}
    spec = {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    place = f"/apis/apps/v1/namespaces/{marked}/deployments"
    rest.post(place, {"metadata": {"name": "d"}, "spec": spec})
    rest.patch(f"{place}/d/scale", {"spec": {"replicas": 1}})
    request = webhook.calls[before].body["request"]
    assert request["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert request["subResource"] == "scale"
    assert request["object"]["kind"] == "Scale"
    assert request["object"]["spec"] == {"replicas": 1}
    assert request["oldObject"]["spec"] == {}

    def bound():
        return [c.body["request"] for c in webhook.calls[before:] if _part(c) == "binding"]

    request = wait_until(bound)[0]
    assert (request["operation"], request["oldObject"]) == ("CREATE", None)
    assert request["object"]["kind"] == "Binding"
    assert request["object"]["target"]["name"]
    (name,) = [p["metadata"]["name"] for p in rest.get(_pods(marked))["items"]]
    rest.post(f"{_pods(marked)}/{name}/eviction", {"metadata": {"name": name}})
    (request,) = [c.body["request"] for c in webhook.calls[before:] if _part(c) == "eviction"]
    assert request["kind"] == {"group": "policy", "version": "v1", "kind": "Eviction"}


def test_questions_are_admitted_like_creations(rest, webhook, marked, register):
    ANSWERS["/asks"] = lambda call: patched(
        call,
        {"op": "replace", "path": "/spec/resourceAttributes/verb", "value": "list"},
    )
    reviews = rule(["selfsubjectaccessreviews"], groups=["authorization.k8s.io"])
    register(MUTATING, hook(webhook, "/asks", marked, rules=[reviews]))
    wanted = {"namespace": marked, "resource": "pods", "verb": "get"}
    place = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    made = rest.post(place, {"spec": {"resourceAttributes": wanted}})
    assert made["spec"]["resourceAttributes"]["verb"] == "list"
    assert made["status"]["allowed"] is True
    tokens = rule(["serviceaccounts/token"], groups=[""])
    ANSWERS["/tokens"] = lambda call: patched(
        call, {"op": "add", "path": "/spec/expirationSeconds", "value": 1200}
    )
    register(MUTATING, hook(webhook, "/tokens", marked, rules=[tokens]))
    place = f"/api/v1/namespaces/{marked}/serviceaccounts/default/token"
    made = rest.post(place, {"spec": {"audiences": ["x"]}})
    assert made["spec"]["expirationSeconds"] == 1200
    request = webhook.calls[-1].body["request"]
    assert request["kind"]["kind"] == "TokenRequest"
    assert request["object"]["spec"]["audiences"] == ["x"]


def test_a_scale_is_mutated(rest, webhook, marked, register):
    ANSWERS["/more"] = lambda call: patched(
        call, {"op": "replace", "path": "/spec/replicas", "value": 3}
    )
    scale = rule(["replicationcontrollers/scale"])
    register(MUTATING, hook(webhook, "/more", marked, rules=[scale]))
    place = f"/api/v1/namespaces/{marked}/replicationcontrollers"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]}
    spec = {"replicas": 0, "selector": {"a": "b"}, "template": template}
    rest.post(place, {"metadata": {"name": "r"}, "spec": spec})
    assert rest.patch(f"{place}/r/scale", {"spec": {"replicas": 1}})["spec"]["replicas"] == 3


def test_applying_twice_changes_nothing_the_second_time(rest, webhook, marked, register):
    register(MUTATING, hook(webhook, "/mutating-configmaps", marked))
    head = {"apiVersion": "v1", "kind": "ConfigMap"}
    tree = {**head, **config_map("a", **{"mutation-start": "yes"})}
    options = {
        "query": {"fieldManager": "chart"},
        "headers": {"content-type": "application/apply-patch+yaml"},
    }
    made = rest.ok("PATCH", f"{maps(marked)}/a", tree, **options)
    assert made["data"] == {"mutation-start": "yes", "mutation-stage-1": "yes"}
    # The second time the webhook sees its own key and adds the next stage; the third is quiet.
    second = rest.ok("PATCH", f"{maps(marked)}/a", tree, **options)
    assert second["data"]["mutation-stage-2"] == "yes"
    assert rest.ok("PATCH", f"{maps(marked)}/a", tree, **options) == second
    (owner,) = second["metadata"]["managedFields"]
    assert owner["fieldsV1"] == {"f:data": {"f:mutation-start": {}}}, "webhooks own nothing"


def test_what_breaks_the_rules_is_no_answer(rest, webhook, marked, register):
    register(MUTATING, hook(webhook, "/odd", marked))
    wrong = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}
    for answer, said in (
        (lambda call: review(call, uid="other"), "received invalid webhook response: expected"),
        (lambda call: wrong, "received invalid webhook response: webhook response was absent"),
        (lambda call: review(call, patch="W10="), "response.patch but not response.patchType"),
        (
            lambda call: {**review(call), "apiVersion": "admission.k8s.io/v1beta1"},
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got admission",
        ),
        (lambda call: patched(call, {"op": "remove", "path": "/nope/x"}), "Internal error"),
        (
            lambda call: patched(call, {"op": "add", "path": "/data/x", "value": 5}),
            "Internal error",
        ),
        (
            lambda call: patched(call, {"op": "replace", "path": "/kind", "value": "Secret"}),
            "admission changed the object's kind",
        ),
    ):
        ANSWERS["/odd"] = answer
        assert said in refused(rest, 500, "POST", maps(marked), config_map("c", a="b"))
    assert rest.gone(f"{maps(marked)}/c")


def _part(call):
    return call.body["request"].get("subResource")


def _pods(namespace):
    return f"/api/v1/namespaces/{namespace}/pods"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "short.io"}, "should be a domain with at least three segments"),
        ({"sideEffects": "Some"}, 'supported values: "None", "NoneOnDryRun"'),
        ({"admissionReviewVersions": ["v2"]}, "must include at least one of v1, v1beta1"),
        ({"timeoutSeconds": 31}, "the timeout value must be between 1 and 30 seconds"),
        ({"failurePolicy": "Maybe"}, 'supported values: "Fail", "Ignore"'),
        ({"matchPolicy": "Rough"}, 'supported values: "Equivalent", "Exact"'),
        (
            {"rules": [rule(["*", "pods"])]},
            "if '*' is present, must not specify other resources without subresources",
        ),
        ({"rules": [rule(["pods"], operations=["READ"])]}, "webhooks[0].rules[0].operations[0]"),
        ({"rules": [rule(["pods"], groups=["*", "apps"])]}, "must not specify other API groups"),
        ({"clientConfig": {"url": "http://x"}}, "'https' is the only allowed URL scheme"),
        ({"clientConfig": {}}, "exactly one of url or service is required"),
        ({"reinvocationPolicy": "Always"}, 'supported values: "IfNeeded", "Never"'),
    ],
)
def test_bad_configurations_are_refused(rest, webhook, change, said):
    bad = hook(webhook, "/configmaps", "x", **change)
    body = {"metadata": {"name": "bad"}, "webhooks": [bad]}
    found = rest.fails(422, "Invalid", "POST", MUTATING, body)
    assert said in found["message"]


def test_configurations_have_their_defaults(rest, webhook, register):
    bare = hook(webhook, "/configmaps", "x")
    del bare["namespaceSelector"]
    (found,) = register(MUTATING, {**bare, "rules": [rule(["nothing"])]})["webhooks"]
    assert found["failurePolicy"] == "Fail"
    assert found["matchPolicy"] == "Equivalent"
    assert found["reinvocationPolicy"] == "Never"
    assert found["timeoutSeconds"] == 10
    assert found["namespaceSelector"] == found["objectSelector"] == {}
    assert found["rules"][0]["scope"] == "*"


def test_a_service_is_called_at_port_443_unless_told(rest, webhook, register):
    bare = hook(webhook, "/configmaps", "x")
    del bare["clientConfig"]["service"]["port"]
    (found,) = register(MUTATING, bare)["webhooks"]
    assert found["clientConfig"]["service"]["port"] == 443


def test_in_tree_plugins_look_again_and_do_nothing_twice(rest, webhook, marked, register):
    """What a webhook adds gets what in-tree plugins give; what they gave before is not doubled."""
    place = f"/api/v1/namespaces/{marked}"
    limits = [{"type": "Container", "defaultRequest": {"cpu": "10m"}}]
    rest.post(f"{place}/limitranges", {"metadata": {"name": "l"}, "spec": {"limits": limits}})
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    important = f"important-{marked}"
    rest.post(classes, {"metadata": {"name": important}, "value": 1000})
    runtimes = "/apis/node.k8s.io/v1/runtimeclasses"
    runtime = {
        "metadata": {"name": marked},
        "handler": "h",
        "overhead": {"podFixed": {"cpu": "1m"}},
    }
    rest.post(runtimes, {**runtime, "scheduling": {"nodeSelector": {"a": "b"}}})
    tree = pod("p")
    tree["spec"] |= {"priorityClassName": important, "runtimeClassName": marked}
    plain = rest.post(f"{place}/pods", tree)
    register(MUTATING, hook(webhook, "/mutating-pods", marked, rules=[rule(["pods"])]))
    tree["metadata"]["name"] = "q"
    made = rest.post(f"{place}/pods", tree)
    (added,) = made["spec"].pop("initContainers")
    assert added["resources"] == {"requests": {"cpu": "10m"}}
    assert [m["mountPath"] for m in added["volumeMounts"]] == [
        "/var/run/secrets/kubernetes.io/serviceaccount"
    ]

    def shape(found):
        spec = dict(found["spec"])
        (volume,) = spec.pop("volumes")
        (container,) = spec.pop("containers")
        (mount,) = container.pop("volumeMounts")
        assert mount["name"] == volume["name"]
        return spec, container, found["metadata"].get("annotations")

    spec, container, annotations = shape(made)
    plain_spec, plain_container, plain_annotations = shape(plain)
    assert (spec, container) == (plain_spec, plain_container)
    assert set(annotations or {}) == set(plain_annotations or {})
    rest.delete(f"{classes}/{important}")
    rest.delete(f"{runtimes}/{marked}")
