"""``x-kubernetes-validations`` of a schema, compiled once and run over documents.

Between a definition and the write pipeline. A schema becomes a tree of :class:`Rules`, of which
only the branches that hold rules exist: without any there is nothing, and nothing to pay. Order,
texts, correlation of old and new, and ratcheting are upstream's
(``apiextensions-apiserver/pkg/apiserver/schema/cel/validation.go``).
Upstream: .../custom-resources/custom-resource-definitions#validation-rules
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import orjson

from kutter.api.cel.environment import Program
from kutter.api.cel.errors import BudgetExceeded, CelError, EvaluationError
from kutter.api.cel.kubernetes import OBJECT_BUDGET, PER_CALL_LIMIT, environment
from kutter.api.cel.names import escape
from kutter.api.cel.objects import type_of_schema
from kutter.api.cel.types import BOOL, STRING, Type, optional_of
from kutter.api.cel.values import NONE, OptionalValue
from kutter.api.custom.correlation import ABSENT, Old, by_keys, key_of, list_keys
from kutter.api.custom.field_paths import FieldPathError, read_field_path
from kutter.api.custom.rule_gate import has_rules
from kutter.api.custom.schema import RULES
from kutter.api.errors import FieldError, forbidden_field, invalid, required
from kutter.api.quoting import quote

Schema = dict[str, Any]

MESSAGE_LIMIT = 5 * 1024
_NO_PATH = "<nil>"
_OUT_OF_BUDGET = (
    "validation failed due to running out of cost budget, no further validation rules will be run"
)


# The least recently asked for goes. So many rules, of 15 KB each, are remembered in all.
_COMPILED: dict[tuple[bytes, bool], Rules] = {}
_COMPILED_LIMIT = 2000


class RuleError(Exception):
    """A rule does not compile; ``field`` is the part of it that is wrong."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field
        self.detail = detail


class Rule:
    """One rule, compiled."""

    __slots__ = (
        "field_path",
        "message",
        "message_program",
        "optional_old",
        "program",
        "reason",
        "text",
        "uses_old",
    )

    def __init__(self, rule: Schema, schema: Schema, type: Type | None) -> None:
        """Raises RuleError."""
        if type is None:
            raise RuleError("rule", "failed to convert to declType for CEL validation rules")
        self.text = (rule.get("rule") or "").strip()
        self.message = (rule.get("message") or "").strip()
        self.reason: str = rule.get("reason") or ""
        self.optional_old = bool(rule.get("optionalOldSelf"))
        old = optional_of(type) if self.optional_old else type
        env = environment({"self": type, "oldSelf": old})
        try:
            self.program = env.compile(rule["rule"])
        except CelError as error:
            raise RuleError("rule", f"compilation failed: {error}") from error
        if self.program.result != BOOL:
            raise RuleError("rule", "cel expression must evaluate to a bool")
        self.uses_old = "oldSelf" in self.program.names
        self.message_program = self._compile_message(rule.get("messageExpression") or "", env)
        self.field_path = _normal_path(rule.get("fieldPath") or "", schema)

    @staticmethod
    def _compile_message(text: str, env: Any) -> Program | None:
        if not text:
            return None
        try:
            program: Program = env.compile(text)
        except CelError as error:
            detail = f"messageExpression compilation failed: {error}"
            raise RuleError("messageExpression", detail) from error
        if program.result != STRING:
            raise RuleError("messageExpression", "messageExpression must evaluate to a string")
        return program

    @property
    def shown(self) -> str:
        """What errors call the rule."""
        return self.message or self.text


def _normal_path(path: str, schema: Schema) -> str:
    try:
        return read_field_path(path, schema) if path else ""
    except FieldPathError:
        return ""


class Run:
    """One validation: the budget that is left, what was found."""

    __slots__ = ("budget", "errors", "warnings")

    def __init__(self, budget: int = OBJECT_BUDGET) -> None:
        self.budget = budget
        self.errors: list[FieldError] = []
        self.warnings: list[str] = []

    def stop(self, error: FieldError) -> None:
        self.errors.append(error)
        self.budget = -1


