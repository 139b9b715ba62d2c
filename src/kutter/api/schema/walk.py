"""The walk: prune, check and normalise a tree in one pass, as Go's decoder does.

Each node is compiled to a closure when first walked. The walk owns the tree and changes it in
place: unknown fields and nulls go, empty lists and maps go where Go omits them, quantities and
times get their canonical form. A value of a wrong type ends it with a :class:`Mismatch` that
knows its path; messages are those of Go's JSON decoder.
"""

from __future__ import annotations

import binascii
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from kutter.api.quantity import QuantityError, canonical_text, number_text
from kutter.api.schema.duplicates import count_keys
from kutter.api.schema.node import Findings, Node, Visit
from kutter.api.schema.wire import always_written, dropped_zeros, fresh, wire_fields

_RFC3339 = "2006-01-02T15:04:05Z07:00"
_RFC3339_MICRO = "2006-01-02T15:04:05.000000Z07:00"
_date_time = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII
).fullmatch
_INT32 = (-(1 << 31), (1 << 31) - 1)
_INT64 = (-(1 << 63), (1 << 63) - 1)

# What a visit answers for a value that is to be left out.
_OMIT = object()


class Mismatch(Exception):
    """A value of the wrong type. ``text`` is set when Go's message does not name the field."""

    def __init__(self, value: Any, node: Node, text: str = "") -> None:
        super().__init__(text)
        self.value = value
        self.node = node
        self.text = text
        self.path: list[str] = []
        self.struct = ""
        self.go_type = ""

    def __str__(self) -> str:
        if self.text:
            return self.text
        field = ".".join([self.struct, *reversed(self.path)])
        target = f"Go struct field {field}" if self.path else "Go value"
        found = _described(self.value, self.node)
        kind = self.go_type or self.node.go_type()
        return f"json: cannot unmarshal {found} into {target} of type {kind}"

    def name(self, named: str) -> None:
        """Tell the named type of the field that held the value, or a list with it."""
        if self.path or self.node.type in ("object", "any"):
            return
        if named.startswith("map["):
            self.go_type = named if self.node.type == "map" else named.partition("]")[2]
        elif self.node.type == "list":
            self.go_type = named
        elif self.node.type != "map" or not named.startswith("[]"):
            self.go_type = named.removeprefix("[]")

    def converted(self) -> str:
        """The message of one who converts a decoded tree, as strategic merge patch does."""
        if self.text:
            return self.text
        found, node = _KINDS.get(type(self.value), "map"), self.node
        match node.type:
            case "object":
                return f"cannot restore struct from: {found}"
            case "map":
                return f"cannot restore map from {found}"
            case "list":
                return f"cannot restore slice from {found}"
            case "string" if found == "int64":
                return "cannot convert int64 to string"
            case "int32" | "int64" if found == "float64":
                return f"cannot convert float64 to {node.type}"
            case "string" | "int32" | "int64" | "boolean" | "double":
                return f"unrecognized type: {node.go_type()}"
        return str(self)


_KINDS: dict[type, str] = {
    bool: "bool",
    str: "string",
    int: "int64",
    float: "float64",
    list: "slice",
}


def _described(value: Any, node: Node) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case dict():
            return "object"
        case list():
            return "array"
        case _ if node.type in ("int32", "int64"):
            return f"number {number_text(value)}"
        case _:
            return "number"


def compile_visit(node: Node) -> Visit:
    match node.type:
        case "object":
            return _visit_object(node)
        case "map":
            return _visit_map(node)
        case "list":
            return _visit_list(node)
        case "any":
            return _visit_any
        case _:
            return _SCALARS[node.type](node)


def _visit_any(value: Any, findings: Findings | None) -> Any:
    if findings is not None:
        findings.keys += count_keys(value)
    return value


# Strings and booleans are most of what there is: containers check them by their type alone.
_PLAIN: dict[str, type] = {"string": str, "boolean": bool}


