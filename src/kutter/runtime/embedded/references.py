"""Image references: ``[registry/]repository[:tag][@digest]``, completed as Docker does.

Grammar: https://github.com/distribution/reference. ``nginx`` means
``docker.io/library/nginx:latest``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kutter.runtime.cri import InvalidImageNameError

DEFAULT_REGISTRY = "docker.io"
_ALPHANUMERIC = r"[a-z0-9]+"
_COMPONENT = rf"{_ALPHANUMERIC}(?:(?:\.|_|__|-+){_ALPHANUMERIC})*"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_NAME_MAX = 255


@dataclass(frozen=True, slots=True)
class Reference:
    """A completed reference; ``tag`` is empty only when there is a digest."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """``registry/repository``."""
        return f"{self.registry}/{self.repository}"

    @property
    def target(self) -> str:
        """What the registry is asked for: the digest if there is one."""
        return self.digest or self.tag

    def __str__(self) -> str:
        text = self.name
        if self.tag:
            text += f":{self.tag}"
        if self.digest:
            text += f"@{self.digest}"
        return text


def is_digest(text: str) -> bool:
    """Whether ``text`` is a digest (``sha256:<64 hex>``)."""
    return _DIGEST.fullmatch(text) is not None


def parse_reference(text: str) -> Reference:
    """Parse and complete. Raises InvalidImageNameError."""
    rest, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise InvalidImageNameError(f"couldn't parse image name {text!r}: invalid digest")
    tag = ""
    head, colon, tail = rest.rpartition(":")
    if colon and "/" not in tail:
        rest, tag = head, tail
        if not _TAG.fullmatch(tag):
            raise InvalidImageNameError(f"couldn't parse image name {text!r}: invalid tag")
    first, slash, remainder = rest.partition("/")
    has_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
    if slash and not has_registry and first != first.lower():
        has_registry = True
    registry, repository = (first, remainder) if has_registry else (DEFAULT_REGISTRY, rest)
    if registry == "index.docker.io":
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = f"library/{repository}"
    if (
        not _REGISTRY.fullmatch(registry)
        or not _REPOSITORY.fullmatch(repository)
        or len(repository) > _NAME_MAX
    ):
        raise InvalidImageNameError(f"couldn't parse image name {text!r}: invalid reference format")
    if not tag and not digest:
        tag = "latest"
    return Reference(registry, repository, tag, digest)
