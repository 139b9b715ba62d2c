"""DeviceClasses: which devices a name stands for, and how they are set up."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from kutter.api.errors import FieldError, invalid
from kutter.apiserver.kinds.standard import SpecKind
from kutter.apiserver.kinds.strategy import StrategyContext
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.device_selectors import check_selectors
from kutter.apiserver.validation.devices import (
    CONFIG_LIMIT,
    OPAQUE_LIMIT_BYTES,
    check_configuration,
    check_list,
)
from kutter.apiserver.validation.pod_resources import is_extended


class DeviceClassKind(SpecKind):
    return_deleted_object: ClassVar[bool] = True
    has_status: ClassVar[bool] = False
    name_check: ClassVar[text.Check] = staticmethod(text.long_name)

    def validate_create(self, context: StrategyContext, tree: Tree) -> list[FieldError]:
        return self.check_metadata(tree) + _check_spec(tree, {})

    def validate_update(self, context: StrategyContext, new: Tree, old: Tree) -> list[FieldError]:
        errors = self.check_metadata(new) + self.check_metadata_change(new, old)
        return errors + _check_spec(new, old)


def _check_spec(tree: Tree, old: Tree) -> list[FieldError]:
    errors: list[FieldError] = []
    spec, before = tree.get("spec") or {}, old.get("spec") or {}
    check_selectors(errors, spec.get("selectors") or [], "spec.selectors")
    config = spec.get("config") or []
    # What was stored before there was a limit stays as large as it is.
    limit = None if config == before.get("config") else OPAQUE_LIMIT_BYTES
    check = partial(check_configuration, limit=limit)
    check_list(errors, config, CONFIG_LIMIT, check, "spec.config")
    name = spec.get("extendedResourceName")
    if name is not None and not is_extended(name):
        detail = "must be a valid extended resource name"
        errors.append(invalid("spec.extendedResourceName", name, detail))
    return errors