def _visit_object(node: Node) -> Visit:
    fields = node.fields
    # Field → plain type, or visit.
    checks: dict[str, Any] = {}
    for field_name, field in fields.items():
        checks[field_name] = _PLAIN.get(field.type) or _late(field, checks, field_name)
    get = checks.get
    name = node.name
    preserves_unknown = node.preserves_unknown
    zeros = dropped_zeros(node)
    written = always_written(node)

    def visit(value: Any, findings: Findings | None) -> Any:
        if type(value) is not dict:
            raise Mismatch(value, node)
        if findings is not None:
            findings.keys += len(value)
        dropped: list[str] | None = None
        key = ""
        try:
            for key, item in value.items():
                check = get(key)
                if type(item) is check and (item or key not in zeros):
                    continue
                if check is None:
                    if findings is not None:
                        findings.keys += count_keys(item)
                        if not preserves_unknown:
                            findings.unknown.append((value, key))
                    if preserves_unknown:
                        continue
                elif item is not None:
                    if check is str or check is bool:
                        if type(item) is not check:
                            raise Mismatch(item, fields[key])
                        check = _same
                    seen = check(item, findings)
                    if seen is item and (item or key not in zeros):
                        continue
                    if seen is not _OMIT and (seen or key not in zeros):
                        value[key] = seen
                        continue
                if dropped is None:
                    dropped = [key]
                else:
                    dropped.append(key)
        except Mismatch as mismatch:
            known = wire_fields(node.table, name).get(key)
            mismatch.name(known.go_type if known else "")
            mismatch.path.append(key)
            if known and known.embedded:
                mismatch.path.append(known.embedded)
            mismatch.struct = mismatch.struct or name
            raise
        if dropped is not None:
            for key in dropped:
                del value[key]
        for key, item in written:
            if key not in value or (item is None and value[key] == []):
                value[key] = fresh(item)
        return value

    return visit


def _same(value: Any, findings: Findings | None) -> Any:
    return value


def _late(field: Node, checks: dict[str, Any], name: str) -> Visit:
    """A visit that compiles its node when first called and then takes its own place."""

    def visit(value: Any, findings: Findings | None) -> Any:
        compiled = checks[name] = field.visit
        return compiled(value, findings)

    return visit


def _zero(node: Node) -> Any:
    """What Go leaves in a list or map for an explicit null."""
    match node.type:
        case "object" | "map":
            return {}
        case "list":
            return []
        case "string" | "byte":
            return ""
        case "boolean":
            return False
        case "quantity":
            return "0"
        case "any" | "time" | "microtime":
            return None
        case _:
            return 0


def _visit_map(node: Node) -> Visit:
    items = node.items
    assert items is not None
    plain = _PLAIN.get(items.type)
    omits = not node.keeps_empty

    def visit_plain(value: Any, findings: Findings | None) -> Any:
        if type(value) is not dict:
            raise Mismatch(value, node)
        if findings is not None:
            findings.keys += len(value)
        for key, item in value.items():
            if type(item) is not plain:
                if item is not None:
                    raise Mismatch(item, items)
                value[key] = _zero(items)
        return _OMIT if omits and not value else value

    def visit(value: Any, findings: Findings | None) -> Any:
        if type(value) is not dict:
            raise Mismatch(value, node)
        if findings is not None:
            findings.keys += len(value)
        inner = items.visit
        for key, item in value.items():
            seen = _zero(items) if item is None else inner(item, findings)
            if seen is not item:
                value[key] = seen
        return _OMIT if omits and not value else value

    return visit_plain if plain else visit


def _visit_list(node: Node) -> Visit:
    items = node.items
    assert items is not None
    plain = _PLAIN.get(items.type)
    omits = not node.keeps_empty

    def visit_plain(value: Any, findings: Findings | None) -> Any:
        if type(value) is not list:
            raise Mismatch(value, node)
        for index, item in enumerate(value):
            if type(item) is not plain:
                if item is not None:
                    raise Mismatch(item, items)
                value[index] = _zero(items)
        return _OMIT if omits and not value else value

    def visit(value: Any, findings: Findings | None) -> Any:
        if type(value) is not list:
            raise Mismatch(value, node)
        inner = items.visit
        for index, item in enumerate(value):
            seen = _zero(items) if item is None else inner(item, findings)
            if seen is not item:
                value[index] = seen
        return _OMIT if omits and not value else value

    return visit_plain if plain else visit


def _visit_plain(node: Node) -> Visit:
    plain = _PLAIN[node.type]

    def visit(value: Any, findings: Findings | None) -> Any:
        if type(value) is not plain:
            raise Mismatch(value, node)
        return value

    return visit


def _visit_integer(node: Node) -> Visit:
    low, high = _INT32 if node.type == "int32" else _INT64

    def visit(value: Any, findings: Findings | None) -> Any:
        if type(value) is not int or not low <= value <= high:
            raise Mismatch(value, node)
        return value

    return visit


