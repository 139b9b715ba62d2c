"""Files that configure the API server: YAML of ``apiserver.config.k8s.io``, read strictly.

Between a path and what is made of it. :class:`ConfigurationFile` reads a file again when it
changed; whoever uses one keeps what was read last until the new content is right.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from kutter.api.errors import FieldError
from kutter.base.clock import Clock
from kutter.base.log import get_logger

GROUP = "apiserver.config.k8s.io"
SIZE_MAX_BYTES = 4 * 1024 * 1024
CHECK_EVERY_S = 5.0

T = TypeVar("T", bound=msgspec.Struct)
_log = get_logger("configuration")


class ConfigurationError(ValueError):
    """A configuration that cannot be used; the message says where and why."""

    @classmethod
    def of(cls, kind: str, errors: Sequence[FieldError]) -> ConfigurationError:
        return cls(f"{kind} is invalid: " + ", ".join(str(error) for error in errors))


class Part(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A part of a configuration: unknown fields are errors."""


def parse_configuration(
    content: bytes, kind: str, versions: Sequence[str], shape: type[T], *, group: str = GROUP
) -> T:
    """What the YAML (or JSON) document says. Raises ConfigurationError."""
    try:
        tree = _load(content)
    except ValueError as error:
        raise ConfigurationError(f"{kind} is no YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigurationError(f"{kind} is no object")
    found_version, found_kind = tree.pop("apiVersion", ""), tree.pop("kind", "")
    if found_kind != kind or found_version not in [f"{group}/{v}" for v in versions]:
        wanted = " or ".join(f"{group}/{v}" for v in versions)
        raise ConfigurationError(
            f"expected apiVersion {wanted}, kind {kind}; found {found_version!r}, {found_kind!r}"
        )
    try:
        return msgspec.convert(tree, type=shape, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{kind} is malformed: {error}") from error


def _load(content: bytes) -> Any:
    """A document in which no key is given twice. Raises ValueError."""
    if content.lstrip().startswith(b"{"):
        # Files we make ourselves are JSON: a start that reads no YAML is 10 ms shorter.
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(content, object_pairs_hook=_unique)
    from kutter.apiserver import yaml_documents

    return yaml_documents.load_strictly(content)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"duplicate key {key!r}")
        found[key] = value
    return found


class ConfigurationFile:
    """One file, looked at again now and then."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state: tuple[int, int, int] | None = None

    def read(self) -> bytes:
        """The content. Raises ConfigurationError."""
        try:
            found = os.stat(self.path)
            if found.st_size > SIZE_MAX_BYTES:
                raise ConfigurationError(f"{self.path} is larger than {SIZE_MAX_BYTES} bytes")
            content = self.path.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"cannot read {self.path}: {error.strerror}") from error
        self._state = (found.st_ino, found.st_mtime_ns, found.st_size)
        return content

    def read_if_changed(self) -> bytes | None:
        """The content if it is not the one read last. Raises ConfigurationError."""
        try:
            found = os.stat(self.path)
        except OSError as error:
            raise ConfigurationError(f"cannot read {self.path}: {error.strerror}") from error
        if (found.st_ino, found.st_mtime_ns, found.st_size) == self._state:
            return None
        return self.read()

    async def follow(self, clock: Clock, apply: Callable[[bytes], Awaitable[None]]) -> None:
        """Hand every new content to ``apply``, until cancelled.

        What ``apply`` (or reading) refuses with ConfigurationError is told once; what was applied
        last stays in force.
        """
        told = ""
        while True:
            await clock.sleep(CHECK_EVERY_S)
            try:
                content = self.read_if_changed()
                if content is None:
                    continue
                await apply(content)
            except ConfigurationError as error:
                if str(error) != told:
                    _log.error("configuration not usable", file=str(self.path), error=str(error))
                    told = str(error)
            else:
                told = ""
                _log.info("configuration reloaded", file=str(self.path))
