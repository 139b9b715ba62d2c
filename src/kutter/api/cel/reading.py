"""Closures that read fields: of objects whose types are known, and of anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kutter.api.cel import operators as ops
from kutter.api.cel.code import Frame, Run
from kutter.api.cel.values import MapValue


def read_plain(run: Run, field: str, name: str) -> Run:
    """A field of an object that needs no wrapping; a null counts as absent."""

    def read(frame: Frame) -> Any:
        value = run(frame)
        if type(value) is dict:
            found = value.get(name)
            if found is None:
                raise ops.no_such_key(field)
            return found
        return _read_slowly(value, field)

    return read


def read_wrapped(run: Run, field: str, name: str, wrap: Callable[[Any], Any]) -> Run:
    def read(frame: Frame) -> Any:
        value = run(frame)
        tree = value if type(value) is dict else getattr(value, "tree", None)
        if tree is None:
            return _read_slowly(value, field)
        found = tree.get(name)
        if found is None:
            raise ops.no_such_key(field)
        return wrap(found)

    return read


def _read_slowly(value: Any, field: str) -> Any:
    found = ops.select(value, field)
    # A map that makes its values says itself what is absent; a null it answers is meant.
    if found is None and not isinstance(value, MapValue):
        raise ops.no_such_key(field)
    return found


def has_known(run: Run, field: str, name: str) -> Run:
    def has(frame: Frame) -> bool:
        value = run(frame)
        if type(value) is dict:
            return value.get(name) is not None
        tree = getattr(value, "tree", None)
        if tree is not None:
            return tree.get(name) is not None
        return ops.has_field(value, field)

    return has


def read_any(run: Run, field: str) -> Run:
    select = ops.select

    def read(frame: Frame) -> Any:
        value = run(frame)
        if type(value) is dict:
            try:
                return value[field]
            except KeyError:
                raise ops.no_such_key(field) from None
        return select(value, field)

    return read
