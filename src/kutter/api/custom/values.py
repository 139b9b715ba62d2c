"""Value rules of a custom schema, compiled to closures: a document in, field errors out.

Between a schema and the write pipeline. Texts and their order are those of upstream's validator
(``kube-openapi/pkg/validation``). Given the old document, parts that did not change are not
looked at again (ratcheting): a schema grown stricter must not block unrelated changes.
``x-kubernetes-validations`` are not looked at here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from kutter.api.custom.formats import FORMATS, INTEGER_BOUNDS
from kutter.api.custom.patterns import compile_pattern
from kutter.api.custom.walking import schemas_of
from kutter.api.errors import (
    FieldError,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
    type_invalid,
)
from kutter.api.quoting import quote

Schema = dict[str, Any]
Errors = list[FieldError]
Check = Callable[[Any, Any, str, Errors], None]
"""(value, old value or UNRELATED, path, errors to add to)."""

UNRELATED: Any = object()
# Errors of oneOf and its like carry no path upstream, and Go prints the path that is not there.
NO_PATH = "<nil>"
_NAMES = {str: "string", bool: "boolean", dict: "object", list: "array", type(None): "null"}


def check_patterns(schema: Schema) -> None:
    """Raises PatternError for a pattern that is none, anywhere in a schema."""
    for part in schemas_of(schema):
        if part.get("pattern"):
            compile_pattern(part["pattern"])


def compile_values(schema: Schema) -> Check:
    """The check of a whole schema, whose parts are compiled when a document first has them: large
    definitions are used in small part. Raises PatternError, also later: ``check_patterns`` first.
    """
    checks = [
        made
        for make in (_type, _junctors, _text, _format, _number, _list, _enum, _object)
        if (made := make(schema)) is not None
    ]
    of_null = [made for make in (_type, _enum) if (made := make(schema)) is not None]
    simple = checks[0] if len(checks) == 1 else None

    def check(value: Any, old: Any, path: str, errors: Errors) -> None:
        if old is not UNRELATED and _equal(value, old):
            return
        if value is None:
            for rule in of_null:
                rule(value, old, path, errors)
        elif simple is not None:
            simple(value, old, path, errors)
        else:
            for rule in checks:
                rule(value, old, path, errors)

    return check


def _equal(new: Any, old: Any) -> bool:
    """Python holds ``1 == True``; JSON does not."""
    return type(new) is type(old) and bool(new == old) and not _has_booleans(new, old)


def _has_booleans(new: Any, old: Any) -> bool:
    """Whether equal values differ in what is a boolean and what a number."""
    if type(new) is dict:
        return any(_differ(item, old[key]) for key, item in new.items())
    if type(new) is list:
        return any(_differ(a, b) for a, b in zip(new, old, strict=True))
    return False


def _differ(new: Any, old: Any) -> bool:
    if (type(new) is bool) is not (type(old) is bool):
        return True
    return _has_booleans(new, old) if type(new) in (dict, list) else False


def json_type(value: Any) -> str:
    """The schema type of a JSON value; whole numbers are integers."""
    named = _NAMES.get(type(value))
    if named is not None:
        return named
    return "integer" if type(value) is int else "number"


def _type(schema: Schema) -> Check | None:
    wanted, nullable = schema.get("type") or "", bool(schema.get("nullable"))
    int_or_string = bool(schema.get("x-kubernetes-int-or-string"))
    accepted = (wanted,) if wanted else ("integer", "string") if int_or_string else ()
    if not accepted:
        return None
    listed = ",".join(accepted)

    def check(value: Any, old: Any, path: str, errors: Errors) -> None:
        found = json_type(value)
        if found in accepted or (value is None and nullable):
            return
        if found == "integer" and "number" in accepted:
            return
        if found == "number" and "integer" in accepted and value.is_integer():
            return
        errors.append(_wrong_type(path, found, listed, found))

    return check


def _wrong_type(path: str, value: Any, wanted: str, shown: str) -> FieldError:
    text = f"{path} in body must be of type {wanted}: {quote(shown)}"
    return type_invalid(path or NO_PATH, value, text)


def _passes(check: Check, value: Any, old: Any, path: str) -> Errors:
    errors: Errors = []
    check(value, old, path, errors)
    return errors


def _nearest(found: list[Errors]) -> Errors:
    """The failures of the schema that came closest: upstream takes it for the one meant."""
    return min(found, key=lambda failures: len(failures))  # noqa: PLW0108  (mypy wants it)


def _junctors(schema: Schema) -> Check | None:
    any_of = [compile_values(s) for s in schema.get("anyOf") or ()]
    one_of = [compile_values(s) for s in schema.get("oneOf") or ()]
    all_of = [compile_values(s) for s in schema.get("allOf") or ()]
    none_of = compile_values(schema["not"]) if schema.get("not") is not None else None
    if not (any_of or one_of or all_of or none_of):
        return None

    def fail(errors: Errors, path: str, text: str) -> None:
        errors.append(invalid(NO_PATH, "", f"{quote(path)} {text}"))

    def check(value: Any, old: Any, path: str, errors: Errors) -> None:
        if any_of:
            found = [_passes(rule, value, UNRELATED, path) for rule in any_of]
            if all(found):
                fail(errors, path, "must validate at least one schema (anyOf)")
                errors.extend(_nearest(found))
        if one_of:
            found = [_passes(rule, value, UNRELATED, path) for rule in one_of]
            good = sum(not failures for failures in found)
            if good != 1:
                what = f"Found {good} valid alternatives" if good else "Found none valid"
                fail(errors, path, f"must validate one and only one schema (oneOf). {what}")
                if not good:
                    errors.extend(_nearest(found))
        if all_of:
            found = [_passes(rule, value, old, path) for rule in all_of]
            good = sum(not failures for failures in found)
            for failures in found:
                errors.extend(failures)
            if good < len(all_of):
                what = "" if good else ". None validated"
                fail(errors, path, f"must validate all the schemas (allOf){what}")
        if none_of is not None and not _passes(none_of, value, UNRELATED, path):
            fail(errors, path, "must not validate the schema (not)")

    return check


def _text(schema: Schema) -> Check | None:
    longest, shortest = schema.get("maxLength"), schema.get("minLength")
    pattern = schema.get("pattern") or ""
    if longest is None and shortest is None and not pattern:
        return None
    matches = compile_pattern(pattern).matches if pattern else None

    def check(value: Any, old: Any, path: str, errors: Errors) -> None:
        if type(value) is not str:
            return
        if longest is not None and len(value) > longest:
            errors.append(too_long(path or NO_PATH, longest))
        if shortest is not None and len(value) < shortest:
            text = f"{path} in body should be at least {shortest} chars long"
            errors.append(invalid(path or NO_PATH, value, text))
        if matches is not None and not matches(value):
            text = f"{path} in body should match '{pattern}'"
            errors.append(invalid(path or NO_PATH, value, text))

    return check


def _format(schema: Schema) -> Check | None:
    name = schema.get("format") or ""
    fits = FORMATS.get(name.lower())
    if fits is None:
        return None

    def check(value: Any, old: Any, path: str, errors: Errors) -> None:
        if type(value) is str and not fits(value):
            errors.append(_wrong_type(path, value, name, value))

    return check


def go_number(value: float) -> str:
    """A number as Go's ``%v`` prints a float64: ``10``, ``0.5``, ``1e+06``."""
    number = Decimal(repr(float(value)))
    if not number.is_finite() or not number:
        return "0" if not number else str(number)
    sign, digits, exponent = number.normalize().as_tuple()
    assert isinstance(exponent, int), "finite numbers have one"
    power = len(digits) + exponent - 1
    if -4 <= power < 6:
        return format(number.normalize(), "f")
    shown = "".join(map(str, digits))
    rest = f".{shown[1:]}" if len(shown) > 1 else ""
    return f"{'-' if sign else ''}{shown[0]}{rest}e{'-' if power < 0 else '+'}{abs(power):02d}"


