"""Leases, and who stands for one: coordinated leader election.

Elections are :mod:`kutter.controllers.leader_election`'s. Upstream:
kubernetes.io/docs/concepts/cluster-administration/coordinated-leader-election/
"""

from __future__ import annotations

from typing import ClassVar

from kutter.api import semver
from kutter.api.errors import FieldError, forbidden_field, invalid, not_supported, required
from kutter.apiserver.kinds.standard import Standard
from kutter.apiserver.ports import Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.metadata import immutable

Errors = list[FieldError]

OLDEST = "OldestEmulationVersion"
_OLDEST_NEEDS = f"must be specified when `strategy` is '{OLDEST}'"
_NO_VERSION = "must be a valid semantic version"
_BINARY, _EMULATION = "spec.binaryVersion", "spec.emulationVersion"


def check_strategy(errors: Errors, strategy: str) -> None:
    """Ours, or somebody's own with a domain. The field is named twice, as upstream does."""
    path = "spec.strategy.strategy"
    if "/" in strategy:
        errors += [invalid(path, strategy, problem) for problem in text.qualified_name(strategy)]
    elif strategy != OLDEST:
        errors.append(not_supported(path, strategy, [OLDEST]))


class LeaseKind(Standard):
    has_status: ClassVar[bool] = False
    allow_create_on_update: ClassVar[bool] = True
    allow_unconditional_update: ClassVar[bool] = False
    # Coordinated leader election.
    disabled_fields: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("spec", "strategy"),
        ("spec", "preferredHolder"),
    )

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        duration = spec.get("leaseDurationSeconds")
        if duration is not None and duration <= 0:
            errors.append(invalid("spec.leaseDurationSeconds", duration, "must be greater than 0"))
        transitions = spec.get("leaseTransitions")
        if transitions is not None and transitions < 0:
            errors.append(
                invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0")
            )
        if spec.get("strategy") is not None:
            check_strategy(errors, spec["strategy"])
        if spec.get("preferredHolder") and not spec.get("strategy"):
            detail = "may only be specified if `strategy` is defined"
            errors.append(forbidden_field("spec.preferredHolder", detail))
        return errors


class CoordinatedLeaseKind(LeaseKind):
    """Where candidates are served."""

    disabled_fields: ClassVar[tuple[tuple[str, ...], ...]] = ()


class LeaseCandidateKind(Standard):
    has_status: ClassVar[bool] = False
    allow_create_on_update: ClassVar[bool] = True
    allow_unconditional_update: ClassVar[bool] = False
    change_last: ClassVar[bool] = True
    name_check: ClassVar[text.Check] = staticmethod(text.config_key)

    def check(self, tree: Tree) -> list[FieldError]:
        errors: Errors = []
        spec = tree.get("spec") or {}
        if not spec.get("leaseName"):
            errors.append(required("spec.leaseName"))
        emulated = self._versions(errors, spec)
        strategy = spec.get("strategy") or ""
        if not strategy:
            errors.append(required("spec.strategy"))
            return errors
        if strategy == OLDEST and emulated == semver.ZERO:
            errors.append(required(_EMULATION, _OLDEST_NEEDS))
        check_strategy(errors, strategy)
        return errors

    def _versions(self, errors: Errors, spec: Tree) -> semver.Key:
        """What is wrong with both; answers the emulated one, zero for none."""
        emulation, binary = spec.get("emulationVersion") or "", spec.get("binaryVersion") or ""
        emulated, built = semver.key_of(emulation), semver.key_of(binary)
        if emulation and emulated is None:
            errors.append(invalid(_EMULATION, emulation, _NO_VERSION))
        if not binary:
            errors.append(required(_BINARY))
        elif built is None:
            errors.append(invalid(_BINARY, binary, _NO_VERSION))
        emulated, built = emulated or semver.ZERO, built or semver.ZERO
        if binary and emulation and built < emulated:
            detail = "must be greater than or equal to `emulationVersion`"
            errors.append(invalid(_BINARY, binary, detail))
        return emulated

    def check_change(self, new: Tree, old: Tree) -> list[FieldError]:
        name, before = ((t.get("spec") or {}).get("leaseName") or "" for t in (new, old))
        return immutable(name, before, "spec.leaseName")