class Rules:
    """The rules at one node of a schema, and the nodes below that have some."""

    __slots__ = (
        "count",
        "items",
        "keys",
        "properties",
        "rest",
        "rules",
        "schema",
        "type",
        "type_name",
    )

    def __init__(self, schema: Schema, type: Type | None) -> None:
        self.schema = schema
        self.type_name: str = schema.get("type") or ""
        self.type = type
        # In order; what does not compile keeps its place.
        self.rules: list[Rule | RuleError] = []
        for rule in schema.get(RULES) or ():
            try:
                self.rules.append(Rule(rule, schema, type))
            except RuleError as error:
                self.rules.append(error)
        self.keys = list_keys(schema)
        self.properties: dict[str, Rules] = {}
        for name, below in (schema.get("properties") or {}).items():
            made = _rules_below(below, property_type(type, name))
            if made is not None:
                self.properties[name] = made
        items, more = schema.get("items"), schema.get("additionalProperties")
        inner = type.params[-1] if type is not None and type.params else None
        self.items = _rules_below(items, inner) if isinstance(items, dict) else None
        self.rest = _rules_below(more, inner) if isinstance(more, dict) else None

        below = [*self.properties.values(), self.items, self.rest]
        self.count: int = len(self.rules) + sum(part.count for part in below if part is not None)

    @property
    def empty(self) -> bool:
        return not (self.rules or self.properties or self.items or self.rest)

    def run(self, value: Any, old: Any, path: str, relation: Old | None, run: Run) -> None:
        """Check a value and what is below it. ``old`` is ABSENT where there is none to compare."""
        if value is None:
            return
        if self.rules:
            self._run_own(value, old, path, relation, run)
            if run.budget < 0:
                return
        if type(value) is dict:
            self._run_object(value, old, path, relation, run)
        elif type(value) is list and self.items is not None:
            self._run_list(self.items, value, old, path=path, relation=relation, run=run)

    # -- below -----------------------------------------------------------------

    def _run_object(
        self, value: Schema, old: Any, path: str, relation: Old | None, run: Run
    ) -> None:
        before: Schema = old if type(old) is dict else {}
        prefix = f"{path}." if path else ""
        for name, item in value.items():
            rules, where = self.properties.get(name), f"{prefix}{name}"
            if rules is None:
                rules, where = self.rest, f"{path}[{name}]"
            if rules is None:
                continue
            past = before.get(name, ABSENT)
            below = _related(relation, item, name, rules.schema, path)
            rules.run(item, past, where, below, run)
            if run.budget < 0:
                return

    def _run_list(
        self,
        rules: Rules,
        value: list[Any],
        old: Any,
        *,
        path: str,
        relation: Old | None,
        run: Run,
    ) -> None:
        keys = self.keys
        known = by_keys(old, keys) if keys and old is not ABSENT else {}
        related = by_keys(relation.value, keys) if keys and relation is not None else {}
        for index, item in enumerate(value):
            key = key_of(item, keys) if keys else None
            past = known.get(key, ABSENT) if key is not None else ABSENT
            below = None
            if relation is not None:
                before = related.get(key, ABSENT) if key is not None else ABSENT
                below = relation.below(item, before, rules.schema)
            rules.run(item, past, f"{path}[{index}]", below, run)
            if run.budget < 0:
                return

    # -- the rules here --------------------------------------------------------

    def _run_own(self, value: Any, old: Any, path: str, relation: Old | None, run: Run) -> None:
        where = path or _NO_PATH
        if run.budget <= 0:
            run.stop(invalid(where, self.type_name, _OUT_OF_BUDGET))
            return
        for rule in self.rules:
            if isinstance(rule, RuleError):
                # Was refused when the definition was written, unless we changed since.
                detail = f"rule compile error: {rule.detail}"
                run.errors.append(invalid(where, self.type_name, detail))
                continue
            if rule.uses_old and (old is ABSENT or old is None) and not rule.optional_old:
                continue
            bindings = {"self": value}
            if rule.uses_old or rule.message_program is not None:
                bindings["oldSelf"] = _old_self(rule, old)
            self._run_rule(rule, bindings, path, relation, run)
            if run.budget < 0:
                return

    def _run_rule(
        self, rule: Rule, bindings: dict[str, Any], path: str, relation: Old | None, run: Run
    ) -> None:
        where, shown = path or _NO_PATH, rule.shown
        try:
            value, cost = rule.program.run(bindings, PER_CALL_LIMIT)
        except BudgetExceeded as error:
            if error.cost > run.budget:
                run.stop(invalid(where, self.type_name, _OUT_OF_BUDGET))
                return
            detail = (
                f"'{error}': no further validation rules will be run due to call cost exceeds "
                f"limit for rule: {shown}"
            )
            run.stop(invalid(where, self.type_name, detail))
            return
        except EvaluationError as error:
            run.budget -= error.cost
            if run.budget < 0:
                run.stop(invalid(where, self.type_name, _OUT_OF_BUDGET))
                return
            detail = f"{error} evaluating rule: {shown}"
            if str(error).startswith("no such overload"):
                detail = (
                    f"'{error}': call arguments did not match a supported operator, function or "
                    f"macro signature for rule: {shown}"
                )
            run.errors.append(invalid(where, self.type_name, detail))
            return
        run.budget -= cost
        if run.budget < 0:
            run.stop(invalid(where, self.type_name, _OUT_OF_BUDGET))
        elif value is not True:
            self._fail(rule, bindings, path, relation, run)

    def _fail(
        self, rule: Rule, bindings: dict[str, Any], path: str, relation: Old | None, run: Run
    ) -> None:
        where = path or _NO_PATH
        if rule.field_path:
            where = f"{path}.{rule.field_path}" if path else rule.field_path
        error, detail = None, rule.message or f"failed rule: {rule.text}"
        if rule.message_program is not None:
            said, problem = _evaluate_message(rule.message_program, bindings, run)
            if problem:
                error = invalid(where, self.type_name, problem)
            detail = said or detail
        if error is None:
            error = self._error(rule.reason, where, bindings["self"], detail)
        if not rule.uses_old and relation is not None and relation.is_same():
            run.warnings.append(str(error))
        else:
            run.errors.append(error)

    def _error(self, reason: str, where: str, value: Any, detail: str) -> FieldError:
        whole = self.type_name in ("object", "array")
        match reason:
            case "FieldValueForbidden":
                return forbidden_field(where, detail)
            case "FieldValueRequired":
                return required(where, detail)
            case "FieldValueDuplicate":
                shown = "" if whole else f": {quote(value)}"
                return FieldError(where, reason, f"Duplicate value{shown}")
        if whole:
            # The whole of it would hide what is said about it.
            return FieldError(where, "FieldValueInvalid", f"Invalid value: {detail}")
        return invalid(where, value, detail)


