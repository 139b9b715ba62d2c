"""Write the protobuf tables from upstream's published sources. Deterministic; no prose.

    python tools/build_protobuf_tables.py ROOT [--check]

ROOT holds checkouts of v0.36 as ``k8s.io/api``, ``k8s.io/apimachinery``,
``k8s.io/apiextensions-apiserver`` and ``k8s.io/kube-aggregator``. Two sorts of facts are read
there: ``generated.proto`` gives a message's fields (number, wire type), the tags of the Go
structs beside it give the name in JSON, whether the field is a pointer, whether JSON leaves its
zero out. One table per group-version goes to ``src/kutter/api/protobuf/tables``; their form is
told in ``kutter/api/protobuf/tables.py``, their reader. ``--check`` writes nothing and exits
with 1 when a committed table differs.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

TABLES = Path(__file__).resolve().parent.parent / "src/kutter/api/protobuf/tables"
META = "k8s.io/apimachinery/pkg/apis/meta/v1"
# Folder of a package → the table of its types.
PACKAGES = {
    META: "meta/v1",
    "k8s.io/api/core/v1": "core/v1",
    "k8s.io/api/apidiscovery/v2": "apidiscovery.k8s.io/v2",
    "k8s.io/api/apps/v1": "apps/v1",
    "k8s.io/api/batch/v1": "batch/v1",
    "k8s.io/api/autoscaling/v1": "autoscaling/v1",
    "k8s.io/api/autoscaling/v2": "autoscaling/v2",
    "k8s.io/api/policy/v1": "policy/v1",
    "k8s.io/api/admissionregistration/v1": "admissionregistration.k8s.io/v1",
    "k8s.io/api/authentication/v1": "authentication.k8s.io/v1",
    "k8s.io/api/authorization/v1": "authorization.k8s.io/v1",
    "k8s.io/api/certificates/v1": "certificates.k8s.io/v1",
    "k8s.io/api/coordination/v1": "coordination.k8s.io/v1",
    "k8s.io/api/discovery/v1": "discovery.k8s.io/v1",
    "k8s.io/api/events/v1": "events.k8s.io/v1",
    "k8s.io/api/flowcontrol/v1": "flowcontrol.apiserver.k8s.io/v1",
    "k8s.io/api/networking/v1": "networking.k8s.io/v1",
    "k8s.io/api/node/v1": "node.k8s.io/v1",
    "k8s.io/api/rbac/v1": "rbac.authorization.k8s.io/v1",
    "k8s.io/api/resource/v1": "resource.k8s.io/v1",
    "k8s.io/api/scheduling/v1": "scheduling.k8s.io/v1",
    "k8s.io/api/storage/v1": "storage.k8s.io/v1",
    "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1": "apiextensions.k8s.io/v1",
    "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1": "apiregistration.k8s.io/v1",
}
# Messages that are values in JSON, by full name.
_MACHINERY = "k8s.io.apimachinery.pkg."
_EXTENSIONS = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1."
VALUES = {
    _MACHINERY + "apis.meta.v1.Time": "time",
    _MACHINERY + "apis.meta.v1.MicroTime": "microtime",
    _MACHINERY + "apis.meta.v1.FieldsV1": "any",
    _MACHINERY + "apis.meta.v1.Verbs": "strings",
    _MACHINERY + "api.resource.Quantity": "quantity",
    _MACHINERY + "util.intstr.IntOrString": "intstr",
    _MACHINERY + "runtime.RawExtension": "any",
    _EXTENSIONS + "JSON": "any",
    _EXTENSIONS + "JSONSchemaPropsOrArray": "schemaOrList",
    _EXTENSIONS + "JSONSchemaPropsOrBool": "schemaOrBoolean",
    _EXTENSIONS + "JSONSchemaPropsOrStringArray": "schemaOrStrings",
}
SCALARS = {
    "string": "string",
    "bytes": "byte",
    "bool": "boolean",
    "int32": "int32",
    "int64": "int64",
    "double": "double",
}
# Never on their own in a request or an answer.
LEFT_OUT = frozenset({"Duration", "List", "Patch", "Timestamp", "TypeMeta", "WatchEvent"})

_MESSAGE = re.compile(r"^message (\w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^\s+(optional|repeated) (\S+) (\w+) = (\d+)", re.MULTILINE)
_MAP = re.compile(r"^\s+map<string, (\S+)> (\w+) = (\d+)", re.MULTILINE)
_PACKAGE = re.compile(r"^package (\S+);", re.MULTILINE)
_STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_TAGGED = re.compile(
    r'^\s+(?:\w+\s+)?(\S+)\s+`json:"([^"]*)"[^`]*protobuf:"\w+,(\d+)[^"]*"', re.MULTILINE
)


class Sources:
    """All messages and structs, by folder."""

    def __init__(self, root: Path) -> None:
        self.packages: dict[str, str] = {}  # package name → folder
        self.messages: dict[str, dict[str, str]] = {}
        self.structs: dict[str, dict[str, str]] = {}
        for folder in PACKAGES:
            text = _uncommented((root / folder / "generated.proto").read_text())
            found = _PACKAGE.search(text)
            assert found is not None, folder
            self.packages[found.group(1)] = folder
            self.messages[folder] = dict(_MESSAGE.findall(text))
            self.structs[folder] = {
                name: body
                for path in sorted((root / folder).glob("*.go"))
                if not path.name.startswith(("generated", "zz_"))
                for name, body in _STRUCT.findall(_uncommented(path.read_text()))
            }

    def type_text(self, folder: str, wire: str) -> str:
        if wire in SCALARS:
            return SCALARS[wire]
        package, _, name = wire.lstrip(".").rpartition(".")
        if not package:
            package = next(p for p, f in self.packages.items() if f == folder)
        full = f"{package}.{name}"
        if full in VALUES:
            return VALUES[full]
        target = self.packages[package]
        if name == "ExtraValue":
            return "strings"
        return f"@{name}" if target == folder else f"@{PACKAGES[target]}:{name}"

    def fields(self, folder: str, name: str, body: str) -> dict[str, str]:
        """Field name in JSON → field text, by number."""
        tags = {
            int(number): (go_type, json_tag.split(","))
            for go_type, json_tag, number in _TAGGED.findall(self.structs[folder].get(name, ""))
        }
        found: list[tuple[int, str, str]] = []
        for label, wire, _, number in _FIELD.findall(body):
            text = self.type_text(folder, wire)
            found.append((int(number), f"[{text}]" if label == "repeated" else text, label))
        for wire, _, number in _MAP.findall(body):
            found.append((int(number), f"{{{self.type_text(folder, wire)}}}", "map"))
        described: dict[str, str] = {}
        for number, text, label in sorted(found):
            if number not in tags:
                msg = f"{folder} {name}: no struct tag with number {number}"
                raise ValueError(msg)
            go_type, (json_name, *options) = tags[number]
            if json_name == "" and "inline" in options:
                described[f"<{text[1:]}>"] = f"{number} {text} inline"
                continue
            if json_name in ("", "-"):
                msg = f"{folder} {name}: no name for {number}"
                raise ValueError(msg)
            mark = ""
            if label == "optional":
                if go_type.startswith("*") or text in ("byte", "strings"):
                    mark = " pointer"
                elif "omitempty" in options or "omitzero" in options:
                    mark = " omitempty"
            described[json_name] = f"{number} {text}{mark}"
        return described


def _uncommented(text: str) -> str:
    return re.sub(r"^\s*//.*\n", "", text, flags=re.MULTILINE)


def build(root: Path) -> dict[str, str]:
    """File name → text, for every table."""
    sources = Sources(root)
    built = {}
    for folder, table in PACKAGES.items():
        full = {f: p for p, f in sources.packages.items()}[folder]
        lines = []
        for name, body in sorted(sources.messages[folder].items()):
            if name in LEFT_OUT or f"{full}.{name}" in VALUES or name == "ExtraValue":
                continue
            fields = sources.fields(folder, name, body)
            lines.append(f" {json.dumps(name)}: {json.dumps(fields, separators=(', ', ': '))}")
        built[f"{table.replace('/', '.')}.json"] = "{\n" + ",\n".join(lines) + "\n}\n"
    return built


def main(arguments: list[str]) -> int:
    check = "--check" in arguments
    (root,) = [Path(argument) for argument in arguments if argument != "--check"]
    built = build(root)
    if check:
        stale = [n for n, text in built.items() if (TABLES / n).read_text() != text]
        print("\n".join(f"differs: {name}" for name in stale))
        return 1 if stale else 0
    TABLES.mkdir(parents=True, exist_ok=True)
    for name, text in built.items():
        (TABLES / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
