"""Write the schema tables from the published OpenAPI of v1.36. Deterministic; no prose.

    python tools/build_schema_tables.py [--check]

Reads the JSON schema of the dev dependency ``kubernetes-validate`` and writes one table per
group-version served (and ``meta/v1``) to ``src/kutter/api/schema/tables``. The form is told in
``kutter/api/schema/loader.py``, their reader. ``--check`` writes nothing
and exits with 1 when a committed table differs.
"""

from __future__ import annotations

import json
import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

VERSION = "v1.36.0"
TABLES = Path(__file__).resolve().parent.parent / "src/kutter/api/schema/tables"

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
# Definitions that are values on the wire, not objects.
SCALARS = {
    META + "Time": "time",
    META + "MicroTime": "microtime",
    META + "FieldsV1": "any",
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "intstr",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "any",
}
APIEXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
SCALARS |= {
    APIEXTENSIONS + name: "any"
    for name in ("JSON", "JSONSchemaPropsOrArray", "JSONSchemaPropsOrBool")
}
SCALARS[APIEXTENSIONS + "JSONSchemaPropsOrStringArray"] = "any"

# The package of Go types behind each group-version that is served, by default or when asked for.
PACKAGES = {
    "io.k8s.api.core.v1.": "core/v1",
    "io.k8s.api.apps.v1.": "apps/v1",
    "io.k8s.api.batch.v1.": "batch/v1",
    "io.k8s.api.autoscaling.v1.": "autoscaling/v1",
    "io.k8s.api.autoscaling.v2.": "autoscaling/v2",
    "io.k8s.api.policy.v1.": "policy/v1",
    "io.k8s.api.admissionregistration.v1.": "admissionregistration.k8s.io/v1",
    "io.k8s.api.authentication.v1.": "authentication.k8s.io/v1",
    "io.k8s.api.authorization.v1.": "authorization.k8s.io/v1",
    "io.k8s.api.certificates.v1.": "certificates.k8s.io/v1",
    "io.k8s.api.certificates.v1beta1.": "certificates.k8s.io/v1beta1",
    "io.k8s.api.coordination.v1.": "coordination.k8s.io/v1",
    "io.k8s.api.coordination.v1beta1.": "coordination.k8s.io/v1beta1",
    "io.k8s.api.discovery.v1.": "discovery.k8s.io/v1",
    "io.k8s.api.events.v1.": "events.k8s.io/v1",
    "io.k8s.api.flowcontrol.v1.": "flowcontrol.apiserver.k8s.io/v1",
    "io.k8s.api.networking.v1.": "networking.k8s.io/v1",
    "io.k8s.api.node.v1.": "node.k8s.io/v1",
    "io.k8s.api.rbac.v1.": "rbac.authorization.k8s.io/v1",
    "io.k8s.api.resource.v1.": "resource.k8s.io/v1",
    "io.k8s.api.scheduling.v1.": "scheduling.k8s.io/v1",
    "io.k8s.api.storage.v1.": "storage.k8s.io/v1",
    "io.k8s.api.storagemigration.v1beta1.": "storagemigration.k8s.io/v1beta1",
    APIEXTENSIONS: "apiextensions.k8s.io/v1",
    "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.": "apiregistration.k8s.io/v1",
    META: "meta/v1",
}
# Kinds of those packages that are not served yet, with their own types.
LEFT_OUT = re.compile(r"io\.k8s\.api\.certificates\.v1beta1\.PodCertificateRequest")
FACTS = {
    "x-kubernetes-list-type": "listType",
    "x-kubernetes-list-map-keys": "mapKeys",
    "x-kubernetes-map-type": "mapType",
    "x-kubernetes-patch-strategy": "patchStrategy",
    "x-kubernetes-patch-merge-key": "mergeKey",
    "x-kubernetes-embedded-resource": "embedded",
    "x-kubernetes-validations": "validations",
    "default": "default",
    "enum": "enum",
}
FORMATS = {"int32": "int32", "int64": "int64", "byte": "byte", "double": "double"}


def definitions() -> dict[str, Any]:
    root = files("kubernetes_validate") / "kubernetes-json-schema" / f"{VERSION}-local"
    found: dict[str, Any] = json.loads((root / "_definitions.json").read_text())["$defs"]
    return found