def _related(relation: Old | None, item: Any, name: str, schema: Schema, path: str) -> Old | None:
    if relation is None:
        return None
    if not path and name in ("apiVersion", "kind"):
        # Both documents are of one version by now; a change of it is not seen.
        return None
    before = relation.value.get(name, ABSENT) if type(relation.value) is dict else ABSENT
    return relation.below(item, before, schema)


def _old_self(rule: Rule, old: Any) -> Any:
    if not rule.optional_old:
        return None if old is ABSENT else old
    if old is ABSENT or old is None:
        return NONE
    wrap = rule.program.variables["self"].wrap
    return OptionalValue(old if wrap is None else wrap(old))


def _evaluate_message(program: Program, bindings: dict[str, Any], run: Run) -> tuple[str, str]:
    """(message, problem). Neither: the rule's own message will do. A problem ends the run."""
    try:
        value, cost = program.run(bindings, PER_CALL_LIMIT)
    except BudgetExceeded:
        run.budget = -1
        return "", (
            "no further validation rules will be run due to call cost exceeds limit for "
            f"messageExpression: {quote(program.text)}"
        )
    except EvaluationError as error:
        value, cost = "", error.cost
    run.budget -= cost
    if run.budget < 0:
        run.budget = -1
        return "", (
            "messageExpression evaluation failed due to running out of cost budget, no further "
            "validation rules will be run"
        )
    message = value.strip() if type(value) is str else ""
    usable = "\n" not in message and len(message.encode()) <= MESSAGE_LIMIT
    return (message if usable else ""), ""


def property_type(type: Type | None, name: str) -> Type | None:
    """A property's type within its object's; None for what expressions do not see."""
    if type is None:
        return None
    escaped = escape(name)
    field = type.field(escaped) if escaped is not None else None
    return field.type if field is not None else None


def _rules_below(schema: Schema, type: Type | None) -> Rules | None:
    if not has_rules(schema):
        return None
    if type is None:
        embedded = bool(schema.get("x-kubernetes-embedded-resource"))
        type = type_of_schema(schema, root=embedded)
    made = Rules(schema, type)
    return None if made.empty else made


def compile_rules(schema: Schema, *, root: bool) -> Rules | None:
    """The rules of a schema, None when it has none. ``root``: of a whole object.

    Remembered: a definition is checked, then served, often in several versions that are alike.
    """
    if not has_rules(schema):
        return None
    data = orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)
    key = (blake2b(data).digest(), root)
    made = _COMPILED.pop(key, None)
    if made is None:
        kept = orjson.loads(data)
        made = Rules(kept, type_of_schema(kept, root=root))
    _COMPILED[key] = made
    while len(_COMPILED) > 1 and sum(r.count for r in _COMPILED.values()) > _COMPILED_LIMIT:
        del _COMPILED[next(iter(_COMPILED))]
    return made


def find_rule_errors(
    rules: Rules,
    new: Any,
    old: Any,
    *,
    path: str = "",
    budget: int = OBJECT_BUDGET,
    ratchet: bool = True,
) -> tuple[list[FieldError], list[str], int]:
    """(errors, warnings of faults that were there before, budget left).

    ``old`` is None for a new document. Without ``ratchet`` faults of unchanged parts are errors.
    """
    run = Run(budget)
    before = ABSENT if old is None else old
    relation = None if old is None or not ratchet else Old(new, old, rules.schema)
    rules.run(new, before, path, relation, run)
    return run.errors, run.warnings, run.budget
