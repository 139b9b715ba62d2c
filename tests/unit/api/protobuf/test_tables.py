"""The protobuf tables say of every field what the schema tables say, and its number."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import orjson
import pytest

from kutter.api.protobuf.tables import Message, message, message_of

SCHEMAS = {
    read["table"]: read
    for read in (
        orjson.loads(path.read_bytes())
        for path in (files("kutter.api.schema") / "tables").iterdir()
    )
}
# On the wire the envelope names the kind; objects within objects have none at all.
IN_THE_ENVELOPE = frozenset({"kind", "apiVersion"})
# Types whose `kind` is a field like another (ObjectReference and the like) have a number for it.
NO_MESSAGE = {
    ("meta/v1", "WatchEvent"): "written by the envelope module",
}
# A message without fields is an object of any content in the published schema.
EMPTY = frozenset({"@apiextensions.k8s.io/v1:CustomResourceSubresourceStatus"})
# What the tables here tell apart and the published schema does not.
SAME = {
    "schemaOrList": "any",
    "schemaOrBoolean": "any",
    "schemaOrStrings": "any",
    "strings": "[string]",
}


def flat(held: Message) -> dict[str, str]:
    """A message's fields as JSON has them, inlined ones among the others, as type texts."""
    found: dict[str, str] = {}
    for field in held.fields:
        if field.mark == "inline":
            found.update(flat(held.reference(field.type)))
            continue
        type = SAME.get(field.type, field.type)
        if type[0] == "@" and ":" not in type:
            type = f"@{held.table}:{type[1:]}"
        if type in EMPTY:
            type = "any"
        left, right = {"one": ("", ""), "list": ("[", "]"), "map": ("{", "}")}[field.shape]
        found[field.name] = f"{left}{type}{right}"
    return found


def schema_text(table: str, facts: Any) -> str:
    text: str = facts if isinstance(facts, str) else facts["type"]
    bare = text.strip("[]{}")
    if bare[0] == "@" and ":" not in bare:
        return text.replace(bare, f"@{table}:{bare[1:]}")
    return text


@pytest.mark.parametrize("table", sorted(SCHEMAS))
def test_every_field_of_every_type_has_a_number_and_the_same_type(table: str) -> None:
    wrong = []
    for name, described in SCHEMAS[table]["types"].items():
        if (table, name) in NO_MESSAGE:
            continue
        fields = flat(message(table, name))
        for field, facts in described["fields"].items():
            if field in IN_THE_ENVELOPE and field not in fields:
                continue
            expected = schema_text(table, facts)
            if fields.get(field) != expected:
                wrong.append((name, field, expected, fields.get(field)))
    assert wrong == []


@pytest.mark.parametrize("table", sorted(SCHEMAS))
def test_the_messages_have_no_field_the_schema_does_not_know(table: str) -> None:
    unknown = [
        (name, field)
        for name, described in SCHEMAS[table]["types"].items()
        if (table, name) not in NO_MESSAGE
        for field in flat(message(table, name))
        if field not in described["fields"]
    ]
    assert unknown == []


def test_numbers_are_unique_and_positive() -> None:
    for path in (files("kutter.api.protobuf") / "tables").iterdir():
        table = path.name.removesuffix(".json")
        group, _, version = table.rpartition(".")
        for name in orjson.loads(path.read_bytes()):
            numbers = [field.number for field in message(f"{group}/{version}", name).fields]
            assert len(set(numbers)) == len(numbers), name
            assert all(number > 0 for number in numbers), name


@pytest.mark.parametrize("table", sorted(SCHEMAS))
def test_every_kind_has_a_message(table: str) -> None:
    api_version = table.removeprefix("core/")
    if table == "meta/v1":
        return
    missing = [k for k in SCHEMAS[table]["kinds"] if message_of(api_version, k) is None]
    assert missing == []


def test_an_unknown_kind_has_none() -> None:
    assert message_of("v1", "Nothing") is None
    assert message_of("example.com/v1", "Foo") is None
    assert message_of("../../etc/passwd\x00" + "x" * 5000, "Pod") is None
    assert message_of("meta/v1", "ObjectMeta") is None


def test_options_belong_to_every_version_and_status_to_one() -> None:
    assert message_of("apps/v1", "DeleteOptions") is message("meta/v1", "DeleteOptions")
    assert message_of("v1", "Status") is message("meta/v1", "Status")
    assert message_of("apps/v1", "Status") is None
