"""What holds for a CustomResourceDefinition: upstream's API validation of it.

Texts and paths are those of ``apiextensions/validation/validation.go``. A quirk kept: upstream
hoists what all versions have alike to the top before it validates, so errors of such a schema
are at ``spec.validation`` and not at ``spec.versions[0].schema``.
"""

from __future__ import annotations

import re
from typing import Any

from kutter.api.custom.rule_gate import has_rules
from kutter.api.custom.structural import (
    find_default_errors,
    find_schema_errors,
    find_structural_errors,
)
from kutter.api.errors import FieldError, forbidden_field, invalid, not_supported, required
from kutter.api.names import check_dns_label_1035, check_dns_subdomain
from kutter.apiserver.webhooks.client_config import validate_client_config

Tree = dict[str, Any]
Errors = list[FieldError]

_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = (
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "password",
)
_SELECTABLE_LIMIT = 8
_REVIEW_VERSIONS = ("v1", "v1beta1")


def find_spec_errors(spec: Tree, path: str = "spec") -> Errors:
    """What is wrong with a definition's specification."""
    errors: Errors = []
    group = spec.get("group") or ""
    if not group:
        errors.append(required(f"{path}.group"))
    elif problems := check_dns_subdomain(group):
        errors.append(invalid(f"{path}.group", group, ",".join(problems)))
    elif "." not in group:
        detail = "should be a domain with at least one dot"
        errors.append(invalid(f"{path}.group", group, detail))
    scope = spec.get("scope") or ""
    if not scope:
        errors.append(required(f"{path}.scope"))
    elif scope not in ("Cluster", "Namespaced"):
        errors.append(not_supported(f"{path}.scope", scope, ["Cluster", "Namespaced"]))
    if spec.get("preserveUnknownFields"):
        if _has_defaults(spec):
            detail = "must be false in order to use defaults in the schema"
            errors.append(invalid(f"{path}.preserveUnknownFields", value=True, detail=detail))
        detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
        detail += "spec.versions[*].schema instead"
        errors.append(invalid(f"{path}.preserveUnknownFields", value=True, detail=detail))
    errors += _versions(spec, path)
    errors += _names(spec.get("names") or {}, f"{path}.names", needed=True)
    errors += _conversion(spec.get("conversion") or {}, f"{path}.conversion")
    return errors


def find_spec_faults(spec: Tree) -> list[str]:
    """Where the schemas of a specification are not structural, in words."""
    return [
        str(error)
        for i, version in enumerate(spec.get("versions") or ())
        if (schema := (version.get("schema") or {}).get("openAPIV3Schema"))
        for error in find_structural_errors(schema, f"spec.versions[{i}].schema.openAPIV3Schema")
    ]


def find_names_errors(names: Tree, path: str) -> Errors:
    """What is wrong with names, absent ones being fine."""
    return _names(names, path, needed=False)


def _names(names: Tree, path: str, *, needed: bool) -> Errors:
    errors: Errors = []
    if needed:
        for field in ("plural", "singular", "kind", "listKind"):
            if not names.get(field):
                errors.append(required(f"{path}.{field}"))
    for field in ("plural", "singular"):
        value = names.get(field) or ""
        if value and (problems := check_dns_label_1035(value)):
            errors.append(invalid(f"{path}.{field}", value, ",".join(problems)))
    for field in ("kind", "listKind"):
        value = names.get(field) or ""
        if value and (problems := check_dns_label_1035(value.lower())):
            detail = "may have mixed case, but should otherwise match: " + ",".join(problems)
            errors.append(invalid(f"{path}.{field}", value, detail))
    for i, value in enumerate(names.get("shortNames") or ()):
        if problems := check_dns_label_1035(value):
            errors.append(invalid(f"{path}.shortNames[{i}]", value, ",".join(problems)))
    kind, list_kind = names.get("kind") or "", names.get("listKind") or ""
    if kind and kind == list_kind:
        detail = "kind and listKind may not be the same"
        errors.append(invalid(f"{path}.listKind", list_kind, detail))
    for i, value in enumerate(names.get("categories") or ()):
        if problems := check_dns_label_1035(value):
            errors.append(invalid(f"{path}.categories[{i}]", value, ",".join(problems)))
    return errors


