import copy

import pytest

from kutter.api.catalog import BUILTIN, OPTIONAL
from kutter.api.errors import ApiError
from kutter.api.schema import schema_for
from kutter.api.schema.loader import find_type
from kutter.api.schema.node import Node

POD = schema_for("", "v1", "Pod")
DEPLOYMENT = schema_for("apps", "v1", "Deployment")


def refuse(schema, tree):
    with pytest.raises(ApiError) as caught:
        schema.clean(tree)
    assert caught.value.code == 400
    assert caught.value.reason == "BadRequest"
    kind = schema.kind
    prefix = f'{kind} in version "v1" cannot be handled as a {kind}: '
    assert caught.value.message.startswith(prefix)
    return caught.value.message.removeprefix(prefix)


def containers(**fields):
    return {"spec": {"containers": [{"name": "c", **fields}]}}


def test_every_built_in_kind_has_a_schema():
    for resource in (*BUILTIN, *OPTIONAL):
        schema = schema_for(resource.group, resource.version, resource.kind)
        assert schema is not None, resource
        assert "metadata" in schema.node.fields
        if resource.list_kind:
            assert schema_for(resource.group, resource.version, resource.list_kind), resource
    assert schema_for("", "v1", "DeleteOptions").node.fields["propagationPolicy"].type == "string"
    assert schema_for("example.com", "v1", "Widget") is None
    assert schema_for("", "v1", "Nothing") is None


def test_every_type_resolves():
    seen = set()

    def visit(node):
        if id(node) in seen:
            return
        seen.add(id(node))
        for field in node.fields.values():
            visit(field)
        if node.items is not None:
            visit(node.items)

    for resource in (*BUILTIN, *OPTIONAL):
        visit(find_type(resource.group, resource.version, resource.kind))
    assert len(seen) > 500


def test_unknown_fields_and_nulls_go():
    tree = {
        "kind": "Pod",
        "metadata": {"name": "x", "creationTimestamp": None, "colour": "red"},
        "spec": {"containers": [{"name": "c", "imagge": "typo", "stdin": True}], "volumes": None},
        "extra": {"a": 1},
    }
    found = POD.clean(tree, report=True)
    assert tree == {
        "kind": "Pod",
        "metadata": {"name": "x"},
        "spec": {"containers": [{"name": "c", "stdin": True, "resources": {}}]},
        "status": {},
    }
    assert found == [
        'unknown field "extra"',
        'unknown field "metadata.colour"',
        'unknown field "spec.containers[0].imagge"',
    ]


def test_nothing_is_reported_when_not_asked():
    assert POD.clean({"extra": 1}) == []


def test_strict_refuses_unknown_and_doubled_fields():
    source = b'{"metadata":{"name":"a","name":"b"},"x":1}'
    with pytest.raises(ApiError) as caught:
        POD.clean_strict({"metadata": {"name": "b"}, "x": 1}, source=source)
    assert caught.value.message == (
        'Pod in version "v1" cannot be handled as a Pod: strict decoding error: '
        'duplicate field "metadata.name", unknown field "x"'
    )


def test_free_objects_are_not_looked_into():
    revision = schema_for("apps", "v1", "ControllerRevision")
    tree = {"data": {"any": {"thing": None}}, "revision": 1}
    revision.clean(tree)
    assert tree == {"metadata": {}, "data": {"any": {"thing": None}}, "revision": 1}


def test_empty_optional_lists_and_maps_go_and_objects_stay():
    tree = {
        "metadata": {"labels": {}, "finalizers": []},
        "spec": {"containers": [], "volumes": [{"name": "v", "emptyDir": {}}]},
    }
    POD.clean(tree)
    assert tree == {
        "metadata": {},
        "spec": {"containers": None, "volumes": [{"name": "v", "emptyDir": {}}]},
        "status": {},
    }


def test_zero_values_of_plain_fields_go_or_are_always_there():
    """As Go's ``omitempty`` has it: a pointer keeps its zero, a plain value is dropped or written."""
    deployment = schema_for("apps", "v1", "Deployment")
    spec = {"replicas": 0, "paused": False, "minReadySeconds": 0, "template": {"metadata": None}}
    tree = {"metadata": {"name": ""}, "spec": spec}
    deployment.clean(tree)
    assert tree == {
        "metadata": {},
        "spec": {
            "replicas": 0,
            "selector": None,
            "template": {"metadata": {}, "spec": {"containers": None}},
            "strategy": {},
        },
        "status": {},
    }
    once = copy.deepcopy(tree)
    deployment.clean(tree)
    assert tree == once


def test_nulls_inside_lists_and_maps_are_zero_values():
    tree = {"metadata": {"labels": {"a": None}, "finalizers": [None]}}
    POD.clean(tree)
    assert tree["metadata"] == {"labels": {"a": ""}, "finalizers": [""]}


def test_quantities_get_their_canonical_text():
    tree = containers(resources={"limits": {"cpu": 0.5, "memory": "1024Mi", "pods": 3}})
    POD.clean(tree)
    limits = tree["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "500m", "memory": "1Gi", "pods": "3"}


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05.999Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T00:04:05+02:00", "2026-01-01T22:04:05Z"),
        ("2026-01-02T03:04:05-00:30", "2026-01-02T03:34:05Z"),
    ],
)
def test_times_are_utc_seconds(text, normal):
    tree = {"metadata": {"deletionTimestamp": text}}
    POD.clean(tree)
    assert tree["metadata"]["deletionTimestamp"] == normal


