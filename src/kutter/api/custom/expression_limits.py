"""What is asked of the rules of a definition: that they compile and cannot cost too much.

For schemas in which nothing else is wrong. Texts, and how costs multiply, are those of upstream's
``apiextensions/validation/validation.go``.
Upstream: .../custom-resource-definitions#resource-use-by-validation-functions
"""

from __future__ import annotations

from typing import Any

from kutter.api.cel.estimates import MOST
from kutter.api.cel.kubernetes import DEFINITION_LIMIT, RULE_LIMIT
from kutter.api.cel.objects import REQUEST_BYTES
from kutter.api.custom.expressions import Rule, RuleError, Rules, compile_rules
from kutter.api.custom.schema import RULES
from kutter.api.errors import FieldError, forbidden_field, invalid
from kutter.api.quoting import Quoted, quote

Schema = dict[str, Any]

_MOST_TOLD = 4
_ADVICE = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, "
    "maps, and strings are declared)"
)


def find_expression_errors(schema: Schema, path: str) -> list[FieldError]:
    """What is wrong with the rules of a whole object's schema."""
    rules = compile_rules(schema, root=True)
    if rules is None:
        return []
    checked = _Checked()
    checked.walk(rules, path, times=1, uncorrelatable="")
    if checked.total > DEFINITION_LIMIT:
        told = sorted(checked.expensive, key=lambda found: -found[1])[:_MOST_TOLD]
        for where, _ in told:
            detail = (
                "contributed to estimated rule cost total exceeding cost limit for entire "
                "OpenAPIv3 schema"
            )
            checked.errors.append(forbidden_field(where, detail))
        name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        checked.errors.append(
            forbidden_field(path, _too_much(name, checked.total, DEFINITION_LIMIT))
        )
    return checked.errors


def _too_much(name: str, cost: int, limit: int) -> str:
    factor = cost / limit
    shown = (
        "more than 100x" if factor > 100 else f"{factor:f}x" if factor < 1.5 else f"{factor:.1f}x"
    )
    return f"{name} exceeds budget by factor of {shown} {_ADVICE}"


class _Checked:
    """What was found, and what all rules may cost together."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []
        self.total = 0
        self.expensive: list[tuple[str, int]] = []

    def walk(self, rules: Rules, path: str, *, times: int | None, uncorrelatable: str) -> None:
        """``times``: how often the schema may apply in one document, None if nothing bounds it.

        ``uncorrelatable``: the list above whose items cannot be told apart.
        """
        schema = rules.schema
        below = _times(schema, times)
        if rules.rest is not None:
            at = f"{path}.additionalProperties"
            self.walk(rules.rest, at, times=below, uncorrelatable=uncorrelatable)
        for name, part in rules.properties.items():
            at = f"{path}.properties[{name}]"
            self.walk(part, at, times=below, uncorrelatable=uncorrelatable)
        if rules.items is not None:
            keyed = schema.get("x-kubernetes-list-type") == "map"
            at = uncorrelatable or ("" if keyed else path)
            self.walk(rules.items, f"{path}.items", times=below, uncorrelatable=at)
        if rules.rules:
            self._own(rules, f"{path}.{RULES}", times, uncorrelatable)

    def _own(self, rules: Rules, path: str, times: int | None, uncorrelatable: str) -> None:
        if rules.type is None:
            detail = (
                "internal error: failed to construct type information for "
                "x-kubernetes-validations rules: unable to convert structural schema to CEL "
                "declarations"
            )
            self.errors.append(FieldError(path, "InternalError", f"Internal error: {detail}"))
            return
        most = times if times is not None else REQUEST_BYTES // (rules.type.min_json + 1)
        written = rules.schema[RULES]
        for index, (rule, made) in enumerate(zip(written, rules.rules, strict=True)):
            at = f"{path}[{index}]"
            if isinstance(made, RuleError):
                self.errors.append(invalid(f"{at}.{made.field}", _shown(rule), made.detail))
            else:
                self._rule(rule, made, at, most, uncorrelatable)

    def _rule(self, rule: Schema, made: Rule, path: str, most: int, uncorrelatable: str) -> None:
        cost = min(made.program.estimated_cost().most * most, MOST)
        self._count(cost, f"{path}.rule", "estimated rule cost")
        if made.message_program is not None:
            cost = made.message_program.estimated_cost().most
            self._count(cost, f"{path}.messageExpression", "estimated messageExpression cost")
        if made.uses_old and uncorrelatable:
            detail = (
                "oldSelf cannot be used on the uncorrelatable portion of the schema within "
                f"{uncorrelatable}"
            )
            self.errors.append(invalid(f"{path}.rule", rule["rule"], detail))
        elif not made.uses_old and rule.get("optionalOldSelf") is not None:
            detail = "may not be set if oldSelf is not used in rule"
            value = rule["optionalOldSelf"]
            self.errors.append(invalid(f"{path}.optionalOldSelf", value, detail))

    def _count(self, cost: int, path: str, name: str) -> None:
        if cost > RULE_LIMIT:
            self.errors.append(forbidden_field(path, _too_much(name, cost, RULE_LIMIT)))
        self.total = min(self.total + cost, MOST)
        if cost >= DEFINITION_LIMIT // 100:
            self.expensive.append((path, cost))


def _times(schema: Schema, times: int | None) -> int | None:
    """How often what is below applies."""
    if times is None:
        return None
    kind = schema.get("type")
    if kind == "object" and schema.get("additionalProperties") is not None:
        most = schema.get("maxProperties")
    elif kind == "array":
        most = schema.get("maxItems")
    else:
        return times
    return None if most is None else min(times * max(int(most), 0), MOST)


def _shown(rule: Schema) -> Quoted:
    """A rule in upstream's internal form, encoded as Go does by default."""
    tree = {
        "Rule": rule.get("rule") or "",
        "Message": rule.get("message") or "",
        "MessageExpression": rule.get("messageExpression") or "",
        "Reason": rule.get("reason"),
        "FieldPath": rule.get("fieldPath") or "",
        "OptionalOldSelf": rule.get("optionalOldSelf"),
    }
    text = quote(tree)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Quoted(text)
