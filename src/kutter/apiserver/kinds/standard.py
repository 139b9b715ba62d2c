"""What all built-in kinds share: metadata rules, status apart from specification.

:class:`Standard` is complete for kinds with nothing particular; the others derive from it and
override the three hooks ``default``, ``check`` (what holds for an object at any time) and
``check_change`` (what holds between two states of it).
"""

from __future__ import annotations

from typing import Any, ClassVar

from kutter.api.errors import FieldError
from kutter.api.resources import Resource
from kutter.api.schema import schema_for
from kutter.apiserver.kinds.strategy import Strategy, StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.metadata import (
    validate_common,
    validate_metadata,
    validate_metadata_update,
)
from kutter.apiserver.validation.required import validate_required


class Standard(Strategy):
    """A kind as most are: ``name_check`` says which names it accepts.

    ``rechecks_metadata``: an update is looked at as a new object, too (upstream's validator of
    the change calls the one of the object), so what is wrong with metadata counts once more.
    ``change_last``: what is wrong with the object comes before what is wrong with the step.
    ``disabled_fields``: what upstream has behind a gate that is off by default: it is dropped
    unless the object has it already.
    """

    name_check: ClassVar[text.Check] = staticmethod(text.dns_subdomain)
    rechecks_metadata: ClassVar[bool] = False
    change_last: ClassVar[bool] = False
    disabled_fields: ClassVar[tuple[tuple[str, ...], ...]] = ()
    known_finalizers: ClassVar[bool] = True

    def check(self, tree: Tree) -> list[FieldError]:
        """What is wrong with an object whatever it was before. Metadata is checked elsewhere."""
        return []

    def check_changed(self, new: Tree, old: Tree) -> list[FieldError]:
        """What is wrong with an object that was another before; kinds are lenient with what
        was stored before there was a rule.
        """
        return self.check(new)

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        """What is wrong with the step from ``old`` to ``new``."""
        return []

    def check_status(self, new: Tree, old: Tree) -> list[FieldError]:
        """What is wrong with a new status."""
        return []

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        super().prepare_for_create(context, tree)
        for path in self.disabled_fields:
            _drop_unless_held(tree, {}, path)

    def prepare_for_update(self, context: StrategyContext, new: Tree, old: Tree) -> None:
        super().prepare_for_update(context, new, old)
        for path in self.disabled_fields:
            _drop_unless_held(new, old, path)

    def validate_create(self, context: StrategyContext, tree: Tree) -> list[FieldError]:
        return self.check_metadata(tree) + self.check(tree)

    def validate_update(self, context: StrategyContext, new: Tree, old: Tree) -> list[FieldError]:
        common = None
        if self.rechecks_metadata:
            common = validate_common(new.get("metadata") or {}, self.known_finalizers)
        errors = self.check_metadata_change(new, old, common=common)
        change = self.check_change(new, old)
        whole = self.check_metadata(new, common=common) if self.rechecks_metadata else []
        whole += self.check_changed(new, old)
        return errors + (whole + change if self.change_last else change + whole)

    def validate_status_update(
        self, context: StrategyContext, new: Tree, old: Tree
    ) -> list[FieldError]:
        return self.check_metadata_change(new, old) + self.check_status(new, old)

    def check_metadata(
        self, tree: Tree, *, common: list[FieldError] | None = None
    ) -> list[FieldError]:
        """``common``: see :func:`validate_metadata`."""
        return validate_metadata(
            tree.get("metadata") or {},
            namespaced=self.resource.namespaced,
            name_check=type(self).name_check,
            known_finalizers=self.known_finalizers,
            common=common,
        )

    def check_metadata_change(
        self, new: Tree, old: Tree, *, common: list[FieldError] | None = None
    ) -> list[FieldError]:
        if self.leaves_metadata:
            return []
        return validate_metadata_update(
            new.get("metadata") or {},
            old.get("metadata") or {},
            known_finalizers=self.known_finalizers,
            common=common,
        )


class PlainKind(Standard):
    """A kind nothing particular is known of: what its schema requires is all."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource)
        self.has_status = "status" in resource.subresources  # type: ignore[misc]
        self._schema = schema_for(resource.group, resource.version, resource.kind)
        if self._schema is not None and "spec" in self._schema.node.fields:
            self.generation_paths = ("spec",)  # type: ignore[misc]

    def check(self, tree: Tree) -> list[FieldError]:
        return [] if self._schema is None else validate_required(tree, self._schema.node)


class ReturnedKind(PlainKind):
    """A plain kind whose finished DELETE answers the object."""

    return_deleted_object: ClassVar[bool] = True


class SpecKind(Standard):
    """A kind with a specification: its generation counts the specification's changes."""

    generation_paths: ClassVar[tuple[str, ...]] = ("spec",)

    def prepare_for_create(self, context: StrategyContext, tree: Tree) -> None:
        super().prepare_for_create(context, tree)
        if self.has_status and "status" in self.resource.subresources:
            # A plain struct upstream: there from the start, empty.
            tree["status"] = {}


def _drop_unless_held(new: Tree, old: Tree, path: tuple[str, ...]) -> None:
    *above, field = path
    for key in above:
        new, old = new.get(key) or {}, old.get(key) or {}
    if old.get(field) is None:
        new.pop(field, None)


def spec_of(tree: Tree) -> dict[str, Any]:
    """The specification, created if absent."""
    spec = tree.get("spec")
    if spec is None:
        spec = tree["spec"] = {}
    return spec


def setdefault(tree: Tree, field: str, value: Any) -> Any:
    """As ``dict.setdefault``, an explicit null counting as absent."""
    present = tree.get(field)
    if present is None:
        tree[field] = value
        return value
    return present
