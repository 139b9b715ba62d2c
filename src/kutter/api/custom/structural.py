"""What a schema must be so that objects can be pruned and defaulted by it: structural.

Between a definition and its acceptance. The first half are the rules of upstream's
``apiserver/schema/validation.go`` (what specifies structure stands outside of allOf, anyOf,
oneOf and not; every value has a type), the second those of its API validation for one schema.
Upstream: .../custom-resource-definitions#specifying-a-structural-schema
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from kutter.api.custom.defaults import compile_defaults
from kutter.api.custom.embedded import find_embedded_errors
from kutter.api.custom.field_paths import FieldPathError, read_field_path
from kutter.api.custom.formats import FORMATS
from kutter.api.custom.patterns import PatternError, compile_pattern
from kutter.api.custom.prune import compile_prune
from kutter.api.custom.rule_gate import has_rules
from kutter.api.custom.values import NO_PATH, UNRELATED, compile_values
from kutter.api.custom.walking import schemas_of
from kutter.api.errors import FieldError, forbidden_field, invalid, not_supported, required
from kutter.api.schema.walk import Mismatch

Schema = dict[str, Any]
Errors = list[FieldError]

_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_JUNCTORS = ("allOf", "anyOf", "oneOf")
_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_UNSUPPORTED = ("id", "$ref", "patternProperties", "additionalItems", "definitions", "dependencies")
_NESTED = (
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("externalDocs", "must be undefined to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
)
_RULE_REASONS = (
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
)


def find_structural_errors(schema: Schema, path: str) -> Errors:
    """Why a schema is not structural; sorted by text as upstream's."""
    errors: Errors = []
    _invariants(schema, "root", path, errors)
    _completeness(schema, path, errors)
    return sorted(errors, key=str)


_FORMATS_OF = {
    "string": {name.replace("-", "") for name in FORMATS},
    "integer": {"int32", "int64"},
    "number": {"float", "double"},
}


def find_odd_formats(definition: Schema) -> list[str]:
    """Formats in a definition's schemas that nobody knows, each once."""
    found: dict[str, None] = {}
    for version in (definition.get("spec") or {}).get("versions") or ():
        for schema in schemas_of((version.get("schema") or {}).get("openAPIV3Schema") or {}):
            name = str(schema.get("format") or "")
            kind = schema.get("type") or "string"
            plain = name.replace("-", "") if kind == "string" else name
            if name and plain not in _FORMATS_OF.get(kind, ()):
                found[name] = None
    return sorted(found)


def _invariants(schema: Schema, level: str, path: str, errors: Errors) -> None:
    kind = schema.get("type") or ""
    items, more = schema.get("items"), schema.get("additionalProperties")
    properties = schema.get("properties") or {}
    embedded = bool(schema.get("x-kubernetes-embedded-resource"))
    preserves = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    either = bool(schema.get("x-kubernetes-int-or-string"))
    if kind == "array" and items is None:
        errors.append(required(f"{path}.items", "must be specified"))
    if isinstance(items, dict):
        _invariants(items, "item", f"{path}.items", errors)
    for name, below in properties.items():
        _invariants(below, "field", f"{path}.properties[{name}]", errors)
    if more is not None:
        if level == "root":
            errors.append(
                forbidden_field(f"{path}.additionalProperties", "must not be used at the root")
            )
        if isinstance(more, dict):
            _invariants(more, "field", f"{path}.additionalProperties", errors)
    if either and (preserves or embedded):
        word = "preserve-unknown-fields" if preserves else "embedded-resource"
        detail = "must be false if x-kubernetes-int-or-string is true"
        errors.append(invalid(f"{path}.x-kubernetes-{word}", value=True, detail=detail))
    _value_rules(schema, path, errors, either=True)
    if embedded and kind != "object":
        detail = "must be object if x-kubernetes-embedded-resource is true"
        at = f"{path}.type"
        errors.append(invalid(at, kind, detail) if kind else required(at, detail))
    elif not kind and not either and not preserves:
        where = {"root": "at the root", "item": "for specified array items"}
        words = where.get(level, "for specified object fields")
        errors.append(required(f"{path}.type", f"must not be empty {words}"))
    if embedded and more is not None:
        detail = "must not be used if x-kubernetes-embedded-resource is set"
        errors.append(forbidden_field(f"{path}.additionalProperties", detail))
    if level == "root" and kind and kind != "object":
        errors.append(invalid(f"{path}.type", kind, "must be object at the root"))
    if level == "root" or embedded:
        _head(properties, level, path, errors)
    if embedded and not preserves and not properties:
        detail = (
            "must not be empty if x-kubernetes-embedded-resource is true without "
            "x-kubernetes-preserve-unknown-fields"
        )
        errors.append(required(f"{path}.properties", detail))


