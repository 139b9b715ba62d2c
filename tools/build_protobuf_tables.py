"""Field numbers of the API's protobuf form, read from upstream's Go types into one table.

usage: build_protobuf_tables.py API_REPOSITORY APIMACHINERY_REPOSITORY > table.json

Both are git repositories (kubernetes/api, kubernetes/apimachinery). Struct tags say number, JSON
name and whether a field is inlined; the Go type says whether an explicit zero means something
(pointers). Only these facts are kept, no prose.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

META = "k8s.io/apimachinery/pkg/apis/meta/v1"
SPECIAL = {
    "k8s.io/apimachinery/pkg/api/resource": {"Quantity": "quantity"},
    "k8s.io/apimachinery/pkg/util/intstr": {"IntOrString": "intstr"},
    "k8s.io/apimachinery/pkg/runtime": {"RawExtension": "raw"},
    META: {"Time": "time", "MicroTime": "microtime", "FieldsV1": "skip"},
}
SCALARS = {
    "string": "string",
    "bool": "bool",
    "int": "int",
    "int32": "int",
    "int64": "int",
    "uint8": "int",
    "float64": "double",
    "[]byte": "bytes",
}
_FIELD = re.compile(r"^\s+(?:(\w+)\s+)?([\w.\[\]*]+)\s+`([^`]*)`")


def git(repository: str, *arguments: str) -> str:
    command = ["git", "-C", repository, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Package:
    """One Go package's structs and named types."""

    def __init__(self, path: str, sources: list[str]) -> None:
        self.path = path
        self.structs: dict[str, list[tuple[str, str]]] = {}
        self.named: dict[str, str] = {}
        self.imports: dict[str, str] = {}
        for source in sources:
            self._read(source)

    def _read(self, source: str) -> None:
        for alias, path in re.findall(r'^\s+(?:(\w+)\s+)?"(k8s\.io/[^"]+)"', source, re.MULTILINE):
            self.imports[alias or path.rsplit("/", 1)[1]] = path
        for name, body in re.findall(
            r"^type (\w+) struct \{\n(.*?)^\}", source, re.MULTILINE | re.DOTALL
        ):
            self.structs[name] = [
                (found[2], found[3]) for found in map(_FIELD.match, body.splitlines()) if found
            ]
        for name, target in re.findall(r"^type (\w+) ([\w.\[\]*]+)$", source, re.MULTILINE):
            self.named[name] = target


class Tables:
    def __init__(self, packages: dict[str, Package]) -> None:
        self.packages = packages

    def resolve(self, package: Package, go: str) -> str:
        go = go.removeprefix("*")
        if go in SCALARS:
            return SCALARS[go]
        if go.startswith("[]"):
            return "[" + self.resolve(package, go[2:])
        if go.startswith("map["):
            return "{" + self.resolve(package, go[go.index("]") + 1 :])
        alias, dot, name = go.rpartition(".")
        path = package.imports[alias] if dot else package.path
        special = SPECIAL.get(path, {}).get(name)
        if special:
            return special
        if path == "k8s.io/apimachinery/pkg/types":
            return "string"
        home = self.packages.get(path)
        if home is None or (name not in home.structs and name not in home.named):
            return "skip"
        if name in home.structs:
            return f"@{short(path)}:{name}"
        inner = self.resolve(home, home.named[name])
        # A named list or map is a message of its own around its items.
        return f"={inner}" if inner[0] == "[" and not dot_free(home, name) else inner

    def build(self) -> dict[str, list[list[object]]]:
        made: dict[str, list[list[object]]] = {}
        for path, package in self.packages.items():
            for name, fields in package.structs.items():
                rows = []
                for go, tag in fields:
                    numbered = re.search(r'protobuf:"\w+,(\d+),', tag)
                    named = re.search(r'json:"([^",]*)([^"]*)"', tag)
                    if numbered is None or named is None:
                        continue
                    flags = "p" if go.startswith("*") or "omit" not in named[2] else ""
                    rows.append([int(numbered[1]), named[1], self.resolve(package, go), flags])
                if rows:
                    made[f"{short(path)}:{name}"] = rows
        return made


def dot_free(package: Package, name: str) -> bool:
    """Whether a named list is written as plain repeated fields (``protobuf`` generates no
    message for it). Upstream marks the others with ``+protobuf.nullable=true``."""
    return name not in NULLABLE


NULLABLE = {"Verbs", "ExtraValue"}


def short(path: str) -> str:
    return "meta/v1" if path == META else path.removeprefix("k8s.io/api/")


def main() -> None:
    api, machinery = sys.argv[1:]
    packages = {}
    listed = git(api, "ls-tree", "-r", "HEAD", "--name-only").splitlines()
    folders = sorted({p.rsplit("/", 1)[0] for p in listed if re.match(r"\w+/v\d+/types", p)})
    for folder in folders:
        files = [p for p in listed if re.fullmatch(rf"{folder}/\w*types?\w*\.go", p)]
        files = [p for p in files if "swagger" not in p and "generated" not in p]
        sources = [git(api, "show", f"HEAD:{p}") for p in files]
        packages[f"k8s.io/api/{folder}"] = Package(f"k8s.io/api/{folder}", sources)
    sources = [git(machinery, "show", "HEAD:pkg/apis/meta/v1/types.go")]
    packages[META] = Package(META, sources)
    types = Tables(packages).build()
    lines = [
        f"{json.dumps(name)}:{json.dumps(rows, separators=(',', ':'))}"
        for name, rows in types.items()
    ]
    print("{\n" + ",\n".join(lines) + "\n}")


main()
