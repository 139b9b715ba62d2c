"""Write how Go's structs go on the wire: facts the published OpenAPI does not tell.

    python tools/build_wire_tables.py GROUP/VERSION=TYPES.go ...

Reads struct declarations (names, types and tags, no prose) and writes
``src/kutter/api/schema/wire.json``. Its form is told in ``kutter/api/schema/wire.py``,
its reader.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

TABLE = Path(__file__).resolve().parent.parent / "src/kutter/api/schema/wire.json"
_STRUCT = re.compile(r"^type (\w+) struct \{$(.*?)^\}", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"^type (\w+) (\*?[\w\[\].]+)$", re.MULTILINE)
_FIELD = re.compile(r'^\s+(\w+)\s+(\S+)\s+`[^`]*?json:"([^"]*)"[^`]*`', re.MULTILINE)
_EMBEDDED = re.compile(r'^\s+[\w.]*?(\w+)\s+`[^`]*?json:"(\w+)[^"]*"[^`]*`', re.MULTILINE)
_INLINE = re.compile(r'^\s+([\w.]+)\s+`[^`]*?json:",inline"[^`]*`', re.MULTILINE)
_BASIC = {"string", "bool", "int", "int32", "int64", "float64", "byte", "uint8"}


def _within(base: str, field: str) -> str:
    parts = ([*field.split("|"), "", "", "", ""])[:5]
    parts[4] = f"{base}.{parts[4]}".rstrip(".")
    return "|".join(parts)


class Package:
    """One file's types. ``known``: all packages by their table's name."""

    def __init__(self, table: str, text: str) -> None:
        self.table = table
        self.alias = table.rpartition("/")[2]
        self.structs = dict(_STRUCT.findall(text))
        self.named = {name: of for name, of in _NAMED.findall(text) if name not in self.structs}
        self.named["FieldsV1"] = "any"

    def fields(self, name: str) -> list[str]:
        found: list[tuple[int, str]] = []
        body = self.structs[name]
        for match in _INLINE.finditer(body):
            base = match[1].rpartition(".")[2]
            if "." not in match[1] and base in self.structs:
                # The name of an embedded struct is a part of paths in messages.
                found += [(match.start(), _within(base, one)) for one in self.fields(base)]
        for match in _EMBEDDED.finditer(body):
            found.append((match.start(), f"{match[2]}|=|{match[1]}"))
        for match in _FIELD.finditer(body):
            tag, *options = match[3].split(",")
            if tag and tag != "-":
                found.append((match.start(), self._field(match[1], match[2], tag, options)))
        return [one for _, one in sorted(found, key=lambda pair: pair[0])]

    def _field(self, go_name: str, go_type: str, tag: str, options: list[str]) -> str:
        shown = "" if go_name == tag[:1].upper() + tag[1:] else go_name
        kind = self._kind(go_type.removeprefix("*"))
        pointer = go_type.startswith("*")
        omits = "omitempty" in options or "omitzero" in options
        if pointer:
            flag = "" if omits else "="
        elif kind == "scalar":
            flag = "~" if omits else "="
        elif kind == "struct":
            flag = "?" if "omitzero" in options else "="
        else:
            flag = "" if omits else "="
        if pointer and flag:
            flag = "*"
        return "|".join((tag, flag, shown, self._go_type(go_type.removeprefix("*")))).rstrip("|")

    def _kind(self, go_type: str) -> str:
        if go_type.startswith(("[", "map[")):
            return "many"
        if go_type in _BASIC or go_type == "types.UID":
            return "scalar"
        if go_type in ("runtime.RawExtension", "runtime.Object", "JSON", "FieldsV1"):
            return "many"
        name = go_type.rpartition(".")[2]
        if "." not in go_type and name in self.named:
            return self._kind(self.named[name])
        outside = _OUTSIDE.get(go_type)
        return outside or "struct"

    def _go_type(self, go_type: str) -> str:
        """The name Go gives a type that is no struct and not basic."""
        if go_type == "types.UID":
            return go_type
        if go_type in _OUTSIDE:
            return f"v1.{go_type.rpartition('.')[2]}"
        if "." not in go_type and go_type in self.named:
            return f"{self.alias}.{go_type}"
        if go_type.startswith("[]") and self._go_type(go_type[2:]):
            return "[]" + self._go_type(go_type[2:])
        if go_type.startswith("map["):
            key, _, value = go_type.removeprefix("map[").partition("]")
            if self._go_type(key):
                value = value if "." in value else f"{self.alias}.{value}"
                return f"map[{self._go_type(key)}]{value}"
        return ""


# Named types of other packages that are no structs.
_OUTSIDE = {
    "v1.PersistentVolumeAccessMode": "scalar",
    "v1.ConditionStatus": "scalar",
    "v1.ResourceName": "scalar",
    "v1.ResourceList": "many",
    "v1.TerminationMessagePolicy": "scalar",
    "v1.Protocol": "scalar",
    "v1.MountPropagationMode": "scalar",
    "metav1.ConditionStatus": "scalar",
    "v1.NodeSelectorOperator": "scalar",
    "v1.PodConditionType": "scalar",
    "v1.TaintEffect": "scalar",
    "v1.TolerationOperator": "scalar",
    "metav1.Verbs": "many",
    "corev1.ConditionStatus": "scalar",
    "corev1.ResourceName": "scalar",
    "apiv1.PreemptionPolicy": "scalar",
    "corev1.PodConditionType": "scalar",
    "corev1.ResourceList": "many",
    "metav1.StatusReason": "scalar",
    "v1.PersistentVolumeReclaimPolicy": "scalar",
}


def build(sources: dict[str, str]) -> dict[str, Any]:
    built: dict[str, Any] = {}
    for table, text in sorted(sources.items()):
        package = Package(table, text)
        built[table] = {name: package.fields(name) for name in sorted(package.structs)}
    return built


def main() -> None:
    sources: dict[str, str] = {}
    for argument in sys.argv[1:]:
        table, _, file = argument.partition("=")
        sources[table] = sources.get(table, "") + Path(file).read_text()
    lines = [
        f" {json.dumps(table)}: {{\n"
        + ",\n".join(
            f"  {json.dumps(name)}: {json.dumps(fields)}" for name, fields in types.items()
        )
        + "\n }"
        for table, types in build(sources).items()
    ]
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