def _number(schema: Schema) -> Check | None:
    largest, smallest = schema.get("maximum"), schema.get("minimum")
    step = schema.get("multipleOf")
    bounds = INTEGER_BOUNDS.get(schema.get("format") or "")
    if schema.get("type") not in ("integer", "number"):
        bounds = None
    if largest is None and smallest is None and step is None and bounds is None:
        return None
    above = bool(schema.get("exclusiveMaximum"))
    below = bool(schema.get("exclusiveMinimum"))

    def check(value: Any, old: Any, path: str, errors: Errors) -> None:
        if type(value) is not int and type(value) is not float:
            return
        where = path or NO_PATH
        if bounds is not None and not bounds[0] <= value <= bounds[1]:
            kind, name = schema["type"], schema["format"]
            text = f"Checked value must be of type {kind} with format {name} in {path}"
            errors.append(invalid(NO_PATH, "", text))
        if step is not None and not _is_multiple(value, step):
            text = f"{path} in body should be a multiple of {go_number(step)}"
            errors.append(invalid(where, value, text))
        if largest is not None and (value > largest or (above and value == largest)):
            what = "less than" if above else "less than or equal to"
            text = f"{path} in body should be {what} {go_number(largest)}"
            errors.append(invalid(where, value, text))
        if smallest is not None and (value < smallest or (below and value == smallest)):
            what = "greater than" if below else "greater than or equal to"
            text = f"{path} in body should be {what} {go_number(smallest)}"
            errors.append(invalid(where, value, text))

    return check


