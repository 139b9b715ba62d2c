"""The words that name objects: ``pods``, ``po,svc``, ``pod/web``, ``deploy web api``, ``all``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kutter.cli.command import CommandError

if TYPE_CHECKING:
    from kutter.api.resources import Resource
    from kutter.cli.discovery import Discovery


class Reference(NamedTuple):
    """One resource type with the names asked for; no names means all of them."""

    resource: Resource
    names: tuple[str, ...] = ()


def parse_references(words: Sequence[str], kinds: Discovery) -> list[Reference]:
    """What ``words`` name, types in the order given. Raises CommandError."""
    if not words:
        raise CommandError(
            "you must specify the type of resource", hint="'kutter api-resources' lists them"
        )
    slashed = [word for word in words if "/" in word]
    if slashed:
        if len(slashed) != len(words):
            odd = next(word for word in words if "/" not in word)
            raise CommandError(
                "there is no need to specify a resource type as a separate argument when passing"
                f" arguments in resource/name form (e.g. 'resource/name' instead of '{odd}"
                " resource/name')"
            )
        return [_slashed(word, kinds) for word in words]
    names = tuple(dict.fromkeys(words[1:]))
    found = []
    for word in words[0].split(","):
        if not word:
            raise CommandError("arguments in resource/name form and lists have no empty parts")
        members = kinds.category(word.lower())
        if members:
            found += [Reference(resource, names) for resource in members]
        else:
            found.append(Reference(kinds.find(word), names))
    return found


def one_reference(words: Sequence[str], kinds: Discovery, *, default: str = "") -> Reference:
    """Exactly one type with exactly one name: ``TYPE/NAME``, ``TYPE NAME`` or, with ``default``
    a type, just ``NAME``. Raises CommandError.
    """
    if default and len(words) == 1 and "/" not in words[0]:
        return Reference(kinds.find(default), (words[0],))
    found = parse_references(words, kinds)
    if len(found) != 1 or len(found[0].names) != 1:
        raise CommandError("name one object, as TYPE/NAME")
    return found[0]


def _slashed(word: str, kinds: Discovery) -> Reference:
    kind, _, name = word.partition("/")
    if not kind or not name or "/" in name:
        raise CommandError(
            "arguments in resource/name form may not have more than one slash or empty parts:"
            f' "{word}"'
        )
    return Reference(kinds.find(kind), (name,))