def split(name: str) -> tuple[str, str]:
    """(table, type) of a definition's full name; KeyError when its table is not served."""
    package, type_name = re.fullmatch(r"(.*\.)([^.]+)", name).groups()  # type: ignore[union-attr]
    return PACKAGES[package], type_name


def type_text(schema: dict[str, Any], table: str, known: dict[str, Any]) -> str:
    """``string``, ``[T]`` a list, ``{T}`` a map, ``@Name`` or ``@group/version:Name`` a type."""
    reference = schema.get("$ref")
    if reference:
        name = reference.rsplit("/", 1)[1]
        if name in SCALARS:
            return SCALARS[name]
        if "properties" not in known[name]:
            return type_text(known[name], table, known)
        target, type_name = split(name)
        return f"@{type_name}" if target == table else f"@{target}:{type_name}"
    kind = schema.get("type")
    if isinstance(kind, list):
        (kind,) = [k for k in kind if k != "null"]
    if kind == "array":
        return f"[{type_text(schema['items'], table, known)}]"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"{{{type_text(values, table, known)}}}" if values else "any"
    if "format" in schema:
        return FORMATS[schema["format"]]
    if kind in ("string", "boolean"):
        return str(kind)
    msg = f"no type for {schema}"
    raise ValueError(msg)


def definition(schema: dict[str, Any], table: str, known: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, field in sorted(schema.get("properties", {}).items()):
        text = type_text(field, table, known)
        facts = {short: field[long] for long, short in FACTS.items() if long in field}
        if name in ("apiVersion", "kind"):
            facts.pop("enum", None)  # says the kind again
        fields[name] = {"type": text, **facts} if facts else text
    built: dict[str, Any] = {"fields": fields}
    if schema.get("required"):
        built["required"] = sorted(schema["required"])
    if "x-kubernetes-map-type" in schema:
        built["mapType"] = schema["x-kubernetes-map-type"]
    if "x-kubernetes-unions" in schema:
        built["unions"] = schema["x-kubernetes-unions"]
    return built


def build() -> dict[str, str]:
    """File name → text, for every table."""
    tables: dict[str, dict[str, Any]] = {
        name: {"table": name, "kinds": [], "types": {}} for name in PACKAGES.values()
    }
    known = definitions()
    for name, schema in sorted(known.items()):
        try:
            table, type_name = split(name)
        except KeyError:
            continue
        if name in SCALARS or "properties" not in schema or LEFT_OUT.match(name):
            continue
        built = tables[table]
        built["types"][type_name] = definition(schema, table, known)
        for kind in schema.get("x-kubernetes-group-version-kind", ()):
            if (
                kind["kind"] == type_name
                and f"{kind['group'] or 'core'}/{kind['version']}" == table
            ):
                built["kinds"].append(type_name)
    return {
        name.replace("/", ".") + ".json": render(table) for name, table in sorted(tables.items())
    }


def render(table: dict[str, Any]) -> str:
    """One line per field: small in git, readable in a diff."""
    lines = ["{", f' "table": {json.dumps(table["table"])},']
    lines.append(f' "kinds": {json.dumps(table["kinds"])},')
    lines.append(' "types": {')
    types = []
    for name, built in table["types"].items():
        fields = ",\n".join(
            f"   {json.dumps(field)}: {json.dumps(facts, separators=(',', ':'))}"
            for field, facts in built["fields"].items()
        )
        more = "".join(
            f',\n   "{key}": {json.dumps(built[key], sort_keys=True, separators=(",", ":"))}'
            for key in ("required", "mapType", "unions")
            if key in built
        )
        types.append(f'  {json.dumps(name)}: {{"fields": {{\n{fields}\n   }}{more}}}')
    return "\n".join(lines) + "\n" + ",\n".join(types) + "\n }\n}\n"


def main(arguments: list[str]) -> int:
    tables = build()
    if "--check" in arguments:
        stale = {name for name, text in tables.items() if not _same(TABLES / name, text)}
        stale |= {path.name for path in TABLES.glob("*.json")} - tables.keys()
        for name in sorted(stale):
            print(f"{name} differs from what the published schema gives")
        return 1 if stale else 0
    TABLES.mkdir(parents=True, exist_ok=True)
    for path in TABLES.glob("*.json"):
        path.unlink()
    for name, text in tables.items():
        (TABLES / name).write_text(text)
    print(f"{len(tables)} tables, {sum(map(len, tables.values())) // 1024} KiB")
    return 0


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
