"""The test data of google/cel-spec, read from protobuf's text format.

``tools/install.sh test`` puts it beside the virtual environment; it is not ours to commit.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kutter.api.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    UINT,
    Type,
    list_of,
    map_of,
    opaque,
    param,
    type_of_type,
)
from kutter.api.cel.values import Keyed, UInt

DIRECTORY = Path(sys.prefix) / "share" / "cel-spec"
_token = re.compile(
    r"""\s+|\#[^\n]*
      |(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
      |(?P<type>\[[\w./-]+\])
      |(?P<word>[-+]?\d[\d.]*[eE][-+]?\d+|[-+]?[\w.]+)
      |(?P<mark>[{}<>:;,\[\]])""",
    re.VERBOSE,
)
_escape = re.compile(
    rb"\\([0-7]{1,3}|x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL
)
_SIMPLE = {
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"v": b"\v",
}
Message = dict[str, list[Any]]


@dataclass(frozen=True)
class Case:
    """One test: ``file/section/name``, the message of it."""

    id: str
    message: Message

    def one(self, name: str, default: Any = None) -> Any:
        found = self.message.get(name)
        return found[0] if found else default

    @property
    def text(self) -> str:
        return str(self.one("expr", b""), "utf-8")

    @property
    def all_text(self) -> str:
        return repr(self.message)


def load_cases() -> list[Case]:
    """All tests of all files. Raises FileNotFoundError when the data is not there."""
    files = sorted(DIRECTORY.glob("*.textproto"))
    if not files:
        raise FileNotFoundError(
            f"no test data of cel-spec in {DIRECTORY}: run tools/install.sh test"
        )
    cases = []
    for file in files:
        message = parse(file.read_text())
        for section in message.get("section", []):
            name = str(section["name"][0], "utf-8")
            for test in section.get("test", []):
                id = f"{file.stem}/{name}/{str(test['name'][0], 'utf-8')}"
                cases.append(Case(id, test))
    return cases


def parse(text: str) -> Message:
    """A message; every field is a list, texts are bytes."""
    tokens = [
        (match.lastgroup, match.group())
        for match in _token.finditer(text)
        if match.lastgroup is not None
    ]
    message, position = _message(tokens, 0)
    assert position == len(tokens), tokens[position : position + 5]
    return message


def _message(tokens: list[tuple[str, str]], position: int) -> tuple[Message, int]:
    message: Message = {}
    while position < len(tokens) and tokens[position][1] not in "}>":
        name = tokens[position][1]
        position += 1
        if tokens[position][1] == ":":
            position += 1
        values, position = _values(tokens, position)
        message.setdefault(name, []).extend(values)
        if position < len(tokens) and tokens[position][1] in ",;":
            position += 1
    return message, position


def _values(tokens: list[tuple[str, str]], position: int) -> tuple[list[Any], int]:
    kind, text = tokens[position]
    if text == "[":
        values: list[Any] = []
        position += 1
        while tokens[position][1] != "]":
            more, position = _values(tokens, position)
            values += more
            if tokens[position][1] == ",":
                position += 1
        return values, position + 1
    if text in "{<":
        message, position = _message(tokens, position + 1)
        return [message], position + 1
    if kind == "string":
        joined = b""
        while position < len(tokens) and tokens[position][0] == "string":
            joined += _unescape(tokens[position][1][1:-1])
            position += 1
        return [joined], position
    return [text], position + 1


def _unescape(text: str) -> bytes:
    def replace(match: re.Match[bytes]) -> bytes:
        code = match[1]
        if code[:1] in b"01234567":
            return bytes((int(code, 8) & 0xFF,))
        if code[:1] == b"x":
            return bytes((int(code[1:], 16),))
        if code[:1] in b"uU" and len(code) > 1:
            return chr(int(code[1:], 16)).encode()
        return _SIMPLE.get(code, code)

    return _escape.sub(replace, text.encode())


# -- values and types ----------------------------------------------------------


def value_of(message: Message) -> Any:
    """A ``cel.expr.Value``. Raises KeyError for a protobuf message."""
    (kind, (found, *_)), *_ = message.items()
    match kind:
        case "null_value":
            return None
        case "bool_value":
            return found == "true"
        case "int64_value":
            return int(found, 0)
        case "uint64_value":
            return UInt(int(found, 0))
        case "double_value":
            return float(found)
        case "string_value":
            return str(found, "utf-8")
        case "bytes_value":
            return bytes(found)
        case "type_value":
            return TypeNamed(str(found, "utf-8"))
        case "list_value":
            return [value_of(item) for item in found.get("values", [])]
        case "map_value":
            made = Keyed()
            for entry in found.get("entries", []):
                made.add(value_of(entry["key"][0]), value_of(entry["value"][0]))
            return made
        case _:
            raise KeyError(kind)


@dataclass(frozen=True)
class TypeNamed:
    """A type as a value; the data knows its name only."""

    name: str


_PRIMITIVES = {
    "BOOL": BOOL,
    "BYTES": BYTES,
    "DOUBLE": DOUBLE,
    "INT64": INT,
    "STRING": STRING,
    "UINT64": UINT,
}
_KNOWN = {"TIMESTAMP": TIMESTAMP, "DURATION": DURATION, "ANY": DYN}


def type_of_message(message: Message) -> Type:
    """A ``cel.expr.Type``. Raises KeyError for a protobuf message."""
    (kind, (found, *_)), *_ = message.items()
    match kind:
        case "primitive":
            return _PRIMITIVES[found]
        case "dyn":
            return DYN
        case "null":
            return NULL
        case "well_known":
            return _KNOWN[found]
        case "list_type":
            return list_of(type_of_message(found["elem_type"][0]))
        case "map_type":
            return map_of(
                type_of_message(found["key_type"][0]), type_of_message(found["value_type"][0])
            )
        case "type":
            return type_of_type(type_of_message(found)) if found else type_of_type(DYN)
        case "type_param":
            return param(str(found, "utf-8"))
        case "abstract_type":
            inner = [type_of_message(one) for one in found.get("parameter_types", [])]
            return opaque(str(found["name"][0], "utf-8"), *inner)
        case "message_type":
            return {"google.protobuf.Timestamp": TIMESTAMP, "google.protobuf.Duration": DURATION}[
                str(found, "utf-8")
            ]
        case _:
            raise KeyError(kind)
