"""Owners: ``metadata.managedFields`` read, written and kept within bounds."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, cast

import msgspec
import orjson

from kutter.api.apply.elements import ElementError
from kutter.api.apply.sets import SELF, FieldSet, parse_set, union
from kutter.base.memo import exact, remember

Operation = Literal["Apply", "Update"]
UPDATE_OWNERS_LIMIT = 10
_ANCIENT = "ancient-changes"


class ManagedFieldsError(ValueError):
    """Entries nobody can read."""


class OwnerKey(NamedTuple):
    """Who an entry is of. An applier is the same in every version: its ``api_version`` is ""."""

    manager: str
    operation: Operation
    api_version: str = ""
    subresource: str = ""

    @classmethod
    def applier(cls, manager: str, subresource: str = "") -> OwnerKey:
        return cls(manager, "Apply", "", subresource)

    @classmethod
    def updater(cls, manager: str, api_version: str, subresource: str = "") -> OwnerKey:
        return cls(manager or "unknown", "Update", api_version, subresource)


class Owner:
    """What one owner has: fields as ``api_version`` names them, and since when. Immutable.

    Fields that came as stored bytes are read only when somebody looks at them.
    """

    __slots__ = ("_fields", "_raw", "api_version", "time")

    def __init__(
        self, api_version: str, fields: FieldSet | None, time: str = "", raw: bytes = b""
    ) -> None:
        self.api_version = api_version
        self.time = time
        self._fields = fields
        self._raw = raw

    @property
    def fields(self) -> FieldSet:
        if self._fields is None:
            self._fields = _parsed(self._raw)
        return self._fields

    @property
    def encoded(self) -> orjson.Fragment | FieldSet:
        """What to encode in the place of the fields."""
        return orjson.Fragment(self._raw) if self._raw else self.fields

    def may_have_of(self, changed: FieldSet) -> bool:
        """False when the fields, by their bytes, hold none of a set's members."""
        return not self._raw or _mentions(self._raw, changed)

    def since(self, time: str) -> Owner:
        return Owner(self.api_version, self._fields, time, self._raw)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Owner) and (self.api_version, self.time, self.fields) == (
            other.api_version,
            other.time,
            other.fields,
        )

    def __hash__(self) -> int:
        return hash((self.api_version, self.time))

    def __repr__(self) -> str:
        return f"Owner({self.api_version!r}, {self.fields!r}, {self.time!r})"


Owners = dict[OwnerKey, Owner]


@remember(256, longest=16384)
def _parsed(raw: bytes) -> FieldSet:
    # Objects made from one template have the same fields, so many share one set.
    fields: FieldSet = orjson.loads(raw)
    return fields


def _mentions(raw: bytes, changed: FieldSet) -> bool:
    for key, below in changed.items():
        if key != SELF and _quoted(key) not in raw:
            continue
        if not below or _mentions(raw, below):
            return True
    return False


@remember(4096)
def _quoted(key: str) -> bytes:
    return exact(orjson.dumps(key))


class _Entry(msgspec.Struct, rename="camel"):
    api_version: str
    operation: Operation
    manager: str = ""
    time: str = ""
    subresource: str = ""
    fields_v1: msgspec.Raw = msgspec.field(name="fieldsV1", default=msgspec.Raw(b"{}"))


_decoder = msgspec.json.Decoder(list[_Entry])


def read_owners(data: bytes) -> Owners:
    """Entries as this server stored them. Raises ManagedFieldsError for what it never wrote."""
    if not data:
        return {}
    try:
        return {
            OwnerKey(
                entry.manager,
                entry.operation,
                "" if entry.operation == "Apply" else entry.api_version,
                entry.subresource,
            ): Owner(entry.api_version, None, entry.time, bytes(entry.fields_v1))
            for entry in _decoder.decode(data)
        }
    except msgspec.DecodeError as error:
        raise ManagedFieldsError(str(error)) from error


