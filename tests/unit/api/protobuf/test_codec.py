"""Trees to bytes and back: known bytes, zero values, what a decoder must survive."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from kutter.api.protobuf import (
    ProtobufError,
    decode_object,
    encode_object,
    unwrap,
    watch_frame,
    wrap,
)
from kutter.api.protobuf.decoding import decode_message
from kutter.api.protobuf.tables import message
from kutter.api.protobuf.wire import read_varint, varint


def hexed(*parts: str) -> bytes:
    return bytes.fromhex("".join(parts).replace(" ", ""))


# Assembled by hand from upstream's published field numbers; comments name the fields.
NAMESPACE = hexed(
    "6b38 7300",  # the prefix
    "0a 0f",  # typeMeta
    "0a 02 7631",  # apiVersion v1
    "12 09 4e616d657370616365",  # kind Namespace
    "12 1b",  # raw
    "0a 13",  # metadata
    "0a 03 666f6f",  # name foo
    "12 00",  # generateName
    "1a 00",  # namespace
    "22 00",  # selfLink
    "2a 00",  # uid
    "32 00",  # resourceVersion
    "38 00",  # generation
    "42 00",  # creationTimestamp, unset
    "12 00",  # spec
    "1a 02 0a 00",  # status with an empty phase
    "1a 00",  # contentEncoding
    "22 00",  # contentType
)


def test_a_namespace_as_upstream_writes_it() -> None:
    tree = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "foo"}}
    assert encode_object(tree) == NAMESPACE
    assert decode_object(NAMESPACE) == {**tree, "spec": {}, "status": {}}


def content(table: str, name: str, tree: dict[str, Any]) -> bytes:
    from kutter.api.protobuf import encode_message

    return encode_message(message(table, name), tree)


@pytest.mark.parametrize(
    ("table", "name", "tree", "expected"),
    [
        # seconds only, nanos written as zero
        (
            "coordination.k8s.io/v1",
            "LeaseSpec",
            {"acquireTime": "1970-01-01T00:00:01.500000Z", "leaseTransitions": 0},
            "1a 08 08 01 10 80cab5ee01 28 00",
        ),
        ("core/v1", "Taint", {"key": "k", "effect": "NoExecute", "timeAdded": "1969-12-31T23:59:59Z"},
         "0a 01 6b 12 00 1a 09 4e6f45786563757465 22 0d 08 ffffffffffffffffff01 10 00"),
        # IntOrString: kind, number and text are always there
        ("core/v1", "HTTPGetAction", {"port": "web"},
         "0a 00 12 09 08 01 10 00 1a 03 776562 1a 00 22 00"),
        ("core/v1", "HTTPGetAction", {"port": -1},
         "0a 00 12 0f 08 00 10 ffffffffffffffffff01 1a 00 1a 00 22 00"),
        ("core/v1", "HTTPGetAction", {}, "0a 00 12 06 08 00 10 00 1a 00 1a 00 22 00"),
        # a map by key, quantities in messages
        ("core/v1", "ResourceQuotaSpec", {"hard": {"pods": "2", "cpu": "1"}},
         "0a 0a 0a 03 637075 12 03 0a 01 31 0a 0b 0a 04 706f6473 12 03 0a 01 32"),
        # a time nobody set, where JSON shows it as null
        ("policy/v1", "PodDisruptionBudgetStatus", {"disruptedPods": {"p": None}},
         "08 00 12 05 0a 01 70 12 00 18 00 20 00 28 00 30 00"),
        # bytes
        ("core/v1", "Secret", {"metadata": {"name": "s"}, "data": {"a": "AAE="}, "immutable": False},
         ("0a 11 0a 01 73 12 00 1a 00 22 00 2a 00 32 00 38 00 42 00"
         "12 07 0a 01 61 12 02 0001 1a 00 28 00")),
        # a list in a message of its own
        ("authentication.k8s.io/v1", "UserInfo", {"extra": {"k": ["a", "b"]}},
         "0a 00 12 00 22 0b 0a 01 6b 12 06 0a 01 61 0a 01 62"),
        # JSON within
        ("apps/v1", "ControllerRevision", {"data": {"a": 1}, "revision": 7},
         ("0a 10 0a 00 12 00 1a 00 22 00 2a 00 32 00 38 00 42 00"
         "12 09 0a 07 7b2261223a317d 18 07")),
        # one message on the wire, its fields the holder's in JSON
        ("core/v1", "Volume", {"name": "v", "emptyDir": {"medium": "Memory"}},
         "0a 01 76 12 0a 12 08 0a 06 4d656d6f7279"),
        ("apiextensions.k8s.io/v1", "JSONSchemaProps", {"maximum": 1.5, "default": None},
         ""),
    ],
)  # fmt: skip
def test_known_bytes(table: str, name: str, tree: dict[str, Any], expected: str) -> None:
    encoded = content(table, name, tree)
    if expected:
        assert encoded.hex() == hexed(expected).hex()
    back = decode_message(message(table, name), encoded)
    shown = {k: v for k, v in tree.items() if v is not None}
    if name == "HTTPGetAction" and not tree:
        shown = {"port": 0}  # JSON shows a zero port
    if name in ("Taint", "Secret", "ControllerRevision", "PodDisruptionBudgetStatus"):
        shown = {**back, **shown}
    assert back == shown


def test_zero_is_kept_where_it_says_something() -> None:
    spec = message("core/v1", "PodSpec")
    # terminationGracePeriodSeconds (4, a pointer), hostNetwork (11), nodeName (10)
    assert decode_message(spec, hexed("20 00 58 00 52 00")) == {"terminationGracePeriodSeconds": 0}
    status = message("policy/v1", "PodDisruptionBudgetStatus")
    # disruptionsAllowed (3) is shown when zero, observedGeneration (1) is not
    assert decode_message(status, hexed("08 00 18 00")) == {"disruptionsAllowed": 0}
    # a time nobody set
    assert decode_message(message("meta/v1", "ObjectMeta"), hexed("42 00")) == {}


def test_a_field_given_again_counts_as_upstream_counts_it() -> None:
    meta = message("meta/v1", "ObjectMeta")
    assert decode_message(meta, hexed("0a 01 61 0a 01 62")) == {"name": "b"}
    assert decode_message(meta, hexed("0a 01 61 0a 00")) == {}
    pod = message("core/v1", "Pod")
    twice = hexed("0a 03 0a 01 61", "0a 03 1a 01 62")
    assert decode_message(pod, twice) == {"metadata": {"name": "a", "namespace": "b"}}


def test_packed_numbers_are_read_too() -> None:
    context = message("core/v1", "PodSecurityContext")
    assert decode_message(context, hexed("20 01 20 02")) == {"supplementalGroups": [1, 2]}
    assert decode_message(context, hexed("22 02 01 02")) == {"supplementalGroups": [1, 2]}


def test_unknown_fields_are_skipped_whatever_their_sort() -> None:
    meta = message("meta/v1", "ObjectMeta")
    extra = hexed(
        "98 06 ac02",  # 99, varint
        "99 06 0000000000000000",
        "9a 06 02 6162",
        "9b 06 08 01 9b06 9c06 9c 06",  # groups
        "9d 06 00000000",
    )
    assert decode_message(meta, extra + hexed("0a 01 61") + extra) == {"name": "a"}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("0a 05 61", "unexpected EOF"),
        ("0a", "unexpected EOF"),
        ("0a ff", "unexpected EOF"),
        ("38 ffffffffffffffffffff01", "proto: integer overflow"),
        ("08 01", "proto: wrong wireType = 0 for field Name"),
        ("00", "proto: illegal tag 0 (wire type 0)"),
        ("07", "proto: illegal tag 0 (wire type 7)"),
        ("9f 06", "proto: illegal wireType 7"),
        ("9c 06", "proto: unexpected end of group"),
        ("9b 06 08 01", "unexpected EOF"),
        ("0a 02 c328", "proto: string field contains invalid UTF-8"),
        ("42 0b 08 ffffffffffffffff7f", "unexpected EOF"),
        ("42 0a 08 ffffffffffffffff7f", "year is not in the range [0,9999]"),
    ],
)
def test_malformed_messages_are_refused(data: str, text: str) -> None:
    with pytest.raises(ProtobufError) as caught:
        decode_message(message("meta/v1", "ObjectMeta"), hexed(data))
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "empty data"),
        (b"{}", ("provided data does not appear to be a protobuf message, "
         "expected prefix [107 56 115 0]")),
        (b"k8s\x00", "empty body"),
        (b"k8s\x00\x0a\x7f", "unexpected EOF"),
        (wrap("", "", b""), "Object 'Kind' is missing in the envelope"),
        (wrap("", "Pod", b""), "Object 'apiVersion' is missing in the envelope"),
        (wrap("v1", "Nothing", b""),
         'no kind "Nothing" is registered for version "v1" in scheme'),
        (wrap("example.com/v1", "Foo", b""),
         'no kind "Foo" is registered for version "example.com/v1" in scheme'),
    ],
)  # fmt: skip
def test_malformed_envelopes_are_refused(data: bytes, text: str) -> None:
    with pytest.raises(ProtobufError) as caught:
        decode_object(data)
    assert str(caught.value) == text


def test_what_the_envelope_leaves_out_comes_from_the_path() -> None:
    found = decode_object(wrap("", "", b""), api_version="v1", kind="Pod")
    assert found == {"kind": "Pod", "apiVersion": "v1"}


def test_nesting_is_bounded() -> None:
    schema = b""
    for _ in range(400):
        schema = b"\xe2\x01" + varint(len(schema)) + schema  # not (28)
    with pytest.raises(ProtobufError, match="nested too deeply"):
        decode_message(message("apiextensions.k8s.io/v1", "JSONSchemaProps"), schema)
    tree: dict[str, Any] = {}
    for _ in range(sys.getrecursionlimit()):
        tree = {"not": tree}
    with pytest.raises(ProtobufError, match="nested too deeply"):
        content("apiextensions.k8s.io/v1", "JSONSchemaProps", tree)


@pytest.mark.parametrize(
    "schema",
    [
        {"items": {"type": "string"}},
        {"items": [{"type": "string"}, {"type": "object"}]},
        {"additionalProperties": True},
        {"additionalProperties": False},
        {"additionalProperties": {"type": "string", "x-kubernetes-int-or-string": True}},
        {"dependencies": {"a": ["b", "c"], "d": {"type": "object"}}},
        {"default": {"a": [1, "x", None]}, "enum": ["a", 1], "$ref": "#/x", "maximum": 1.5},
        {"properties": {"spec": {"properties": {"a": {"nullable": True}}}}},
    ],
)
def test_schemas_of_custom_definitions(schema: dict[str, Any]) -> None:
    held = message("apiextensions.k8s.io/v1", "JSONSchemaProps")
    assert decode_message(held, content(held.table, held.name, schema)) == schema


@pytest.mark.parametrize(
    "tree",
    [
        {"metadata": "text"},
        {"metadata": {"name": 1}},
        {"metadata": {"labels": ["a"]}},
        {"metadata": {"creationTimestamp": "yesterday"}},
        {"metadata": {"generation": "1"}},
        {"spec": {"containers": [None]}},
    ],
)
def test_a_tree_that_does_not_fit_is_refused(tree: dict[str, Any]) -> None:
    with pytest.raises(ProtobufError):
        encode_object({"kind": "Pod", "apiVersion": "v1", **tree})


def test_a_watch_frame_is_a_length_and_a_bare_event() -> None:
    inner = wrap("v1", "Pod", b"")
    framed = watch_frame("ADDED", inner)
    assert int.from_bytes(framed[:4], "big") == len(framed) - 4
    event = framed[4:]
    assert event.startswith(b"\x0a\x05ADDED\x12")
    size, position = read_varint(event, 8)
    assert event[position : position + 1] == b"\x0a"
    length, position = read_varint(event, position + 1)
    assert event[position:] == inner
    assert length == len(inner)
    assert size == len(event) - 8 - len(varint(size))
    assert unwrap(inner) == ("v1", "Pod", b"")
