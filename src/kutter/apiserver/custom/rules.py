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
from kutter.api.jsonpath import JSONPath, JSONPathError
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
_simple_path = re.compile(r"(\.[A-Za-z_$][\w$-]*|\['[^']+'\])+", re.ASCII).fullmatch


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
        if not (version.get("schema") or {}).get("openAPIV3Schema"):
            at = f"{path}.versions[{i}].schema.openAPIV3Schema"
            errors.append(required(at, "schemas are required"))
    shared = {part for part in _PARTS if _alike(versions, part)}
    for i, version in enumerate(versions):
        at, name = f"{path}.versions[{i}]", version.get("name") or ""
        if problems := check_dns_label_1035(name):
            errors.append(invalid(f"{at}.name", name, ",".join(problems)))
        errors += _deprecation(version, at)
        errors += _version_parts(version, at, _PARTS.keys() - shared)
    names = [version.get("name") for version in versions]
    if len(set(names)) != len(names):
        detail = "must contain unique version names"
        errors.append(invalid(f"{path}.versions", versions, detail))
    if sum(bool(version.get("storage")) for version in versions) != 1:
        detail = "must have exactly one version marked as storage version"
        errors.append(invalid(f"{path}.versions", versions, detail))
    if versions:
        errors += _version_parts(versions[0], path, shared, hoisted=True)
    return errors


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
    if "schema" in parts and schema:
        errors += _schema(schema, f"{at('schema')}.openAPIV3Schema")
    if "subresources" in parts and subresources.get("scale") is not None:
        errors += _scale(subresources["scale"], f"{at('subresources')}.scale")
    if "additionalPrinterColumns" in parts:
        for i, column in enumerate(version.get("additionalPrinterColumns") or ()):
            errors += _column(column, f"{at('additionalPrinterColumns')}[{i}]")
    if "selectableFields" in parts and version.get("selectableFields"):
        fields = version["selectableFields"]
        errors += _selectable(fields, schema or {}, at("selectableFields"))
    return errors


def _schema(schema: Tree, path: str) -> Errors:
    if schema.get("nullable"):
        return [forbidden_field(f"{path}.nullable", "nullable cannot be true at the root")]
    errors = find_schema_errors(schema, path)
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
        if not _simple_path(value):
            detail = "should be a json path under .spec" if root == ".spec." else ""
            detail = detail or "should be a json path under .status"
            errors.append(invalid(at, value, detail if root else "should be a json path"))
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
        errors.append(required(f"{path}.jsonPath"))
    elif problem := _path_problem(json_path):
        errors.append(invalid(f"{path}.jsonPath", json_path, problem))
    return errors


def _path_problem(text: str) -> str:
    if not text.startswith((".", "[")):
        return "must be a simple json path starting with ."
    try:
        JSONPath(f"{{{text}}}")
    except JSONPathError as error:
        return f"must be a valid json path: {error}"
    return ""


def _selectable(fields: list[Tree], schema: Tree, path: str) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    if len(fields) > _SELECTABLE_LIMIT:
        text = f"Too many: {len(fields)}: must have at most {_SELECTABLE_LIMIT} items"
        errors.append(FieldError(path, "FieldValueTooMany", text))
    for i, field in enumerate(fields):
        value, at = field.get("jsonPath") or "", f"{path}[{i}].jsonPath"
        if not value:
            errors.append(required(at))
            continue
        if value in seen:
            errors.append(FieldError(at, "FieldValueDuplicate", f'Duplicate value: "{value}"'))
        seen.add(value)
        if not _simple_path(value):
            errors.append(invalid(at, value, "is an invalid path: must be a simple field path"))
            continue
        if value.split(".")[1:2] == ["metadata"]:
            errors.append(invalid(at, value, "must not point to fields in metadata"))
            continue
        found: Any = schema
        for key in re.findall(r"\.([^.\[]+)|\['([^']+)'\]", value):
            below = found.get("properties") if isinstance(found, dict) else None
            found = (below or {}).get(key[0] or key[1])
        if found is None:
            errors.append(invalid(at, value, "is an invalid path: does not refer to a valid field"))
        elif found.get("type") not in ("string", "boolean", "integer"):
            detail = (
                "must point to a field of type string, boolean or integer. Enum string fields and "
                "strings with formats are allowed."
            )
            errors.append(invalid(at, value, detail))
    return errors


def _conversion(conversion: Tree, path: str) -> Errors:
    errors: Errors = []
    strategy = conversion.get("strategy") or ""
    if not strategy:
        return [required(f"{path}.strategy")]
    if strategy not in ("None", "Webhook"):
        return [not_supported(f"{path}.strategy", strategy, ["None", "Webhook"])]
    webhook = conversion.get("webhook")
    if strategy == "None":
        if webhook is not None:
            detail = "should not be set when strategy is not set to Webhook"
            errors.append(forbidden_field(f"{path}.webhook", detail))
        return errors
    config = (webhook or {}).get("clientConfig")
    at = f"{path}.webhookClientConfig"
    if config is None:
        errors.append(required(at, "required when strategy is set to Webhook"))
    else:
        errors += validate_client_config(config, at)
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