def _is_multiple(value: float, step: float) -> bool:
    if step <= 0:
        return True
    if type(value) is int and float(step).is_integer():
        return value % int(step) == 0
    quotient = value / step
    return math.isfinite(quotient) and quotient.is_integer()


def _list(schema: Schema) -> Check | None:
    most, least = schema.get("maxItems"), schema.get("minItems")
    items = compile_values(schema["items"]) if isinstance(schema.get("items"), dict) else None
    if most is None and least is None and items is None:
        return None
    keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
    if schema.get("x-kubernetes-list-type") != "map":
        keys = ()

    def check(value: Any, old: Any, path: str, errors: Errors) -> None:
        if type(value) is not list:
            return
        if items is not None:
            known = _by_keys(old, keys) if keys else {}
            for index, item in enumerate(value):
                before = known.get(_key_of(item, keys), UNRELATED) if known else UNRELATED
                items(item, before, f"{path}[{index}]", errors)
        if least is not None and len(value) < least:
            text = f"{path} in body should have at least {least} items"
            errors.append(invalid(path or NO_PATH, len(value), text))
        if most is not None and len(value) > most:
            errors.append(too_many(path or NO_PATH, len(value), most))

    return check


def _key_of(item: Any, keys: tuple[str, ...]) -> tuple[str, ...] | None:
    """An item's identity in a list of list type map; texts keep ``1`` and ``"1"`` apart."""
    return tuple(repr(item.get(key)) for key in keys) if type(item) is dict else None


def _by_keys(old: Any, keys: tuple[str, ...]) -> dict[tuple[str, ...] | None, Any]:
    if type(old) is not list:
        return {}
    found: dict[tuple[str, ...] | None, Any] = {}
    for item in old:
        key = _key_of(item, keys)
        if key is not None:
            # A doubled key cannot be told apart, so nothing is related to it.
            found[key] = UNRELATED if key in found else item
    return found


def _enum(schema: Schema) -> Check | None:
    values = schema.get("enum")
    if not values:
        return None
    listed = [value if isinstance(value, str) else quote(value) for value in values]

    def check(value: Any, old: Any, path: str, errors: Errors) -> None:
        if not any(_same_number(value, wanted) for wanted in values):
            errors.append(not_supported(path or NO_PATH, value, listed))

    return check


def _same_number(value: Any, wanted: Any) -> bool:
    if type(value) in (int, float) and type(wanted) in (int, float):
        return bool(value == wanted)
    return _equal(value, wanted)


def _object(schema: Schema) -> Check | None:
    most, least = schema.get("maxProperties"), schema.get("minProperties")
    needed: list[str] = schema.get("required") or []
    properties: Schema = schema.get("properties") or {}
    known: dict[str, Check] = {}
    more = schema.get("additionalProperties")
    rest = compile_values(more) if isinstance(more, dict) else None
    if most is None and least is None and not needed and not properties and rest is None:
        return None

    def check(value: Any, old: Any, path: str, errors: Errors) -> None:
        if type(value) is not dict:
            return
        if least is not None and len(value) < least:
            text = f"{path} in body should have at least {least} properties"
            errors.append(invalid(path or NO_PATH, len(value), text))
        if most is not None and len(value) > most:
            errors.append(too_many(path or NO_PATH, len(value), most))
        prefix = f"{path}." if path else ""
        for name in needed:
            if name not in value:
                errors.append(required(f"{prefix}{name}"))
        before = old if type(old) is dict else None
        for name, item in value.items():
            rule = known.get(name)
            if rule is None:
                if name in properties:
                    rule = known[name] = compile_values(properties[name])
                else:
                    rule = rest
            if rule is not None:
                past = UNRELATED if before is None else before.get(name, UNRELATED)
                rule(item, past, f"{prefix}{name}", errors)

    return check