def _head(properties: Schema, level: str, path: str, errors: Errors) -> None:
    """kind, apiVersion and metadata are known without being specified."""
    for name, wanted in (("kind", "string"), ("apiVersion", "string"), ("metadata", "object")):
        found = properties.get(name)
        if found is not None and found.get("type") != wanted:
            at = f"{path}.properties[{name}].type"
            errors.append(invalid(at, found.get("type") or "", f"must be {wanted}"))
    metadata = properties.get("metadata")
    if metadata is None or level != "root":
        return
    more = {key for key, value in metadata.items() if value not in (None, "", [], {})}
    inside = set(metadata.get("properties") or {})
    plain = more <= {"type", "description", "title", "properties", "default"}
    if not plain or not inside <= {"name", "generateName"}:
        detail = (
            "must not specify anything other than name and generateName, but metadata is "
            "implicitly specified"
        )
        errors.append(forbidden_field(f"{path}.properties[metadata]", detail))


def _value_rules(schema: Schema, path: str, errors: Errors, *, either: bool) -> None:
    """allOf, anyOf, oneOf, not and pattern; ``either`` lets the int-or-string idiom pass."""
    for junctor in _JUNCTORS:
        found = schema.get(junctor) or []
        if either and junctor == "anyOf" and found == _INT_OR_STRING:
            continue
        for index, nested in enumerate(found):
            idiom = either and junctor == "allOf" and index == 0
            _nested(nested, f"{path}.{junctor}[{index}]", errors, either=idiom)
    if schema.get("not") is not None:
        _nested(schema["not"], f"{path}.not", errors)
    pattern = schema.get("pattern")
    if pattern:
        try:
            compile_pattern(pattern)
        except PatternError as error:
            detail = f"must be a valid regular expression, but isn't: {error}"
            errors.append(invalid(f"{path}.pattern", pattern, detail))


def _nested(schema: Schema, path: str, errors: Errors, *, either: bool = False) -> None:
    _value_rules(schema, path, errors, either=either)
    if isinstance(schema.get("items"), dict):
        _nested(schema["items"], f"{path}.items", errors)
    properties = schema.get("properties") or {}
    for name, below in properties.items():
        _nested(below, f"{path}.properties[{name}]", errors)
    for field, detail in _NESTED:
        value = schema.get(field)
        if value not in (None, "", False, [], {}) or (field == "default" and value is not None):
            errors.append(forbidden_field(f"{path}.{field}", detail))
    if "metadata" in properties:
        detail = "must not be specified in a nested context"
        errors.append(forbidden_field(f"{path}.properties[metadata]", detail))


def _completeness(schema: Schema, path: str, errors: Errors) -> None:
    """What the root's rules speak of is specified outside of them too; below the root upstream does
    not ask for it.
    """
    for junctor in _JUNCTORS:
        for index, nested in enumerate(schema.get(junctor) or []):
            _complete(schema, nested, path, f"{path}.{junctor}[{index}]", errors)
    if schema.get("not") is not None:
        _complete(schema, schema["not"], path, f"{path}.not", errors)


def _complete(schema: Schema, rules: Schema, path: str, at: str, errors: Errors) -> None:
    if isinstance(rules.get("items"), dict):
        items = schema.get("items")
        if not isinstance(items, dict):
            errors.append(required(f"{path}.items", f"because it is defined in {at}.items"))
        else:
            _complete(items, rules["items"], f"{path}.items", f"{at}.items", errors)
    properties = schema.get("properties") or {}
    for name, below in (rules.get("properties") or {}).items():
        where = f"{at}.properties[{name}]"
        if name in properties:
            _complete(properties[name], below, f"{path}.properties[{name}]", where, errors)
        else:
            errors.append(
                required(f"{path}.properties[{name}]", f"because it is defined in {where}")
            )
    for junctor in _JUNCTORS:
        for index, nested in enumerate(rules.get(junctor) or []):
            _complete(schema, nested, path, f"{at}.{junctor}[{index}]", errors)
    if rules.get("not") is not None:
        _complete(schema, rules["not"], path, f"{at}.not", errors)


# -- the API's own rules for one schema ----------------------------------------


def find_schema_errors(schema: Schema, path: str) -> Errors:
    """What the API refuses in a schema, structural or not, defaults apart."""
    errors: Errors = []
    _api_rules(schema, path, errors, "", root=True)
    return errors


