import msgspec
import orjson
import pytest

from kutter.api.types.base import convert, decode, strip_nulls, wire_name
from kutter.api.types.core_v1 import Pod
from kutter.api.types.discovery_v1 import EndpointSlice


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("name", "name"),
        ("cluster_ip", "clusterIP"),
        ("pod_ips", "podIPs"),
        ("host_pid", "hostPID"),
        ("set_hostname_as_fqdn", "setHostnameAsFQDN"),
        ("non_resource_urls", "nonResourceURLs"),
        ("from_", "from"),
        ("id", "id"),
    ],
)
def test_wire_names(name, wire):
    assert wire_name(name) == wire


def test_absent_fields_are_zero_values():
    pod = decode(Pod, b"{}")
    assert pod.metadata.name == ""
    assert pod.metadata.deletion_timestamp is None
    assert pod.spec.containers == ()
    assert pod.spec.node_selector == {}
    assert pod.spec.termination_grace_period_seconds is None
    assert pod.status.phase == ""


@pytest.mark.parametrize("indent", [None, orjson.OPT_INDENT_2])
def test_nulls_count_as_absent_however_the_text_is_laid_out(indent):
    tree = {
        "metadata": {"creationTimestamp": None, "name": "x", "labels": None},
        "spec": {"containers": [{"name": "c", "env": None}], "nodeSelector": None},
        "status": {"conditions": [{"type": "Ready", "lastProbeTime": None}]},
    }
    pod = decode(Pod, orjson.dumps(tree, option=indent))
    assert pod.metadata.name == "x"
    assert pod.metadata.labels == {}
    assert pod.spec.containers[0].name == "c"
    assert pod.status.conditions[0].last_probe_time == ""
    assert convert(Pod, tree) == pod


def test_null_lists_of_an_upstream_server():
    data = b'{"endpoints":null,"ports":null,"addressType":"IPv4"}'
    slice_ = decode(EndpointSlice, data)
    assert slice_.endpoints == ()
    assert slice_.address_type == "IPv4"


@pytest.mark.parametrize(
    ("data", "stripped"),
    [
        (b'{"a":null}', b"{}"),
        (b'{"a":null,"b":null}', b"{}"),
        (b'{"a":1,"b":null}', b'{"a":1}'),
        (b'{"a":null,"b":1}', b'{"b":1}'),
        (b'{"a":1,"b":null,"c":null,"d":2}', b'{"a":1,"d":2}'),
        (b'{"a":[null,{"b":null}]}', b'{"a":[null,{}]}'),
        (b'{"a":"{\\"b\\":null}"}', b'{"a":"{\\"b\\":null}"}'),
        (b'{"a":",\\"b\\":null,"}', b'{"a":",\\"b\\":null,"}'),
        (b'{"a\\"b":null,"c":1}', b'{"a\\"b":null,"c":1}'),
    ],
)
def test_strip_nulls_leaves_text_alone(data, stripped):
    assert strip_nulls(data) == stripped


def test_wrong_types_are_refused():
    with pytest.raises(msgspec.ValidationError):
        decode(Pod, b'{"spec":{"containers":"none"}}')


def test_views_are_frozen():
    pod = decode(Pod, b"{}")
    with pytest.raises(AttributeError):
        pod.kind = "Pod"


def test_tree_holds_just_what_is_set():
    pod = decode(Pod, b'{"metadata":{"name":"x"},"spec":{"hostIPC":true}}')
    assert pod.tree() == {"metadata": {"name": "x"}, "spec": {"hostIPC": True}}
