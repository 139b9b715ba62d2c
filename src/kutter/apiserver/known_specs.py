"""Specifications that were sent before are not cleaned and defaulted again.

Between a create's body and the write pipeline. The pods of one owner differ in their names; what
is said of their specification is the same text each time. What the pipeline makes of such a text
before anybody else has a say (unknown fields pruned, quantities normal, defaults filled in, its
fields as ownership names them) depends on nothing but the text, so it is worked out once and
remembered. Laws: only a specification nothing was found wrong with is remembered; what it comes to
is exactly what the plain way makes of it (``tests/property/test_known_specs.py``); what is
remembered is bounded in number and size; each object still gets a tree of its own.
"""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

Tree = dict[str, Any]

LIMIT = 512
# Templates are small; what is big is rare and would only push others out.
SIZE_LIMIT_BYTES = 16 << 10


class _Sent(msgspec.Struct):
    spec: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(_Sent)


class KnownSpec:
    """What is made of one text. ``owned``: its fields, encoded; ``b""`` until somebody asked."""

    __slots__ = ("owned", "prepared")

    def __init__(self, prepared: bytes) -> None:
        self.prepared = prepared
        self.owned = b""


class SentSpec:
    """The specification in one body, and what is known of it."""

    __slots__ = ("_specs", "known", "raw", "rest")

    def __init__(self, specs: KnownSpecs, raw: bytes, rest: bytes, known: KnownSpec | None) -> None:
        self._specs = specs
        self.raw = raw
        self.rest = rest
        """The body with 0 in the place of the specification."""
        self.known = known

    def learn(self, spec: Tree) -> None:
        """Remember what was made of it: cleaned and defaulted, nothing found wrong."""
        self.known = self._specs.keep(self.raw, orjson.dumps(spec))


class KnownSpecs:
    """What one kind remembers. All is forgotten when there is too much."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._known: dict[bytes, KnownSpec] = {}

    def __len__(self) -> int:
        return len(self._known)

    def keep(self, raw: bytes, prepared: bytes) -> KnownSpec:
        known = KnownSpec(prepared)
        if len(prepared) <= SIZE_LIMIT_BYTES:
            if len(self._known) >= self._limit:
                self._known.clear()
            self._known[raw] = known
        return known

    def find(self, body: bytes) -> SentSpec | None:
        """The specification in a JSON body; None when it is better looked at the plain way."""
        try:
            raw = bytes(_decoder.decode(body).spec)
        except msgspec.DecodeError:
            return None
        # Without a quote it could be found in the middle of some text.
        if len(raw) > SIZE_LIMIT_BYTES or not raw.startswith(b"{") or b'"' not in raw:
            return None
        at = body.find(raw)
        rest = body[:at] + b"0" + body[at + len(raw) :]
        return SentSpec(self, raw, rest, self._known.get(raw))


def tree_without(sent: SentSpec) -> Tree | None:
    """The body's tree with an empty specification; None when its place was another's.

    Raises ValueError for what is no JSON.
    """
    tree = orjson.loads(sent.rest)
    if type(tree) is not dict or type(tree.get("spec")) is not int:
        return None
    tree["spec"] = {}
    return tree
