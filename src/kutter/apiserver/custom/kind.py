"""The strategy of a custom kind in one version: its definition's schema is the law.

Order and texts follow upstream's ``registry/customresource/strategy.go`` and ``validator.go``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kutter.api.custom.defaults import compile_defaults
from kutter.api.custom.definition import DefinedVersion, path_keys
from kutter.api.custom.embedded import find_embedded_errors, has_embedded
from kutter.api.custom.lists import find_list_errors, has_list_types
from kutter.api.custom.rule_gate import blocks_rules, has_rules, unchecked_rules
from kutter.api.custom.values import UNRELATED, check_patterns, compile_values
from kutter.api.errors import ApiError, FieldError, invalid
from kutter.api.jsonpath import value_text
from kutter.apiserver.kinds.standard import Standard
from kutter.apiserver.kinds.strategy import WHOLE_METADATA, StrategyContext
from kutter.apiserver.ports import Tree

if TYPE_CHECKING:
    from kutter.api.custom.expressions import Rules

_INT32_MAX = (1 << 31) - 1


class CustomKind(Standard):
    # Upstream wants a version with every update of a custom object.
    allow_unconditional_update = False
    generation_paths = ("spec",)
    known_finalizers = False

    def __init__(self, version: DefinedVersion) -> None:
        super().__init__(version.resource)
        self.status_keeps = WHOLE_METADATA
        self.version = version
        self.terminating = False
        self._selectable = {path.lstrip("."): path_keys(path) for path in version.selectable}
        self.field_labels = frozenset(self._selectable)  # type: ignore[misc]
        self._fill = compile_defaults(version.schema)
        check_patterns(version.schema)
        self._check_values = compile_values(version.schema)
        # Asked once: walking a large schema takes longer than judging a small object by it.
        self._embedded, self._listed = has_embedded(version.schema), has_list_types(version.schema)
        self._rules: Rules | None = None
        if has_rules(version.schema):
            from kutter.api.custom.expressions import compile_rules

            self._rules = compile_rules(version.schema, root=True)

    def default(self, tree: Tree) -> None:
        self._fill(tree)

    # -- what a write may touch ------------------------------------------------

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        if self.terminating:
            detail = "create not allowed while custom resource definition is terminating"
            raise ApiError(405, "MethodNotAllowed", detail, details={})
        super().prepare_for_create(context, tree)

    def prepare_for_status_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        """Only status, and who manages its fields; labels of the request are ignored."""
        status = new.get("status")
        managed = (new.get("metadata") or {}).get("managedFields")
        new.clear()
        new.update(old)
        new["metadata"] = dict(old["metadata"])
        if managed is not None:
            new["metadata"]["managedFields"] = managed
        if status is None:
            new.pop("status", None)
        else:
            new["status"] = status

    def counts_generation(self, new: Tree, old: Tree) -> bool:
        apart = {"metadata", "apiVersion", "kind"}
        if self.version.has_status:
            apart.add("status")
        keys = (new.keys() | old.keys()) - apart
        return any(new.get(key) != old.get(key) for key in keys)

    # -- what is wrong ---------------------------------------------------------

    def validate_create(self, context: StrategyContext, tree: Tree) -> list[FieldError]:
        errors = self.check_metadata(tree) + self._values(tree, None) + self._structure(tree)
        return errors if self._rules is None else self._expressions(context, errors, tree, None)

    def validate_update(self, context: StrategyContext, new: Tree, old: Tree) -> list[FieldError]:
        errors = self.check_metadata_change(new, old) + self._values(new, old)
        errors += self._changed_structure(new, old)
        return errors if self._rules is None else self._expressions(context, errors, new, old)

    def validate_status_update(
        self, context: StrategyContext, new: Tree, old: Tree
    ) -> list[FieldError]:
        return self.validate_update(context, new, old)

    def warnings(self, context: StrategyContext, new: Tree, old: Tree | None) -> list[str]:
        return context.warnings

    def _expressions(
        self, context: StrategyContext, errors: list[FieldError], new: Tree, old: Tree | None
    ) -> list[FieldError]:
        """Run the rules, unless the document is too broken for them to mean anything."""
        assert self._rules is not None, "kinds without rules do not come here"
        if blocks_rules(errors):
            return [*errors, unchecked_rules()]
        from kutter.api.custom.expressions import find_rule_errors

        found, warnings, _ = find_rule_errors(self._rules, new, old)
        context.warnings += warnings
        return errors + found

    def _values(self, new: Tree, old: Tree | None) -> list[FieldError]:
        errors: list[FieldError] = []
        self._check_values(new, UNRELATED if old is None else old, "", errors)
        scale = self.version.scale
        if scale is not None and not errors:
            errors += _replicas(new, scale.spec)
            errors += _replicas(new, scale.status)
        return errors

    def _structure(self, tree: Tree) -> list[FieldError]:
        schema = self.version.schema
        errors = find_embedded_errors(schema, tree) if self._embedded else []
        return errors + find_list_errors(schema, tree) if self._listed else errors

    def _changed_structure(self, new: Tree, old: Tree) -> list[FieldError]:
        errors = self._structure(new)
        # Faults the object had before do not block a change.
        return errors if errors and not self._structure(old) else []

    # -- selection -------------------------------------------------------------

    def selectable_fields(self, tree: Tree) -> Mapping[str, str]:
        found = {}
        for label, keys in self._selectable.items():
            value = read_path(tree, keys)
            found[label] = "" if value is None else value_text(value)
        return found


def read_path(tree: Tree, keys: tuple[str, ...]) -> Any:
    """The value some keys down, None when there is none."""
    value: Any = tree
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def write_path(tree: Tree, keys: tuple[str, ...], value: Any) -> None:
    """Set the value some keys down, making what is missing on the way."""
    holder = tree
    for key in keys[:-1]:
        below = holder.get(key)
        if not isinstance(below, dict):
            below = holder[key] = {}
        holder = below
    holder[keys[-1]] = value


def _replicas(tree: Tree, keys: tuple[str, ...]) -> list[FieldError]:
    value = read_path(tree, keys)
    path = "." + ".".join(keys)
    if value is None:
        return []
    if type(value) is not int:
        return [invalid(path, value, "should be an integer")]
    if value < 0:
        return [invalid(path, value, "should be a non-negative integer")]
    if value > _INT32_MAX:
        return [invalid(path, value, f"should be less than or equal to {_INT32_MAX}")]
    return []
