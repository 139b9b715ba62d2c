"""Semantic versions: read strictly, and in their order."""

from __future__ import annotations

import re

# Numbers of labels that are longer compare by their beginning.
_DIGITS = 100
_NUMBER_DIGITS = 19
_number = r"(0|[1-9]\d*)"
_label = r"(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_form = re.compile(
    rf"{_number}\.{_number}\.{_number}(?:-({_label}(?:\.{_label})*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?",
    re.ASCII,
).fullmatch

Key = tuple[tuple[int, ...], bool, tuple[tuple[int, int, str], ...]]


def read_semver(text: str) -> tuple[tuple[int, int, int], str] | None:
    """Major, minor and patch, and the labels; None for what is no version."""
    match = _form(text)
    if match is None or max(map(len, match.groups("")[:3])) > _NUMBER_DIGITS:
        return None
    return (int(match[1]), int(match[2]), int(match[3])), match[4] or ""


def sort_key(numbers: tuple[int, ...], labels: str = "") -> Key:
    """Sorts as versions do; builds do not count."""
    # A version without labels comes after those with; numbers come before words.
    words = tuple(
        (0, int(word[:_DIGITS]), "") if word.isdigit() else (1, 0, word)
        for word in (labels.split(".") if labels else ())
    )
    return (numbers, not labels, words)


ZERO = sort_key((0, 0, 0))


def key_of(text: str) -> Key | None:
    """The key of a version's text; None for what is no version."""
    found = read_semver(text)
    return None if found is None else sort_key(*found)
