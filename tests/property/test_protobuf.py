"""Laws of the protobuf codec, for any object of any kind and for any bytes."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kutter.api.errors import ApiError
from kutter.api.protobuf import (
    PREFIX,
    ProtobufError,
    decode_object,
    encode_object,
    message_of,
    wrap,
)
from kutter.api.protobuf.decoding import decode_message
from kutter.api.protobuf.encoding import encode_message
from kutter.api.protobuf.tables import Field, Message, message
from kutter.api.schema import schema_for

TYPES = sorted(
    (path.name.removesuffix(".json"), name)
    for path in (files("kutter.api.protobuf") / "tables").iterdir()
    for name in orjson.loads(path.read_bytes())
)
TEXTS = ("a", "kube-system", "ü – 漢", "\n\t\"'\\", "x" * 130)
VALUES: dict[str, tuple[Any, ...]] = {
    "string": TEXTS,
    "byte": ("AAE=", "/w==", "eA=="),
    "boolean": (True,),
    "int32": (1, -1, 127, 128, 2**31 - 1, -(2**31)),
    "int64": (1, -1, 300, 2**63 - 1, -(2**63)),
    "double": (1.5, -0.25, 1e300),
    "time": ("2026-01-02T03:04:05Z", "1969-12-31T23:59:59Z", "0001-01-01T00:00:01Z"),
    "microtime": ("2026-01-02T03:04:05.000006Z", "9999-12-31T23:59:59.999999Z"),
    "quantity": ("1", "500m", "64Mi"),
    "intstr": (80, -1, "http", "25%"),
    "any": ({"a": [1, None, {"b": "c"}]}, [1], "text", 1, True),
    "strings": (["a"], ["a", "ü"]),
    "schemaOrList": ({"type": "string"}, [{"type": "object"}, {"nullable": True}]),
    "schemaOrBoolean": (True, False, {"type": "string"}),
    "schemaOrStrings": ({"type": "string"}, ["a", "b"]),
}
ZEROS: dict[str, Any] = {"string": "", "boolean": False, "int32": 0, "int64": 0, "double": 0.0}
DEPTH = 6


@lru_cache(maxsize=1024)
def held(table: str, name: str) -> Message:
    group, _, version = table.rpartition(".")
    return message(f"{group}/{version}", name)


class Maker:
    """Trees as upstream's JSON shows them: what Go has no absence for is there."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.dense = self.rng.choice((0.05, 0.3, 0.7))

    def tree(self, message: Message, depth: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for field in message.fields:
            if field.mark == "inline":
                found.update(self.tree(message.reference(field.type), depth))
                continue
            value = self.field(message, field, depth)
            if value is not None:
                found[field.name] = value
        return found

    def field(self, message: Message, field: Field, depth: int) -> Any:
        wanted = self.rng.random() < self.dense / (depth + 1) and depth < DEPTH
        always = field.shape == "one" and field.mark != "pointer"
        if field.shape == "list":
            count = self.rng.randint(1, 3) if wanted else 0
            return [self.value(message, field.type, depth + 1) for _ in range(count)] or None
        if field.shape == "map":
            keys = self.rng.sample(TEXTS, self.rng.randint(1, 3)) if wanted else ()
            return {key: self.value(message, field.type, depth + 1) for key in keys} or None
        if field.type[0] == "@":
            return self.value(message, field.type, depth + 1) if always or wanted else None
        if always and field.type in ("quantity", "intstr"):
            return self.value(message, field.type, depth)
        if wanted:
            return self.value(message, field.type, depth)
        shown = always and field.mark == ""
        if shown or (field.mark == "pointer" and self.rng.random() < self.dense / (depth + 1)):
            return ZEROS.get(field.type)
        return None

    def value(self, message: Message, type: str, depth: int) -> Any:
        if type[0] == "@":
            return self.tree(message.reference(type), depth)
        return self.rng.choice(VALUES[type])


seeds = st.integers(0, 2**64)


@given(st.sampled_from(TYPES), seeds)
def test_a_tree_comes_back_from_its_bytes(type: tuple[str, str], seed: int) -> None:
    target = held(*type)
    tree = Maker(seed).tree(target)
    content = encode_message(target, tree)
    assert decode_message(target, content) == tree
    assert encode_message(target, decode_message(target, content)) == content


@pytest.mark.parametrize("type", TYPES)
def test_every_field_of_every_message_comes_back(type: tuple[str, str]) -> None:
    target = held(*type)
    for seed in range(5):
        maker = Maker(seed)
        maker.dense = 1.0
        tree = maker.tree(target, DEPTH - 2)
        assert decode_message(target, encode_message(target, tree)) == tree


def attempt(make: Callable[..., Any], *arguments: Any) -> Any:
    """What ``make`` answers; None for a clean error. Any other exception travels on."""
    try:
        return make(*arguments)
    except ProtobufError:
        return None


@given(st.sampled_from(TYPES), st.binary(max_size=300))
def test_any_bytes_are_a_tree_or_a_clean_error(type: tuple[str, str], data: bytes) -> None:
    target = held(*type)
    tree = attempt(decode_message, target, data)
    if tree is not None:
        # What was understood can be said again.
        again = decode_message(target, encode_message(target, tree))
        assert decode_message(target, encode_message(target, again)) == again


@given(st.sampled_from(TYPES), seeds, st.data())
def test_damaged_messages_are_a_tree_or_a_clean_error(
    type: tuple[str, str], seed: int, data: st.DataObject
) -> None:
    target = held(*type)
    content = bytearray(encode_message(target, Maker(seed).tree(target)))
    for _ in range(data.draw(st.integers(1, 4))):
        if content:
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    for damaged in (bytes(content), bytes(content[:cut])):
        tree = attempt(decode_message, target, damaged)
        if tree is not None:
            assert isinstance(encode_message(target, tree), bytes)


@given(st.binary(max_size=200), st.sampled_from(["", "v1", "apps/v1", "\x00/v1"]), st.text())
def test_any_envelope_is_an_object_or_a_clean_error(raw: bytes, version: str, kind: str) -> None:
    for data in (raw, b"k8s\x00" + raw, wrap(version, kind, raw), wrap("v1", "Pod", raw)):
        tree = attempt(decode_object, data)
        if tree is not None:
            assert message_of(tree["apiVersion"], tree["kind"]) is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(json_values, json_values, json_values)
def test_any_tree_is_bytes_or_a_clean_error(metadata: Any, spec: Any, data: Any) -> None:
    for kind in ("Pod", "Secret", "Service"):
        tree = {"kind": kind, "apiVersion": "v1", "metadata": metadata, "spec": spec, "data": data}
        encoded = attempt(encode_object, tree)
        assert encoded is None or encoded.startswith(PREFIX)


ODD = (
    None,
    "",
    "x",
    "1",
    "1970-01-01T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59-12:00",
    "2020-01-01T00:00:00.123456789Z",
    "AA=",
    "=",
    "A",
    "é",
    0,
    -1,
    2**31,
    2**63,
    1.0,
    1.5,
    1e300,
    True,
    [],
    {},
    [None],
    {"a": None},
    [[]],
    [{}],
    {"": ""},
)


def spoil(value: Any, rng: random.Random) -> Any:
    """``value`` with one place below it replaced by something odd."""
    places: list[tuple[Any, Any]] = []

    def walk(held: Any) -> None:
        items = held.items() if isinstance(held, dict) else enumerate(held)
        for key, below in items:
            places.append((held, key))
            if isinstance(below, dict | list):
                walk(below)

    walk(value)
    if places:
        holder, key = rng.choice(places)
        holder[key] = copy.deepcopy(rng.choice(ODD))
    return value


# Schemas within schemas are no types of the published API, so the walk does not look into them;
# whoever serves custom resources has to refuse the malformed ones.
UNCHECKED = frozenset({"CustomResourceDefinition", "CustomResourceDefinitionList"})
KINDS = sorted(
    (read["table"], kind)
    for read in (
        orjson.loads(path.read_bytes())
        for path in (files("kutter.api.schema") / "tables").iterdir()
    )
    for kind in read["kinds"]
    if read["table"] != "meta/v1" and kind not in UNCHECKED
)


@given(st.sampled_from(KINDS), seeds)
def test_what_the_schema_lets_pass_can_be_encoded(kind: tuple[str, str], seed: int) -> None:
    # Watches rely on it: an object in the store that has no bytes would end them all.
    (table, name), rng = kind, random.Random(seed)
    group, _, version = table.rpartition("/")
    schema = schema_for("" if group == "core" else group, version, name)
    target = message(table, name)
    tree = spoil(Maker(seed).tree(target), rng)
    assert schema is not None
    try:
        schema.clean(tree)
    except ApiError:
        return
    stored = orjson.loads(orjson.dumps(tree))
    content = encode_message(target, stored)
    assert isinstance(decode_message(target, content), dict)
