"""Specifications that updates leave as they are, and about which nothing is to be done.

Between a patch and the write pipeline. Most patches touch a label or the status; cleaning the
specification, defaulting it and validating it again is most of what they cost, and comes to
nothing. So what cleaning and defaulting left as it was, byte by byte, is remembered by its
content: the next object with the same specification shows it to the patch as it is, and if the
patch has left it alone, the new object *shares* it with the old one and is not looked at again.
Laws: what is remembered depends on nothing but the specification and holds as long as the program
runs; what is shared is written to by nobody (a patch that reaches into it gets a copy, plug-ins of
admission that write in place are known, and nothing is shared with them); what is remembered is
bounded.
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from kutter.apiserver.validation.remembered import key_of

Tree = dict[str, Any]

SPEC = "spec"
# Digests are small. The pods of one template differ by their nodes, so there are many.
LIMIT = 1 << 14


class SettledSpecs:
    """What one kind remembers. All is forgotten when there is too much."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        # To the one copy of each that is kept, also by the objects that have it.
        self._known: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._known)

    def key(self, tree: Tree) -> bytes | None:
        """What an object's specification is known by; None when it is not."""
        key = _digest(tree.get(SPEC))
        return self._known.get(key) if key is not None else None

    def learn(self, old: Tree, new: Tree) -> None:
        """Take note of a specification that was cleaned and defaulted: ``new``'s of ``old``'s."""
        spec = old.get(SPEC)
        if orjson.dumps(spec) != orjson.dumps(new.get(SPEC)):
            return
        key = _digest(spec)
        if key is None:
            return
        if len(self._known) >= self._limit:
            self._known.clear()
        self._known[key] = key


def _digest(spec: Any) -> bytes | None:
    """Of a specification's content: objects keep it, and are not to be twice as large for it."""
    content = key_of(spec) if type(spec) is dict else None
    return None if content is None else hashlib.sha256(content).digest()


def beside_spec(tree: Tree) -> Tree:
    """A copy that shares the specification, and nothing else."""
    return {
        key: value if key == SPEC or type(value) is str else orjson.loads(orjson.dumps(value))
        for key, value in tree.items()
    }


def copied(tree: Tree) -> Tree:
    copy: Tree = orjson.loads(orjson.dumps(tree))
    return copy