def _versions(spec: Tree, path: str) -> Errors:
    errors: Errors = []
    versions: list[Tree] = spec.get("versions") or []
    for i, version in enumerate(versions):
        if (version.get("schema") or {}).get("openAPIV3Schema") is None:
            errors.append(required(f"{path}.versions[{i}].schema.openAPIV3Schema"))
    shared = {part for part in _PARTS if _alike(versions, part)}
    for i, version in enumerate(versions):
        at, name = f"{path}.versions[{i}]", version.get("name") or ""
        if problems := check_dns_label_1035(name):
            errors.append(invalid(f"{at}.name", name, ",".join(problems)))
            if i == 0 and name:
                # Upstream knows the first one by a field of its own, too.
                errors.append(invalid(f"{path}.version", name, ",".join(problems)))
        errors += _deprecation(version, at)
        errors += _version_parts(version, at, _PARTS.keys() - shared)
    names = [version.get("name") for version in versions]
    if len(set(names)) != len(names):
        detail = "must contain unique version names"
        errors.append(invalid(f"{path}.versions", _shown(versions, shared), detail))
    if sum(bool(version.get("storage")) for version in versions) != 1:
        detail = "must have exactly one version marked as storage version"
        shown = None if spec.get("versions") is None else _shown(versions, shared)
        errors.append(invalid(f"{path}.versions", shown, detail))
    if versions:
        errors += _version_parts(versions[0], path, shared, hoisted=True)
    return errors


def _shown(versions: list[Tree], shared: set[str]) -> list[Tree]:
    """Versions in upstream's internal form: what all share is not theirs any more."""

    def part(version: Tree, name: str) -> Any:
        return None if name in shared else version.get(name)

    return [
        {
            "Name": version.get("name") or "",
            "Served": bool(version.get("served")),
            "Storage": bool(version.get("storage")),
            "Deprecated": bool(version.get("deprecated")),
            "DeprecationWarning": version.get("deprecationWarning"),
            "Schema": part(version, "schema"),
            "Subresources": part(version, "subresources"),
            "AdditionalPrinterColumns": part(version, "additionalPrinterColumns"),
            "SelectableFields": part(version, "selectableFields"),
        }
        for version in versions
    ]


# A version's part → where it stands once hoisted.
_PARTS = {
    "schema": "validation",
    "subresources": "subresources",
    "additionalPrinterColumns": "additionalPrinterColumns",
    "selectableFields": "selectableFields",
}


def _alike(versions: list[Tree], part: str) -> bool:
    return all(version.get(part) == versions[0].get(part) for version in versions)


def _version_parts(version: Tree, path: str, parts: set[str], *, hoisted: bool = False) -> Errors:
    errors: Errors = []

    def at(part: str) -> str:
        return f"{path}.{_PARTS[part] if hoisted else part}"

    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    subresources = version.get("subresources") or {}
    if "schema" in parts and schema is not None:
        where = f"{at('schema')}.openAPIV3Schema"
        kind = schema.get("type") or "object"
        if kind != "object" and subresources.get("status") is not None:
            errors.append(invalid(f"{where}.type", kind, _ROOT_TYPE))
        errors += _schema(schema, where)
    if "subresources" in parts and subresources.get("scale") is not None:
        errors += _scale(subresources["scale"], f"{at('subresources')}.scale")
    if "additionalPrinterColumns" in parts:
        for i, column in enumerate(version.get("additionalPrinterColumns") or ()):
            errors += _column(column, f"{at('additionalPrinterColumns')}[{i}]")
    if "selectableFields" in parts and version.get("selectableFields"):
        fields = version["selectableFields"]
        errors += _selectable(fields, schema or {}, at("selectableFields"))
    return errors


