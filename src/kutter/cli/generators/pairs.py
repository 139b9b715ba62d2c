"""Flags of the form ``key=value``, and data from files."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from kutter.api.names import check_config_key, check_env_name
from kutter.cli.command import CommandError


def parse_pairs(words: Sequence[str], flag: str) -> dict[str, str]:
    """``a=1`` ``b=2,c=3``. Raises CommandError."""
    pairs = {}
    for word in words:
        for part in word.split(","):
            key, equals, value = part.partition("=")
            if not equals or not key:
                raise CommandError(f"invalid {flag} {part!r}: expected key=value")
            pairs[key] = value
    return pairs


def parse_literals(words: Sequence[str]) -> dict[str, str]:
    """``--from-literal key=value``; the value may hold commas and ``=``."""
    pairs: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise CommandError(f"invalid literal source {word}, expected key=value")
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        _put(pairs, key, value)
    return pairs


def parse_env(words: Sequence[str]) -> list[dict[str, str]]:
    """``NAME=value`` as a container's ``env``."""
    env = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or check_env_name(name):
            raise CommandError(f"invalid env: {word}", hint="write --env NAME=value")
        env.append({"name": name, "value": value})
    return env


def read_files(words: Sequence[str]) -> dict[str, bytes]:
    """``--from-file``: ``path``, ``key=path`` or a folder. Raises CommandError."""
    found: dict[str, bytes] = {}
    for word in words:
        key, equals, path = word.partition("=")
        file = Path(path if equals else word)
        if equals and (not key or not path):
            raise CommandError(f"invalid file source {word}, expected key=path or path")
        if file.is_dir():
            if equals:
                raise CommandError("cannot give a key name for a directory path")
            for entry in sorted(file.iterdir()):
                if entry.is_file() and not check_config_key(entry.name):
                    _put(found, entry.name, _read(entry))
            continue
        _put(found, key if equals else file.name, _read(file))
    return found


def read_env_files(words: Sequence[str]) -> dict[str, str]:
    """``--from-env-file``: lines of ``NAME=value``, ``#`` comments."""
    pairs: dict[str, str] = {}
    for word in words:
        for number, line in enumerate(_read(Path(word)).decode("utf-8-sig").splitlines(), 1):
            text = line.lstrip()
            if not text or text.startswith("#"):
                continue
            name, _, value = text.partition("=")
            if check_env_name(name):
                raise CommandError(f"{word}, line {number}: {name!r} is not a valid key name")
            _put(pairs, name, value)
    return pairs


def as_text(name: str, content: bytes) -> str | None:
    """Text, or None for bytes that are none."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def encode(content: bytes | str) -> str:
    """Base64, as secrets and binary data want it."""
    return base64.b64encode(content.encode() if isinstance(content, str) else content).decode()


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CommandError(f"error reading {file}: {error.strerror}") from error


def _put(
    pairs: dict[str, object] | dict[str, str] | dict[str, bytes], key: str, value: object
) -> None:
    complaints = check_config_key(key)
    if complaints:
        raise CommandError(f'"{key}" is not a valid key name: {complaints[0]}')
    if key in pairs:
        raise CommandError(f"cannot add key {key}, another key by that name already exists")
    pairs[key] = value  # type: ignore[assignment]
