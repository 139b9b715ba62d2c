"""Why a patch does not apply."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class PatchError(Exception):
    """A patch that cannot be applied. ``code`` is the status upstream answers with:

    400 for a malformed directive, 422 for an operation that does not fit the object, 500 for
    lists whose items lack their merge key or are of mixed types.
    """

    def __init__(self, message: str, code: int = 422) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


def go_text(value: Any) -> str:
    """A value as Go's ``%v`` prints it: ``map[name:web ports:[80 443]]``."""
    match value:
        case dict():
            inner = " ".join(f"{key}:{go_text(item)}" for key, item in sorted(value.items()))
            return f"map[{inner}]"
        case list():
            return f"[{' '.join(go_text(item) for item in value)}]"
        case bool():
            return "true" if value else "false"
        case None:
            return "<nil>"
        case _:
            return str(value)


def copy_tree(value: Any) -> Any:
    """A copy of a JSON value that shares no container with it."""
    if type(value) is dict:
        return {key: copy_tree(item) for key, item in value.items()}
    if type(value) is list:
        return [copy_tree(item) for item in value]
    return value


def depth_guarded(function: Callable[P, R]) -> Callable[P, R]:
    """Values nested deeper than we can follow are the patch's fault: PatchError 400."""

    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except RecursionError:
            raise PatchError("exceeded max depth", 400) from None

    return guarded