def test_micro_times_keep_six_digits():
    lease = schema_for("coordination.k8s.io", "v1", "Lease")
    tree = {"spec": {"renewTime": "2026-01-02T05:04:05.123456+02:00"}}
    lease.clean(tree)
    assert tree["spec"]["renewTime"] == "2026-01-02T03:04:05.123456Z"
    message = refuse(lease, {"spec": {"renewTime": "2026-01-02T05:04:05Z"}})
    assert 'cannot parse "Z" as ".000000"' in message


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            {"spec": "none"},
            "json: cannot unmarshal string into Go struct field Pod.spec of type v1.PodSpec",
        ),
        (
            {"spec": {"containers": "none"}},
            "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            containers(env=[{"name": "A", "value": 1}]),
            "json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string",
        ),
        (
            {"metadata": {"labels": {"a": True}}},
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            {"metadata": {"finalizers": [{}]}},
            "json: cannot unmarshal object into Go struct field ObjectMeta.metadata.finalizers of type string",
        ),
        (
            {"spec": {"hostNetwork": "yes"}},
            "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool",
        ),
        (
            containers(ports=[{"containerPort": 1 << 31}]),
            "json: cannot unmarshal number 2147483648 into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
        ),
        (
            {"spec": {"terminationGracePeriodSeconds": 1.5}},
            "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type int64",
        ),
        (
            containers(resources={"limits": {"cpu": "many"}}),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            containers(resources={"limits": {"cpu": True}}),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            {"metadata": {"creationTimestamp": "yesterday"}},
            'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"',
        ),
        (
            {"metadata": {"creationTimestamp": "2026-13-01T00:00:00Z"}},
            'parsing time "2026-13-01T00:00:00Z": month out of range',
        ),
        (
            {"metadata": {"creationTimestamp": 5}},
            "json: cannot unmarshal number into Go value of type string",
        ),
        (
            containers(livenessProbe={"httpGet": {"port": True}}),
            "json: cannot unmarshal bool into Go struct field HTTPGetAction.spec.containers.livenessProbe.ProbeHandler.httpGet.port of type int32",
        ),
        (
            containers(imagePullPolicy=5),
            "json: cannot unmarshal number into Go struct field Container.spec.containers.imagePullPolicy of type v1.PullPolicy",
        ),
        (["no"], "json: cannot unmarshal array into Go value of type v1.Pod"),
    ],
)
def test_wrong_types_are_bad_requests(tree, message):
    assert refuse(POD, tree) == message


def test_bytes_must_be_base64():
    secret = schema_for("", "v1", "Secret")
    tree = {"data": {"a": "aGVs\nbG8="}}
    secret.clean(tree)
    assert tree["data"]["a"] == "aGVsbG8="
    assert refuse(secret, {"data": {"a": "a!=="}}) == "illegal base64 data at input byte 1"
    assert refuse(secret, {"data": {"a": "abc"}}) == "illegal base64 data at input byte 0"
    assert "of type []uint8" in refuse(secret, {"data": {"a": 1}})


def test_int_or_string_keeps_its_form():
    tree = {"spec": {"strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}}}
    DEPLOYMENT.clean(tree)
    assert tree["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": 0}


def test_facts_for_patching():
    ports = DEPLOYMENT.node.at(("spec", "template", "spec", "containers", "*", "ports"))
    assert ports.merge_key == "containerPort"
    assert ports.patch_strategies == {"merge"}
    assert ports.list_type == "map"
    assert ports.map_keys == ("containerPort", "protocol")
    volumes = POD.node.at(("spec", "volumes"))
    assert volumes.patch_strategies == {"merge", "retainKeys"}
    assert DEPLOYMENT.node.at(("spec", "strategy")).patch_strategies == {"retainKeys"}
    assert DEPLOYMENT.node.at(("spec", "strategy", "rollingUpdate", "maxSurge")).type == "intstr"
    assert POD.node.at(("metadata", "finalizers")).patch_strategies == {"merge"}
    assert POD.node.at(("metadata", "labels", "any")).type == "string"
    assert POD.node.at(("spec", "nothing", "x")) is None


def test_a_custom_schema_takes_the_same_form():
    spec = Node(
        "object",
        name="WidgetSpec",
        resolve=lambda: {
            "size": Node("int64"),
            "tags": Node("list", items=Node("string"), keeps_empty=True),
        },
        preserves_unknown=True,
    )
    root = Node("object", name="Widget", resolve=lambda: {"spec": spec})
    tree = {"spec": {"size": 1, "tags": [], "free": {"x": None}}, "gone": 1}
    root.visit(tree, None)
    assert tree == {"spec": {"size": 1, "tags": [], "free": {"x": None}}}


def test_values_nested_too_deep_are_refused():
    affinity = {"nodeAffinity": {}}
    for _ in range(100_000):
        affinity = {"x": affinity}
    tree = {"metadata": {"annotations": {"a": "b"}}, "data": affinity}
    revision = schema_for("apps", "v1", "ControllerRevision")
    source = b'{"data":' + b'{"x":' * 100_000 + b"1" + b"}" * 100_000 + b',"data" :1}'
    with pytest.raises(ApiError, match="exceeded max depth") as caught:
        revision.clean(tree, report=True, source=source)
    assert caught.value.code == 400
