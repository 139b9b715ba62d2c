"""Selectors of a request as authorization speaks of them: lists of requirements.

Pure. A selector nobody can read, and requirements that authorization has no word for (``>``), are
left out: who decides then sees a wider request than it is, never a narrower one.
https://kubernetes.io/docs/reference/access-authn-authz/authorization/#the-selectors
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kutter.api.errors import FieldError, forbidden_field, invalid, required
from kutter.api.selectors import SelectorError, escape_field_value, parse_fields, parse_labels
from kutter.apiserver.validation import text as text_rules
from kutter.apiserver.validation.metadata import checked

_LABEL_WORDS = {
    "=": "In",
    "==": "In",
    "in": "In",
    "!=": "NotIn",
    "notin": "NotIn",
    "exists": "Exists",
    "!": "DoesNotExist",
}


def field_attributes(selector: str) -> dict[str, Any] | None:
    """``FieldSelectorAttributes`` of a field selector's text; None when it says nothing."""
    if not selector:
        return None
    try:
        terms = parse_fields(selector).terms
    except SelectorError:
        return None
    found = [
        {"key": t.field, "operator": "In" if t.equal else "NotIn", "values": [t.value]}
        for t in terms
    ]
    return {"requirements": found} if found else None


def label_attributes(selector: str) -> dict[str, Any] | None:
    """``LabelSelectorAttributes`` of a label selector's text; None when it says nothing."""
    if not selector:
        return None
    try:
        requirements = parse_labels(selector).requirements
    except SelectorError:
        return None
    found = []
    for key, operator, values in requirements:
        word = _LABEL_WORDS.get(operator)
        if word is not None:
            entry: dict[str, Any] = {"key": key, "operator": word}
            found.append({**entry, "values": list(values)} if values else entry)
    return {"requirements": found} if found else None


def field_text(selector: Mapping[str, Any] | None) -> str:
    """The field selector that a review's ``fieldSelector`` means."""
    if not selector:
        return ""
    raw = selector.get("rawSelector")
    if raw:
        return str(raw)
    terms = []
    for term in selector.get("requirements") or ():
        values: list[str] = term.get("values") or []
        sign = {"In": "=", "NotIn": "!="}.get(term.get("operator", ""))
        if sign is not None and len(values) == 1:
            terms.append(f"{term['key']}{sign}{escape_field_value(values[0])}")
    return ",".join(terms)


def label_text(selector: Mapping[str, Any] | None) -> str:
    """The label selector that a review's ``labelSelector`` means."""
    if not selector:
        return ""
    raw = selector.get("rawSelector")
    if raw:
        return str(raw)
    terms = []
    for term in selector.get("requirements") or ():
        key, values = term.get("key", ""), ",".join(term.get("values") or ())
        match term.get("operator"):
            case "In":
                terms.append(f"{key} in ({values})")
            case "NotIn":
                terms.append(f"{key} notin ({values})")
            case "Exists":
                terms.append(key)
            case "DoesNotExist":
                terms.append(f"!{key}")
    return ",".join(terms)


def check_selectors(path: str, asked: Mapping[str, Any]) -> list[FieldError]:
    """What is wrong with the selectors of ``resourceAttributes``."""
    errors: list[FieldError] = []
    for field in ("fieldSelector", "labelSelector"):
        selector = asked.get(field)
        if selector is None:
            continue
        here, raw = f"{path}.{field}", selector.get("rawSelector")
        requirements = selector.get("requirements") or ()
        if raw and requirements:
            text = "may not specified at the same time as requirements"
            errors.append(invalid(f"{here}.rawSelector", raw, text))
        elif not raw and not requirements:
            text = f"when {here} is specified, requirements or rawSelector is required"
            errors.append(required(f"{here}.requirements", text))
        errors += _check_requirements(
            f"{here}.requirements", requirements, of_fields=field == "fieldSelector"
        )
    return errors


def _check_requirements(
    path: str, requirements: Sequence[Mapping[str, Any]], *, of_fields: bool
) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, term in enumerate(requirements):
        here, operator, values = f"{path}[{index}]", term.get("operator"), term.get("values")
        if of_fields and not term.get("key"):
            errors.append(required(f"{here}.key", "must be specified"))
        if operator in ("In", "NotIn"):
            if not values:
                text = "must be specified when `operator` is 'In' or 'NotIn'"
                errors.append(required(f"{here}.values", text))
        elif operator in ("Exists", "DoesNotExist") and values:
            text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errors.append(forbidden_field(f"{here}.values", text))
        # Operators of clients newer than the server are nobody's fault.
        if not of_fields:
            errors += checked(f"{here}.key", term.get("key") or "", text_rules.qualified_name)
            for at, value in enumerate(values or ()):
                errors += checked(f"{here}.values[{at}]", value, text_rules.label_value)
    return errors
