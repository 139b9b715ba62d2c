"""Which level and version of the standards a namespace asks for, and what they find. Pure.

https://kubernetes.io/docs/concepts/security/pod-security-admission/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from kutter.api.errors import FieldError, invalid
from kutter.apiserver.pod_security import baseline, restricted
from kutter.apiserver.pod_security.check import Finding, Look
from kutter.apiserver.ports import Tree

PREFIX = "pod-security.kubernetes.io/"
LEVELS = ("privileged", "baseline", "restricted")
# Newer than any version, also than those to come.
LATEST = 1 << 30
_VERSION = re.compile(r"v1\.(0|[1-9][0-9]{0,8})")


class LevelVersion(msgspec.Struct, frozen=True):
    """``restricted:v1.25``. ``minor`` is LATEST for ``latest``."""

    level: str = "privileged"
    minor: int = LATEST

    def __str__(self) -> str:
        version = "latest" if self.minor == LATEST else f"v1.{self.minor}"
        return f"{self.level}:{version}"

    @property
    def strictness(self) -> int:
        return LEVELS.index(self.level)


class Policy(msgspec.Struct, frozen=True):
    """What is refused, what is noted in the audit log, what the caller is warned of."""

    enforce: LevelVersion = LevelVersion()
    audit: LevelVersion = LevelVersion()
    warn: LevelVersion = LevelVersion()

    @property
    def asks_nothing(self) -> bool:
        return self.enforce.level == self.audit.level == self.warn.level == "privileged"


def parse_level(text: str) -> str | None:
    return text if text in LEVELS else None


def parse_version(text: str) -> int | None:
    """The minor version of ``v1.x``; LATEST for ``latest``; None for anything else."""
    if text == "latest":
        return LATEST
    match = _VERSION.fullmatch(text)
    return int(match.group(1)) if match else None


def policy_of(labels: Mapping[str, str], defaults: Policy) -> tuple[Policy, list[FieldError]]:
    """What labels ask for, the rest from ``defaults``; and what is wrong with them.

    Wrong labels refuse more rather than less where something is enforced, and are passed over
    where somebody would only be told.
    """
    errors: list[FieldError] = []
    found = defaults
    for mode in ("enforce", "audit", "warn"):
        asked: LevelVersion = getattr(found, mode)
        level = labels.get(PREFIX + mode)
        if level is not None:
            fallback = "restricted" if mode == "enforce" else "privileged"
            asked = replace(asked, level=parse_level(level) or fallback)
            if parse_level(level) is None:
                detail = f"must be one of {', '.join(LEVELS)}"
                errors.append(invalid(f"metadata.labels[{PREFIX}{mode}]", level, detail))
        version = labels.get(f"{PREFIX}{mode}-version")
        if version is not None:
            minor = parse_version(version)
            asked = replace(asked, minor=LATEST if minor is None else minor)
            if minor is None:
                path = f"metadata.labels[{PREFIX}{mode}-version]"
                errors.append(invalid(path, version, 'must be "latest" or "v1.x"'))
        found = replace(found, **{mode: asked})
    return _warn_of_what_is_enforced(found, labels), errors


def _warn_of_what_is_enforced(policy: Policy, labels: Mapping[str, str]) -> Policy:
    """Workloads are never refused: whoever enforces without warning would not hear of them."""
    if f"{PREFIX}warn" in labels or parse_level(labels.get(f"{PREFIX}enforce", "")) is None:
        return policy
    if policy.enforce.strictness <= policy.warn.strictness:
        return policy
    minor = policy.warn.minor if f"{PREFIX}warn-version" in labels else policy.enforce.minor
    return replace(policy, warn=LevelVersion(policy.enforce.level, minor))


@lru_cache(maxsize=512)
def _looks(level: str, minor: int) -> tuple[Look, ...]:
    """What is looked at, baseline first, each level by name."""
    if level == "privileged":
        return ()
    chosen = [c for c in restricted.CHECKS if level == "restricted" and c.form(minor) is not None]
    replaced = {name for check in chosen for name in check.overrides}
    checks = [c for c in baseline.CHECKS if c.name not in replaced] + chosen
    return tuple(look for check in checks if (look := check.form(minor)) is not None)


def evaluate(wanted: LevelVersion, metadata: Tree, spec: Tree) -> list[Finding]:
    """Everything about a pod that a level forbids."""
    looks = _looks(wanted.level, wanted.minor)
    return [found for look in looks if (found := look(metadata, spec)) is not None]


def render(findings: list[Finding]) -> str:
    return ", ".join(str(finding) for finding in findings)