_ROOT_TYPE = (
    'only "object" is allowed as the type at the root of the schema if the status subresource '
    "is enabled"
)


def _has_defaults(spec: Tree) -> bool:
    schemas = [v.get("schema") or {} for v in spec.get("versions") or ()]
    return any(_defaults_below(schema.get("openAPIV3Schema")) for schema in schemas)


def _defaults_below(schema: Any) -> bool:
    """Whether a schema or one within it gives a default."""
    if isinstance(schema, list):
        return any(_defaults_below(part) for part in schema)
    if not isinstance(schema, dict):
        return False
    if schema.get("default") is not None:
        return True
    within = [part for field in _OF_NAMES for part in (schema.get(field) or {}).values()]
    within += [schema.get(field) for field in _OF_SCHEMAS]
    return any(_defaults_below(part) for part in within)


_OF_NAMES = ("properties", "patternProperties", "definitions", "dependencies")
_OF_SCHEMAS = ("items", "additionalProperties", "additionalItems", "not", "allOf", "anyOf", "oneOf")


def _schema(schema: Tree, path: str) -> Errors:
    if schema.get("nullable"):
        return [forbidden_field(f"{path}.nullable", "nullable cannot be true at the root")]
    errors = find_schema_errors(schema, path)
    # What upstream has no form for keeps it from looking any further.
    if not any(error.message.endswith("is not supported") for error in errors):
        errors += find_structural_errors(schema, path)
    errors = errors or find_default_errors(schema, path)
    if errors or not has_rules(schema):
        return errors
    from kutter.api.custom.expression_limits import find_expression_errors

    return find_expression_errors(schema, path)


def _deprecation(version: Tree, path: str) -> Errors:
    text, at = version.get("deprecationWarning"), f"{path}.deprecationWarning"
    if text is None:
        return []
    if not version.get("deprecated"):
        return [invalid(at, text, "can only be set for deprecated versions")]
    errors: Errors = []
    if len(text.encode()) > 256:
        errors.append(invalid(at, text, "must be <= 256 characters long"))
    if not text:
        errors.append(invalid(at, text, "must not be an empty string"))
    for i, char in enumerate(text):
        if not char.isprintable():
            detail = (
                "must only contain printable UTF-8 characters; non-printable character found at "
                f"index {i}"
            )
            errors.append(invalid(at, text, detail))
            break
    return errors


def _scale(scale: Tree, path: str) -> Errors:
    errors: Errors = []
    for field, root, needed in (
        ("specReplicasPath", ".spec.", True),
        ("statusReplicasPath", ".status.", True),
        ("labelSelectorPath", "", False),
    ):
        value, at = scale.get(field) or "", f"{path}.{field}"
        if not value:
            if needed:
                errors.append(required(at))
            continue
        if not value.startswith("."):
            errors.append(invalid(at, value, "must be a simple json path starting with ."))
        elif root and not value.startswith(root):
            errors.append(invalid(at, value, f"should be a json path under {root.rstrip('.')}"))
        elif not root and not value.startswith((".spec.", ".status.")):
            detail = "should be a json path under either .spec or .status"
            errors.append(invalid(at, value, detail))
    return errors


def _column(column: Tree, path: str) -> Errors:
    errors: Errors = []
    if not column.get("name"):
        errors.append(required(f"{path}.name"))
    kind, form = column.get("type") or "", column.get("format") or ""
    if not kind:
        errors.append(required(f"{path}.type", f"must be one of {','.join(_COLUMN_TYPES)}"))
    elif kind not in _COLUMN_TYPES:
        detail = f"must be one of {','.join(_COLUMN_TYPES)}"
        errors.append(invalid(f"{path}.type", kind, detail))
    if form and form not in _COLUMN_FORMATS:
        detail = f"must be one of {','.join(_COLUMN_FORMATS)}"
        errors.append(invalid(f"{path}.format", form, detail))
    json_path = column.get("jsonPath") or ""
    if not json_path:
        errors.append(required(f"{path}.JSONPath"))
    elif problem := _path_problem(json_path):
        errors.append(invalid(f"{path}.JSONPath", json_path, problem))
    return errors