def _api_rules(
    schema: Schema, path: str, errors: Errors, no_defaults: str, *, root: bool = False
) -> None:
    kind = schema.get("type") or ""
    if kind == "null":
        detail = "type cannot be set to null, use nullable as an alternative"
        errors.append(forbidden_field(f"{path}.type", detail))
    elif kind and kind not in _TYPES:
        errors.append(not_supported(f"{path}.type", kind, list(_TYPES)))
    if no_defaults and schema.get("default") is not None:
        errors.append(forbidden_field(f"{path}.default", f"must not be set {no_defaults}"))
    for name in _UNSUPPORTED:
        if schema.get(name):
            errors.append(forbidden_field(f"{path}.{name}", f"{name} is not supported"))
    if schema.get("uniqueItems"):
        detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        errors.append(forbidden_field(f"{path}.uniqueItems", detail))
    if isinstance(schema.get("items"), list):
        detail = "items must be a schema object and not an array"
        errors.append(forbidden_field(f"{path}.items", detail))
    properties, more = schema.get("properties") or {}, schema.get("additionalProperties")
    at = f"{path}.additionalProperties"
    if properties and isinstance(more, dict | bool) and more is not True:
        detail = "additionalProperties and properties are mutual exclusive"
        errors.append(forbidden_field(at, detail))
    if isinstance(more, dict):
        _api_rules(more, at, errors, no_defaults)
    for name, below in properties.items():
        inner = no_defaults
        if root and name in ("metadata", "kind", "apiVersion"):
            inner = f"in top-level {name}"
        _api_rules(below, f"{path}.properties[{name}]", errors, inner)
    for junctor in _JUNCTORS:
        for index, nested in enumerate(schema.get(junctor) or []):
            _api_rules(nested, f"{path}.{junctor}[{index}]", errors, "")
    if isinstance(schema.get("not"), dict):
        _api_rules(schema["not"], f"{path}.not", errors, "")
    if isinstance(schema.get("items"), dict):
        _api_rules(schema["items"], f"{path}.items", errors, no_defaults)
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        at = f"{path}.x-kubernetes-preserve-unknown-fields"
        errors.append(invalid(at, value=False, detail="must be true or undefined"))
    _list_and_map_rules(schema, path, errors)
    _rule_forms(schema, path, errors)


def _list_and_map_rules(schema: Schema, path: str, errors: Errors) -> None:
    kind, items = schema.get("type") or "", schema.get("items")
    map_type, list_type = schema.get("x-kubernetes-map-type"), schema.get("x-kubernetes-list-type")
    keys: list[str] = schema.get("x-kubernetes-list-map-keys") or []

    def wants(wanted: str, marker: str) -> None:
        detail = f"must be {wanted} if {marker} is specified"
        at = f"{path}.type"
        errors.append(invalid(at, kind, detail) if kind else required(at, detail))

    if map_type is not None and kind != "object":
        wants("object", "x-kubernetes-map-type")
    if map_type is not None and map_type not in ("atomic", "granular"):
        at = f"{path}.x-kubernetes-map-type"
        errors.append(not_supported(at, map_type, ["atomic", "granular"]))
    if list_type is not None and kind != "array":
        wants("array", "x-kubernetes-list-type")
    elif list_type == "set" and isinstance(items, dict):
        _set_rules(items, f"{path}.items", errors)
    if list_type is not None and list_type not in ("atomic", "set", "map"):
        at = f"{path}.x-kubernetes-list-type"
        errors.append(not_supported(at, list_type, ["atomic", "set", "map"]))
    if keys and list_type != "map":
        at = f"{path}.x-kubernetes-list-type"
        detail = "must be map if x-kubernetes-list-map-keys is non-empty"
        errors.append(required(at, detail) if list_type is None else invalid(at, list_type, detail))
    if list_type == "map":
        _map_rules(items, keys, path, errors)


def _set_rules(items: Schema, path: str, errors: Errors) -> None:
    detail = "must be atomic as item of a list with x-kubernetes-list-type=set"
    list_type, map_type = items.get("x-kubernetes-list-type"), items.get("x-kubernetes-map-type")
    if items.get("nullable"):
        errors.append(
            forbidden_field(
                f"{path}.nullable", "cannot be nullable when x-kubernetes-list-type is set"
            )
        )
    if items.get("type") == "array" and list_type not in (None, "atomic"):
        errors.append(invalid(f"{path}.x-kubernetes-list-type", list_type, detail))
    elif items.get("type") == "object" and map_type != "atomic":
        errors.append(invalid(f"{path}.x-kubernetes-map-type", map_type, detail))


