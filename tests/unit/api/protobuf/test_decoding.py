"""Protobuf bodies, as kubectl 1.32 sends them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kutter.api.protobuf import ProtobufError, decode_object

# What `kubectl create configmap c1 --from-literal=a=b` sends, byte for byte.
CONFIG_MAP = bytes.fromhex(
    "6b3873000a0f0a0276311209436f6e6669674d6170121c0a120a0263311a00220 02a0032003800420012060a0161"
    "120162 1a002200".replace(" ", "").replace("0a0263311a00", "0a02633112001a00")
)


def field(number: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def body(api_version: str, kind: str, message: bytes) -> bytes:
    meta = field(1, api_version.encode()) + field(2, kind.encode())
    return b"k8s\x00" + field(1, meta) + field(2, message)


def test_a_config_map_of_kubectl() -> None:
    assert decode_object(CONFIG_MAP) == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": "c1"},
        "data": {"a": "b"},
    }


def test_zero_means_something_only_behind_a_pointer() -> None:
    spec = bytes([1 << 3, 0, 5 << 3, 0])  # replicas 0, minReadySeconds 0
    tree = decode_object(body("apps/v1", "Deployment", field(2, spec)))
    assert tree["spec"] == {"replicas": 0}


def test_inlined_messages_join_their_parent() -> None:
    empty_dir = field(2, field(2, b""))  # volumeSource.emptyDir
    volume = field(1, b"v") + empty_dir
    tree = decode_object(body("v1", "Pod", field(2, field(1, volume))))
    assert tree["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]


def test_times_quantities_and_either() -> None:
    metadata = field(1, b"p") + field(8, bytes([1 << 3, 60]))
    tree = decode_object(body("v1", "Pod", field(1, metadata)))
    assert tree["metadata"] == {"name": "p", "creationTimestamp": "1970-01-01T00:01:00Z"}
    port = bytes([3 << 3, 80]) + field(4, bytes([1 << 3, 1]) + field(3, b"http"))
    tree = decode_object(body("v1", "Service", field(2, field(1, port))))
    assert tree["spec"]["ports"] == [{"port": 80, "targetPort": "http"}]
    limit = field(1, b"cpu") + field(2, field(1, b"100m"))
    quota = decode_object(body("v1", "ResourceQuota", field(2, field(1, limit))))
    assert quota["spec"] == {"hard": {"cpu": "100m"}}


def test_bytes_become_base64() -> None:
    tree = decode_object(body("v1", "Secret", field(2, field(1, b"k") + field(2, b"\x00\xff"))))
    assert tree["data"] == {"k": "AP8="}


def test_what_is_no_protobuf_or_no_kind_is_refused() -> None:
    with pytest.raises(ProtobufError, match="does not appear to be"):
        decode_object(b"{}")
    with pytest.raises(ProtobufError, match='no kind "Nope" is registered'):
        decode_object(body("v1", "Nope", b""))
    with pytest.raises(ProtobufError):
        decode_object(CONFIG_MAP[:-3])


@given(st.binary(max_size=200))
def test_no_bytes_crash_it(noise: bytes) -> None:
    for data in (b"k8s\x00" + noise, body("v1", "Pod", noise[:90])):
        try:
            decode_object(data)
        except ProtobufError:
            continue