def _path_problem(text: str) -> str:
    return "" if text.startswith(".") else "must be a simple json path starting with ."


def _selectable(fields: list[Tree], schema: Tree, path: str) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for i, field in enumerate(fields):
        value, at = field.get("jsonPath") or "", f"{path}[{i}].jsonPath"
        if not value:
            errors.append(required(at))
            continue
        try:
            keys, found = _follow(value, schema)
        except ValueError as error:
            errors.append(invalid(at, value, f"is an invalid path: {error}"))
            continue
        if keys[0] == "metadata":
            errors.append(invalid(at, value, "must not point to fields in metadata"))
        if found.get("type") not in ("string", "boolean", "integer"):
            detail = (
                "must point to a field of type string, boolean or integer. Enum string fields and "
                "strings with formats are allowed."
            )
            errors.append(invalid(at, value, detail))
        if value in seen:
            errors.append(FieldError(at, "FieldValueDuplicate", f'Duplicate value: "{value}"'))
        seen.add(value)
    if len(seen) > _SELECTABLE_LIMIT:
        text = f"Too many: {len(seen)}: must have at most {_SELECTABLE_LIMIT} items"
        errors.append(FieldError(path, "FieldValueTooMany", text))
    return errors


def _follow(path: str, schema: Tree) -> tuple[list[str], Tree]:
    """The keys of a path without array notation, and the schema there. Raises ValueError."""
    keys: list[str] = []
    steps = iter(re.findall(r"[.\[\]]|[^.\[\]]+", path))
    for step in steps:
        if step == "[":
            raise ValueError("array notation is not allowed")
        if step != ".":
            raise ValueError(f"expected [ or . but got: {step}")
        key = next(steps, None)
        if key is None:
            raise ValueError("unexpected end of JSON path")
        properties, more = schema.get("properties"), schema.get("additionalProperties")
        below = properties.get(key) if properties is not None else more
        if not isinstance(below, dict):
            raise ValueError("does not refer to a valid field")  # noqa: TRY004
        keys.append(key)
        schema = below
    return keys, schema


def _conversion(conversion: Tree, path: str) -> Errors:
    errors: Errors = []
    strategy = conversion.get("strategy") or ""
    if not strategy:
        return [required(f"{path}.strategy")]
    if strategy not in ("None", "Webhook"):
        return [not_supported(f"{path}.strategy", strategy, ["None", "Webhook"])]
    webhook = conversion.get("webhook")
    if strategy == "None":
        detail = "should not be set when strategy is not set to Webhook"
        if (webhook or {}).get("clientConfig") is not None:
            errors.append(forbidden_field(f"{path}.webhookClientConfig", detail))
        if (webhook or {}).get("conversionReviewVersions"):
            errors.append(forbidden_field(f"{path}.conversionReviewVersions", detail))
        return errors
    config = (webhook or {}).get("clientConfig")
    at = f"{path}.webhookClientConfig"
    if config is None:
        errors.append(required(at, "required when strategy is set to Webhook"))
    else:
        errors += validate_client_config(config, at, check_bundle=False)
    versions = (webhook or {}).get("conversionReviewVersions") or []
    at = f"{path}.conversionReviewVersions"
    if not versions:
        errors.append(required(at))
    elif not set(versions) & set(_REVIEW_VERSIONS):
        detail = f"must include at least one of {', '.join(_REVIEW_VERSIONS)}"
        errors.append(invalid(at, versions, detail))
    for i, version in enumerate(versions):
        if version in versions[:i]:
            errors.append(invalid(f"{at}[{i}]", version, "duplicate version"))
        elif problems := check_dns_label_1035(version):
            errors.append(invalid(f"{at}[{i}]", version, ",".join(problems)))
    return errors