def _map_rules(items: Any, keys: list[str], path: str, errors: Errors) -> None:
    at = f"{path}.x-kubernetes-list-map-keys"
    if not keys:
        errors.append(required(at, "must not be empty if x-kubernetes-list-type is map"))
    if items is None:
        detail = "must have a schema if x-kubernetes-list-type is map"
        errors.append(required(f"{path}.items", detail))
        return
    if not isinstance(items, dict):
        return
    if items.get("type") != "object":
        detail = "must be object if parent array's x-kubernetes-list-type is map"
        errors.append(invalid(f"{path}.items.type", items.get("type") or "", detail))
        return
    if items.get("nullable"):
        detail = "cannot be nullable when x-kubernetes-list-type is map"
        errors.append(forbidden_field(f"{path}.items.nullable", detail))
    properties = items.get("properties") or {}
    needed = set(items.get("required") or ())
    for key in keys:
        found = properties.get(key)
        where = f"{path}.items.properties[{key}]"
        if found is None:
            errors.append(invalid(at, keys, "entries must all be names of item properties"))
            continue
        if found.get("type") in ("array", "object"):
            detail = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            errors.append(invalid(f"{where}.type", items.get("type"), detail))
        if found.get("nullable"):
            detail = "cannot be nullable when x-kubernetes-list-map-keys contains it"
            errors.append(forbidden_field(f"{where}.nullable", detail))
        if key not in needed and found.get("default") is None:
            detail = (
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be "
                "a required property"
            )
            errors.append(required(f"{where}.default", detail))
    if len(set(keys)) != len(keys):
        errors.append(invalid(at, keys, "must not contain duplicate entries"))


def _rule_forms(schema: Schema, path: str, errors: Errors) -> None:
    """The form of ``x-kubernetes-validations``; the expressions are compiled later."""
    for index, rule in enumerate(schema.get("x-kubernetes-validations") or ()):
        at = f"{path}.x-kubernetes-validations[{index}]"
        text, message = (rule.get("rule") or "").strip(), rule.get("message") or ""
        if not text:
            errors.append(required(f"{at}.rule", "rule is not specified"))
        elif message and not message.strip():
            errors.append(invalid(f"{at}.message", message, "must be non-empty if specified"))
        elif "\n" in message.strip():
            errors.append(invalid(f"{at}.message", message, "must not contain line breaks"))
        elif "\n" in text and not message.strip():
            detail = "message must be specified if rule contains line breaks"
            errors.append(required(f"{at}.message", detail))
        said = rule.get("messageExpression") or ""
        if said and not said.strip():
            detail = "messageExpression must be non-empty if specified"
            errors.append(required(f"{at}.messageExpression", detail))
        reason = rule.get("reason")
        if reason is not None and reason not in _RULE_REASONS:
            errors.append(not_supported(f"{at}.reason", reason, list(_RULE_REASONS)))
        _rule_path(rule.get("fieldPath") or "", schema, f"{at}.fieldPath", errors)


def _rule_path(path: str, schema: Schema, at: str, errors: Errors) -> None:
    if not path:
        return
    if not path.strip():
        errors.append(invalid(at, path, "must be non-empty if specified"))
    if "\n" in path:
        errors.append(invalid(at, path, "must not contain line breaks"))
    try:
        read_field_path(path, schema)
    except FieldPathError:
        errors.append(invalid(at, path, "must be a valid path"))


def _default_rule_errors(schema: Schema, default: Any, path: str) -> Errors:
    """What a default's own rules say to it, as a value that stays and as one that is new."""
    if not has_rules(schema):
        return []
    from kutter.api.custom.expressions import compile_rules, find_rule_errors

    rules = compile_rules(schema, root=bool(schema.get("x-kubernetes-embedded-resource")))
    assert rules is not None, "a schema with rules makes some"
    errors, _, _ = find_rule_errors(rules, default, default, path=path, ratchet=False)
    return errors or find_rule_errors(rules, default, None, path=path)[0]


# -- defaults ------------------------------------------------------------------


def _below(at: str, path: str) -> str:
    inner = "" if path == NO_PATH else path.removeprefix(".")
    return f"{at}.{inner}" if inner else at


def find_default_errors(schema: Schema, path: str) -> Errors:
    """Defaults that the schema itself would prune or refuse; for schemas that are structural."""
    errors: Errors = []
    default = schema.get("default")
    if default is not None:
        at = f"{path}.default"
        data = orjson.dumps(default)
        pruned, filled = orjson.loads(data), orjson.loads(data)
        try:
            compile_prune(schema)(pruned, None)
        except Mismatch as mismatch:
            errors.append(invalid(at, default, f"must result in valid metadata: {mismatch}"))
            return errors
        if pruned != default:
            errors.append(invalid(at, default, "must not have unknown fields"))
        compile_defaults(schema)(filled)
        found = find_embedded_errors(schema, filled, at)
        if not found:
            # Messages tell of a value as of a whole object, its field where the default stands.
            compile_values(schema)(filled, UNRELATED, "", found)
            found = [replace(error, path=_below(at, error.path)) for error in found]
        errors += found or _default_rule_errors(schema, filled, at)
    if isinstance(schema.get("items"), dict):
        errors += find_default_errors(schema["items"], f"{path}.items")
    for name, below in (schema.get("properties") or {}).items():
        errors += find_default_errors(below, f"{path}.properties[{name}]")
    return errors
