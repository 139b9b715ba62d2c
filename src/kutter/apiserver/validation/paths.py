"""Paths inside a volume or on a node, as upstream takes them."""

from __future__ import annotations

from kutter.api.errors import FieldError, invalid

Errors = list[FieldError]


def no_backsteps(errors: Errors, where: str, path: str) -> None:
    if ".." in where.split("/"):
        errors.append(invalid(path, where, "must not contain '..'"))


def local_descending_path(errors: Errors, where: str, path: str) -> None:
    if where.startswith("/"):
        errors.append(invalid(path, where, "must be a relative path"))
    no_backsteps(errors, where, path)


def local_non_reserved_path(errors: Errors, where: str, path: str) -> None:
    local_descending_path(errors, where, path)
    # A step back has been reported as one already; upstream does not count a lone ``..`` as one.
    if where.startswith("..") and not where.startswith("../"):
        errors.append(invalid(path, where, "must not start with '..'"))
