"""Manifests: from files, folders, addresses and standard input to plain trees.

YAML (several documents), JSON and ``List`` kinds. What is wrong is said with file and line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from kutter.cli.command import CommandError

Tree = dict[str, Any]
_ENDINGS = (".yaml", ".yml", ".json")
_URL_TIMEOUT_S = 30.0
_URL_LIMIT_BYTES = 64 * 1024 * 1024


class Document(NamedTuple):
    """One object of a manifest; ``source`` is where it stands."""

    source: str
    tree: Tree

    @property
    def name(self) -> str:
        """Raises CommandError for an object without a name."""
        name = (self.tree.get("metadata") or {}).get("name")
        if not name:
            raise CommandError(f"{self.source}: the {self.tree['kind']} has no metadata.name")
        return str(name)


def read_documents(places: Sequence[str], *, recursive: bool = False) -> Iterator[Document]:
    """Every object of every place, lists flattened. Raises CommandError."""
    count = 0
    for place in places:
        for source, text in _texts(place, recursive):
            for tree in parse_documents(text, source):
                count += 1
                yield Document(source, tree)
    if not count:
        raise CommandError("no objects passed", hint=f"nothing is in {', '.join(places)}")


def _texts(place: str, recursive: bool) -> Iterator[tuple[str, bytes]]:
    if place == "-":
        yield "STDIN", sys.stdin.buffer.read()
    elif place.startswith(("http://", "https://")):
        yield place, _download(place)
    else:
        path = Path(place)
        if path.is_dir():
            files = list(_folder(path, recursive))
            if not files:
                raise CommandError(
                    f"error reading [{place}]: recognized file extensions are"
                    f" [{' '.join(_ENDINGS)}]"
                )
            for file in files:
                yield str(file), _read(file)
        else:
            yield place, _read(path)


def _folder(path: Path, recursive: bool) -> Iterator[Path]:
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            if name.endswith(_ENDINGS):
                yield Path(folder) / name
        if not recursive:
            return


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise CommandError(f'the path "{path}" does not exist') from error
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from error


def _download(url: str) -> bytes:
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=_URL_TIMEOUT_S) as answer:  # noqa: S310
            content: bytes = answer.read(_URL_LIMIT_BYTES + 1)
    except urllib.error.HTTPError as error:
        raise CommandError(
            f'unable to read URL "{url}", server reported {error.code} {error.reason}'
        ) from error
    except (OSError, ValueError) as error:
        raise CommandError(f'unable to read URL "{url}": {error}') from error
    if len(content) > _URL_LIMIT_BYTES:
        raise CommandError(f'"{url}" is larger than {_URL_LIMIT_BYTES} bytes')
    return content


def parse_documents(text: bytes, source: str) -> Iterator[Tree]:
    """The objects of one text. Raises CommandError with the line."""
    for tree in _trees(text, source):
        yield from _flatten(tree, source)


def _trees(text: bytes, source: str) -> Iterator[Any]:
    if text.lstrip()[:1] == b"{":
        try:
            yield orjson.loads(text)
            return
        except orjson.JSONDecodeError:
            pass  # several JSON documents, or YAML in flow style: YAML's reader takes both
    yield from _yaml(text, source)


def _yaml(text: bytes, source: str) -> list[Any]:
    import yaml

    from kutter.cli.yaml_loader import loader

    try:
        content = text.decode()
    except UnicodeDecodeError as error:
        raise CommandError(f"error parsing {source}: not UTF-8 text: {error}") from error
    try:
        trees = list(yaml.load_all(content, Loader=loader()))
    except yaml.YAMLError as error:
        raise CommandError(
            f"error parsing {source}: {_yaml_problem(error)}",
            hint="indent with spaces, two per level, and quote text with a colon",
        ) from error
    return [tree for tree in trees if tree is not None]


def _yaml_problem(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    if mark is None:
        return f"not valid YAML: {problem}"
    return f"not valid YAML in line {mark.line + 1}, column {mark.column + 1}: {problem}"


def _flatten(tree: Any, source: str) -> Iterator[Tree]:
    if not isinstance(tree, dict):
        raise CommandError(f"error parsing {source}: a manifest is a map, this is {_what(tree)}")
    kind, api_version = tree.get("kind"), tree.get("apiVersion")
    items = tree.get("items")
    if isinstance(kind, str) and kind.endswith("List") and isinstance(items, list):
        for item in items:
            if isinstance(item, dict) and kind != "List":
                item.setdefault("kind", kind.removesuffix("List"))
                item.setdefault("apiVersion", api_version)
            yield from _flatten(item, source)
        return
    for name, value in (("apiVersion", api_version), ("kind", kind)):
        if not value:
            raise CommandError(f"error validating {source}: {name} not set")
        if not isinstance(value, str):
            raise CommandError(f"error validating {source}: {name} is {_what(value)}, not text")
    metadata = tree.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise CommandError(f"error validating {source}: metadata is {_what(metadata)}, not a map")
    yield tree


def _what(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case list():
            return "a list"
        case dict():
            return "a map"
        case str():
            return "text"
        case _:
            return "a number or truth value"