def _visit_double(node: Node) -> Visit:
    def visit(value: Any, findings: Findings | None) -> Any:
        if type(value) is not float and type(value) is not int:
            raise Mismatch(value, node)
        return value

    return visit


def _visit_int_or_string(node: Node) -> Visit:
    low, high = _INT32
    as_go = Node("int32")

    def visit(value: Any, findings: Findings | None) -> Any:
        if type(value) is str or (type(value) is int and low <= value <= high):
            return value
        raise Mismatch(value, as_go)

    return visit


def _visit_bytes(node: Node) -> Visit:
    def visit(value: Any, findings: Findings | None) -> Any:
        if type(value) is not str:
            raise Mismatch(value, node)
        bare = value.replace("\n", "").replace("\r", "")
        try:
            binascii.a2b_base64(bare, strict_mode=True)
        except (binascii.Error, ValueError):
            raise Mismatch(value, node, _base64_text(bare)) from None
        return bare

    return visit


def _base64_text(value: str) -> str:
    body = value.rstrip("=")
    bad = re.search(r"[^A-Za-z0-9+/]", body)
    at = bad.start() if bad else len(value) // 4 * 4
    return f"illegal base64 data at input byte {at}"


def _visit_quantity(node: Node) -> Visit:
    def visit(value: Any, findings: Findings | None) -> Any:
        if type(value) is not str:
            if type(value) is not int and type(value) is not float:
                raise Mismatch(value, node, str(_quantity_error(value)))
            value = number_text(value)
        try:
            return canonical_text(value)
        except QuantityError as error:
            raise Mismatch(value, node, str(error)) from None

    return visit


def _quantity_error(value: Any) -> QuantityError:
    try:
        canonical_text(f'"{value}"')
    except QuantityError as error:
        return error
    raise AssertionError("quotes are never part of a quantity")


def _visit_time(node: Node) -> Visit:
    normal = _normal_micro_time if node.type == "microtime" else normal_time

    def visit(value: Any, findings: Findings | None) -> Any:
        if type(value) is not str:
            as_go = Node("string")
            raise Mismatch(value, as_go, str(Mismatch(value, as_go)))
        try:
            return normal(value)
        except ValueError as error:
            raise Mismatch(value, node, str(error)) from None

    return visit


@lru_cache(maxsize=4096)
def normal_time(text: str) -> str:
    """RFC 3339 in UTC with whole seconds. Raises ValueError in Go's words."""
    match = _parse_time(text, _RFC3339)
    return text if len(text) == _WHOLE_UTC else _moment(match).isoformat()[:19] + "Z"


@lru_cache(maxsize=4096)
def _normal_micro_time(text: str) -> str:
    """RFC 3339 in UTC with six digits of a second. Raises ValueError in Go's words."""
    match = _parse_time(text, _RFC3339_MICRO)
    if len(match[7] or "") != 6:
        raise ValueError(
            f'parsing time "{text}" as "{_RFC3339_MICRO}": cannot parse "{text[19:]}" as ".000000"'
        )
    if match[8] == "Z":
        return text.replace(",", ".")
    return f"{_moment(match).isoformat()[:19]}.{match[7]}Z"


_WHOLE_UTC = len("2006-01-02T15:04:05Z")


def _parse_time(text: str, layout: str) -> re.Match[str]:
    match = _date_time(text)
    if match is None:
        raise ValueError(f'parsing time "{text}" as "{layout}": cannot parse "{text}" as "2006"')
    try:
        _moment(match)
    except (ValueError, OverflowError) as error:
        what = str(error).split(" ", 1)[0]
        raise ValueError(f'parsing time "{text}": {what} out of range') from None
    return match


def _moment(match: re.Match[str]) -> datetime:
    """The moment in UTC, to the second."""
    zone = match[8]
    offset = timedelta()
    if zone != "Z":
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
        offset = -offset if zone[0] == "-" else offset
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC) - offset


_SCALARS = {
    "string": _visit_plain,
    "boolean": _visit_plain,
    "int32": _visit_integer,
    "int64": _visit_integer,
    "double": _visit_double,
    "byte": _visit_bytes,
    "quantity": _visit_quantity,
    "intstr": _visit_int_or_string,
    "time": _visit_time,
    "microtime": _visit_time,
}
