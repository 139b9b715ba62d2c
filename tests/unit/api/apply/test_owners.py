"""Entries of managedFields: read, written, kept within bounds."""

import pytest

from kutter.api.apply import ManagedFieldsError, Owner, OwnerKey, is_reset, parse_owners
from kutter.api.apply.owners import cap_owners, read_owners, render_owners, write_owners
from kutter.api.apply.sets import paths

ENTRY = {
    "manager": "m",
    "operation": "Update",
    "apiVersion": "v1",
    "time": "2026-01-01T00:00:00Z",
    "fieldsType": "FieldsV1",
    "fieldsV1": {"f:data": {".": {}, "f:a": {}}},
    "subresource": "status",
}


def test_entries_survive_reading_and_writing():
    owners = parse_owners([ENTRY])
    assert list(owners) == [OwnerKey("m", "Update", "v1", "status")]
    stored = write_owners(owners)
    again = read_owners(stored)
    assert again == owners
    assert write_owners(again) == stored


@pytest.mark.parametrize(
    "change",
    [
        {"operation": "Other"},
        {"apiVersion": ""},
        {"fieldsType": ""},
        {"fieldsV1": {"x": {}}},
        {"fieldsV1": []},
        {"manager": 1},
    ],
)
def test_unreadable_entries_are_refused(change):
    if change == {"fieldsV1": []}:
        change = {"fieldsV1": ["a"]}
    with pytest.raises(ManagedFieldsError):
        parse_owners([{**ENTRY, **change}])


def test_an_entry_that_is_no_object_is_refused():
    with pytest.raises(ManagedFieldsError):
        parse_owners(["x"])


def test_entries_are_ordered_by_operation_time_and_name():
    owners = {
        OwnerKey.updater("b", "v1"): Owner("v1", {"f:a": {}}, "2"),
        OwnerKey.updater("a", "v1"): Owner("v1", {"f:b": {}}, "2"),
        OwnerKey.updater("c", "v1"): Owner("v1", {"f:c": {}}, "1"),
        OwnerKey.applier("z"): Owner("v1", {"f:d": {}}, "3"),
    }
    assert [entry["manager"] for entry in render_owners(owners)] == ["z", "c", "a", "b"]


def test_eleven_updaters_become_ten():
    owners = {
        OwnerKey.updater(f"m{i:02}", "v1"): Owner("v1", {f"f:{i}": {}}, f"{i:02}")
        for i in range(11)
    }
    owners[OwnerKey.applier("applier")] = Owner("v1", {"f:x": {}}, "00")
    capped = cap_owners(owners)
    assert sum(key.operation == "Update" for key in capped) == 10
    ancient = capped[OwnerKey.updater("ancient-changes", "v1")]
    assert set(paths(ancient.fields)) == {("f:0",), ("f:1",)}
    assert ancient.time == "01"
    assert OwnerKey.applier("applier") in capped


def test_resets():
    assert is_reset([{}])
    assert not is_reset([])
    assert not is_reset(None)
    assert not is_reset([ENTRY])