def write_owners(owners: Owners) -> bytes:
    """The entries as JSON, ``b""`` for none."""
    return exact(orjson.dumps(render_owners(owners))) if owners else b""


def parse_owners(entries: Any) -> Owners:
    """The entries of ``metadata.managedFields`` as somebody sent them.

    Raises ManagedFieldsError.
    """
    owners: Owners = {}
    for index, entry in enumerate(entries or ()):
        _check_entry(entry)
        operation = entry.get("operation", "")
        version = entry.get("apiVersion", "")
        if operation not in ("Apply", "Update"):
            raise ManagedFieldsError("operation must be `Apply` or `Update`")
        if not version:
            raise ManagedFieldsError("apiVersion must not be empty")
        kind = entry.get("fieldsType", "")
        if kind != "FieldsV1":
            what = f'invalid fieldsType "{kind}"' if kind else "missing fieldsType"
            raise ManagedFieldsError(f"{what} in managed fields entry {index}")
        fields = entry.get("fieldsV1") or {}
        try:
            fields = parse_set(fields)
        except ElementError as error:
            raise ManagedFieldsError(f"error decoding set: {error}") from error
        key = OwnerKey(
            entry.get("manager", ""),
            cast("Operation", operation),
            "" if operation == "Apply" else version,
            entry.get("subresource", ""),
        )
        owners[key] = Owner(version, fields, entry.get("time") or "")
    return owners


def _check_entry(entry: Any) -> None:
    if not isinstance(entry, dict):
        raise ManagedFieldsError("an entry is not an object")
    for name in ("manager", "operation", "apiVersion", "time", "fieldsType", "subresource"):
        if not isinstance(entry.get(name) or "", str):
            raise ManagedFieldsError(f"{name} is not text")


def is_reset(entries: Any) -> bool:
    """Whether a client asks to forget all owners: with one empty entry. An empty list may come
    from somebody who does not know them, so it changes nothing.
    """
    return isinstance(entries, list) and entries == [{}]


def render_owners(owners: Owners) -> list[dict[str, Any]]:
    """The entries in upstream's order, to be encoded."""
    rows = [(key, owner) for key, owner in owners.items()]
    if len(rows) > 1:
        rows.sort(
            key=lambda row: (
                row[0].operation,
                row[1].time,
                row[0].manager,
                row[1].api_version,
                row[0].subresource,
            )
        )
    entries: list[dict[str, Any]] = []
    for key, owner in rows:
        entry: dict[str, Any] = {}
        if key.manager:
            entry["manager"] = key.manager
        entry["operation"] = key.operation
        entry["apiVersion"] = owner.api_version
        if owner.time:
            entry["time"] = owner.time
        entry["fieldsType"] = "FieldsV1"
        entry["fieldsV1"] = owner.encoded
        if key.subresource:
            entry["subresource"] = key.subresource
        entries.append(entry)
    return entries


def cap_owners(owners: Owners, limit: int = UPDATE_OWNERS_LIMIT) -> Owners:
    """At most ``limit`` updaters: the oldest of a version become ``ancient-changes``."""
    updaters = [key for key in owners if key.operation == "Update"]
    if len(updaters) <= limit:
        return owners
    capped = dict(owners)
    updaters.sort(key=lambda key: (owners[key].time, key))
    first_of: dict[str, OwnerKey] = {}
    count = len(updaters)
    for key in updaters:
        if count <= limit:
            break
        owner = owners[key]
        bucket = OwnerKey.updater(_ANCIENT, owner.api_version)
        first = first_of.get(owner.api_version)
        if first is None:
            first_of[owner.api_version] = key
            continue
        if bucket not in capped:
            capped[bucket] = capped.pop(first)
        if key != bucket:
            fields = union(owner.fields, capped[bucket].fields)
            capped[bucket] = Owner(owner.api_version, fields, owner.time)
            del capped[key]
        count -= 1
    return capped
